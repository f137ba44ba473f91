//! Time for the service: one reading of the wall clock at the start, then a clock that never jumps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that only go forward: leases do not care when somebody sets the clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    begun_ms: i64,
    begun: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            begun_ms: since.as_millis() as i64,
            begun: Instant::now(),
        }
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.begun_ms + self.begun.elapsed().as_millis() as i64
    }
}
