//! The name of a job.

use std::fmt;

use crate::error::{StoreError, StoreErrorKind};

/// Most characters of an id.
const MAX_CHARS: usize = 128;

/// The name of a job, given by the client or made here: 1 to 128 of `[A-Za-z0-9._:-]`, and neither `.` nor `..`, for it is
/// also a part of the keys of blobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl JobId {
    /// Returns the id that a text is.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when it breaks the rules of [`JobId`].
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let fine = (1..=MAX_CHARS).contains(&text.len())
            && text.bytes().all(allowed)
            && !matches!(text, "." | "..");
        if fine {
            return Ok(Self(text.to_owned()));
        }
        Err(StoreError::new(
            StoreErrorKind::Invalid,
            "a job id is 1 to 128 letters, digits and . _ : - (and not just dots)",
        ))
    }

    /// Returns an id that nobody else has: a UUID of version 7 (RFC 9562), so that ids sort by time.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_of_folders_too() {
        let long = "x".repeat(MAX_CHARS);
        for good in ["a", "Job_1.b:c-d", "...", long.as_str()] {
            assert_eq!(JobId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(MAX_CHARS + 1);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "한",
            "a\0",
            "a%2f",
            too_long.as_str(),
        ] {
            assert_eq!(
                JobId::parse(bad).unwrap_err().kind(),
                StoreErrorKind::Invalid,
                "{bad:?}"
            );
        }
        assert!(JobId::parse(JobId::fresh().as_str()).is_ok());
    }
}
