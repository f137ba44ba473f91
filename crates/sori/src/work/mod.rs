//! `sori work`: a process that does one job after the other for a server, which tells it over stdin and hears from it over
//! stdout ([`sori_server::work`]).
//!
//! A crash, a hostile file or a memory limit costs this process and one try of one job, never the server. Models stay loaded
//! between jobs. What the costly networks found out is kept in the job's folder as it is found, so that the next try goes on
//! there. It opens no socket. Ctrl-C and SIGTERM are the server's business: it closes stdin when the worker is to end.

mod arguments;
mod job;
mod journal;
mod learn;
mod shelf;
mod tell;

use std::collections::VecDeque;
use std::io::{BufRead, Read, stdin};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::{Context, Result};
use clap::Args;
use serde::Deserialize;
use sori_media::Limits;
use sori_server::work::{FailureKind, MAX_ORDER_BYTES, Order, Report};

use crate::hear::in_pool;
use crate::networks::ModelsFolder;
use job::Failure;
use shelf::Shelf;
use tell::Teller;

/// The exit status after orders that no server gives.
const CONFUSED: i32 = 2;
/// The exit status after a panic (EX_SOFTWARE of sysexits.h); the job was told of as failed.
const PANICKED: i32 = 70;
/// Flags of jobs that can still be cancelled: the one at work, the one that waits, and some that have just ended.
const FLAGS: usize = 8;

/// The arguments of `sori work`.
#[derive(Args)]
pub struct WorkCommand {
    /// Most memory for data, of this process and of each decoder it starts, in MiB
    #[arg(long, value_name = "MIB")]
    memory_mb: Option<u64>,
    /// Longest recording, in seconds
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<f64>,
    /// Most channels of a recording
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_channels)]
    max_channels: usize,
    /// Highest sample rate of a recording, in Hz
    #[arg(long, value_name = "HZ", default_value_t = Limits::default().max_rate_hz)]
    max_rate_hz: u32,
    /// Most pixels of a picture of a video
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels)]
    max_pixels: u64,
    /// Threads to compute with; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    models: ModelsFolder,
}

impl WorkCommand {
    fn limits(&self) -> Limits {
        Limits {
            max_seconds: self.max_seconds,
            max_channels: self.max_channels,
            max_rate_hz: self.max_rate_hz,
            max_pixels: self.max_pixels,
            ..Limits::default()
        }
    }
}

/// Something for the thread that works.
enum Task {
    /// An order for a job, and the flag that stops it.
    Job(Order, Arc<AtomicBool>),
    /// A job whose order cannot be followed, and why.
    Refused(String, String),
}

/// Runs `sori work` until stdin is closed, which ends the process.
///
/// # Errors
/// When the limits cannot be set or no threads can be had.
pub fn run(command: &WorkCommand) -> Result<()> {
    limit_memory(command.memory_mb)?;
    // One place: a server gives a worker its next job after the end of the last. Full means a server that does not, and ends
    // the process. The reading thread never closes it: it ends the process.
    let (sender, tasks) = sync_channel(1);
    std::thread::Builder::new()
        .name("orders".to_owned())
        .spawn(move || read(stdin().lock(), &sender))
        .context("cannot start a thread")?;
    in_pool(command.threads, move || {
        let mut shelf = Shelf::new(command.models.root());
        tell::line(&Report::Ready {
            models: shelf.warm(),
        });
        serve(&tasks, &mut shelf, &command.limits());
        Ok(())
    })
}

/// Sets the most bytes of data that this process may have.
#[cfg(unix)]
fn limit_memory(mebibytes: Option<u64>) -> Result<()> {
    let Some(mebibytes) = mebibytes else {
        return Ok(());
    };
    let bytes = mebibytes.saturating_mul(1 << 20);
    rlimit::setrlimit(rlimit::Resource::DATA, bytes, bytes).context("--memory-mb cannot be set")
}

#[cfg(not(unix))]
fn limit_memory(mebibytes: Option<u64>) -> Result<()> {
    if mebibytes.is_some() {
        eprintln!("note: --memory-mb has no meaning on this system");
    }
    Ok(())
}

/// Does the jobs, one after the other.
fn serve(tasks: &Receiver<Task>, shelf: &mut Shelf, limits: &Limits) {
    for task in tasks {
        let (order, cancel) = match task {
            Task::Job(order, cancel) => (order, cancel),
            Task::Refused(job, message) => {
                tell::line(&Failure::new(FailureKind::Options, message).report(job));
                continue;
            }
        };
        let job = order.job().to_owned();
        let mut teller = Teller::new(&job);
        let work = || match &order {
            Order::Analyze(order) => job::run(order, limits, shelf, (&mut teller, &cancel)),
            Order::Enroll(order) => learn::enroll(order, limits, shelf, (&mut teller, &cancel)),
            Order::Cancel { job } => Ok(Report::Cancelled { job: job.clone() }),
        };
        let report = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(done)) => done,
            Ok(Err(_)) if cancel.load(Ordering::SeqCst) => Report::Cancelled { job },
            Ok(Err(failure)) => failure.report(job),
            Err(_) => {
                // The panic's own words are on stderr. What it left behind is not to be trusted.
                let message = "a bug, please report it with the worker's log".to_owned();
                tell::line(&Failure::new(FailureKind::Internal, message).report(job));
                exit(PANICKED);
            }
        };
        tell::line(&report);
    }
}

/// Reads orders; ends the process with its input.
fn read(mut input: impl BufRead, tasks: &SyncSender<Task>) -> ! {
    let mut flags: VecDeque<(String, Arc<AtomicBool>)> = VecDeque::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = MAX_ORDER_BYTES as u64 + 1;
        match input.by_ref().take(most).read_until(b'\n', &mut line) {
            Ok(_) if line.len() > MAX_ORDER_BYTES => confused("an order that is too long"),
            Ok(_) if line.ends_with(b"\n") => {}
            // The end, perhaps in the middle of an order: the server is gone.
            _ => exit(0),
        }
        let task = match serde_json::from_slice(&line) {
            Ok(Order::Cancel { job }) => {
                if let Some((_, flag)) = flags.iter().find(|(name, _)| *name == job) {
                    flag.store(true, Ordering::SeqCst);
                }
                continue;
            }
            Ok(order) => {
                let flag = Arc::new(AtomicBool::new(false));
                flags.truncate(FLAGS - 1);
                flags.push_front((order.job().to_owned(), Arc::clone(&flag)));
                Task::Job(order, flag)
            }
            Err(error) => match serde_json::from_slice::<Named>(&line) {
                Ok(Named { job }) => Task::Refused(job, format!("not understood: {error}")),
                Err(_) => confused("an order that names no job"),
            },
        };
        if tasks.try_send(task).is_err() {
            confused("orders before the last one was done");
        }
    }
}

/// What an order that is not understood may still say.
#[derive(Deserialize)]
struct Named {
    job: String,
}

fn confused(what: &str) -> ! {
    eprintln!("error: stdin holds {what}: is a server of this version talking?");
    exit(CONFUSED)
}
