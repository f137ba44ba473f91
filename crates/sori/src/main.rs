//! The `sori` program: commands, logging and wiring; everything else is in the crates below.

mod analyze;
mod bench;
mod doctor;
mod enroll;
mod eval;
mod hear;
mod jobs;
mod keys;
mod log;
mod models;
mod networks;
mod outcome;
mod output;
mod progress;
mod serve;
mod starter;
mod transcribe;
mod voices;
mod work;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use outcome::Outcome;
use sori_infer::kernels::Isa;

/// The exit status when a file, a model or a download failed.
const FAILED: u8 = 1;
/// The exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  sori analyze interview.mp4                        who said what, when and how: JSON and a page to read
  sori transcribe interview.mp4                     print the words with their times
  sori transcribe *.mp3 --format srt,json           write subtitles and the full document
  sori eval --ref truth.stm --hyp interview.json    how far a result is from the truth
  sori serve                                        jobs over HTTP for a team, OpenAI's API among them
  sori models pull base                             install a model for real recordings
  sori doctor                                       what this machine offers

Exit status: 0 done, 1 a file failed (the others were done), 2 wrong arguments, 3 a stage failed (the rest is
written), 130 interrupted.";

/// Turns recordings into time-aligned documents.
#[derive(Parser)]
#[command(name = "sori", version, about = "Turns recordings into time-aligned documents, on this machine alone", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write down who said what, when and how it sounded
    Analyze(Box<analyze::AnalyzeCommand>),
    /// Write down what is said, with the time of every word
    Transcribe(Box<transcribe::TranscribeCommand>),
    /// Remember a voice by name, so that `analyze` names it
    Enroll(enroll::EnrollCommand),
    /// List, rename, merge or delete remembered voices
    Voices(voices::VoicesCommand),
    /// Serve jobs over HTTP
    Serve(Box<serve::ServeCommand>),
    /// Show, cancel and retry the service's jobs
    Jobs(jobs::JobsCommand),
    /// Make, list and revoke the keys of the service
    Keys(keys::KeysCommand),
    Models(models::ModelsCommand),
    Eval(eval::EvalCommand),
    /// Show what this machine offers and what is installed
    Doctor(doctor::DoctorCommand),
    /// Measure speed and memory on this machine
    Bench(bench::BenchCommand),
    /// Do jobs for a server, which gives them over stdin
    #[command(hide = true)]
    Work(work::WorkCommand),
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
    let done = |()| Outcome::Done;
    let result = match &cli.command {
        Command::Analyze(command) => analyze::run(command, &cancel),
        Command::Transcribe(command) => transcribe::run(command, &cancel),
        Command::Enroll(command) => enroll::run(command, &cancel).map(done),
        Command::Voices(command) => voices::run(command).map(done),
        Command::Serve(command) => return served(serve::run(command, &cancel)),
        Command::Jobs(command) => jobs::run(command).map(done),
        Command::Keys(command) => keys::run(command).map(done),
        Command::Models(command) => models::run(command, &cancel).map(done),
        Command::Eval(command) => eval::run(command).map(|all| match all {
            true => Outcome::Done,
            false => Outcome::Failed,
        }),
        Command::Doctor(command) => doctor::run(command).map(done),
        Command::Bench(command) => bench::run(command, &cancel).map(done),
        Command::Work(command) => work::run(command).map(done),
    };
    end(result, &cancel)
}

/// The exit status of the service: being stopped is what it waits for.
fn served(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The exit status of a command.
fn end(result: anyhow::Result<Outcome>, cancel: &AtomicBool) -> ExitCode {
    match result {
        _ if cancel.load(Ordering::SeqCst) => {
            eprintln!("interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Ok(outcome) => ExitCode::from(outcome.code()),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(FAILED)
        }
    }
}
