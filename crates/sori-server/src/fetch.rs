//! A recording from a user's URL into a file, through the guard.

mod transfer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::netguard::{ClientLimits, Denied, Guard, Purpose};
use transfer::Transfer;

/// How soon a cancel interrupts a transfer that waits.
const CANCEL_EVERY: Duration = Duration::from_millis(50);

/// What a download may take.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The largest file in bytes.
    pub max_bytes: u64,
    /// For the connection and TLS.
    pub connect: Duration,
    /// For the headers of an answer, and between two pieces of its body.
    pub idle: Duration,
    /// For everything, redirects too.
    pub total: Duration,
    /// The slowest transfer in bytes per second, measured over each `window`.
    pub min_speed: u64,
    /// Over how long the speed is measured.
    pub window: Duration,
}

impl Default for FetchLimits {
    /// 4 GiB, connected in 10 s, no pause over 30 s, two hours in all, never slower than 16 KiB/s over 30 s, which is half
    /// the speed of a recording in MP3 and stops whoever sends a byte a second.
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(2 * 3600),
            min_speed: 16 << 10,
            window: Duration::from_secs(30),
        }
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The length of the file.
    pub bytes: u64,
    /// What the server says it is; the decoder does not believe it.
    pub content_type: Option<String>,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// Bytes in the file.
    pub bytes: u64,
    /// The length that the server announced.
    pub total: Option<u64>,
}

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// The guard refused the URL or a redirect.
    Denied,
    /// The server does not have it or does not give it: a status of 4xx, or an answer that cannot be used.
    Refused,
    /// More than [`FetchLimits::max_bytes`].
    TooLarge,
    /// The network or the server failed, was too slow or broke off: another try can succeed.
    Network,
    /// It was cancelled.
    Cancelled,
    /// The file cannot be written here.
    Disk,
}

/// A download that failed. The message shows scheme, host and port of the URL, and nothing of what the server said but its
/// status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    kind: FetchErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl FetchError {
    fn new(kind: FetchErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    fn disk(source: std::io::Error) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::new(
                FetchErrorKind::Disk,
                "the recording cannot be written here: is the disk full?",
            )
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }
}

impl From<Denied> for FetchError {
    fn from(denied: Denied) -> Self {
        Self {
            message: denied.message.clone(),
            source: Some(Box::new(denied)),
            kind: FetchErrorKind::Denied,
        }
    }
}

/// What to download, and to where.
#[derive(Clone, Copy, Debug)]
pub struct FetchOrder<'a> {
    /// The URL as the user gave it.
    pub url: &'a str,
    /// The file that is there, whole, when the download succeeded, and untouched when it did not.
    pub to: &'a Path,
    /// What it may take.
    pub limits: FetchLimits,
}

/// Downloads a recording; blocks until it is there. A transfer that breaks off goes on where it stopped, up to three times,
/// if the server names the version of the file (a strong `ETag`). `progress` is called at every block, and a set `cancel` ends the
/// transfer within a tenth of a second, unless a name is being resolved or a connection made.
///
/// # Errors
/// When the URL or a redirect is refused, the server does not give it, it is larger or slower than the limits, or it cannot
/// be written; the folder of the file is left as it was.
pub fn fetch_to(
    guard: &Guard,
    order: &FetchOrder<'_>,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(FetchProgress),
) -> Result<Fetched, FetchError> {
    let limits = &order.limits;
    let url = guard.check_url(order.url, Purpose::Media)?;
    let agent = guard.client(
        &ClientLimits {
            connect: limits.connect,
            idle: limits.idle,
            total: limits.total,
        },
        Purpose::Media,
    );
    let transfer = Transfer {
        guard,
        agent: &agent,
        order,
        deadline: Instant::now() + limits.total,
    };
    let result = interruptible(&agent, cancel, || transfer.run(&url, progress));
    // An interrupted transfer looks like a broken one, or like a whole one if the server gave no length.
    match cancel.load(Ordering::Relaxed) {
        true => Err(FetchError::new(
            FetchErrorKind::Cancelled,
            "the download was cancelled",
        )),
        false => result.and_then(|(fetched, file)| {
            file.persist(order.to)
                .map_err(|error| FetchError::disk(error.error))?;
            Ok(fetched)
        }),
    }
}

/// Runs a transfer and shuts its agent's connections down when `cancel` is set.
fn interruptible<T>(agent: &Agent, cancel: &AtomicBool, transfer: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        // Nothing is ever sent: the transfer owns `running`, and that it is dropped, even by a panic, ends the watch. Never full.
        let (running, ended) = mpsc::sync_channel::<()>(1);
        scope.spawn(move || {
            while ended.recv_timeout(CANCEL_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                if cancel.load(Ordering::Relaxed) {
                    return agent.clone().shutdown();
                }
            }
        });
        let _running = running;
        transfer()
    })
}
