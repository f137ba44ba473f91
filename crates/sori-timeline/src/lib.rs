//! Who said what, when: Sori's document and the shapes it is exported in.
//!
//! A [`Document`] is the one result of a job: segments of words with their times, what was dropped and why, and how the
//! result was made. Its JSON form is a superset of the result that the first services of this family returned, with the
//! same names and nesting (`segments[].start_time`, `metadata.model_versions`, …), so a reader of those keeps working.
//! Times are seconds (`f64`) from the start of the recording, written with 1 ms resolution.
//!
//! What is not here: no audio, no models, no files. The exports write to any [`std::io::Write`] and know nothing of
//! paths or of HTTP, so the command line and a server share them.
//!
//! | module | holds |
//! |---|---|
//! | [`word`] | [`Word`], and where its time came from |
//! | [`segment`] | [`Segment`], a stretch of words with its decoding scores |
//! | [`turn`] | [`Turn`]: who spoke when |
//! | [`acoustics`] | [`AcousticFeatures`] and [`Delivery`]: how it sounded |
//! | [`document`] | [`Document`] and its [`Metadata`]: stages, models, warnings, the audit list |
//! | [`check`] | the invariants of a document, [`Document::check`] |
//! | [`mod@schema`] | the JSON Schema of the document, [`schema()`] |
//! | [`export`] | JSON, WhisperX JSON, SRT, WebVTT, TXT, TSV, CSV, DOCX, RTTM, CTM, TextGrid |
//! | [`transcript`] | [`Transcript`]: a recording as scores and readers see it |
//! | [`read`] | RTTM, STM, CTM, SegLST, WhisperX JSON, text: what other programs and people write |
//! | [`score`] | WER, CER, DER, JER, cpWER, tcpWER, word times, EER |
//! | [`assignment`] | the cheapest one-to-one pairing (Hungarian), for speakers and for scoring |
//! | [`error`] | [`TimelineError`] |
//! | `number` | rounding of times and scores on the way out |

pub mod acoustics;
pub mod assignment;
pub mod check;
pub mod document;
pub mod error;
pub mod export;
mod number;
pub mod read;
pub mod schema;
pub mod score;
pub mod segment;
pub mod transcript;
pub mod turn;
pub mod word;

pub use acoustics::{AcousticFeatures, Delivery, Pitch, VoiceQuality};
pub use document::{
    Document, DropReason, Dropped, Identity, Metadata, ModelVersion, SourceInfo, Speaker,
    StageFailure, StageTime,
};
pub use error::{ErrorKind, TimelineError};
pub use schema::schema;
pub use segment::Segment;
pub use transcript::{Transcript, Utterance};
pub use turn::{SegmentSpeaker, Turn};
pub use word::{TimeSource, Word};
