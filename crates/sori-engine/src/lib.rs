//! Sessions: the stages in order, for live and for batch alike.
//!
//! What: [`Session`] takes blocks of sound and gives segments as they are known, and the whole document at the end; batch is
//! a short loop around it ([`Session::push`], [`Session::poll`], [`Session::finish`]). Live and batch differ in data only
//! ([`Pace`]).
//!
//! What not: nothing here opens a file, reads a clock or a socket, or knows a server. Time is counted in samples; how long a
//! stage took is told by whoever has a clock ([`Clock`]).

mod error;
mod session;

pub use error::EngineError;
pub use session::{Clock, Event, Models, Pace, Session, SessionOptions};
