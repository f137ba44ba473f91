//! Recordings that are named instead of sent: a local path below the configured roots, or an object of a listed bucket.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::netguard::MAX_URL;

/// Where a recording is, as a user names it (`video_path` of seed 000).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaPlace {
    /// A path or a `file://` URL of this machine.
    Local(PathBuf),
    /// A URL for the guard.
    Web(String),
    /// An object, `s3://bucket/key`.
    Bucket(BucketPlace),
}

/// An object in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// The bucket: 3 to 63 of `a-z0-9.-` (Amazon S3, "Bucket naming rules").
    pub bucket: String,
    /// The key: up to 1024 bytes.
    pub key: String,
}

/// Why a place is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaErrorKind {
    /// Not the form of a path, URL or object.
    Form,
    /// Outside the roots, or a bucket that is not listed. Whether it exists is not told.
    Denied,
    /// Inside the roots, but absent, not a regular file, or not readable.
    Unreadable,
}

/// A place that is not opened.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct MediaError {
    kind: MediaErrorKind,
    message: String,
    #[source]
    source: Option<std::io::Error>,
}

impl MediaError {
    fn new(kind: MediaErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// What is wrong.
    pub fn kind(&self) -> MediaErrorKind {
        self.kind
    }
}

fn form(message: &str) -> MediaError {
    MediaError::new(MediaErrorKind::Form, message)
}

impl MediaPlace {
    /// Reads what a user gave. Nothing is opened or asked for.
    ///
    /// # Errors
    /// For an unknown scheme, control characters, a `file://` URL of another machine, or a bucket or key outside S3's rules.
    pub fn parse(text: &str) -> Result<Self, MediaError> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(form("give a path or a URL without control characters"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Self::Web(text.to_owned())),
            "s3" => BucketPlace::parse(rest).map(Self::Bucket),
            "file" if text.len() <= MAX_URL => url::Url::parse(text)
                .ok()
                .filter(|url| matches!(url.host_str(), None | Some("localhost")))
                .and_then(|url| url.to_file_path().ok())
                .map(Self::Local)
                .ok_or_else(|| {
                    form("a file URL names an absolute path of this machine: file:///media/a.wav")
                }),
            _ => Err(form(
                "give a path, or a URL that starts with http://, https:// or s3://",
            )),
        }
    }
}

impl BucketPlace {
    fn parse(rest: &str) -> Result<Self, MediaError> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = bucket.as_bytes();
        let named = (3..=63).contains(&bytes.len())
            && edge(bytes.first().copied())
            && edge(bytes.last().copied())
            && bytes
                .iter()
                .all(|b| edge(Some(*b)) || matches!(b, b'.' | b'-'));
        // Keys that look like paths are handled as paths by many a store; the steps back up are not needed.
        let keyed = (1..=1024).contains(&key.len())
            && key.split('/').all(|part| !matches!(part, "." | ".." | ""));
        match named && keyed {
            true => Ok(Self {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            false => Err(form(
                "an object is named s3://bucket/key, as Amazon's rules for names have it",
            )),
        }
    }
}

/// The buckets that users may name (`--allow-bucket`).
#[derive(Clone, Debug, Default)]
pub struct Buckets(Vec<String>);

impl Buckets {
    /// These buckets and no others.
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Checks that a bucket is listed.
    ///
    /// # Errors
    /// When it is not, with the flag that opens it.
    pub fn check(&self, place: &BucketPlace) -> Result<(), MediaError> {
        if self.0.contains(&place.bucket) {
            return Ok(());
        }
        let message = format!(
            "this server may not read the bucket {0}: start it with --allow-bucket {0}",
            place.bucket
        );
        Err(MediaError::new(MediaErrorKind::Denied, message))
    }
}

/// The folders below which local recordings may be (`--media-root`).
#[derive(Clone, Debug, Default)]
pub struct MediaRoots(Vec<PathBuf>);

/// A local recording that may be used.
#[derive(Debug)]
pub struct OpenMedia {
    /// The file that was checked. Whoever copies from it, copies what was checked, whatever happens to the path.
    pub file: File,
    /// Its path without symbolic links.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl MediaRoots {
    /// These folders, freed from symbolic links once, now. Blocks.
    ///
    /// # Errors
    /// When one is not there or is no folder.
    pub fn new(roots: &[PathBuf]) -> Result<Self, MediaError> {
        let root = |root: &PathBuf| match fs::canonicalize(root) {
            Ok(path) if path.is_dir() => Ok(path),
            Ok(_) => Err(form(&format!(
                "--media-root {}: not a folder",
                root.display()
            ))),
            Err(error) => Err(MediaError {
                source: Some(error),
                ..form(&format!(
                    "--media-root {}: not there or not readable",
                    root.display()
                ))
            }),
        };
        roots.iter().map(root).collect::<Result<_, _>>().map(Self)
    }

    /// Opens a regular file below one of the roots. Blocks.
    ///
    /// Links are resolved first and the result is compared with the roots, so that no link leads out; after opening, the
    /// file is compared with what now stands at that path and the path resolved again, so that a link put there between is
    /// seen. Who can write below a root can still change what the *path* means later: give the worker the open file, or a
    /// copy of it, where users can write there.
    ///
    /// # Errors
    /// When it is outside, not there, or not a regular file. Outside the roots the error is the same for what exists and
    /// what does not.
    pub fn open(&self, path: &Path) -> Result<OpenMedia, MediaError> {
        let outside = || {
            let message = match self.0.is_empty() {
                true => {
                    "this server reads no local paths: start it with --media-root FOLDER, or upload the recording"
                }
                false => {
                    "the path is not in a folder that this server may read: add it with --media-root, or upload the recording"
                }
            };
            MediaError::new(MediaErrorKind::Denied, message)
        };
        let unreadable = |what: &str, source: Option<std::io::Error>| MediaError {
            source,
            ..MediaError::new(
                MediaErrorKind::Unreadable,
                format!("{}: {what}", path.display()),
            )
        };
        if !path.is_absolute() {
            return Err(form("a local path starts with /"));
        }
        let canonical = match fs::canonicalize(path) {
            Ok(canonical) if self.holds(&canonical) => canonical,
            Ok(_) => return Err(outside()),
            // Said only about paths that would be inside by their text, so that nobody can ask what exists elsewhere.
            Err(error) if self.holds_text(path) => {
                return Err(unreadable("no such file", Some(error)));
            }
            Err(_) => return Err(outside()),
        };
        // Asked before opening, since opening a pipe waits for its writer.
        let before =
            fs::metadata(&canonical).map_err(|error| unreadable("no such file", Some(error)))?;
        if !before.is_file() {
            return Err(unreadable("not a regular file", None));
        }
        let file =
            File::open(&canonical).map_err(|error| unreadable("cannot be read", Some(error)))?;
        let after = file
            .metadata()
            .map_err(|error| unreadable("cannot be read", Some(error)))?;
        let same = after.is_file()
            && identity(&before) == identity(&after)
            && fs::canonicalize(&canonical).is_ok_and(|again| again == canonical);
        if !same {
            return Err(unreadable("it changed while it was opened", None));
        }
        Ok(OpenMedia {
            file,
            path: canonical,
            bytes: after.len(),
        })
    }

    fn holds(&self, canonical: &Path) -> bool {
        self.0.iter().any(|root| canonical.starts_with(root))
    }

    /// Whether a path that does not exist lies below a root as far as it does exist.
    fn holds_text(&self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .find_map(|folder| fs::canonicalize(folder).ok())
            .is_some_and(|folder| self.holds(&folder))
    }
}

/// Which file it is, by device and number.
#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Which file it is, as far as can be told.
#[cfg(not(unix))]
fn identity(metadata: &fs::Metadata) -> (u64, Option<std::time::SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let local = |path: &str| MediaPlace::Local(path.into());
        let bucket = |bucket: &str, key: &str| {
            MediaPlace::Bucket(BucketPlace {
                bucket: bucket.into(),
                key: key.into(),
            })
        };
        let cases = [
            ("/media/a b.wav", local("/media/a b.wav")),
            ("file:///media/a%20b.wav", local("/media/a b.wav")),
            ("FILE://localhost/media/a.wav", local("/media/a.wav")),
            (
                "https://a.example/x",
                MediaPlace::Web("https://a.example/x".into()),
            ),
            (
                "s3://bucket-name/video.mp4",
                bucket("bucket-name", "video.mp4"),
            ),
            ("S3://a.b.c/d/e f%20.mp4", bucket("a.b.c", "d/e f%20.mp4")),
        ];
        for (text, place) in cases {
            assert_eq!(MediaPlace::parse(text).unwrap(), place, "{text}");
        }
        for text in [
            "",
            "/a\0b",
            "/a\nb",
            "file://server/a.wav",
            "file://127.0.0.1/a.wav",
            "ftp://a.example/x",
            "concat://x",
            "s3://",
            "s3://ab/x",
            "s3://Bucket/x",
            "s3://-bucket/x",
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket//x",
            "s3://bucket/../x",
            "s3://bucket/a/./x",
            "s3://user@bucket/x",
        ] {
            assert_eq!(
                MediaPlace::parse(text).unwrap_err().kind(),
                MediaErrorKind::Form,
                "{text:?}"
            );
        }
    }

    #[test]
    fn only_listed_buckets_are_read() {
        let place = |text: &str| match MediaPlace::parse(text).unwrap() {
            MediaPlace::Bucket(place) => place,
            other => panic!("{other:?}"),
        };
        let buckets = Buckets::new(vec!["talks".into()]);
        assert!(buckets.check(&place("s3://talks/a")).is_ok());
        let error = buckets.check(&place("s3://talks2/a")).unwrap_err();
        assert_eq!(error.kind(), MediaErrorKind::Denied);
        assert!(error.to_string().contains("--allow-bucket talks2"));
        assert!(Buckets::default().check(&place("s3://talks/a")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn no_path_leads_out_of_the_roots() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for sub in ["root/sub", "root2", "out"] {
            fs::create_dir_all(at(sub)).unwrap();
        }
        for file in ["root/a.wav", "root/sub/b.wav", "root2/c.wav", "out/secret"] {
            fs::write(at(file), "12345").unwrap();
        }
        symlink(at("out/secret"), at("root/link.wav")).unwrap();
        symlink(at("out"), at("root/door")).unwrap();
        symlink(at("root/a.wav"), at("root/inner.wav")).unwrap();
        symlink(at("root/loop"), at("root/loop")).unwrap();
        symlink(at("root"), at("alias")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("root/socket")).unwrap();
        let roots = MediaRoots::new(&[at("alias")]).unwrap();

        for (path, real) in [
            ("root/a.wav", "root/a.wav"),
            ("alias/a.wav", "root/a.wav"),
            ("root/sub/b.wav", "root/sub/b.wav"),
            ("root/sub/../a.wav", "root/a.wav"),
            ("root/inner.wav", "root/a.wav"),
        ] {
            let media = roots.open(&at(path)).unwrap();
            assert_eq!(media.path, fs::canonicalize(at(real)).unwrap(), "{path}");
            assert_eq!(media.bytes, 5);
        }
        use MediaErrorKind::*;
        for (path, kind) in [
            ("root/link.wav", Denied),
            ("root/door/secret", Denied),
            ("root/door/nothing", Denied),
            ("root/../out/secret", Denied),
            ("root2/c.wav", Denied),
            ("out/secret", Denied),
            ("out/nothing", Denied),
            ("root/nothing", Unreadable),
            ("root/loop", Unreadable),
            ("root/sub", Unreadable),
            ("root", Unreadable),
            ("root/socket", Unreadable),
        ] {
            assert_eq!(roots.open(&at(path)).unwrap_err().kind(), kind, "{path}");
        }
        for (path, kind) in [
            ("root/a.wav", Form),
            ("", Form),
            ("/dev/zero", Denied),
            ("/proc/self/environ", Denied),
        ] {
            assert_eq!(
                roots.open(Path::new(path)).unwrap_err().kind(),
                kind,
                "{path}"
            );
        }
        let none = MediaRoots::default();
        let error = none.open(&at("root/a.wav")).unwrap_err();
        assert!(error.kind() == Denied && error.to_string().contains("--media-root"));
        assert!(MediaRoots::new(&[at("root/a.wav")]).is_err());
        assert!(MediaRoots::new(&[at("nothing")]).is_err());
    }
}
