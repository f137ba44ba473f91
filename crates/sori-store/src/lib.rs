//! Jobs, their events and callbacks, keys and profiles in SQL; media and results as blobs.
//!
//! What: [`Store`] keeps everything that must survive a killed process. [`Store::accept`] returns only after the job is on
//! disk; [`Store::claim`] lends a job to one worker for a while (a [`Lease`]); every change of a job writes its row, its
//! [`Event`] and, when the job ends and asked for a callback, its [`Delivery`] in one transaction, by one private function
//! (`change`). [`Blobs`] keeps files, in a folder or in an S3 bucket.
//!
//! What not: no HTTP, no clock (`now_ms`, Unix time in milliseconds, is passed in), no thread of its own, no knowledge of what
//! a request says: it is text here.
//!
//! The same code and the same SQL run on SQLite (the default: one file, nothing to install), PostgreSQL and MariaDB; what
//! differs stands in `database` (placeholders, durability) and `schema` (types of columns). Nothing waits for a lock for
//! long: a change names the version of the row that it read, and one that was overtaken is done again.
//!
//! | module | what it holds |
//! |---|---|
//! | [`job`], [`id`] | a job, its states, lists and counts of jobs |
//! | [`admission`] | the way in: idempotent, within limits |
//! | [`lease`] | claims, heartbeats, progress, endings, lost workers |
//! | [`control`] | cancel, retry, rerun, remove |
//! | [`event`], [`outbox`] | what happened; what is to be told, and whether it was |
//! | [`key`], [`profile`] | API keys, remembered voices |
//! | [`blob`] | files |

pub mod admission;
pub mod blob;
pub mod control;
pub mod error;
pub mod event;
pub mod id;
pub mod job;
pub mod key;
pub mod lease;
pub mod outbox;
pub mod profile;
pub mod store;

mod change;
mod database;
mod schema;
#[cfg(test)]
mod tests;

pub use admission::{Accepted, Admission, NewJob};
pub use blob::{Blob, BlobOptions, Blobs};
pub use control::{Cancelled, Removal};
pub use error::{Limit, StoreError, StoreErrorKind};
pub use event::Event;
pub use id::JobId;
pub use job::{Job, JobCursor, JobError, JobFilter, JobResult, JobState, Load, Priority, Queue};
pub use key::KeyRecord;
pub use lease::{Ending, Lease, Progress, Renewal, Retry};
pub use outbox::{Delivery, DeliveryAttempt, DeliveryRecord, DeliveryState, JobEnd, Next};
pub use profile::ProfileRow;
pub use store::{Store, StoreOptions};
