//! The service: jobs over HTTP, workers that do them, callbacks that tell of them.
//!
//! What: [`serve`] answers the seeds' API, the native one, OpenAI's and Deepgram's, keeps jobs in a store, has worker processes
//! do them, and tells callbacks. Whatever dialect asks, a job comes in through `submit`, and what is kept of it is the same.
//!
//! What not: nothing here decodes or computes; that is the worker process's, which the program starts with `sori work` and
//! which speaks [`work`].
//!
//! | module | holds |
//! |---|---|
//! | `serve`, `router`, `auth`, `config`, `tls` | the server from start to end, its routes, who may ask |
//! | `admission`, `submit`, `waiting`, `form`, `staging`, `uploads`, `request` | recordings and requests on their way in |
//! | `netguard`, `fetch`, `media_roots` | which addresses, paths and buckets may be named |
//! | `dispatch`, `attempt`, `process`, `work` | workers and their jobs |
//! | `speakers` | voices that are remembered |
//! | `outbox`, `callback`, `janitor` | telling of ends, and what is done now and then |
//! | `api`, `openai`, `deepgram` | the dialects |

pub mod admin;
mod admission;
mod api;
mod app;
mod attempt;
mod auth;
mod body;
pub mod callback;
mod clock;
pub mod config;
pub mod deepgram;
mod dispatch;
mod entropy;
mod error;
pub mod fetch;
mod form;
mod janitor;
mod jobs;
pub mod keys;
mod listener;
pub mod media_roots;
mod metrics;
pub mod netguard;
mod news;
pub mod openai;
mod options;
mod outbox;
mod process;
pub mod punctuation;
pub mod rate;
mod request;
mod router;
mod serve;
mod speakers;
mod staging;
mod submit;
pub mod tls;
pub mod uploads;
mod waiting;
pub mod work;

pub use app::ModelInfo;
pub use error::{ApiError, ErrorKind};
pub use options::{JobAlign, JobChannel, JobFeature, JobOptions, JobTask, JobVad, OptionsError};
pub use process::WorkerCommand;
pub use router::openapi;
pub use serve::{ServeError, Started, Wiring, serve};
