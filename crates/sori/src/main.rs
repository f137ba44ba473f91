//! The `sori` program: commands, logging and wiring; everything else is in the crates below.

mod bench;
mod doctor;
mod eval;
mod models;
mod progress;
mod starter;
mod transcribe;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use sori_infer::kernels::Isa;

/// The exit status when a file, a model or a download failed.
const FAILED: u8 = 1;
/// The exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  sori transcribe interview.mp4                     print the words with their times
  sori transcribe *.mp3 --format srt,json           write subtitles and the full document
  sori eval --ref truth.stm --hyp interview.json    how far a result is from the truth
  sori models pull base                             install a model for real recordings
  sori doctor                                       what this machine offers

Exit status: 0 done, 1 something failed (the others were done), 2 wrong arguments, 130 interrupted.";

/// Turns recordings into time-aligned documents.
#[derive(Parser)]
#[command(name = "sori", version, about = "Turns recordings into time-aligned documents, on this machine alone", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write down what is said, with the time of every word
    Transcribe(Box<transcribe::TranscribeCommand>),
    Models(models::ModelsCommand),
    Eval(eval::EvalCommand),
    /// Show what this machine offers and what is installed
    Doctor(doctor::DoctorCommand),
    /// Measure speed and memory on this machine
    Bench(bench::BenchCommand),
}

/// The folder below that of the models where packed weights are kept.
const PACKED: &str = ".packed";

/// The instructions that kernels use: those that `SORI_ISA` names, else the best of this machine.
fn instructions() -> anyhow::Result<Isa> {
    match std::env::var("SORI_ISA") {
        Ok(name) => Isa::named(&name).map_err(|e| anyhow::anyhow!("SORI_ISA: {e}")),
        Err(_) => Ok(Isa::best()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    let installed = ctrlc::set_handler(move || {
        // The first Ctrl-C lets work stop cleanly, the second does not wait.
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
    if let Err(e) = installed {
        eprintln!("warning: Ctrl-C will not clean up: {e}");
    }
    let result = match &cli.command {
        Command::Transcribe(command) => transcribe::run(command, &cancel),
        Command::Models(command) => models::run(command, &cancel).map(|()| true),
        Command::Eval(command) => eval::run(command),
        Command::Doctor(command) => doctor::run(command).map(|()| true),
        Command::Bench(command) => bench::run(command, &cancel).map(|()| true),
    };
    match result {
        _ if cancel.load(Ordering::SeqCst) => {
            eprintln!("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(FAILED)
        }
    }
}
