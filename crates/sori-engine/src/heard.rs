//! What was heard, before it is decided who spoke: the results of the costly stages, kept so that the rest can be redone.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize};
use sori_speech::acoustics::{Frames, Tally};
use sori_speech::diarize::Chunks;
use sori_speech::profile::EmbedderId;
use sori_speech::vad::Span;
use sori_timeline::{Metadata, Segment};

use crate::stage::{Ledger, Stage};
use crate::{EngineError, curves::Curves};

/// First bytes of a file of stage results: a name and the version of what follows.
const MAGIC: [u8; 8] = *b"SORI-S\0\x02";
/// The most that a file of stage results may hold once it is unpacked, in bytes: some 50 hours. A file of empty lists takes
/// up to 24 times as much memory, so that whoever reads files of strangers limits the memory of the process too.
const MAX_BYTES: u64 = 1 << 30;

/// The results of the stages that listen: words with their times and tallies, and voices in each window.
///
/// [`Heard::document`] makes a document of it, in a moment and as often as wanted: with another number of speakers, with
/// other names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Length of the recording in seconds.
    pub duration: f64,
    pub(crate) spans: Vec<(f64, f64)>,
    pub(crate) segments: Vec<HeardSegment>,
    pub(crate) voices: Option<Chunks>,
    pub(crate) embedder: Option<EmbedderId>,
    /// K-weighted power of blocks of 100 ms.
    pub(crate) loudness: Vec<f32>,
    /// Seconds spoken and summed probability, by language.
    pub(crate) languages: BTreeMap<String, (f64, f32)>,
    pub(crate) metadata: Metadata,
    pub(crate) ledger: Ledger,
    /// The recording as a drawing; empty when acoustics were not asked for.
    pub curves: Curves,
    /// Every frame of speech, where that was asked for; not kept in files.
    #[serde(skip)]
    pub frames: Vec<Frames>,
}

/// A segment as it was transcribed, with what its words sound like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HeardSegment {
    /// The segment; it may hold words of several speakers.
    pub segment: Segment,
    /// One tally a word; empty when acoustics were not asked for.
    pub tallies: Vec<Tally>,
}

/// The result of one stage, for whoever follows the work.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum StageResult<'a> {
    /// Spans of speech in seconds.
    Vad(&'a [(f64, f64)]),
    /// Words as alignment and acoustics left them; told of under the name of transcription, once.
    Words(&'a [HeardSegment]),
    /// Voices in each window.
    Diarize(&'a Chunks),
    /// Turns of the recording's speakers.
    Speakers(&'a [sori_timeline::Turn]),
}

impl StageResult<'_> {
    /// The stage that gave it.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Vad(_) => Stage::Vad,
            Self::Words(_) => Stage::Transcribe,
            Self::Diarize(_) => Stage::Diarize,
            Self::Speakers(_) => Stage::Speakers,
        }
    }
}

impl Heard {
    /// The network that embedded the voices; none where speakers were left out.
    pub fn embedder(&self) -> Option<&EmbedderId> {
        self.embedder.as_ref()
    }

    /// Voices in each window; none where speakers were left out or the stage failed.
    pub fn voices(&self) -> Option<&Chunks> {
        self.voices.as_ref()
    }

    /// Writes the stage results: compressed MessagePack behind eight bytes of magic.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn save(&self, mut out: impl Write) -> Result<(), EngineError> {
        let failed = |e: std::io::Error| EngineError::Kept(format!("cannot be written: {e}"));
        out.write_all(&MAGIC).map_err(failed)?;
        let mut packed = ZlibEncoder::new(out, Compression::fast());
        rmp_serde::encode::write_named(&mut packed, self)
            .map_err(|e| EngineError::Kept(format!("cannot be written: {e}")))?;
        packed
            .finish()
            .and_then(|mut out| out.flush())
            .map_err(failed)
    }

    /// Reads stage results that [`Heard::save`] wrote.
    ///
    /// # Errors
    /// When they are damaged, of another version, or something else.
    pub fn load(mut input: impl Read) -> Result<Self, EngineError> {
        let other = || {
            let message = "no stage results of this version: analyze the recording again";
            EngineError::Kept(message.to_owned())
        };
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| other())?;
        if magic != MAGIC {
            return Err(other());
        }
        let damaged = |e: String| {
            EngineError::Kept(format!(
                "damaged stage results ({e}): analyze the recording again"
            ))
        };
        let mut input = ZlibDecoder::new(input).take(MAX_BYTES);
        let heard = rmp_serde::decode::from_read(&mut input).map_err(|e| damaged(e.to_string()))?;
        // The checksum comes at the end.
        match input.read(&mut [0]) {
            Ok(0) => Ok(heard),
            Ok(_) => Err(damaged("more than there should be".to_owned())),
            Err(e) => Err(damaged(e.to_string())),
        }
    }

    /// Tells of the stages that listened, as [`Session::finish`](crate::Session::finish) does.
    pub fn tell(&self, hook: &mut dyn FnMut(StageResult<'_>)) {
        hook(StageResult::Vad(&self.spans));
        hook(StageResult::Words(&self.segments));
        if let Some(voices) = &self.voices {
            hook(StageResult::Diarize(voices));
        }
    }

    /// Keeps the spans of a detector.
    pub(crate) fn note_spans(&mut self, spans: &[Span]) {
        self.spans.extend(spans.iter().map(|s| (s.start, s.end)));
    }
}
