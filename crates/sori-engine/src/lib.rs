//! Sessions: the stages in order, for live and for batch alike.
//!
//! What: [`Session`] takes blocks of sound and gives segments as they are known; at its end stands what was [`Heard`], which
//! becomes a document ([`Heard::document`]) in a moment and as often as wanted. Batch is a short loop around the session
//! ([`Session::push`], [`Session::poll`], [`Session::finish`]). Live and batch differ in data only ([`Pace`]).
//!
//! What not: nothing here opens a file, reads a clock or a socket, or knows a server. Time is counted in samples; how long a
//! stage took is told by whoever has a clock ([`Clock`]).
//!
//! | module | holds |
//! |---|---|
//! | `session` | hearing: transcription, voices, loudness, as sound comes in |
//! | `finder` | voice activity, and the windows made of it |
//! | `late` | stages that listen again to what was transcribed: alignment, acoustics |
//! | `journal` | what was found out so far, so that a killed process need not begin anew |
//! | `heard` | the results of those, kept in files |
//! | `document` | the document made of them |
//! | `people` | words and voices brought together |
//! | `stage` | times of stages, and how one fails alone |
//! | `curves` | a recording as a drawing |

mod curves;
mod document;
mod error;
mod finder;
mod heard;
mod journal;
mod late;
mod people;
mod session;
mod stage;

pub use curves::{CURVE_RATE, Curves};
pub use document::{DocumentOptions, Known};
pub use error::EngineError;
pub use heard::{Heard, HeardSegment, StageResult};
pub use journal::{Fingerprint, Journal};
pub use session::{Clock, Event, Models, Pace, Session, SessionOptions, Voices};
pub use sori_speech::profile::{Profile, ProfileError};
pub use stage::Stage;
