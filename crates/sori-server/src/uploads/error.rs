//! What can go wrong with an upload.

use std::{fmt, io};

/// Kind of an [`UploadError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UploadErrorKind {
    /// There is no such upload, or it is somebody else's, or its time is over.
    NotFound,
    /// The upload is at another offset.
    Offset,
    /// The bytes do not match their checksum.
    Checksum,
    /// Somebody else writes to it.
    Locked,
    /// More bytes than are allowed or were announced.
    TooLarge,
    /// Too many uploads are there.
    Full,
    /// Bytes are missing.
    Unfinished,
    /// The bytes stopped coming.
    Broken,
    /// The disk refused.
    Disk,
}

/// An error of an upload.
#[derive(Debug)]
pub struct UploadError {
    kind: UploadErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl UploadError {
    pub(super) fn new(kind: UploadErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(super) fn not_found() -> Self {
        let message = "there is no such upload; begin a new one";
        Self::new(UploadErrorKind::NotFound, message)
    }

    pub(super) fn offset(offset: u64) -> Self {
        let message = format!("the upload is at byte {offset}; go on from there");
        Self::new(UploadErrorKind::Offset, message)
    }

    pub(super) fn too_large(most: u64) -> Self {
        let message = format!("send at most {most} bytes");
        Self::new(UploadErrorKind::TooLarge, message)
    }

    pub(super) fn broken() -> Self {
        let message = "the bytes stopped coming; ask for the offset and go on from there";
        Self::new(UploadErrorKind::Broken, message)
    }

    /// What the disk said, if it was the disk.
    pub fn into_source(self) -> Option<io::Error> {
        self.source
    }

    /// Kind of the error.
    pub fn kind(&self) -> UploadErrorKind {
        self.kind
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UploadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

impl From<io::Error> for UploadError {
    /// A file that is gone was removed meanwhile; everything else is the disk's fault.
    fn from(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::not_found();
        }
        Self {
            kind: UploadErrorKind::Disk,
            message: "the upload could not be written; try again later".to_owned(),
            source: Some(source),
        }
    }
}
