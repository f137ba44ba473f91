//! What can be wrong with a document or with writing it.

use std::{fmt, io};

/// Kind of a [`TimelineError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The document breaks one of its invariants.
    Invariant,
    /// An option is out of range.
    Option,
    /// The input is larger than can be handled.
    Limit,
    /// Text that should be in a known format is not.
    Parse,
    /// The document could not be turned into JSON.
    Encode,
    /// The output refused bytes.
    Write,
}

/// An error of this crate: its kind, the place in the document or the option, and what is wrong there.
#[derive(Debug)]
pub struct TimelineError {
    kind: ErrorKind,
    place: String,
    problem: String,
    source: Option<io::Error>,
}

impl TimelineError {
    pub(crate) fn new(kind: ErrorKind, place: String, problem: String) -> Self {
        Self {
            kind,
            place,
            problem,
            source: None,
        }
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it is: a path such as `segments[3].words[1]`, or an option's name.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for TimelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl std::error::Error for TimelineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<io::Error> for TimelineError {
    fn from(source: io::Error) -> Self {
        Self {
            kind: ErrorKind::Write,
            place: "output".into(),
            problem: format!("could not be written ({source})"),
            source: Some(source),
        }
    }
}

impl From<serde_json::Error> for TimelineError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() {
            io::Error::from(error).into()
        } else {
            Self::new(ErrorKind::Encode, "document".into(), error.to_string())
        }
    }
}
