//! `sori transcribe`: files in, words with times out.

mod arguments;
mod load;

use std::io::{Write, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use sori_engine::DocumentOptions;
use sori_timeline::export::ExportOptions;

pub use arguments::TranscribeCommand;
pub use load::{Loaded, installed, load};

use crate::hear::{Hearing, expand, in_pool};
use crate::outcome::Outcome;
use crate::output::{Output, distinct, name};

/// Runs `sori transcribe`.
///
/// # Errors
/// When nothing could be started: wrong options, no model, no folder to write to.
pub fn run(command: &TranscribeCommand, cancel: &AtomicBool) -> Result<Outcome> {
    let formats = command.formats()?;
    let files = expand(&command.files)?;
    let cues = command.cues();
    cues.validate()?;
    let output = (!formats.is_empty())
        .then(|| Output::new(&command.output_dir))
        .transpose()?;
    if output.is_some() {
        distinct(&files)?;
    }
    in_pool(command.threads, || {
        let loaded = load(command)?;
        command.options()?.validate(loaded.whisper.spec())?;
        let hearing = Hearing {
            audio: command.audio(),
            session: command.session()?,
            progress: command.progress,
            print: formats.is_empty(),
            cancel,
        };
        let mut outcome = Outcome::Done;
        for file in &files {
            if cancel.load(Ordering::SeqCst) {
                break;
            }
            if files.len() > 1 && formats.is_empty() {
                let _ = writeln!(stdout(), "{file}");
            }
            let options = DocumentOptions {
                speakers: None,
                known: None,
                clock: &|| 0.0,
            };
            let one = || -> Result<()> {
                for (suffix, heard) in hearing.file(file, &|| loaded.models(), &mut |_, _| {})? {
                    let document = heard.document(&options, &mut |_| {});
                    let export = ExportOptions {
                        recording: name(file, &suffix),
                        cues: cues.clone(),
                        ..ExportOptions::default()
                    };
                    if hearing.print && document.segments.is_empty() {
                        eprintln!("{file}: no speech was found in {:.1} s", document.duration);
                    }
                    for (format, output) in formats.iter().flat_map(|f| Some((f, output.as_ref()?)))
                    {
                        let ending = format!("{suffix}.{}", format.extension());
                        output.write(file, &ending, |out| {
                            Ok(format.write(&document, &export, out)?)
                        })?;
                    }
                }
                Ok(())
            };
            if let Err(e) = one() {
                if !cancel.load(Ordering::SeqCst) {
                    eprintln!("error: {e:#}");
                }
                outcome = Outcome::Failed;
            }
        }
        Ok(outcome)
    })
}
