//! From the URL to the last byte.

use std::fs;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{FetchError, FetchErrorKind, FetchLimits, FetchOrder, FetchProgress, Fetched};
use crate::netguard::{CheckedUrl, Denied, Guard, Purpose, is_tls_failure};

/// Redirects that are followed, each checked.
const MAX_REDIRECTS: usize = 3;
/// How often a transfer that breaks off goes on.
const MAX_BREAKS: usize = 3;
/// Bytes that are read at once.
const BLOCK: usize = 128 << 10;

/// One download.
pub(super) struct Transfer<'a> {
    pub(super) guard: &'a Guard,
    pub(super) agent: &'a Agent,
    pub(super) order: &'a FetchOrder<'a>,
    pub(super) deadline: Instant,
}

/// What there is of the recording, in a new file beside the target.
struct Part {
    file: NamedTempFile,
    bytes: u64,
    /// The strong entity tag of the version that it is part of (RFC 9110 §8.8.3).
    tag: Option<String>,
    content_type: Option<String>,
}

/// Why a body was not read to its end.
enum Stop {
    /// The connection broke off; the rest may be asked for.
    Broken(FetchError),
    /// Nothing more is wanted.
    Final(FetchError),
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

impl Transfer<'_> {
    /// Returns the recording in a file, when all of it is on the disk.
    pub(super) fn run(
        &self,
        url: &CheckedUrl,
        progress: &mut dyn FnMut(FetchProgress),
    ) -> Result<(Fetched, NamedTempFile), FetchError> {
        let folder = self.order.to.parent().unwrap_or(Path::new("."));
        let mut part: Option<Part> = None;
        for breaks in 0.. {
            // The first URL again, since what it redirected to may have been signed for a moment.
            let (from, response) = self.follow(url.clone(), part.as_ref())?;
            let part = match &mut part {
                Some(part) => part,
                None => {
                    fs::create_dir_all(folder).map_err(FetchError::disk)?;
                    part.insert(Part {
                        file: NamedTempFile::new_in(folder).map_err(FetchError::disk)?,
                        bytes: 0,
                        tag: None,
                        content_type: None,
                    })
                }
            };
            match self.take(response, &from, part, progress) {
                Ok(()) => break,
                Err(Stop::Broken(_)) if breaks < MAX_BREAKS && part.tag.is_some() => {}
                Err(Stop::Broken(error) | Stop::Final(error)) => return Err(error),
            }
        }
        let part = part.expect("the loop ends with a part");
        part.file.as_file().sync_all().map_err(FetchError::disk)?;
        let fetched = Fetched {
            bytes: part.bytes,
            content_type: part.content_type,
        };
        Ok((fetched, part.file))
    }

    /// Asks for the URL, or for the rest of it, and for what it redirects to; returns the answer that is the recording.
    fn follow(
        &self,
        mut url: CheckedUrl,
        part: Option<&Part>,
    ) -> Result<(CheckedUrl, Response<Body>), FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let mut request = self.agent.get(url.as_str());
            if let Some((part, tag)) = part.and_then(|part| Some((part, part.tag.as_ref()?))) {
                request = request
                    .header(header::RANGE, format!("bytes={}-", part.bytes))
                    .header(header::IF_RANGE, tag);
            }
            let response = request
                .config()
                .timeout_global(Some(left))
                .build()
                .call()
                .map_err(|error| unanswered(error, &url))?;
            let status = response.status();
            match status {
                StatusCode::OK => return Ok((url, response)),
                StatusCode::PARTIAL_CONTENT if part.is_some() => return Ok((url, response)),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let Some(to) = text(response.headers(), header::LOCATION) else {
                        return Err(useless(&url, "redirects to nowhere"));
                    };
                    url = self.guard.check_redirect(&url, to)?;
                }
                _ => return Err(refused(status, &url)),
            }
        }
        Err(self.guard.too_many_redirects(&url, Purpose::Media).into())
    }

    /// Reads a body to its end, into what there is.
    fn take(
        &self,
        mut response: Response<Body>,
        url: &CheckedUrl,
        part: &mut Part,
        progress: &mut dyn FnMut(FetchProgress),
    ) -> Result<(), Stop> {
        let limits = &self.order.limits;
        part.begin(&response, url)?;
        let total = response
            .body()
            .content_length()
            .map(|n| n.saturating_add(part.bytes));
        if total.is_some_and(|total| total > limits.max_bytes) {
            return Err(too_large(limits).into());
        }
        let mut body = response.body_mut().as_reader();
        let mut block = vec![0; BLOCK];
        let started = Instant::now();
        let mut pace = Pace {
            since: Duration::ZERO,
            bytes: part.bytes,
        };
        loop {
            let read = body
                .read(&mut block)
                .map_err(|error| Stop::Broken(unanswered(ureq::Error::from(error), url)))?;
            if read == 0 {
                return Ok(());
            }
            part.bytes += read as u64;
            if part.bytes > limits.max_bytes {
                return Err(too_large(limits).into());
            }
            if !pace.keeps(limits, started.elapsed(), part.bytes) {
                let message = format!(
                    "{} sends less than {} bytes per second",
                    url.origin(),
                    limits.min_speed
                );
                return Err(FetchError::new(FetchErrorKind::Network, message).into());
            }
            part.file
                .write_all(&block[..read])
                .map_err(FetchError::disk)?;
            progress(FetchProgress {
                bytes: part.bytes,
                total,
            });
        }
    }
}

impl Part {
    /// Makes ready for a body: the rest of what there is, or the whole from its start.
    fn begin(&mut self, response: &Response<Body>, url: &CheckedUrl) -> Result<(), FetchError> {
        let headers = response.headers();
        // Nothing is unpacked, neither here nor by a decoder: a megabyte of gzip can hold a gigabyte.
        if text(headers, header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let what = "sends the recording compressed, which was not asked for: serve it as it is";
            return Err(useless(url, what));
        }
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let from = format!("bytes {}-", self.bytes);
            return match text(headers, header::CONTENT_RANGE) {
                Some(range) if range.starts_with(&from) => Ok(()),
                _ => Err(useless(url, "sends another part than was asked for")),
            };
        }
        self.bytes = 0;
        self.tag = text(headers, header::ETAG)
            .filter(|tag| tag.starts_with('"'))
            .map(str::to_owned);
        self.content_type = text(headers, header::CONTENT_TYPE).map(str::to_owned);
        self.file.as_file().set_len(0).map_err(FetchError::disk)?;
        self.file.rewind().map_err(FetchError::disk)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn useless(url: &CheckedUrl, what: &str) -> FetchError {
    FetchError::new(FetchErrorKind::Refused, format!("{} {what}", url.origin()))
}

fn too_large(limits: &FetchLimits) -> FetchError {
    let message = format!(
        "the recording is larger than {} bytes, the limit here",
        limits.max_bytes
    );
    FetchError::new(FetchErrorKind::TooLarge, message)
}

fn refused(status: StatusCode, url: &CheckedUrl) -> FetchError {
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        );
    let (kind, remedy) = match status {
        _ if passing => (FetchErrorKind::Network, "it is tried again"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            FetchErrorKind::Refused,
            "give a URL that needs no password, such as a signed one",
        ),
        _ => (FetchErrorKind::Refused, "check the URL"),
    };
    let message = format!(
        "{} answers with status {}: {remedy}",
        url.origin(),
        status.as_u16()
    );
    FetchError::new(kind, message)
}

fn unanswered(error: ureq::Error, url: &CheckedUrl) -> FetchError {
    let error = match Denied::from_http(error) {
        Ok(denied) => return denied.into(),
        Err(error) => error,
    };
    let (kind, what) = match &error {
        // Or the servers of names are out of reach, which passes.
        ureq::Error::HostNotFound => (
            FetchErrorKind::Network,
            "the host is not known: check the URL",
        ),
        ureq::Error::Timeout(_) => (FetchErrorKind::Network, "no answer in time"),
        _ if is_tls_failure(&error) => (
            FetchErrorKind::Refused,
            "no trusted TLS: its certificate must be valid for this name",
        ),
        ureq::Error::LargeResponseHeader(..) => {
            (FetchErrorKind::Refused, "its headers are too long")
        }
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::Protocol(_) => {
            (FetchErrorKind::Refused, "it does not speak HTTP properly")
        }
        _ => (
            FetchErrorKind::Network,
            "the connection failed or broke off",
        ),
    };
    FetchError {
        source: Some(Box::new(error)),
        ..FetchError::new(kind, format!("{}: {what}", url.origin()))
    }
}

/// The speed of a transfer over windows of time that follow each other.
#[derive(Debug)]
struct Pace {
    since: Duration,
    bytes: u64,
}

impl Pace {
    /// Whether the window that ends now, if one does, brought enough. `now` counts from the start, as `bytes` does.
    fn keeps(&mut self, limits: &FetchLimits, now: Duration, bytes: u64) -> bool {
        let window = now.saturating_sub(self.since);
        if window < limits.window || window.is_zero() {
            return true;
        }
        let speed = (bytes - self.bytes) as f64 / window.as_secs_f64();
        (self.since, self.bytes) = (now, bytes);
        speed >= limits.min_speed as f64
    }
}
