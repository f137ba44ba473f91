//! The heart of an attempt: its lease is renewed, and reasons to stop are heard.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sori_store::Renewal;

use super::{Attempt, Stop};
use crate::dispatch::LEASE_MS;
use crate::news::News;

/// From one heartbeat to the next.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// An attempt may take so many times the length of its recording.
const PATIENCE: f64 = 10.0;

impl Attempt<'_> {
    /// Renews the lease for as long as the attempt lives, and watches for reasons to stop.
    pub(super) async fn beat(&self) -> std::convert::Infallible {
        let mut news = self.app.news.listen();
        let mut drained = None;
        let begun = self.app.clock.now_ms();
        loop {
            match self
                .app
                .store
                .renew(self.lease, LEASE_MS, self.app.clock.now_ms())
                .await
            {
                Ok(Renewal::Kept) => {}
                Ok(Renewal::CancelAsked) => self.stop(Stop::Cancelled),
                Ok(Renewal::Lost) => self.stop(Stop::Lost),
                Err(error) => tracing::error!(%error, "no heartbeat"),
            }
            let limits = &self.app.config;
            let length = match self.length_ms.load(Ordering::Relaxed) {
                0 => limits.limits.media_seconds as f64,
                ms => ms as f64 / 1e3,
            };
            let now = self.app.clock.now_ms();
            let most = limits.workers.job_seconds as f64 + PATIENCE * length;
            let silent = (now - self.told_ms.load(Ordering::Relaxed)) as f64 / 1e3;
            // A download has limits of its own; a worker that says nothing for so long hangs.
            if (now - begun) as f64 / 1e3 > most
                || (self.at_work() && silent > limits.workers.job_seconds as f64)
            {
                self.stop(Stop::TooLong);
            }
            let next = tokio::time::Instant::now() + HEARTBEAT;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    told = news.recv() => match told {
                        // Perhaps somebody cancelled it.
                        Ok(News::Changed(id)) if id == self.lease.job.id => break,
                        Err(tokio::sync::broadcast::error::RecvError::Closed) => tokio::time::sleep_until(next).await,
                        _ => {}
                    },
                    () = self.app.draining.cancelled(), if drained.is_none() => {
                        drained = Some(tokio::time::Instant::now() + Duration::from_secs(limits.server.drain_seconds));
                    }
                    () = tokio::time::sleep_until(drained.unwrap_or(next)), if drained.is_some() => {
                        self.stop(Stop::Drained);
                        tokio::time::sleep_until(next).await;
                    }
                }
            }
        }
    }

    fn stop(&self, why: Stop) {
        // The first reason stands.
        let _ = self.why.set(why);
        self.stop.cancel();
    }
}
