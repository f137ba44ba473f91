//! OpenAI's audio API: what its clients send, and the shapes they expect back.
//!
//! After openai-openapi's `openapi.yaml` and the types of the official Python client (`openai/types/audio`), as of 2026-08.
//!
//! | module | holds |
//! |---|---|
//! | [`request`] | the form of `/audio/transcriptions` and `/audio/translations` |
//! | [`views`] | a document as `json`, `verbose_json`, `diarized_json`, text and subtitles |
//! | [`stream`] | the events of `stream=true` |
//! | [`language`] | languages by code and English name |
//! | `routes` | the routes; errors are in OpenAI's shape everywhere ([`crate::ApiError`]) |

pub mod language;
pub mod request;
pub(crate) mod routes;
pub mod stream;
pub mod views;

pub use request::{FieldError, KnownSpeaker, ResponseFormat, TranscriptionRequest, Wanted};
pub use stream::{Deltas, StreamEvent};
pub use views::{Answer, answer};
