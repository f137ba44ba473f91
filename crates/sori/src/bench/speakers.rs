//! `sori bench speakers`: how well and how fast speakers are told apart, on conversations mixed from single utterances.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sori_infer::catalogue::ModelKind;
use sori_infer::runtime::OnnxModel;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::diarize::{
    Chunks, ClusterOptions, ListenOptions, Listener, Method, Mode, Turn as Voice, cluster,
};
use sori_speech::vad::{Segmenter, Vad, VadModel, VadOptions};
use sori_testing::conversation::{Conversation, Shape, Utterance, converse};
use sori_timeline::Turn;
use sori_timeline::score::{Der, DiarizationOptions, der};

use super::peak_mb;
use crate::hear::in_pool;
use crate::networks::{ModelsFolder, NetworkArguments, VoiceNetworks};
use crate::transcribe::installed;

/// Samples of the blocks in which sound is pushed.
pub(super) const BLOCK: usize = 16_000;
/// Samples of silence after an utterance, longer than the shortest pause.
const AFTER: usize = 8_000;
/// Seconds from which a turn ends at the next pause.
const TURN: f64 = 6.0;

#[derive(Args)]
pub(super) struct SpeakerArguments {
    /// A folder of utterances, named SPEAKER-….flac or .wav
    #[arg(
        long,
        default_value = "../shared/media/speakers",
        value_name = "FOLDER"
    )]
    voices: PathBuf,
    /// Conversations of each number of speakers
    #[arg(long, default_value_t = 10)]
    conversations: u64,
    /// Numbers of speakers
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4])]
    speakers: Vec<usize>,
    /// Minutes of the recording whose speed and memory are measured
    #[arg(long, default_value_t = 10)]
    minutes: usize,
    #[command(flatten)]
    networks: NetworkArguments,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(flatten)]
    models: ModelsFolder,
    /// One line of JSON for each row instead of a table
    #[arg(long)]
    json: bool,
}

/// One row: a mode, a number of speakers.
#[derive(Default, Serialize)]
struct Row {
    mode: String,
    speakers: usize,
    /// Whether the number of speakers was told.
    told: bool,
    /// Diarization error rate in percent, no collar, overlap scored.
    der: f64,
    miss: f64,
    false_alarm: f64,
    confusion: f64,
    /// Percentage of conversations in which the number of speakers is right.
    count_right: f64,
}

/// Measures each mode on each number of speakers, then speed and memory.
pub(super) fn run(arguments: &SpeakerArguments, cancel: &AtomicBool) -> Result<()> {
    in_pool(Some(arguments.threads), || {
        let root = arguments.models.root();
        let networks = arguments.networks.load(&root)?;
        let voices = voices(&arguments.voices, &root)?;
        if !arguments.json {
            println!(
                "{}; {} threads; {} voices; {} conversations each\n",
                networks.names(),
                arguments.threads,
                voices.len(),
                arguments.conversations
            );
            println!(
                "| mode | speakers | told | DER % | missed | false alarm | confused | count right % |"
            );
            println!("|---|---|---|---|---|---|---|---|");
        }
        for mode in [Mode::Exact, Mode::Fast] {
            for &speakers in &arguments.speakers {
                if cancel.load(Ordering::SeqCst) {
                    return Ok(());
                }
                if !(2..=voices.len()).contains(&speakers) {
                    bail!("--speakers: give numbers from 2 to {}", voices.len());
                }
                for row in quality(arguments, &networks, mode, &voices, speakers)? {
                    print(&row, arguments.json)?;
                }
            }
        }
        speed(arguments, &networks, &voices)
    })
}

fn print(row: &Row, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(row)?);
        return Ok(());
    }
    println!(
        "| {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} |",
        row.mode,
        row.speakers,
        if row.told { "yes" } else { "no" },
        row.der,
        row.miss,
        row.false_alarm,
        row.confusion,
        row.count_right
    );
    Ok(())
}

/// Utterances by speaker; `root` is where models are kept.
pub(super) fn voices(folder: &Path, root: &Path) -> Result<Vec<Vec<Utterance>>> {
    let Some((vad, _)) = installed(root, ModelKind::Vad, "auto", None)? else {
        bail!("the truth comes from Silero's detector: sori models pull silero-vad");
    };
    let vad = VadModel::Silero(OnnxModel::load(&vad, 1)?);
    let failed = || {
        format!(
            "cannot read {}: give a folder of utterances with --voices",
            folder.display()
        )
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(failed)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    let mut voices: BTreeMap<String, Vec<Utterance>> = BTreeMap::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let Some((speaker, _)) = name.split_once('-') else {
            continue;
        };
        let mut reader = AudioReader::open(&path, &AudioOptions::default())?;
        let mut pcm = Vec::new();
        while let Some(block) = reader.next_block()? {
            pcm.extend(&block.channels[0]);
        }
        let speech = speech(&pcm, &vad)?;
        voices
            .entry(speaker.to_owned())
            .or_default()
            .extend(Utterance { pcm, speech }.parts(TURN));
    }
    voices.retain(|_, utterances| !utterances.is_empty());
    if voices.len() < 2 {
        bail!(
            "{} has utterances of less than two speakers",
            folder.display()
        );
    }
    Ok(voices.into_values().collect())
}

/// Where Silero's detector finds speech in an utterance, in samples: the truth about who speaks when. As in the references of
/// `shared/media/diar`: spans as they are, pauses under 0.3 s closed.
fn speech(pcm: &[f32], vad: &VadModel) -> Result<Vec<Range<usize>>> {
    let mut vad = Vad::new(vad.clone());
    let (mut chances, mut spans) = (Vec::new(), Vec::new());
    vad.push(pcm, &mut chances)?;
    // So that what ends the utterance is a pause too: a shorter one would be speech up to the end of the file.
    vad.push(&[0.0; AFTER], &mut chances)?;
    vad.finish(&mut chances)?;
    let seconds = (pcm.len() + AFTER) as f64 / 16_000.0;
    let mut segmenter = Segmenter::new(
        &VadOptions {
            speech_pad_ms: 0,
            ..VadOptions::default()
        },
        vad.frame_seconds(),
        seconds + 1.0,
    )?;
    for chance in chances {
        segmenter.push(chance, &mut spans);
    }
    segmenter.finish(seconds, &mut spans);
    let at = |seconds: f64| ((seconds * 16_000.0) as usize).min(pcm.len());
    let spans = spans.iter().map(|s| at(s.start)..at(s.end));
    Ok(spans.filter(|span| !span.is_empty()).collect())
}

/// The conversation with this seed: other speakers come first each time.
pub(super) fn conversation(
    voices: &[Vec<Utterance>],
    speakers: usize,
    turns: usize,
    seed: u64,
) -> Conversation {
    let mut order = voices.to_vec();
    // Rotations and strides give different companies.
    order.rotate_left(seed as usize % voices.len());
    if seed as usize / voices.len() % 2 == 1 {
        order[1..].reverse();
    }
    let shape = Shape {
        turns,
        ..Shape::new(speakers, seed)
    };
    converse(&order, shape)
}

/// Listens to the first `samples` of some sound.
fn listen<'a>(
    networks: &VoiceNetworks,
    mode: Mode,
    sound: impl Iterator<Item = &'a [f32]>,
    samples: usize,
) -> Result<Chunks> {
    let options = ListenOptions {
        mode,
        ..ListenOptions::default()
    };
    let mut listener = Listener::new(networks.networks(), options)?;
    let mut left = samples;
    for block in sound {
        let block = &block[..block.len().min(left)];
        left -= block.len();
        listener.push(block);
        if left == 0 {
            break;
        }
    }
    Ok(listener.finish())
}

/// Errors over all conversations of so many speakers, with their number told and not.
fn quality(
    arguments: &SpeakerArguments,
    networks: &VoiceNetworks,
    mode: Mode,
    voices: &[Vec<Utterance>],
    speakers: usize,
) -> Result<[Row; 2]> {
    let mut sums = [Der::default(), Der::default()];
    let mut right = [0; 2];
    for seed in 0..arguments.conversations {
        let talk = conversation(voices, speakers, 4 + 4 * speakers, seed);
        let chunks = listen(networks, mode, talk.pcm.chunks(BLOCK), talk.pcm.len())?;
        for (told, (sum, right)) in sums.iter_mut().zip(&mut right).enumerate() {
            let options = ClusterOptions {
                speakers: (told == 1).then_some(speakers),
                ..ClusterOptions::new(Method::suited(&networks.embedder().name))
            };
            let found = cluster(&chunks, &options)?;
            let reference: Vec<Turn> = talk
                .speech
                .iter()
                .map(|s| turn(s.start, s.end, s.speaker))
                .collect();
            let heard: Vec<Turn> = found
                .turns
                .iter()
                .map(|t: &Voice| turn(t.start, t.end, t.speaker))
                .collect();
            *sum += der(&reference, &heard, &DiarizationOptions::default())?;
            let mut who: Vec<usize> = found.turns.iter().map(|t| t.speaker).collect();
            who.sort_unstable();
            who.dedup();
            *right += usize::from(who.len() == speakers);
        }
    }
    let row = |told: usize| {
        let sum = &sums[told];
        let percent = |seconds: f64| 100.0 * seconds / sum.total;
        Row {
            mode: format!("{mode:?}").to_lowercase(),
            speakers,
            told: told == 1,
            der: 100.0 * sum.rate(),
            miss: percent(sum.missed),
            false_alarm: percent(sum.false_alarm),
            confusion: percent(sum.confusion),
            count_right: 100.0 * right[told] as f64 / arguments.conversations.max(1) as f64,
        }
    };
    Ok([row(0), row(1)])
}

fn turn(start: f64, end: f64, speaker: usize) -> Turn {
    Turn {
        start,
        end,
        speaker: speaker.to_string(),
    }
}

/// Speed of both modes on one long conversation, and the most memory so far.
fn speed(
    arguments: &SpeakerArguments,
    networks: &VoiceNetworks,
    voices: &[Vec<Utterance>],
) -> Result<()> {
    let samples = arguments.minutes * 60 * 16_000;
    let pcm = conversation(voices, 2, 40, 1).pcm;
    let seconds = samples as f64 / 16_000.0;
    for mode in [Mode::Fast, Mode::Exact] {
        let started = Instant::now();
        // The same talk again and again, so that memory is the listener's and not the sound's.
        let again = pcm.chunks(BLOCK).cycle();
        let chunks = listen(networks, mode, again, samples)?;
        let heard = started.elapsed().as_secs_f64();
        let found = cluster(
            &chunks,
            &ClusterOptions::new(Method::suited(&networks.embedder().name)),
        )?;
        let all = started.elapsed().as_secs_f64();
        let line = serde_json::json!({
            "mode": format!("{mode:?}").to_lowercase(), "minutes": arguments.minutes,
            "times_real_time": seconds / all, "listen_s": heard, "cluster_s": all - heard,
            "turns": found.turns.len(), "peak_mb": peak_mb(),
        });
        if arguments.json {
            println!("{line}");
        } else {
            println!(
                "\n{mode:?}: {} min in {all:.1} s ({heard:.1} s listening), {:.1} × real time, peak {} MB",
                arguments.minutes,
                seconds / all,
                peak_mb().map_or_else(|| "?".to_owned(), |mb| mb.to_string()),
            );
        }
    }
    Ok(())
}
