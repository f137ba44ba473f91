//! The arguments of `sori analyze`.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use sori_engine::Stage;

use crate::networks::NetworkArguments;
use crate::transcribe::TranscribeCommand;
use crate::voices::VoicesFolder;

const EXAMPLES: &str = "\
Examples:
  sori analyze interview.mp4                        interview.json and interview.html
  sori analyze call.wav --speakers 2 --format all   two people, every format
  sori analyze meeting.m4a --exact --align auto     the slower, finer way
  sori analyze meeting.m4a --rerun speakers --speakers 3
                                                    decide anew who spoke, without hearing again
  sori enroll Mina mina.wav && sori analyze call.wav
                                                    Mina is named where she speaks

Results are written beside each other in --output-dir: the document (json), a page to read and listen to (html), and
what was heard (sori), which --rerun needs.
Exit status: 0 done, 1 a file failed, 2 wrong arguments, 3 a stage failed and the rest is written, 130 interrupted.";

/// The arguments of `sori analyze`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct AnalyzeCommand {
    #[command(flatten)]
    pub transcribe: TranscribeCommand,
    /// How many people speak, where that is known
    #[arg(long, alias = "num_speakers", value_name = "N")]
    pub speakers: Option<usize>,
    /// At least so many people speak
    #[arg(long, alias = "min_speakers", value_name = "N")]
    pub min_speakers: Option<usize>,
    /// At most so many people speak
    #[arg(long, alias = "max_speakers", value_name = "N")]
    pub max_speakers: Option<usize>,
    /// Tell voices apart as the reference does, three times slower
    #[arg(long)]
    pub exact: bool,
    /// Leave speakers out
    #[arg(long, conflicts_with_all = ["speakers", "min_speakers", "max_speakers", "exact"])]
    pub no_speakers: bool,
    #[command(flatten)]
    pub networks: NetworkArguments,
    /// How voices are brought together; auto is vbx where WeSpeaker's embedding and its PLDA are installed, else what suits the
    /// embedding
    #[arg(long, value_enum, default_value_t)]
    pub clustering: ClusteringArgument,
    /// The aligner of words: an installed model or a folder; `off` keeps the recogniser's times
    #[arg(
        long,
        alias = "align_model",
        default_value = "auto",
        value_name = "NAME|PATH"
    )]
    pub align: String,
    /// What is measured of the sound: volume, pitch, spectrum, mfcc, mfcc_delta, voice, loudness; or none
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "volume,pitch,spectrum,mfcc,voice,loudness",
        value_name = "FEATURE"
    )]
    pub features: Vec<String>,
    /// Also write every 10 ms frame of speech as NumPy arrays (STEM.frames.npz)
    #[arg(long)]
    pub frames: bool,
    /// Do not name remembered voices
    #[arg(long)]
    pub no_names: bool,
    #[command(flatten)]
    pub voices: VoicesFolder,
    /// Run one stage again on what was heard before, with other options
    #[arg(
        long,
        value_enum,
        conflicts_with_all = ["no_speakers", "exact", "frames", "segmentation", "embedding", "align", "features"],
        value_name = "STAGE"
    )]
    pub rerun: Option<Rerun>,
    /// Write the result of these stages as JSON (STEM.STAGE.json): vad, transcribe (words as alignment and acoustics left
    /// them), diarize, speakers
    #[arg(long, value_delimiter = ',', value_parser = stage, value_name = "STAGE")]
    pub dump_stage: Vec<Stage>,
}

impl AnalyzeCommand {
    /// Checks numbers of speakers against each other.
    ///
    /// # Errors
    /// When one is 0, or the least is above the most.
    pub fn validate(&self) -> Result<()> {
        let given = [self.speakers, self.min_speakers, self.max_speakers];
        if given.contains(&Some(0)) {
            bail!("--speakers, --min-speakers, --max-speakers: give numbers above 0");
        }
        if let (Some(least), Some(most)) = (self.min_speakers, self.max_speakers)
            && least > most
        {
            bail!("--min-speakers {least} is above --max-speakers {most}");
        }
        Ok(())
    }
}

/// Stages that can run again alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rerun {
    /// Who spoke
    Speakers,
}

/// How voices are brought together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClusteringArgument {
    #[default]
    Auto,
    /// Agglomerative clustering (pyannote 3.1)
    Ahc,
    /// Variational Bayes with PLDA (pyannote community-1)
    Vbx,
}

fn stage(name: &str) -> std::result::Result<Stage, String> {
    let all = [
        Stage::Vad,
        Stage::Transcribe,
        Stage::Diarize,
        Stage::Speakers,
    ];
    all.into_iter().find(|s| s.name() == name).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|s| s.name()).collect();
        format!("use one of {}", names.join(", "))
    })
}
