//! The error of the catalogue, the library and the downloader.

use std::fmt;
use std::io;
use std::path::Path;

/// What went wrong with a model, for code that decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelErrorKind {
    /// The catalogue text breaks its rules.
    Catalogue,
    /// No model of this name is known, or the name cannot be one.
    UnknownName,
    /// The model is known and not installed.
    NotInstalled,
    /// An installed model lacks a file, or a file is not what was installed.
    Damaged,
    /// What was given to import is not a model that is known here.
    Foreign,
    /// An archive with a path, an entry type or a size that is refused.
    Archive,
    /// A file or folder cannot be read or written.
    Io,
    /// Not enough room on the disk.
    Full,
    /// Another process is changing this model.
    Busy,
    /// A server could not be reached, cut the connection or refused.
    Network,
    /// A downloaded file is longer or shorter than declared.
    Size,
    /// A file has another SHA-256 than declared.
    Checksum,
    /// The `pip` or `npm` program failed or is not installed.
    Client,
    /// Several sources were tried and each failed in its own way.
    Sources,
    /// The network is switched off by the user.
    Offline,
    /// A setting (endpoint, proxy, token) cannot be used.
    Settings,
    /// The caller asked to stop.
    Cancelled,
}

/// An error about a model: its kind, what happened with the remedy, and what caused it.
#[derive(Debug)]
pub struct ModelError {
    kind: ModelErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ModelError {
    /// An error whose message names the thing and the remedy.
    pub fn new(kind: ModelErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the error with the error that caused it.
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ModelErrorKind {
        self.kind
    }

    /// A failed file operation on `path`; a full disk gets its own kind.
    pub(crate) fn io(path: &Path, action: &str, source: io::Error) -> Self {
        use io::ErrorKind::{
            NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        let (kind, why) = match source.kind() {
            StorageFull | QuotaExceeded => {
                let why = ": the disk is full; free some space or set SORI_MODELS to another disk";
                (ModelErrorKind::Full, why)
            }
            NotFound => (ModelErrorKind::Io, ": there is no such file"),
            PermissionDenied | ReadOnlyFilesystem => (ModelErrorKind::Io, ": no permission"),
            _ => (ModelErrorKind::Io, ""),
        };
        Self::new(kind, format!("cannot {action} {}{why}", path.display())).caused_by(source)
    }

    /// The message with those of its causes, on one line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text += &format!(": {}", error.to_string().replace('\n', " "));
            cause = error.source();
        }
        text
    }

    /// The caller asked to stop.
    pub(crate) fn cancelled() -> Self {
        Self::new(ModelErrorKind::Cancelled, "cancelled")
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ModelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
