//! `sori bench asr`: speed and memory of the recogniser on this machine, with weights made from a seed.
//!
//! Speed does not depend on the weights' values, so that it can be measured with nothing downloaded: the network has the
//! true size, the decoder writes a forced script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use sori_infer::linear::{Compute, kernel_names};
use sori_media::{AudioOptions, AudioReader};
use sori_speech::transcribe::{Heard, Whisper};
use sori_speech::vad::{Vad, VadModel};
use sori_testing::rule_weights::{Size, multilingual, whisper_dims, write_hf_folder};
use sori_testing::{tone, wav};

/// Tokens of each window in the end-to-end run: 2,000 in ten minutes.
const TOKENS: usize = 100;
/// Windows in the end-to-end run: ten minutes.
const WINDOWS: usize = 20;

/// The arguments of `sori bench`.
#[derive(Args)]
pub struct BenchCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Whisper: encoder, decoder, ten minutes end to end, memory, loading
    Asr {
        /// Sizes to measure
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = [SizeArgument::Tiny, SizeArgument::Base])]
        size: Vec<SizeArgument>,
        /// Arithmetic
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Arithmetic::Int8])]
        compute: Vec<Arithmetic>,
        /// Threads
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Times each part is run; the fastest counts
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SizeArgument {
    Tiny,
    Base,
    Small,
    Turbo,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Arithmetic {
    F32,
    Int8,
}

/// Runs `sori bench`.
///
/// # Errors
/// When the weights cannot be written to the temporary folder.
pub fn run(command: &BenchCommand, cancel: &AtomicBool) -> Result<()> {
    let What::Asr {
        size,
        compute,
        threads,
        runs,
    } = &command.what;
    if *runs == 0 || *threads == 0 {
        bail!("--runs and --threads: give a number above 0");
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let [single, int8] = kernel_names();
    println!(
        "kernels f32 {single}, int8 {int8}; {threads} threads; best of {runs}; load before {}",
        load.split(' ').next().unwrap_or("?")
    );
    println!(
        "| size | compute | load ms | encode ms/window | decode ms/token, batch 1 | 8 | 16 | 10 min, 2,000 tokens, s | × real time | peak MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(*threads)
        .build()?;
    for &size in size {
        for &compute in compute {
            if cancel.load(Ordering::SeqCst) {
                return Ok(());
            }
            pool.install(|| measure(size, compute, *runs))?;
        }
    }
    Ok(())
}

fn measure(size: SizeArgument, compute: Arithmetic, runs: usize) -> Result<()> {
    let folder =
        tempfile::tempdir().context("the temporary folder cannot be written: set TMPDIR")?;
    let dims = whisper_dims(match size {
        SizeArgument::Tiny => Size::Tiny,
        SizeArgument::Base => Size::Base,
        SizeArgument::Small => Size::Small,
        SizeArgument::Turbo => Size::Turbo,
    });
    write_hf_folder(&dims, &multilingual(), folder.path())
        .context("the temporary folder is full: set TMPDIR")?;
    let arithmetic = match compute {
        Arithmetic::F32 => Compute::F32,
        Arithmetic::Int8 => Compute::Int8,
    };
    let started = Instant::now();
    let whisper = Whisper::open(folder.path(), arithmetic)?;
    let loading = started.elapsed().as_secs_f64() * 1e3;
    let sound = tone::music(tone::Shape::seconds(600.0), 1);
    let mel = whisper.mel(&sound[..480_000]);
    let encode = best(runs, || drop(whisper.hear(&mel)));
    let heard: Vec<Heard> = (0..16).map(|_| whisper.hear(&mel)).collect();
    let script: Vec<u32> = (0..TOKENS as u32).map(|i| 1000 + i).collect();
    let decode = [1, 8, 16].map(|batch| {
        best(runs, || whisper.force(&heard[..batch], &script)) / (TOKENS * batch) as f64
    });
    drop(heard);
    let recording = folder.path().join("ten minutes.wav");
    wav::write(&recording, &sound, 16000).context("the temporary folder is full: set TMPDIR")?;
    drop(sound);
    let mut whole = Ok(());
    let seconds = best(runs.min(2), || {
        whole = end_to_end(&whisper, &recording, &script)
    });
    whole?;
    println!(
        "| {size:?} | {compute:?} | {loading:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {seconds:.1} | {:.0} | {} |",
        encode * 1e3,
        decode[0] * 1e3,
        decode[1] * 1e3,
        decode[2] * 1e3,
        600.0 / seconds,
        peak_mb().map_or_else(|| "?".to_owned(), |mb| mb.to_string()),
    );
    Ok(())
}

/// Ten minutes from the file to 2,000 forced tokens: decoding, voice activity, mel, encoder, decoder.
fn end_to_end(whisper: &Whisper, recording: &std::path::Path, script: &[u32]) -> Result<()> {
    let mut reader = AudioReader::open(recording, &AudioOptions::default())?;
    let mut vad = Vad::new(VadModel::Builtin);
    let (mut pcm, mut chances, mut heard, mut windows) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while let Some(block) = reader.next_block()? {
        vad.push(&block.channels[0], &mut chances)?;
        pcm.extend(&block.channels[0]);
        if pcm.len() >= 480_000 {
            heard.push(whisper.hear(&whisper.mel(&pcm.drain(..480_000).collect::<Vec<f32>>())));
            windows += 1;
        }
        if heard.len() == 10 {
            whisper.force(&heard, script);
            heard.clear();
        }
    }
    if windows != WINDOWS {
        bail!("{windows} windows in ten minutes instead of {WINDOWS}");
    }
    Ok(())
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
