//! The error of everything that loads or runs a network.

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong, for code that decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InferErrorKind {
    /// A file or folder is not there or cannot be read.
    Io,
    /// The file is not of a format that is known here.
    Foreign,
    /// The file claims a known format and breaks its rules.
    Damaged,
    /// A tensor or a configuration key that the network needs is absent.
    Missing,
    /// A tensor has another shape than the configuration says.
    Shape,
    /// The format is known and a variant of it is not supported.
    Unsupported,
}

/// An error with the file and the place in it.
#[derive(Debug)]
pub struct InferError {
    kind: InferErrorKind,
    path: PathBuf,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl InferError {
    /// An error about the file at `path`; the message says where in it and what to do next.
    pub fn new(kind: InferErrorKind, path: &Path, message: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            message: message.into(),
            source: None,
        }
    }

    /// Returns the error with the error that caused it.
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// An [`InferErrorKind::Io`] error.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        let message = match source.kind() {
            std::io::ErrorKind::NotFound => "no such file",
            std::io::ErrorKind::PermissionDenied => "no permission to read it",
            std::io::ErrorKind::UnexpectedEof => {
                "the file ends too early: copy or download it again"
            }
            _ => "cannot be read",
        };
        Self::new(InferErrorKind::Io, path, message).caused_by(source)
    }

    /// What went wrong.
    pub fn kind(&self) -> InferErrorKind {
        self.kind
    }
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for InferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}
