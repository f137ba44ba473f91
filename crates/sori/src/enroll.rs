//! `sori enroll`: remember a voice by name.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::diarize::{ClusterOptions, ListenOptions, Listener, Method, cluster};
use sori_speech::profile::{Calibration, Clip, Enrolment, Gates, Profile, Quality, enroll};

use crate::hear::{expand, in_pool};
use crate::networks::{ModelsFolder, NetworkArguments, VoiceNetworks};
use crate::voices::{Voices, VoicesFolder};

/// The longest recording that is taken, in seconds; a voice needs far less.
const MAX_SECONDS: usize = 1800;
/// Share of the talk that a second voice may have before a recording counts as a conversation.
const STRANGER: f64 = 0.1;

const EXAMPLES: &str = "\
Examples:
  sori enroll Mina mina-1.wav mina-2.m4a            remember Mina's voice
  sori enroll 김민아 인터뷰.wav                      any name
  sori voices list                                  who is remembered
  sori voices delete Mina                           forget her

One person, 8 seconds of clear speech or more in all; several short recordings are better than one.";

/// The arguments of `sori enroll`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct EnrollCommand {
    /// The name that documents will show
    name: String,
    /// Recordings in which this person alone speaks
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Replace what is remembered under that name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    networks: NetworkArguments,
    /// Threads to compute with; all cores if not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    models: ModelsFolder,
    #[command(flatten)]
    voices: VoicesFolder,
}

/// Runs `sori enroll`.
///
/// # Errors
/// When a recording cannot be read or is not good enough, or the voice cannot be written.
pub fn run(command: &EnrollCommand, cancel: &AtomicBool) -> Result<()> {
    let voices = Voices::new(&command.voices);
    if voices.contains(&command.name) && !command.replace {
        bail!(
            "{0} is remembered already: add --replace, or enroll under another name and `sori voices merge` it into {0}",
            command.name
        );
    }
    let files = expand(&command.files)?;
    in_pool(command.threads, || {
        let networks = command.networks.load(&command.models.root())?;
        let mut clips = Vec::new();
        for file in &files {
            let heard = listen(Path::new(file), &AudioOptions::default(), &networks, cancel);
            clips.push(heard.with_context(|| file.clone())?.clip);
        }
        let profile = remember(&command.name, &clips, &networks, Gates::default())?;
        voices.put(&profile)?;
        println!(
            "{} is remembered: {:.0} s of speech in {} recordings",
            profile.name, profile.seconds, profile.clips
        );
        Ok(())
    })
}

/// The voice of a person's recordings.
///
/// # Errors
/// When they are not good enough: why, and what to do.
pub fn remember(
    name: &str,
    clips: &[Clip],
    networks: &VoiceNetworks,
    gates: Gates,
) -> Result<Profile> {
    let enrolment = Enrolment {
        model: networks.embedder().clone(),
        gates,
        calibration: Calibration::of(networks.embedder().known()),
    };
    enroll(name, clips, &enrolment).map_err(|refusals| {
        let reasons: Vec<_> = refusals.iter().map(|r| format!("\n  {r}")).collect();
        anyhow::anyhow!("{name} is not enrolled:{}", reasons.concat())
    })
}

/// A recording of one person.
pub struct Listened {
    /// What it says of the voice.
    pub clip: Clip,
    /// Its length in seconds.
    pub seconds: f64,
}

/// What a recording says of the one voice in it.
///
/// # Errors
/// When it cannot be read, is too long, nobody or more than one person speaks in it, or the flag says stop.
pub fn listen(
    path: &Path,
    audio: &AudioOptions,
    networks: &VoiceNetworks,
    cancel: &AtomicBool,
) -> Result<Listened> {
    let mut reader = AudioReader::open(path, audio)?;
    let mut listener = Listener::new(networks.networks(), ListenOptions::default())?;
    let mut pcm: Vec<f32> = Vec::new();
    while let Some(block) = reader.next_block()? {
        if cancel.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        listener.push(&block.channels[0]);
        pcm.extend(&block.channels[0]);
        if pcm.len() > MAX_SECONDS * 16_000 {
            bail!("it is longer than half an hour: cut out a minute of clear speech");
        }
    }
    let found = cluster(
        &listener.finish(),
        &ClusterOptions::new(Method::suited(&networks.embedder().name)),
    )?;
    let mut seconds = vec![0.0; found.centroids.len()];
    for turn in &found.exclusive {
        seconds[turn.speaker] += turn.end - turn.start;
    }
    let all: f64 = seconds.iter().sum();
    let Some(main) = (0..seconds.len()).max_by(|&a, &b| seconds[a].total_cmp(&seconds[b])) else {
        bail!("nobody speaks in it");
    };
    if all - seconds[main] > STRANGER * all {
        bail!(
            "{} people speak in it: cut out the parts in which only one of them does",
            seconds.iter().filter(|&&s| s > 0.0).count()
        );
    }
    let speech: Vec<_> = found
        .exclusive
        .iter()
        .filter(|t| t.speaker == main)
        .map(|t| {
            let at = |seconds: f64| ((seconds * 16_000.0) as usize).min(pcm.len());
            at(t.start)..at(t.end)
        })
        .collect();
    let together: f64 = found.turns.iter().map(|t| t.end - t.start).sum::<f64>() - all;
    let overlap = (together / all.max(1e-9)) as f32;
    Ok(Listened {
        clip: Clip {
            embedding: found.centroids[main].clone(),
            quality: Quality::measure(&pcm, &speech, overlap),
        },
        seconds: pcm.len() as f64 / 16_000.0,
    })
}
