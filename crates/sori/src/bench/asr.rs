//! `sori bench asr`: the recogniser with weights made from a seed.
//!
//! Speed does not depend on the weights' values, so that it can be measured with nothing downloaded: the network has the
//! true size, the decoder writes a forced script. Each size is measured in a process of its own, so that its memory is too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use sori_infer::linear::{Compute, kernel_name};
use sori_media::{AudioOptions, AudioReader};
use sori_speech::transcribe::{Heard, LoadOptions, Whisper};
use sori_speech::vad::{Vad, VadModel};
use sori_testing::rule_weights::{Size, multilingual, whisper_dims, write_hf_folder};
use sori_testing::{tone, wav};

use super::{best, peak_mb};
use crate::instructions;

/// Tokens of each window: 2,000 in ten minutes.
const TOKENS: usize = 100;
/// Samples of a window.
const WINDOW: usize = 480_000;

#[derive(Args)]
pub(super) struct AsrArguments {
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
pub(super) enum SizeArgument {
    Tiny,
    Base,
    Small,
    Turbo,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Arithmetic {
    F32,
    Int8,
    Int4,
}

/// Measures each size with each arithmetic.
pub(super) fn run(asr: &AsrArguments, cancel: &AtomicBool) -> Result<()> {
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
    let folder = tempfile::tempdir().context(FULL)?;
    write_weights(size, folder.path())?;
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

/// Writes weights of a size into a folder.
pub(super) fn write_weights(size: SizeArgument, folder: &Path) -> Result<()> {
    let dims = whisper_dims(match size {
        SizeArgument::Tiny => Size::Tiny,
        SizeArgument::Base => Size::Base,
        SizeArgument::Small => Size::Small,
        SizeArgument::Turbo => Size::Turbo,
    });
    write_hf_folder(&dims, &multilingual(), folder).context(FULL)
}

/// What is said when weights or sound cannot be written.
pub(super) const FULL: &str = "the temporary folder is full or cannot be written: set TMPDIR";
/// The sound beside the prepared weights.
const RECORDING: &str = "ten minutes.wav";

/// How prepared weights are loaded: with their packed form beside them.
pub(super) fn options(compute: Arithmetic, threads: usize, folder: &Path) -> Result<LoadOptions> {
    Ok(LoadOptions {
        threads,
        isa: instructions()?,
        cache: Some(folder.join("packed")),
        ..match compute {
            Arithmetic::F32 => Compute::F32,
            Arithmetic::Int8 => Compute::Int8,
            Arithmetic::Int4 => Compute::Int4,
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
    let script = script();
    let batch = whisper.batch(None);
    let mut whole = Ok(());
    let seconds = best(asr.runs.min(3), || {
        whole = end_to_end(&whisper, &folder.join(RECORDING), batch);
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

/// The tokens that are forced in each window.
pub(super) fn script() -> Vec<u32> {
    (0..TOKENS as u32).map(|i| 1000 + i).collect()
}

/// A recording from the file to its forced tokens: decoding, voice activity, mel, encoder, decoder.
pub(super) fn end_to_end(whisper: &Whisper, recording: &Path, batch: usize) -> Result<()> {
    let mut reader = AudioReader::open(recording, &AudioOptions::default())?;
    let mut vad = Vad::new(VadModel::Builtin);
    let (mut pcm, mut chances, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(block) = reader.next_block()? {
        vad.push(&block.channels[0], &mut chances)?;
        chances.clear();
        pcm.extend(&block.channels[0]);
        if pcm.len() >= WINDOW {
            heard.push(whisper.hear(&whisper.mel(&pcm.drain(..WINDOW).collect::<Vec<f32>>())));
        }
        if heard.len() == batch {
            whisper.force(&heard, &script());
            heard.clear();
        }
    }
    whisper.force(&heard, &script());
    if !pcm.is_empty() {
        bail!(
            "{} samples were left: the recording is no whole number of windows",
            pcm.len()
        );
    }
    Ok(())
}
