//! One job: from the recording to the files in its folder.

use std::fmt::Display;
use std::fs::File;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow};
use sori_engine::{Event, Heard, Session};
use sori_media::{AudioReader, Limits, MediaError, MediaErrorKind};
use sori_server::work::{
    Analyze, DOCUMENT, FailureKind, HEARD, JOURNAL, PAGE, Report, StageSeconds,
};
use sori_speech::profile::Profile;
use sori_timeline::Document;
use sori_timeline::export::{AudioSource, ExportOptions, Format};

use super::arguments;
use super::journal::{JournalFile, fingerprint};
use super::learn;
use super::shelf::Shelf;
use super::tell::{Teller, short};
use crate::analyze::{self, AnalyzeCommand, Speakers, page};
use crate::hear::told;
use crate::instructions;
use crate::output::Output;

/// Why a job failed, and whose fault that is.
pub struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: String) -> Self {
        Self { kind, message }
    }

    /// The report of it.
    pub fn report(self, job: String) -> Report {
        Report::Failed {
            job,
            kind: self.kind,
            message: short(self.message),
        }
    }
}

/// Makes a failure of this kind of any error.
pub(super) fn of<E: Display>(kind: FailureKind) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(kind, format!("{error:#}"))
}

/// A failure to read a recording: its own fault, but where the system refused.
fn unread(error: MediaError) -> Failure {
    match error.kind() {
        MediaErrorKind::Io => of(FailureKind::Internal)(error),
        _ => of(FailureKind::Input)(error),
    }
}

/// Does a job, telling of it until the flag says stop; gives back the report of its end.
///
/// # Errors
/// When it cannot be done, or was stopped.
pub fn run(
    order: &Analyze,
    limits: &Limits,
    shelf: &mut Shelf,
    (teller, cancel): (&mut Teller, &AtomicBool),
) -> Result<Report, Failure> {
    let (mut command, warning) =
        arguments::command(&order.options, shelf.root()).map_err(of(FailureKind::Options))?;
    let mut notes = Vec::new();
    let mut voices = voices(order, &mut notes);
    let output = Output::new(&order.folder).map_err(of(FailureKind::Internal))?;
    if !order.references.is_empty() && order.options.diarize {
        shelf
            .fetch_ears(&mut command)
            .map_err(of(FailureKind::Model))?;
        let known = learn::references(&order.references, shelf, (limits, cancel), &mut notes)?;
        voices.retain(|voice| known.iter().all(|other| other.name != voice.name));
        voices.extend(known);
    }
    let heard = match order.rerun {
        true => again(order, teller)?,
        false => {
            shelf.fetch(&mut command).map_err(of(FailureKind::Model))?;
            let hearing = Hearing {
                order,
                command: &command,
                limits,
                shelf,
                cancel,
            };
            let heard = hearing.hear(teller, warning)?;
            output
                .write(HEARD, ".sori", |out| Ok(heard.save(out)?))
                .map_err(of(FailureKind::Internal))?;
            heard
        }
    };
    stop(cancel)?;
    teller.stage("speakers", 96.0);
    let speakers = Speakers::new(&command, voices).map_err(of(FailureKind::Model))?;
    notes.extend(speakers.note(&heard));
    let document = speakers
        .document(&heard, &mut |_| {})
        .map_err(of(FailureKind::Options))?;
    stop(cancel)?;
    teller.stage("speakers", 98.0);
    write(order, &output, &heard, &document).map_err(of(FailureKind::Internal))?;
    teller.stage("speakers", 100.0);
    let metadata = document.metadata;
    let stages = metadata.stages.into_iter().map(|s| StageSeconds {
        stage: s.stage,
        seconds: s.seconds,
    });
    let failures = metadata.failures.iter();
    let failed = failures.map(|f| format!("{} failed: {}", f.stage, f.reason));
    Ok(Report::Done {
        job: order.job.clone(),
        partial: document.partial,
        duration: document.duration,
        stages: stages.collect(),
        warnings: metadata
            .warnings
            .iter()
            .cloned()
            .chain(failed)
            .chain(notes)
            .map(short)
            .collect(),
    })
}

/// The remembered voices of an order, if they are to be named; a note for each that is damaged.
fn voices(order: &Analyze, notes: &mut Vec<String>) -> Vec<Profile> {
    let given = match order.options.names {
        true => &order.profiles[..],
        false => &[],
    };
    let one = |value: &serde_json::Value| -> Result<Profile> {
        let profile: Profile = serde_json::from_value(value.clone())?;
        profile.validate()?;
        Ok(profile)
    };
    let mut voices = Vec::new();
    for value in given {
        match one(value) {
            Ok(profile) => voices.push(profile),
            Err(e) => notes.push(format!("a remembered voice is left out: {e}")),
        }
    }
    voices
}

/// What was heard before.
fn again(order: &Analyze, teller: &mut Teller) -> Result<Heard, Failure> {
    let path = order.folder.join(HEARD);
    let input = File::open(&path)
        .map_err(|e| anyhow!("{HEARD}: {e}: analyze the recording again"))
        .map_err(of(FailureKind::Input))?;
    let heard = Heard::load(BufReader::new(input)).map_err(of(FailureKind::Input))?;
    if heard.embedder().is_none() {
        let message = "it was heard without voices: analyze it again with diarize";
        return Err(Failure::new(FailureKind::Options, message.to_owned()));
    }
    teller.started(Some(heard.duration));
    Ok(heard)
}

/// Writes the document and its page.
fn write(order: &Analyze, output: &Output, heard: &Heard, document: &Document) -> Result<()> {
    let media = order.media.to_string_lossy();
    let name = order.name.as_deref().unwrap_or(&media);
    let mut page = page::media((&media, name), &order.folder.join(PAGE), heard)?;
    // A link would lead from the job's folder to a place that its reader cannot see.
    if matches!(page.audio, AudioSource::Linked { .. }) {
        page.audio = AudioSource::None;
    }
    let export = ExportOptions {
        page,
        ..ExportOptions::default()
    };
    for (name, format) in [(DOCUMENT, Format::Json), (PAGE, Format::Html)] {
        let ending = format!(".{}", format.extension());
        output.write(name, &ending, |out| {
            Ok(format.write(document, &export, out)?)
        })?;
    }
    Ok(())
}

/// Ends the work where it is to be stopped.
fn stop(cancel: &AtomicBool) -> Result<(), Failure> {
    match cancel.load(Ordering::SeqCst) {
        true => Err(Failure::new(FailureKind::Internal, "cancelled".to_owned())),
        false => Ok(()),
    }
}

/// A recording on its way through a session.
struct Hearing<'a> {
    order: &'a Analyze,
    command: &'a AnalyzeCommand,
    limits: &'a Limits,
    shelf: &'a Shelf,
    cancel: &'a AtomicBool,
}

impl Hearing<'_> {
    /// Hears the recording, with a journal in the job's folder.
    fn hear(&self, teller: &mut Teller, warning: Option<String>) -> Result<Heard, Failure> {
        let models = self
            .shelf
            .models(self.command)
            .ok_or_else(|| anyhow!("no models are loaded"))
            .map_err(of(FailureKind::Model))?;
        let options = analyze::session(self.command).map_err(of(FailureKind::Options))?;
        let transcribe = &options.transcribe;
        transcribe
            .validate(models.whisper.spec())
            .map_err(of(FailureKind::Options))?;
        let mut audio = self.command.transcribe.audio();
        audio.limits = self.limits.clone();
        let mut reader = AudioReader::open(&self.order.media, &audio).map_err(unread)?;
        teller.started(reader.info().duration);
        let isa = instructions().map_err(of(FailureKind::Options))?.name();
        let depends = format!(
            "{options:?} {:?} {:?} {isa}",
            audio.channels, models.versions
        );
        let fingerprint =
            fingerprint(&self.order.media, &depends).map_err(of(FailureKind::Internal))?;
        let started = Instant::now();
        let clock = || started.elapsed().as_secs_f64();
        let mut session =
            Session::new(models, options, &clock).map_err(of(FailureKind::Options))?;
        let path = self.order.folder.join(JOURNAL);
        let (mut journal, past) = JournalFile::open(&path, &fingerprint);
        session.remember(past);
        let mut heard = 0.0;
        while let Some(block) = reader.next_block().map_err(unread)? {
            let pcm = &block.channels[0];
            session.feed(pcm).map_err(of(FailureKind::Model))?;
            heard += pcm.len() as f64 / 16_000.0;
            loop {
                self.report(&mut session, (&mut *teller, &mut journal), heard)?;
                if !session.due() {
                    break;
                }
                session.work();
            }
        }
        teller.read(heard);
        session.end().map_err(of(FailureKind::Model))?;
        while session.work() {
            self.report(&mut session, (&mut *teller, &mut journal), heard)?;
        }
        self.report(&mut session, (&mut *teller, &mut journal), heard)?;
        teller.stage("acoustics", 95.0);
        let (source, mut warnings) = told(&reader);
        warnings.extend(warning);
        Ok(session.finish(Some(source), warnings, &mut |_| {}))
    }

    /// Tells what a session has found out, and keeps it; `heard` seconds are fed to it.
    fn report(
        &self,
        session: &mut Session,
        (teller, journal): (&mut Teller, &mut JournalFile),
        heard: f64,
    ) -> Result<(), Failure> {
        let mut done = None;
        while let Some(event) = session.poll() {
            match event {
                Event::Segment(segment) => teller.segment(segment),
                Event::Done(seconds) => done = Some(seconds),
                Event::Record(record) => journal.append(&record),
            }
        }
        teller.heard(heard, done);
        stop(self.cancel)
    }
}
