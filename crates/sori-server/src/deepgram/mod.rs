//! Deepgram's API for recordings, `POST /v1/listen`: its query and the shapes it answers with.
//!
//! After deepgram-api-specs' `openapi.yml` and the types of the official Python client, as of 2026-07.
//!
//! | module | holds |
//! |---|---|
//! | [`query`] | what a client asks for |
//! | [`response()`] | a document as words, paragraphs and utterances |
//! | `routes` | the route |
//! | [`error`] | errors in Deepgram's shape |

pub mod error;
pub mod query;
pub mod response;
pub(crate) mod routes;

pub use error::ErrorBody;
pub use query::{ListenRequest, QueryError, Shape};
pub use response::{Accepted, ListenResponse, Recording, response};
