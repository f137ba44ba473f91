//! Voices that are learned: one to remember, and those of samples that come with a recording.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Error, anyhow};
use sori_media::{AudioOptions, Limits, MediaError, MediaErrorKind};
use sori_server::JobOptions;
use sori_server::work::{Enroll, FailureKind, PROFILE, Reference, Report};
use sori_speech::diarize::DiarizeError;
use sori_speech::profile::{Gates, Profile};

use super::arguments;
use super::job::{Failure, of};
use super::shelf::Shelf;
use super::tell::{Teller, short};
use crate::enroll::{Listened, listen, remember};
use crate::networks::VoiceNetworks;
use crate::output::Output;

/// Least net speech in a sample, in seconds: OpenAI takes samples of 2 to 10 s (API reference, `known_speaker_references`), and
/// there are pauses in them.
const SAMPLE_SECONDS: f64 = 1.0;

/// Learns the voice of an order and writes it; gives back the report of its end.
///
/// # Errors
/// When a recording cannot be read or is not good enough, or the work was stopped.
pub fn enroll(
    order: &Enroll,
    limits: &Limits,
    shelf: &mut Shelf,
    (teller, cancel): (&mut Teller, &AtomicBool),
) -> Result<Report, Failure> {
    let options = JobOptions::default();
    let (mut command, _) =
        arguments::command(&options, shelf.root()).map_err(of(FailureKind::Options))?;
    shelf
        .fetch_ears(&mut command)
        .map_err(of(FailureKind::Model))?;
    let networks = networks(shelf)?;
    teller.started(None);
    let (mut clips, mut duration) = (Vec::new(), 0.0);
    for (n, path) in order.media.iter().enumerate() {
        let heard = hear(path, networks, (limits, cancel));
        let heard = heard.with_context(|| format!("recording {}", n + 1));
        let Listened { clip, seconds } = heard.map_err(blame)?;
        clips.push(clip);
        duration += seconds;
        teller.stage("enroll", 95.0 * (n + 1) as f64 / order.media.len() as f64);
    }
    let profile = remember(&order.name, &clips, networks, Gates::default());
    let profile = profile.map_err(of(FailureKind::Input))?;
    let output = Output::new(&order.folder).map_err(of(FailureKind::Internal))?;
    output
        .write(PROFILE, ".json", |out| {
            Ok(serde_json::to_writer(out, &profile)?)
        })
        .map_err(of(FailureKind::Internal))?;
    Ok(Report::Done {
        job: order.job.clone(),
        partial: false,
        duration,
        stages: Vec::new(),
        warnings: Vec::new(),
    })
}

/// Learns the voices of samples; a note for each that is short.
///
/// # Errors
/// As [`enroll`], naming the sample by its place, from 1.
pub fn references(
    samples: &[Reference],
    shelf: &Shelf,
    (limits, cancel): (&Limits, &AtomicBool),
    notes: &mut Vec<String>,
) -> Result<Vec<Profile>, Failure> {
    let networks = networks(shelf)?;
    let usual = Gates::default();
    let gates = Gates {
        speech_seconds: SAMPLE_SECONDS,
        clip_seconds: SAMPLE_SECONDS,
        ..usual
    };
    let mut voices = Vec::new();
    for (n, Reference { name, media }) in samples.iter().enumerate() {
        let heard = hear(media, networks, (limits, cancel));
        let voice = heard.and_then(|heard| remember(name, &[heard.clip], networks, gates));
        let voice = voice.with_context(|| format!("sample {}", n + 1));
        let voice = voice.map_err(blame)?;
        if voice.seconds < usual.speech_seconds {
            notes.push(short(format!(
                "sample {} has {:.1} s of speech: with {:.0} s the voice is known more surely",
                n + 1,
                voice.seconds,
                usual.speech_seconds
            )));
        }
        voices.push(voice);
    }
    Ok(voices)
}

fn networks(shelf: &Shelf) -> Result<&VoiceNetworks, Failure> {
    let networks = shelf
        .voices()
        .ok_or_else(|| anyhow!("no models are loaded"));
    networks.map_err(of(FailureKind::Model))
}

fn hear(
    path: &Path,
    networks: &VoiceNetworks,
    (limits, cancel): (&Limits, &AtomicBool),
) -> anyhow::Result<Listened> {
    let audio = AudioOptions {
        limits: limits.clone(),
        ..AudioOptions::default()
    };
    listen(path, &audio, networks, cancel)
}

/// Whose fault it is that a voice was not learned: the recording's, but where the system or a network refused.
fn blame(error: Error) -> Failure {
    let media = error.downcast_ref::<MediaError>().map(MediaError::kind);
    let kind = match media {
        Some(MediaErrorKind::Io) => FailureKind::Internal,
        None if error.downcast_ref::<DiarizeError>().is_some() => FailureKind::Model,
        _ => FailureKind::Input,
    };
    of(kind)(error)
}
