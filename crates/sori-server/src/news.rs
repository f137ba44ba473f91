//! What happens to jobs, told to whoever waits in this process; others look into the store.

use sori_store::JobId;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Tidings that wait for a slow listener; it is told that it missed some and looks into the store.
const WAITING: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum News {
    /// A job came in, went on, or ended.
    Changed(JobId),
    /// A segment of a job was transcribed.
    Segment {
        /// The job.
        job: JobId,
        /// Its place, from 0.
        index: usize,
        /// Start in seconds.
        start: f64,
        /// End in seconds.
        end: f64,
        /// What was said.
        text: String,
    },
}

/// Where news is told. A broadcast channel: every listener hears all; when one is slow its oldest news are dropped; it closes
/// with the server.
#[derive(Clone, Debug)]
pub struct Newsroom(Sender<News>);

impl Newsroom {
    /// A place without listeners.
    pub fn new() -> Self {
        Self(broadcast::channel(WAITING).0)
    }

    /// Tells all listeners.
    pub fn tell(&self, news: News) {
        // Nobody may be listening.
        let _ = self.0.send(news);
    }

    /// Hears all that is told from now on.
    pub fn listen(&self) -> Receiver<News> {
        self.0.subscribe()
    }
}

impl Default for Newsroom {
    fn default() -> Self {
        Self::new()
    }
}
