//! `sori eval`: how far results are from the truth.

mod load;
mod measure;
mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sori_timeline::score::{DiarizationOptions, TcpOptions};
use sori_timeline::{Transcript, read};

use measure::Measured;

const EXAMPLES: &str = "\
Examples:
  sori eval --ref truth.txt --hyp talk.json                      words: WER and CER
  sori eval --ref meeting.rttm --hyp meeting.json                speakers: DER and JER
  sori eval --ref meeting.rttm,meeting.stm --hyp meeting.json    both, and who said what: cpWER, tcpWER
  sori eval --ref 정답/ --hyp 결과/ --collar 0.5 --json          folders; files of one name belong together

Files: native and WhisperX JSON, SegLST JSON, STM, CTM, RTTM, text (by name and content). Every measure is taken that both
sides allow. Texts are compared without case and punctuation; CER without spaces.

--collar is the TOTAL width of what is not scored around each start and end of a reference turn, as in pyannote.metrics;
NIST's \"collar 0.25\" is --collar 0.5.

Exit status: 0 measured, 1 something could not be read or paired (the rest was measured), 2 wrong arguments.";

/// Score results against references: WER, CER, DER, JER, cpWER, tcpWER, word times
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct EvalCommand {
    /// Files or folders that hold the truth, separated by commas
    #[arg(long = "ref", value_name = "PATH", required = true, num_args = 1.., value_delimiter = ',')]
    reference: Vec<PathBuf>,
    /// Files or folders that hold the results, separated by commas
    #[arg(long = "hyp", value_name = "PATH", required = true, num_args = 1.., value_delimiter = ',')]
    hypothesis: Vec<PathBuf>,
    /// Seconds around each start and end of a reference turn that DER and JER leave out, both sides together
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    collar: f64,
    /// Leave out of DER and JER where the reference has more than one speaker
    #[arg(long)]
    skip_overlap: bool,
    /// Score DER and JER only in the stretches of this UEM file
    #[arg(long, value_name = "FILE")]
    uem: Option<PathBuf>,
    /// Seconds by which tcpWER lets a word lie beside its place
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    tcp_collar: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("use a number of seconds from 0 to 3600".into()),
    }
}

/// The stretches to score of each recording.
type Uem = BTreeMap<String, Vec<(f64, f64)>>;

/// Measures every pair; `false` when something was left out.
///
/// # Errors
/// When nothing could be measured.
pub fn run(command: &EvalCommand) -> Result<bool> {
    let mut complaints = Vec::new();
    let reference = load::recordings(&command.reference, &mut complaints);
    let hypothesis = load::recordings(&command.hypothesis, &mut complaints);
    let uem = command.uem.as_ref().map(|path| -> Result<Uem> {
        let bytes = load::bytes(path)?;
        read::uem(&bytes).with_context(|| path.display().to_string())
    });
    let uem = uem.transpose()?;
    let pairs = load::pairs(reference, hypothesis, &mut complaints);
    let mut results: Vec<(String, Measured)> = Vec::new();
    for (name, reference, hypothesis) in pairs {
        match pair(command, uem.as_ref(), &name, &reference, &hypothesis) {
            Ok(measured) => results.push((name, measured)),
            Err(error) => complaints.push(format!("{name}: {error:#}")),
        }
    }
    for complaint in &complaints {
        eprintln!("error: {complaint}");
    }
    if results.is_empty() {
        anyhow::bail!("nothing could be measured");
    }
    let printed = match command.json {
        true => table::json(command, &results),
        false => table::text(command, &results),
    };
    // A closed pipe (`| head`) is the reader's choice, not an error.
    let _ = std::io::stdout().write_all(printed.as_bytes());
    Ok(complaints.is_empty())
}

fn pair(
    command: &EvalCommand,
    uem: Option<&Uem>,
    name: &str,
    reference: &Transcript,
    hypothesis: &Transcript,
) -> Result<Measured> {
    let stretches = uem.map(|uem| {
        let only = (uem.len() == 1).then(|| uem.values().next()).flatten();
        let named = uem.get(&reference.recording).or_else(|| uem.get(name));
        named.or(only).context("the UEM names no stretch of it")
    });
    let options = measure::Options {
        diarization: DiarizationOptions {
            collar: command.collar,
            skip_overlap: command.skip_overlap,
            uem: stretches.transpose()?.cloned(),
        },
        tcp: TcpOptions {
            collar: command.tcp_collar,
        },
    };
    let measured = measure::measure(reference, hypothesis, &options)?;
    if measured.is_empty() {
        anyhow::bail!("the two files have nothing in common that can be measured");
    }
    Ok(measured)
}
