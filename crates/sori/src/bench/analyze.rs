//! `sori bench analyze`: the whole analysis of a long conversation, stage by stage, with a recogniser of the true size of tiny.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use sori_engine::{DocumentOptions, Models, Pace, Session, SessionOptions};
use sori_speech::acoustics::Features;
use sori_speech::diarize::{ClusterOptions, ListenOptions, Method};
use sori_speech::transcribe::{TranscribeOptions, Whisper};
use sori_speech::vad::{VadModel, VadOptions};

use super::asr::{Arithmetic, SizeArgument, options, write_weights};
use super::peak_mb;
use super::speakers::{BLOCK, conversation, voices};
use crate::hear::in_pool;
use crate::networks::{ModelsFolder, NetworkArguments};

/// Most tokens of a window: 2,000 in ten minutes.
const TOKENS: usize = 100;

#[derive(Args)]
pub(super) struct AnalyzeArguments {
    /// A folder of utterances, named SPEAKER-….flac or .wav
    #[arg(
        long,
        default_value = "../shared/media/speakers",
        value_name = "FOLDER"
    )]
    voices: PathBuf,
    /// Minutes of conversation
    #[arg(long, default_value_t = 10)]
    minutes: usize,
    #[command(flatten)]
    networks: NetworkArguments,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(flatten)]
    models: ModelsFolder,
}

/// Measures one analysis.
pub(super) fn run(arguments: &AnalyzeArguments, cancel: &AtomicBool) -> Result<()> {
    in_pool(Some(arguments.threads), || {
        let root = arguments.models.root();
        let networks = arguments.networks.load(&root)?;
        let folder = tempfile::tempdir()?;
        write_weights(SizeArgument::Tiny, folder.path())?;
        let load = options(Arithmetic::Int8, arguments.threads, folder.path())?;
        let whisper = Whisper::open(folder.path(), load)?;
        let sound = conversation(&voices(&arguments.voices, &root)?, 2, 40, 1).pcm;
        let models = Models {
            whisper: &whisper,
            vad: Some(VadModel::Builtin),
            voices: Some(networks.voices()),
            aligner: None,
            versions: Default::default(),
        };
        let started = Instant::now();
        let clock = || started.elapsed().as_secs_f64();
        let mut session = Session::new(models, session_options(), &clock)?;
        let mut left = arguments.minutes * 60 * 16_000;
        for block in sound.chunks(BLOCK).cycle() {
            if cancel.load(Ordering::SeqCst) {
                bail!("interrupted");
            }
            let block = &block[..block.len().min(left)];
            session.push(block)?;
            left -= block.len();
            if left == 0 {
                break;
            }
        }
        session.end()?;
        let heard = session.finish(None, Vec::new(), &mut |_| {});
        let document = heard.document(
            &DocumentOptions {
                speakers: Some(ClusterOptions::new(Method::suited(
                    &networks.embedder().name,
                ))),
                known: None,
                clock: &clock,
            },
            &mut |_| {},
        );
        let seconds = clock();
        println!(
            "tiny (weights made from a seed), {}; {} threads\n",
            networks.names(),
            arguments.threads
        );
        println!("| stage | s |\n|---|---|");
        for stage in &document.metadata.stages {
            println!("| {} | {:.2} |", stage.stage, stage.seconds);
        }
        println!(
            "| all {} minutes | {seconds:.2} |\n\n{:.1} × real time, {} words, {} speakers, peak {} MB",
            arguments.minutes,
            arguments.minutes as f64 * 60.0 / seconds,
            document
                .segments
                .iter()
                .map(|s| s.words.len())
                .sum::<usize>(),
            document.speakers.len(),
            peak_mb().map_or_else(|| "?".to_owned(), |mb| mb.to_string()),
        );
        Ok(())
    })
}

/// How the sound is heard: with every default, and text that nobody judges.
fn session_options() -> SessionOptions {
    SessionOptions {
        // What such weights write is judged by nobody, so that each window is written once.
        transcribe: TranscribeOptions {
            temperatures: vec![0.0],
            max_tokens: Some(TOKENS),
            compression_ratio_threshold: f32::INFINITY,
            logprob_threshold: f32::NEG_INFINITY,
            no_speech_threshold: 1.0,
            ..TranscribeOptions::default()
        },
        vad: VadOptions::default(),
        listen: ListenOptions::default(),
        features: Some(Features::default()),
        keep_frames: false,
        pace: Pace::Batch,
    }
}
