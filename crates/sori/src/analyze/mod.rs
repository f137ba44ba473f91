//! `sori analyze`: files in, the whole document out: who said what, when and how.

mod arguments;
mod load;
pub mod page;
mod speakers;
mod summary;

use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use sori_engine::{Heard, Models, SessionOptions, StageResult};
use sori_speech::acoustics;
use sori_speech::diarize::Mode;
use sori_timeline::export::{ExportOptions, Format};

pub use arguments::AnalyzeCommand;
pub use load::Ears;
pub use speakers::Speakers;

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
            speakers: Speakers::new(
                command,
                match command.no_names {
                    true => Vec::new(),
                    false => Voices::new(&command.voices).all()?,
                },
            )?,
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
        let session = session(command)?;
        let hearing = Hearing {
            audio: command.transcribe.audio(),
            session,
            progress: command.transcribe.progress,
            print: false,
            cancel,
        };
        Ok(each(&files, cancel, |file| {
            work.first(file, &hearing, &|| ears.add(loaded.models(), command))
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

/// The options of a session.
///
/// # Errors
/// When one of them has no meaning.
pub fn session(command: &AnalyzeCommand) -> Result<SessionOptions> {
    let mut session = command.transcribe.session()?;
    session.listen.mode = match command.exact {
        true => Mode::Exact,
        false => Mode::Fast,
    };
    session.features = features(command)?;
    session.keep_frames = command.frames;
    Ok(session)
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
    speakers: Speakers<'a>,
}

impl Work<'_> {
    /// Hears a file and writes its documents.
    fn first<'m>(
        &self,
        file: &str,
        hearing: &Hearing<'_>,
        models: &dyn Fn() -> Models<'m>,
    ) -> Result<Outcome> {
        let mut dumped = Ok(());
        let all = hearing.file(file, models, &mut |suffix, stage| {
            self.dump(file, suffix, stage, &mut dumped);
        })?;
        dumped?;
        let mut outcome = Outcome::Done;
        for (suffix, heard) in all {
            self.output
                .write(file, &format!("{suffix}{KEPT}"), |out| Ok(heard.save(out)?))?;
            if self.command.frames {
                self.output
                    .write(file, &format!("{suffix}.frames.npz"), |out| {
                        Ok(acoustics::npz(&heard.frames, out)?)
                    })?;
            }
            outcome = outcome.max(self.write(file, &suffix, &heard)?);
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
                let failed = || format!("{}: cannot be read", path.display());
                let input = BufReader::new(File::open(&path).with_context(failed)?);
                let heard = Heard::load(input).with_context(failed)?;
                if heard.embedder().is_none() {
                    bail!(
                        "{file} was heard without voices: analyze it again without --no-speakers"
                    );
                }
                let mut dumped = Ok(());
                heard.tell(&mut |stage| self.dump(file, &suffix, stage, &mut dumped));
                dumped?;
                outcome = outcome.max(Some(self.write(file, &suffix, &heard)?));
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
    fn write(&self, file: &str, suffix: &str, heard: &Heard) -> Result<Outcome> {
        if let Some(note) = self.speakers.note(heard) {
            eprintln!("note: {note}");
        }
        let mut dumped = Ok(());
        let document = self.speakers.document(heard, &mut |stage| {
            self.dump(file, suffix, stage, &mut dumped);
        })?;
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
            page: page::media((file, file), &page, heard)?,
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

    /// Writes the result of a stage, if that is asked for and none failed `before`.
    fn dump(&self, file: &str, suffix: &str, stage: StageResult<'_>, before: &mut Result<()>) {
        if before.is_err() || !self.command.dump_stage.contains(&stage.stage()) {
            return;
        }
        let ending = format!("{suffix}.{}.json", stage.stage().name());
        let written = self
            .output
            .write(file, &ending, |out| Ok(serde_json::to_writer(out, &stage)?));
        *before = written.map(drop);
    }
}
