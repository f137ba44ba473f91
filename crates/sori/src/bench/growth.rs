//! `sori bench growth`: what a recording costs as it, the batch and the threads grow.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use sori_speech::transcribe::{Heard, Whisper};
use sori_testing::{tone, wav};

use super::asr::{Arithmetic, FULL, SizeArgument, end_to_end, options, script, write_weights};
use super::chart::{Chart, Line, page};
use super::{best, peak_mb};

/// Windows decoded at once, as they are compared.
const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];

/// The arguments of `sori bench growth`.
#[derive(Args)]
pub(super) struct GrowthArguments {
    /// Size of the network
    #[arg(long, value_enum, default_value = "tiny")]
    size: SizeArgument,
    /// Lengths of the recording, in minutes
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 60])]
    minutes: Vec<usize>,
    /// Threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Where the picture goes
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// A folder of prepared weights and sound: measure them in this process and print JSON
    #[arg(long, hide = true)]
    prepared: Option<PathBuf>,
}

/// What was measured with some threads.
#[derive(Serialize, Deserialize)]
struct Measured {
    /// Seconds that the recording took.
    seconds: f64,
    peak_mb: Option<u64>,
    /// Milliseconds of a token, by windows decoded at once.
    decode_ms: Vec<f64>,
}

/// Measures every length with every number of threads, each in a process of its own.
pub(super) fn run(arguments: &GrowthArguments, cancel: &AtomicBool) -> Result<()> {
    // A WAV file's header counts to 4 GB.
    let bad = |n: &usize| !(1..=2000).contains(n);
    if arguments.minutes.iter().chain(&arguments.threads).any(bad) {
        bail!("--minutes and --threads: give numbers from 1 to 2000");
    }
    if let Some(folder) = &arguments.prepared {
        let measured = measure(folder, arguments.threads[0])?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    let folder = tempfile::tempdir().context(FULL)?;
    write_weights(arguments.size, folder.path())?;
    drop(Whisper::open(
        folder.path(),
        options(Arithmetic::Int8, 2, folder.path())?,
    )?);
    println!("| threads | minutes | seconds | × real time | peak MB |");
    println!("|---|---|---|---|---|");
    let [mut speed, mut memory, mut decode] = [(); 3].map(|()| Vec::new());
    for &threads in &arguments.threads {
        let name = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
        let (mut speeds, mut peaks, mut batches) = (Vec::new(), Vec::new(), Vec::new());
        for &minutes in &arguments.minutes {
            if cancel.load(Ordering::SeqCst) {
                return Ok(());
            }
            record(&folder.path().join(RECORDING), minutes).context(FULL)?;
            let m = in_child(folder.path(), threads)?;
            let times = minutes as f64 * 60.0 / m.seconds;
            let peak = m
                .peak_mb
                .map_or_else(|| "?".to_owned(), |mb| mb.to_string());
            println!(
                "| {threads} | {minutes} | {:.2} | {times:.0} | {peak} |",
                m.seconds
            );
            speeds.push((minutes as f64, times));
            peaks.extend(m.peak_mb.map(|mb| (minutes as f64, mb as f64)));
            batches = m.decode_ms;
        }
        let batches = BATCHES.iter().zip(&batches);
        let batches: Vec<_> = batches.map(|(&batch, &ms)| (batch as f64, ms)).collect();
        let row: Vec<_> = batches
            .iter()
            .map(|(batch, ms)| format!("{batch}: {ms:.2}"))
            .collect();
        println!(
            "\n{name}, ms per token by windows decoded at once: {}\n",
            row.join(", ")
        );
        speed.push(Line {
            name: name.clone(),
            points: speeds,
        });
        memory.push(Line {
            name: name.clone(),
            points: peaks,
        });
        decode.push(Line {
            name,
            points: batches,
        });
    }
    if let Some(path) = &arguments.svg {
        let picture = picture(arguments.size, speed, memory, decode);
        std::fs::write(path, picture)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn picture(size: SizeArgument, speed: Vec<Line>, memory: Vec<Line>, decode: Vec<Line>) -> String {
    let size = size.to_possible_value();
    let size = size.map(|v| v.get_name().to_owned()).unwrap_or_default();
    let chart = |what: &str, across, lines| Chart {
        title: format!("{size}: {what}"),
        across,
        lines,
    };
    page(&[
        chart("× real time", "minutes of sound", speed),
        chart("peak memory, MB", "minutes of sound", memory),
        chart("ms per token", "windows decoded at once", decode),
    ])
}

/// The sound beside the prepared weights.
const RECORDING: &str = "recording.wav";

/// Writes a recording minute by minute: a header for its length, then the same minute again and again.
fn record(path: &Path, minutes: usize) -> std::io::Result<()> {
    let minute = wav::bytes(&tone::music(tone::Shape::seconds(60.0), 1), 16000);
    let (header, sound) = minute.split_at(44);
    let mut header = header.to_vec();
    let bytes = (sound.len() * minutes) as u32;
    header[4..8].copy_from_slice(&(bytes + 36).to_le_bytes());
    header[40..44].copy_from_slice(&bytes.to_le_bytes());
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&header)?;
    (0..minutes).try_for_each(|_| file.write_all(sound))?;
    file.flush()
}

fn in_child(folder: &Path, threads: usize) -> Result<Measured> {
    let output = Command::new(std::env::current_exe()?)
        .args([
            "bench",
            "growth",
            "--threads",
            &threads.to_string(),
            "--prepared",
        ])
        .arg(folder)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the measuring process ended with {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn measure(folder: &Path, threads: usize) -> Result<Measured> {
    let whisper = Whisper::open(folder, options(Arithmetic::Int8, threads, folder)?)?;
    let batch = whisper.batch(None);
    let mut whole = Ok(());
    let seconds = best(1, || {
        whole = end_to_end(&whisper, &folder.join(RECORDING), batch)
    });
    whole?;
    let peak_mb = peak_mb();
    let mel = whisper.mel(&tone::music(tone::Shape::seconds(30.0), 1));
    let heard: Vec<Heard> = (0..16).map(|_| whisper.hear(&mel)).collect();
    let decode = |batch: usize| {
        let script = script();
        let seconds = best(3, || whisper.force(&heard[..batch], &script));
        seconds * 1e3 / (script.len() * batch) as f64
    };
    Ok(Measured {
        seconds,
        peak_mb,
        decode_ms: BATCHES.into_iter().map(decode).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_as_long_as_its_header_says() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("two.wav");
        record(&path, 2).expect("there is room");
        let sound = wav::read(&path);
        assert_eq!(
            (sound.sample_rate, sound.samples.len()),
            (16000, 2 * 60 * 16000)
        );
    }
}
