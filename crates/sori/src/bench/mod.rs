//! `sori bench`: speed and memory on this machine. `asr` measures the recogniser, with weights made from a seed;
//! `kernels` its kernels.
//!
//! Speed does not depend on the weights' values, so that it can be measured with nothing downloaded: the network has the
//! true size, the decoder writes a forced script. Each size is measured in a process of its own, so that its memory is too.

mod kernels;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use sori_infer::linear::{Compute, kernel_name};
use sori_media::{AudioOptions, AudioReader};
use sori_speech::transcribe::{Heard, LoadOptions, Whisper};
use sori_speech::vad::{Vad, VadModel};
use sori_testing::rule_weights::{Size, multilingual, whisper_dims, write_hf_folder};
use sori_testing::{tone, wav};

use crate::instructions;

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
    Asr(AsrArguments),
    /// Kernels: each beside the fastest rate at which the CPU can multiply
    Kernels(kernels::KernelArguments),
}

#[derive(Args)]
struct AsrArguments {
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
    /// One line of JSON for each size instead of a table
    #[arg(long)]
    json: bool,
    /// A folder of prepared weights: measure them in this process and print JSON
    #[arg(long, hide = true)]
    prepared: Option<PathBuf>,
}

/// What was measured of one size.
#[derive(Serialize, Deserialize)]
struct Measured {
    size: String,
    compute: String,
    isa: String,
    threads: usize,
    load_ms: f64,
    encode_ms: f64,
    /// Milliseconds per token, by windows decoded at once.
    decode_ms: BTreeMap<usize, f64>,
    seconds_10min: f64,
    /// Windows decoded at once in those ten minutes.
    batch: usize,
    /// The most memory that loading and the ten minutes used.
    peak_mb: Option<u64>,
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
    match &command.what {
        What::Asr(asr) => run_asr(asr, cancel),
        What::Kernels(arguments) => kernels::run(arguments),
    }
}

fn run_asr(asr: &AsrArguments, cancel: &AtomicBool) -> Result<()> {
    if asr.runs == 0 || asr.threads == 0 {
        bail!("--runs and --threads: give a number above 0");
    }
    if let Some(folder) = &asr.prepared {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(asr.threads)
            .build()?;
        let measured = pool.install(|| measure(asr, folder))?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    let isa = instructions()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    if !asr.json {
        println!(
            "int8 {}, f32 {}; {} threads; best of {}; load before {}",
            isa.name(),
            kernel_name(),
            asr.threads,
            asr.runs,
            load.split(' ').next().unwrap_or("?")
        );
        println!(
            "| size | compute | load ms | encode ms/window | decode ms/token, batch 1 | 8 | 16 | 10 min, 2,000 tokens, s | × real time | batch | peak MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
    }
    for &size in &asr.size {
        for &compute in &asr.compute {
            if cancel.load(Ordering::SeqCst) {
                return Ok(());
            }
            let line = in_child(asr, size, compute)?;
            if asr.json {
                println!("{line}");
            } else {
                print_row(&serde_json::from_str(&line)?);
            }
        }
    }
    Ok(())
}

fn print_row(m: &Measured) {
    let decode: Vec<_> = m.decode_ms.values().map(|ms| format!("{ms:.2}")).collect();
    println!(
        "| {} | {} | {:.0} | {:.1} | {} | {:.2} | {:.0} | {} | {} |",
        m.size,
        m.compute,
        m.load_ms,
        m.encode_ms,
        decode.join(" | "),
        m.seconds_10min,
        600.0 / m.seconds_10min,
        m.batch,
        m.peak_mb
            .map_or_else(|| "?".to_owned(), |mb| mb.to_string()),
    );
}

/// Prepares weights and sound, and measures them in a process of their own; returns its line of JSON.
fn in_child(asr: &AsrArguments, size: SizeArgument, compute: Arithmetic) -> Result<String> {
    const FULL: &str = "the temporary folder is full or cannot be written: set TMPDIR";
    let folder = tempfile::tempdir().context(FULL)?;
    let dims = whisper_dims(match size {
        SizeArgument::Tiny => Size::Tiny,
        SizeArgument::Base => Size::Base,
        SizeArgument::Small => Size::Small,
        SizeArgument::Turbo => Size::Turbo,
    });
    write_hf_folder(&dims, &multilingual(), folder.path()).context(FULL)?;
    let sound = tone::music(tone::Shape::seconds(600.0), 1);
    wav::write(&folder.path().join(RECORDING), &sound, 16000).context(FULL)?;
    drop(sound);
    // What the first load of a model does once: packing.
    drop(Whisper::open(
        folder.path(),
        options(compute, asr.threads, folder.path())?,
    )?);
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|v| v.get_name().to_owned()).unwrap_or_default()
    };
    let output = Command::new(std::env::current_exe()?)
        .args([
            "bench",
            "asr",
            "--size",
            &name(&|| size.to_possible_value()),
        ])
        .args(["--compute", &name(&|| compute.to_possible_value())])
        .args([
            "--threads",
            &asr.threads.to_string(),
            "--runs",
            &asr.runs.to_string(),
        ])
        .arg("--prepared")
        .arg(folder.path())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the measuring process ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The sound beside the prepared weights.
const RECORDING: &str = "ten minutes.wav";

fn options(compute: Arithmetic, threads: usize, folder: &Path) -> Result<LoadOptions> {
    Ok(LoadOptions {
        threads,
        isa: instructions()?,
        cache: Some(folder.join("packed")),
        ..match compute {
            Arithmetic::F32 => Compute::F32,
            Arithmetic::Int8 => Compute::Int8,
        }
        .into()
    })
}

fn measure(asr: &AsrArguments, folder: &Path) -> Result<Measured> {
    let one = |what: &str| anyhow!("--prepared measures one {what}");
    let &[size] = asr.size.as_slice() else {
        return Err(one("size"));
    };
    let &[compute] = asr.compute.as_slice() else {
        return Err(one("arithmetic"));
    };
    let started = Instant::now();
    let whisper = Whisper::open(folder, options(compute, asr.threads, folder)?)?;
    let loading = started.elapsed().as_secs_f64();
    let script: Vec<u32> = (0..TOKENS as u32).map(|i| 1000 + i).collect();
    let batch = whisper.batch(None);
    let mut whole = Ok(());
    let seconds = best(asr.runs.min(3), || {
        whole = end_to_end(&whisper, &folder.join(RECORDING), &script, batch);
    });
    whole?;
    let peak = peak_mb();
    let mel = whisper.mel(&tone::music(tone::Shape::seconds(30.0), 1));
    let encode = best(asr.runs, || drop(whisper.hear(&mel)));
    let heard: Vec<Heard> = (0..16).map(|_| whisper.hear(&mel)).collect();
    let decode = [1, 8, 16].map(|batch| {
        let seconds = best(asr.runs, || whisper.force(&heard[..batch], &script));
        (batch, seconds * 1e3 / (TOKENS * batch) as f64)
    });
    Ok(Measured {
        size: format!("{size:?}").to_lowercase(),
        compute: format!("{compute:?}").to_lowercase(),
        isa: instructions()?.name().to_owned(),
        threads: asr.threads,
        load_ms: loading * 1e3,
        encode_ms: encode * 1e3,
        decode_ms: decode.into_iter().collect(),
        seconds_10min: seconds,
        batch,
        peak_mb: peak,
    })
}

/// Ten minutes from the file to 2,000 forced tokens: decoding, voice activity, mel, encoder, decoder.
fn end_to_end(whisper: &Whisper, recording: &Path, script: &[u32], batch: usize) -> Result<()> {
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
        if heard.len() == batch || (windows == WINDOWS && !heard.is_empty()) {
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
