//! `sori transcribe`: files in, words with times out.

mod arguments;
mod load;

use std::io::{IsTerminal, Write, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use sori_engine::{Event, Session};
use sori_media::AudioReader;
use sori_timeline::export::{CueOptions, ExportOptions, Format};
use sori_timeline::{Document, SourceInfo};

pub use arguments::TranscribeCommand;
use load::{Loaded, load};

use crate::progress::Progress;

/// Runs `sori transcribe`; returns whether every file was done.
///
/// # Errors
/// When nothing could be started: wrong options, no model, no folder to write to.
pub fn run(command: &TranscribeCommand, cancel: &AtomicBool) -> Result<bool> {
    let formats = command.formats()?;
    let files = expand(&command.files)?;
    let cues = command.cues();
    cues.validate()?;
    if !formats.is_empty() {
        std::fs::create_dir_all(&command.output_dir)
            .with_context(|| format!("cannot make the folder {}", command.output_dir.display()))?;
    }
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = command.threads {
        if !(1..=1024).contains(&threads) {
            bail!("--threads: give a number from 1 to 1024");
        }
        pool = pool.num_threads(threads);
    }
    pool.build()?.install(|| {
        let loaded = load(command)?;
        command.options()?.validate(loaded.whisper.spec())?;
        let mut all = true;
        for file in &files {
            if cancel.load(Ordering::SeqCst) {
                break;
            }
            if files.len() > 1 && formats.is_empty() {
                let _ = writeln!(stdout(), "{file}");
            }
            let done = one(command, file, &loaded, cancel).and_then(|documents| {
                documents.iter().try_for_each(|(suffix, document)| {
                    formats.iter().try_for_each(|format| {
                        write(command, file, suffix, *format, document, &cues)
                    })
                })
            });
            if let Err(e) = done {
                if !cancel.load(Ordering::SeqCst) {
                    eprintln!("error: {e:#}");
                }
                all = false;
            }
        }
        Ok(all)
    })
}

/// The files that the arguments mean; a pattern that fits nothing is an error, a plain name is kept as it is.
fn expand(arguments: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for argument in arguments {
        if !argument.contains(['*', '?']) || Path::new(argument).exists() {
            files.push(argument.clone());
            continue;
        }
        let found = glob::glob(argument).with_context(|| format!("{argument}: not a pattern"))?;
        let before = files.len();
        files.extend(
            found
                .filter_map(|p| p.ok())
                .filter(|p| p.is_file())
                .map(|p| p.to_string_lossy().into_owned()),
        );
        if files.len() == before {
            bail!("{argument}: no file fits this pattern");
        }
    }
    Ok(files)
}

/// Transcribes one file; returns a document for each channel heard, with the suffix of its files' names.
fn one(
    command: &TranscribeCommand,
    file: &str,
    loaded: &Loaded,
    cancel: &AtomicBool,
) -> Result<Vec<(String, Document)>> {
    let options = command.audio();
    let mut reader = if file == "-" {
        AudioReader::stdin(&options)
    } else {
        AudioReader::open(Path::new(file), &options)
    }?;
    let started = Instant::now();
    let clock = || started.elapsed().as_secs_f64();
    let progress = Progress::new(command.progress, file, reader.info().duration);
    let print = command.format.is_empty();
    let stop = || match cancel.load(Ordering::SeqCst) {
        true => Err(anyhow!("interrupted")),
        false => Ok(()),
    };
    let mut sessions: Vec<Session> = Vec::new();
    while let Some(block) = reader.next_block()? {
        while sessions.len() < block.channels.len() {
            sessions.push(Session::new(loaded.models(), command.session()?, &clock)?);
        }
        let several = sessions.len() > 1;
        for (channel, (session, pcm)) in sessions.iter_mut().zip(&block.channels).enumerate() {
            session.push(pcm)?;
            report(session, print, several.then_some(channel), &progress);
            stop()?;
        }
    }
    let several = sessions.len() > 1;
    for (channel, session) in sessions.iter_mut().enumerate() {
        session.end()?;
        while session.work() {
            report(session, print, several.then_some(channel), &progress);
            stop()?;
        }
        report(session, print, several.then_some(channel), &progress);
    }
    progress.end();
    documents(file, &reader, sessions, print)
}

/// Ends the sessions of a file; returns their documents, and says what the reader put up with.
fn documents(
    file: &str,
    reader: &AudioReader,
    sessions: Vec<Session>,
    print: bool,
) -> Result<Vec<(String, Document)>> {
    let warnings: Vec<String> = reader.warnings().iter().map(ToString::to_string).collect();
    for warning in &warnings {
        eprintln!("warning: {file}: {warning}");
    }
    let info = reader.info();
    let source = SourceInfo {
        container: info.container.clone(),
        codec: info.codec.clone(),
        sample_rate: info.source_rate,
        channels: info.channels as u16,
    };
    let several = sessions.len() > 1;
    let mut documents = Vec::new();
    for (channel, session) in sessions.into_iter().enumerate() {
        let document = session.finish(Some(source.clone()), warnings.clone())?;
        if print && document.segments.is_empty() {
            eprintln!("{file}: no speech was found in {:.1} s", document.duration);
        }
        let suffix = match several {
            true => format!(".{}", channel + 1),
            false => String::new(),
        };
        documents.push((suffix, document));
    }
    Ok(documents)
}

/// Prints what a session has found out.
fn report(session: &mut Session, print: bool, channel: Option<usize>, progress: &Progress) {
    while let Some(event) = session.poll() {
        match event {
            Event::Segment(segment) if print => progress.beside(|| {
                let who = channel.map_or_else(String::new, |c| format!(" [{}]", c + 1));
                let line = format!(
                    "[{} → {}]{who} {}",
                    stamp(segment.start),
                    stamp(segment.end),
                    segment.text
                );
                // A closed pipe (`| head`) is the reader's choice, not an error.
                let _ = writeln!(stdout(), "{line}");
            }),
            Event::Segment(_) => {}
            Event::Done(seconds) => progress.reached(seconds),
        }
    }
}

/// `mm:ss.cc`, with hours when there are any.
fn stamp(seconds: f64) -> String {
    let hundredths = (seconds * 100.0).round() as u64;
    let (h, m, s, c) = (
        hundredths / 360_000,
        hundredths / 6000 % 60,
        hundredths / 100 % 60,
        hundredths % 100,
    );
    if h > 0 {
        format!("{h}:{m:02}:{s:02}.{c:02}")
    } else {
        format!("{m:02}:{s:02}.{c:02}")
    }
}

/// Writes one format beside the others, whole or not at all.
fn write(
    command: &TranscribeCommand,
    file: &str,
    suffix: &str,
    format: Format,
    document: &Document,
    cues: &CueOptions,
) -> Result<()> {
    let stem = if file == "-" {
        "stdin".into()
    } else {
        Path::new(file)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
    };
    let options = ExportOptions {
        recording: format!("{stem}{suffix}"),
        cues: cues.clone(),
        ..ExportOptions::default()
    };
    let path = command
        .output_dir
        .join(format!("{stem}{suffix}.{}", format.extension()));
    let failed = || format!("cannot write {}", path.display());
    let mut half = tempfile::Builder::new()
        .prefix(".sori-")
        .tempfile_in(&command.output_dir)
        .with_context(failed)?;
    {
        let mut out = std::io::BufWriter::new(half.as_file_mut());
        format
            .write(document, &options, &mut out)
            .with_context(failed)?;
        out.flush().with_context(failed)?;
    }
    half.persist(&path).with_context(failed)?;
    if stdout().is_terminal() {
        println!("{}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_with_hours_only_when_there_are_some() {
        for (seconds, text) in [
            (0.0, "00:00.00"),
            (61.239, "01:01.24"),
            (59.999, "01:00.00"),
            (36_000.5, "10:00:00.50"),
        ] {
            assert_eq!(stamp(seconds), text);
        }
    }
}
