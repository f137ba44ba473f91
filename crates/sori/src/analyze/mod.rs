//! `sori analyze`: files in, the whole document out: who said what, when and how.

mod arguments;
mod load;
mod page;
mod summary;

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sori_engine::{DocumentOptions, Heard, Known, StageResult};
use sori_speech::acoustics;
use sori_speech::diarize::{ClusterOptions, Mode, Plda};
use sori_speech::profile::Profile;
use sori_timeline::export::{ExportOptions, Format};

pub use arguments::{AnalyzeCommand, ClusteringArgument};
use load::Ears;
pub use load::{Plan, voice_network};

use crate::hear::{Hearing, expand, in_pool};
use crate::outcome::Outcome;
use crate::output::{Output, distinct, name};
use crate::transcribe::load as load_transcribe;
use crate::voices::Voices;

/// Ending of the file that keeps what was heard.
const KEPT: &str = ".sori";

/// Runs `sori analyze`.
///
/// # Errors
/// When nothing could be started: wrong options, no model, no folder to write to.
pub fn run(command: &AnalyzeCommand, cancel: &AtomicBool) -> Result<Outcome> {
    let files = expand(&command.transcribe.files)?;
    distinct(&files)?;
    command.validate()?;
    let formats = formats(command)?;
    command.transcribe.cues().validate()?;
    let output = Output::new(&command.transcribe.output_dir)?;
    in_pool(command.transcribe.threads, || {
        let work = Work {
            command,
            formats,
            output,
            voices: match command.no_names {
                true => Vec::new(),
                false => Voices::new(&command.voices).all()?,
            },
            plda: load::plda(command)?,
        };
        if command.rerun.is_some() {
            return Ok(each(&files, cancel, |file| work.again(file)));
        }
        let loaded = load_transcribe(&command.transcribe)?;
        command
            .transcribe
            .options()?
            .validate(loaded.whisper.spec())?;
        let ears = Ears::load(command)?;
        let mut session = command.transcribe.session()?;
        session.listen.mode = match command.exact {
            true => Mode::Exact,
            false => Mode::Fast,
        };
        session.features = features(command)?;
        session.keep_frames = command.frames;
        let hearing = Hearing {
            audio: command.transcribe.audio(),
            session,
            progress: command.transcribe.progress,
            print: false,
            cancel,
        };
        Ok(each(&files, cancel, |file| {
            work.first(file, &hearing, &|| ears.add(loaded.models()), &ears.plan)
        }))
    })
}

/// Does `one` for each file and goes on after a failure.
fn each(files: &[String], cancel: &AtomicBool, one: impl Fn(&str) -> Result<Outcome>) -> Outcome {
    let mut outcome = Outcome::Done;
    for file in files {
        if cancel.load(Ordering::SeqCst) {
            break;
        }
        let came = one(file).unwrap_or_else(|e| {
            if !cancel.load(Ordering::SeqCst) {
                eprintln!("error: {e:#}");
            }
            Outcome::Failed
        });
        outcome = outcome.max(came);
    }
    outcome
}

/// The formats to write: the document and its page if nothing else was asked for.
fn formats(command: &AnalyzeCommand) -> Result<Vec<Format>> {
    match command.transcribe.format.is_empty() {
        true => Ok(vec![Format::Json, Format::Html]),
        false => command.transcribe.formats(),
    }
}

fn features(command: &AnalyzeCommand) -> Result<Option<acoustics::Features>> {
    if command.features == ["none"] {
        if command.frames {
            bail!("--frames writes what --features measures: leave --features none out");
        }
        return Ok(None);
    }
    Ok(Some(command.features.join(",").parse()?))
}

/// What is done with what was heard of a file.
struct Work<'a> {
    command: &'a AnalyzeCommand,
    formats: Vec<Format>,
    output: Output<'a>,
    voices: Vec<Profile>,
    plda: Option<Plda>,
}

impl Work<'_> {
    /// Hears a file and writes its documents.
    fn first<'m>(
        &self,
        file: &str,
        hearing: &Hearing<'_>,
        models: &dyn Fn() -> sori_engine::Models<'m>,
        plan: &Option<Plan>,
    ) -> Result<Outcome> {
        let mut dumped = Ok(());
        let all = hearing.file(file, models, &mut |suffix, stage| {
            if dumped.is_ok() {
                dumped = self.dump(file, suffix, stage);
            }
        })?;
        dumped?;
        let mut outcome = Outcome::Done;
        for (suffix, heard) in all {
            let kept = Kept {
                plan: plan.clone(),
                heard,
            };
            self.output
                .write(file, &format!("{suffix}{KEPT}"), |out| kept.save(out))?;
            if self.command.frames {
                self.output
                    .write(file, &format!("{suffix}.frames.npz"), |out| {
                        Ok(acoustics::npz(&kept.heard.frames, out)?)
                    })?;
            }
            outcome = outcome.max(self.write(file, &suffix, &kept)?);
        }
        Ok(outcome)
    }

    /// Makes the documents of a file anew from what was heard before.
    fn again(&self, file: &str) -> Result<Outcome> {
        let mut outcome = None;
        for channel in 0.. {
            let suffix = match channel {
                0 => String::new(),
                n => format!(".{n}"),
            };
            let path = self.output.path(file, &format!("{suffix}{KEPT}"));
            if path.exists() {
                let kept = Kept::load(&path)?;
                outcome = outcome.max(Some(self.write(file, &suffix, &kept)?));
                // A recording that was heard as one has no channels of its own beside it.
                if channel == 0 {
                    break;
                }
            } else if channel > 0 {
                break;
            }
        }
        outcome.with_context(|| {
            format!(
                "{} is not there: run `sori analyze {file}` first, with the same --output-dir",
                self.output.path(file, KEPT).display()
            )
        })
    }

    /// Makes a document and writes it in every format.
    fn write(&self, file: &str, suffix: &str, kept: &Kept) -> Result<Outcome> {
        let started = Instant::now();
        let profiles = self.voices_of(kept.plan.as_ref());
        let known = kept.plan.as_ref().map(|plan| Known {
            model: plan.embedder(),
            profiles: &profiles,
            calibration: plan.calibration(),
        });
        if kept.plan.is_none() && self.command.rerun.is_some() {
            bail!("{file} was heard without voices: analyze it again without --no-speakers");
        }
        let way = self.command.clustering;
        let method = kept
            .plan
            .as_ref()
            .map(|plan| plan.method(way, self.plda.as_ref()));
        let speakers = method.transpose()?.map(|method| ClusterOptions {
            speakers: self.command.speakers,
            min_speakers: self.command.min_speakers,
            max_speakers: self.command.max_speakers,
            ..ClusterOptions::new(method)
        });
        let options = DocumentOptions {
            speakers,
            known,
            clock: &|| started.elapsed().as_secs_f64(),
        };
        let mut dumped = Ok(());
        let document = kept.heard.document(&options, &mut |stage| {
            dumped = self.dump(file, suffix, stage);
        });
        dumped?;
        for failure in &document.metadata.failures {
            eprintln!(
                "warning: {file}: {} failed: {}",
                failure.stage, failure.reason
            );
        }
        let page = self.output.path(file, &format!("{suffix}.html"));
        let export = ExportOptions {
            recording: name(file, suffix),
            cues: self.command.transcribe.cues(),
            page: page::media(file, &page, &kept.heard)?,
        };
        for format in &self.formats {
            let ending = format!("{suffix}.{}", format.extension());
            self.output.write(file, &ending, |out| {
                Ok(format.write(&document, &export, out)?)
            })?;
        }
        summary::print(file, suffix, &document);
        Ok(match document.partial {
            true => Outcome::Partial,
            false => Outcome::Done,
        })
    }

    /// The remembered voices that can be compared with those of a recording.
    fn voices_of(&self, plan: Option<&Plan>) -> Vec<Profile> {
        let (fit, other): (Vec<Profile>, Vec<Profile>) = self
            .voices
            .iter()
            .cloned()
            .partition(|v| plan.is_some_and(|plan| v.model == *plan.embedder()));
        if plan.is_some() && !other.is_empty() {
            let names: Vec<_> = other.iter().map(|v| v.name.as_str()).collect();
            eprintln!(
                "note: {} cannot be recognised, for another network heard them: enroll them again",
                names.join(", ")
            );
        }
        fit
    }

    fn dump(&self, file: &str, suffix: &str, stage: StageResult<'_>) -> Result<()> {
        if !self.command.dump_stage.contains(&stage.stage()) {
            return Ok(());
        }
        let ending = format!("{suffix}.{}.json", stage.stage().name());
        self.output
            .write(file, &ending, |out| Ok(serde_json::to_writer(out, &stage)?))?;
        Ok(())
    }
}

/// What was heard of a recording, and by which networks.
struct Kept {
    plan: Option<Plan>,
    heard: Heard,
}

impl Kept {
    fn save(&self, out: &mut dyn Write) -> Result<()> {
        let plan = serde_json::to_vec(&self.plan)?;
        out.write_all(&(plan.len() as u32).to_le_bytes())?;
        out.write_all(&plan)?;
        Ok(self.heard.save(out)?)
    }

    fn load(path: &Path) -> Result<Self> {
        let damaged = || format!("{}: cannot be read", path.display());
        let mut input = BufReader::new(File::open(path).with_context(damaged)?);
        let mut length = [0; 4];
        input.read_exact(&mut length).with_context(damaged)?;
        let mut plan = Vec::new();
        input
            .by_ref()
            .take(u64::from(u32::from_le_bytes(length)).min(1 << 20))
            .read_to_end(&mut plan)
            .with_context(damaged)?;
        let plan = serde_json::from_slice(&plan).with_context(damaged)?;
        let heard = Heard::load(input).with_context(damaged)?;
        Ok(Self { plan, heard })
    }
}
