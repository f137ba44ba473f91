//! How far a result is from the truth.
//!
//! | module | measures |
//! |---|---|
//! | [`text`] | words and characters: [`wer`], [`cer`] |
//! | [`diarization`] | who spoke when: [`der`], [`jer`] |
//! | [`speakers`] | who said what: [`cp_wer`], [`tcp_wer`] |
//! | [`times`] | when words were said: [`word_times`] |
//! | [`detection`] | accepting the right voices: [`eer`] |
//! | `alignment` | the edit distance of units that may only match when they meet in time |
//!
//! DER and JER are those of pyannote.metrics (4.2.0), cpWER and tcpWER those of meeteval (0.4.3), number by number.
//! Every measure is a count or a sum that adds up over recordings with `+=`, next to a rate.

pub(crate) mod alignment;
pub mod detection;
pub mod diarization;
pub mod speakers;
pub mod text;
pub mod times;

use crate::{ErrorKind, TimelineError};

pub use detection::{EqualError, eer};
pub use diarization::{Der, DiarizationOptions, Jer, der, jer};
pub use speakers::{Matched, TcpOptions, cp_wer, tcp_wer};
pub use text::{Edits, cer, edits, normalise, wer};
pub use times::{Deviation, WordTimes, word_times};

/// Speakers that a side may have: more is a mistake in the file, and costs grow with the third power.
pub const MAX_SPEAKERS: usize = 256;

/// Refuses a side with too many speakers.
fn check_crowd(speakers: usize, side: &str) -> Result<(), TimelineError> {
    if speakers <= MAX_SPEAKERS {
        return Ok(());
    }
    let problem = format!("it has more than {MAX_SPEAKERS} speakers, which cannot be paired");
    Err(TimelineError::new(ErrorKind::Limit, side.into(), problem))
}
