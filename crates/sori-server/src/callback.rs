//! Telling others how a job goes: Standard Webhooks 1.0.0 over guarded HTTP.
//!
//! [`deliver`] makes one attempt and says what came of it, [`next_try`] says when the next one is due, and [`Coalescer`]
//! thins progress out. Which deliveries are due, and that none is lost, is the store's affair.

mod body;
mod coalesce;
mod deliver;
mod progress;
mod schedule;
mod sign;

pub use body::{JobOutcome, News, seed_body, stage_message, standard_body};
pub use coalesce::Coalescer;
pub use deliver::{CallbackTarget, Message, Outcome, Verdict, deliver};
pub(crate) use progress::ProgressSender;
pub use schedule::{Next, Reply, next_try};
pub use sign::{Secret, SecretError, sign};
