//! One file on its way through sessions, with progress and Ctrl-C.

use std::io::{Write, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use sori_engine::{Event, Heard, Models, Session, SessionOptions, StageResult};
use sori_media::{AudioOptions, AudioReader};
use sori_timeline::SourceInfo;

use crate::progress::{Progress, Show};

/// What is done with every file.
pub struct Hearing<'a> {
    /// How it is read.
    pub audio: AudioOptions,
    /// How it is heard.
    pub session: SessionOptions,
    /// How progress is shown.
    pub progress: Show,
    /// Whether segments are printed as they are found.
    pub print: bool,
    /// What stops the work.
    pub cancel: &'a AtomicBool,
}

/// Follows the stages of a channel: its suffix in names of files, and the result.
pub type Hook<'a> = &'a mut dyn FnMut(&str, StageResult<'_>);

impl Hearing<'_> {
    /// Hears one file (`-` is standard input) with models made anew for every channel; returns what was heard of each, with
    /// the suffix of its files' names.
    ///
    /// # Errors
    /// When the file cannot be read, a network cannot be run, or the work was cancelled.
    pub fn file<'m>(
        &self,
        file: &str,
        models: &dyn Fn() -> Models<'m>,
        hook: Hook<'_>,
    ) -> Result<Vec<(String, Heard)>> {
        let mut reader = if file == "-" {
            AudioReader::stdin(&self.audio)
        } else {
            AudioReader::open(Path::new(file), &self.audio)
        }?;
        let started = Instant::now();
        let clock = || started.elapsed().as_secs_f64();
        let progress = Progress::new(self.progress, file, reader.info().duration);
        let stop = || match self.cancel.load(Ordering::SeqCst) {
            true => Err(anyhow!("interrupted")),
            false => Ok(()),
        };
        let mut sessions: Vec<Session> = Vec::new();
        while let Some(block) = reader.next_block()? {
            while sessions.len() < block.channels.len() {
                sessions.push(Session::new(models(), self.session.clone(), &clock)?);
            }
            let several = sessions.len() > 1;
            for (channel, (session, pcm)) in sessions.iter_mut().zip(&block.channels).enumerate() {
                session.push(pcm)?;
                self.report(session, several.then_some(channel), &progress);
                stop()?;
            }
        }
        let several = sessions.len() > 1;
        for (channel, session) in sessions.iter_mut().enumerate() {
            session.end()?;
            while session.work() {
                self.report(session, several.then_some(channel), &progress);
                stop()?;
            }
            self.report(session, several.then_some(channel), &progress);
        }
        progress.end();
        Ok(self.finish(file, &reader, sessions, hook))
    }

    /// Ends the sessions of a file, and says what the reader put up with.
    fn finish(
        &self,
        file: &str,
        reader: &AudioReader,
        sessions: Vec<Session>,
        hook: Hook<'_>,
    ) -> Vec<(String, Heard)> {
        let (source, warnings) = told(reader);
        for warning in &warnings {
            eprintln!("warning: {file}: {warning}");
        }
        let several = sessions.len() > 1;
        sessions
            .into_iter()
            .enumerate()
            .map(|(channel, session)| {
                let suffix = match several {
                    true => format!(".{}", channel + 1),
                    false => String::new(),
                };
                let heard = session.finish(Some(source.clone()), warnings.clone(), &mut |stage| {
                    hook(&suffix, stage)
                });
                (suffix, heard)
            })
            .collect()
    }

    /// Prints what a session has found out.
    fn report(&self, session: &mut Session, channel: Option<usize>, progress: &Progress) {
        while let Some(event) = session.poll() {
            match event {
                Event::Segment(segment) if self.print => progress.beside(|| {
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
                Event::Segment(_) | Event::Record(_) => {}
                Event::Done(seconds) => progress.reached(seconds),
            }
        }
    }
}

/// What a recording was, and what its reader put up with so far.
pub fn told(reader: &AudioReader) -> (SourceInfo, Vec<String>) {
    let info = reader.info();
    let source = SourceInfo {
        container: info.container.clone(),
        codec: info.codec.clone(),
        sample_rate: info.source_rate,
        channels: info.channels as u16,
    };
    let warnings = reader.warnings().iter().map(ToString::to_string);
    (source, warnings.collect())
}

/// Runs `work` in a pool of so many threads; of all cores if that is not given.
///
/// # Errors
/// Those of `work`, and when the number is out of range.
pub fn in_pool<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = threads {
        if !(1..=1024).contains(&threads) {
            bail!("--threads: give a number from 1 to 1024");
        }
        pool = pool.num_threads(threads);
    }
    pool.build()?.install(work)
}

/// The files that the arguments mean; a pattern that fits nothing is an error, a plain name is kept as it is.
///
/// # Errors
/// When a pattern is wrong or fits nothing.
pub fn expand(arguments: &[String]) -> Result<Vec<String>> {
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

/// `mm:ss.cc`, with hours when there are any.
pub fn stamp(seconds: f64) -> String {
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
