//! `sori bench`: speed and memory on this machine. `asr` measures the recogniser, with weights made from a seed; `growth` how
//! its cost grows; `speakers` diarization; `analyze` the whole; `serve` the service; `kernels` the kernels.

mod analyze;
mod asr;
mod chart;
mod growth;
mod kernels;
mod serve;
mod speakers;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Subcommand};

/// The arguments of `sori bench`.
#[derive(Args)]
pub struct BenchCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Whisper: encoder, decoder, ten minutes end to end, memory, loading
    Asr(asr::AsrArguments),
    /// Whisper: cost against batch, length and threads, as a table and a picture
    Growth(growth::GrowthArguments),
    /// The whole analysis of a long conversation, stage by stage
    Analyze(analyze::AnalyzeArguments),
    /// Diarization: errors on mixed conversations, speed, memory
    Speakers(speakers::SpeakerArguments),
    /// The service: time to accept, a long queue, many uploads, a job beside the bare command
    Serve(serve::ServeArguments),
    /// Kernels: each beside the fastest rate at which the CPU can multiply
    Kernels(kernels::KernelArguments),
}

/// Runs `sori bench`.
///
/// # Errors
/// When the weights cannot be written to the temporary folder.
pub fn run(command: &BenchCommand, cancel: &AtomicBool) -> Result<()> {
    match &command.what {
        What::Asr(arguments) => asr::run(arguments, cancel),
        What::Growth(arguments) => growth::run(arguments, cancel),
        What::Analyze(arguments) => analyze::run(arguments, cancel),
        What::Speakers(arguments) => speakers::run(arguments, cancel),
        What::Serve(arguments) => serve::run(arguments, cancel),
        What::Kernels(arguments) => kernels::run(arguments),
    }
}

/// Seconds of the fastest run.
fn best(runs: usize, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// The most memory the process has used so far, in MB, where the system tells.
fn peak_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kb| kb / 1024)
}
