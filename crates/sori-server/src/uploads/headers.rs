//! Headers of the tus protocol 1.0.0 (<https://tus.io/protocols/resumable-upload>).

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The version that is spoken here: the value of `Tus-Version` and `Tus-Resumable`.
pub const VERSION: &str = "1.0.0";
/// What is spoken besides its core: the value of `Tus-Extension`.
pub const EXTENSIONS: &str = "creation,expiration,checksum,termination";
/// The value of `Tus-Checksum-Algorithm`.
pub const ALGORITHMS: &str = "sha1,sha256";
/// The content type of bytes that are appended.
pub const CONTENT_TYPE: &str = "application/offset+octet-stream";
/// Longest `Upload-Metadata` in bytes.
const MAX_METADATA: usize = 8 << 10;

/// How bytes are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1, which every server has to know.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// What bytes must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// How.
    pub algorithm: Algorithm,
    /// To what.
    pub digest: Vec<u8>,
}

impl Checksum {
    /// Reads `Upload-Checksum`: a name and the digest in base64. `None` where either is not known.
    pub fn parse(header: &str) -> Option<Self> {
        let (name, digest) = header.trim().split_once(' ')?;
        let (algorithm, length) = match name {
            "sha1" => (Algorithm::Sha1, 20),
            "sha256" => (Algorithm::Sha256, 32),
            _ => return None,
        };
        let digest = STANDARD.decode(digest.trim()).ok()?;
        (digest.len() == length).then_some(Self { algorithm, digest })
    }
}

/// Hashes bytes as they come.
pub(super) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
        }
    }
}

/// Reads `Upload-Metadata`: keys, each with a value in base64 or without one. `None` where it is not of that form; what it
/// holds is the client's word and no more.
pub fn metadata(header: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    if header.len() > MAX_METADATA {
        return None;
    }
    for pair in header.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let value = STANDARD.decode(value.trim()).ok()?;
        let graphic = key.bytes().all(|b| b.is_ascii_graphic());
        if !graphic || all.insert(key.to_owned(), value).is_some() {
            return None;
        }
    }
    Some(all)
}

/// A time as `Upload-Expires` has it (RFC 9110, IMF-fixdate).
pub fn http_date(unix_ms: i64) -> String {
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::MAX);
    // The one error is a year that has not four digits, which no kept upload sees.
    printer
        .timestamp_to_rfc9110_string(&time)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_tus_writes_them() {
        let hello =
            Checksum::parse("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").expect("from the protocol");
        let mut hasher = Hasher::new(hello.algorithm);
        hasher.update(b"hello ");
        hasher.update(b"world");
        assert_eq!(hasher.finish(), hello.digest);
        for wrong in [
            "",
            "sha1",
            "md5 XrY7u+Ae7tCTyyK7j1rNww==",
            "sha1 Kq5s",
            "sha1 %",
            "SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
        ] {
            assert_eq!(Checksum::parse(wrong), None, "{wrong}");
        }
        let found = metadata("filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential")
            .expect("from the protocol");
        assert_eq!(found["filename"], b"world_domination_plan.pdf");
        assert_eq!(found["is_confidential"], b"");
        assert_eq!(metadata(""), Some(BTreeMap::new()));
        for wrong in ["a b c", "a %", "a YQ==,a YQ==", "\u{e9} YQ=="] {
            assert_eq!(metadata(wrong), None, "{wrong}");
        }
        assert_eq!(metadata(&"a".repeat(MAX_METADATA + 1)), None);
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
