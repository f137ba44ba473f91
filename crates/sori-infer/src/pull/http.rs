//! One file over HTTP, going on where an earlier download stopped.
//!
//! Beside `FILE.partial` lies `FILE.partial.json`, which says what the part belongs to. It is continued (RFC 9110, range
//! requests) if the server says by the strong entity tag that the file is still the same, or if the catalogue knows the
//! SHA-256, which finds out in the end. A server that answers with the whole file gets its way.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::address::Address;
use super::{Phase, Work};
use crate::catalogue::{ModelError, ModelErrorKind};
use crate::library::files::{self, BLOCK};
use crate::library::swap;

const MAX_REDIRECTS: usize = 10;
/// A connection that brought this much was worth it: the tries are counted anew after it.
const WORTH: u64 = 1 << 20;
/// How many tries an unreachable server uses up: with the usual five it gets one second chance, not half a minute.
const UNREACHED: u32 = 3;
/// The longest wait between two tries, whatever the server asks for.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// A part is described in a few hundred bytes.
const MAX_NOTE: u64 = 64 << 10;

/// What a part belongs to.
#[derive(Serialize, Deserialize)]
struct Note {
    url: String,
    etag: Option<String>,
}

/// Why one try did not bring the whole file.
struct Failure {
    error: ModelError,
    /// How many tries it uses up: 1, more for a server that cannot even be reached, all if trying again is no use.
    cost: u32,
    /// How long the server wants us to wait.
    wait: Option<Duration>,
    gained: u64,
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self {
            error,
            cost: u32::MAX,
            wait: None,
            gained: 0,
        }
    }
}

/// Makes `partial` the complete file, not yet checked; returns whether it goes on with an earlier part.
pub(super) fn download(
    work: &Work,
    url: &Address,
    shown: &str,
    partial: &Path,
) -> Result<bool, ModelError> {
    let resumed = start(work, url, partial)? > 0;
    let (mut failed, mut waits) = (0u32, 0);
    loop {
        files::check(work.cancel)?;
        let Err(failure) = attempt(work, url, shown, partial) else {
            return Ok(resumed);
        };
        if failure.gained >= WORTH {
            (failed, waits) = (0, 0);
        }
        failed = failure.cost.saturating_add(failed);
        if failed >= work.options.tries {
            return Err(failure.error);
        }
        // 1, 2, 4, … seconds.
        let wait = failure
            .wait
            .unwrap_or(Duration::from_secs(1 << waits.min(6)));
        waits += 1;
        work.wait(shown, wait.min(MAX_WAIT), length(partial))?;
    }
}

/// Removes the note beside a part.
pub(super) fn forget(partial: &Path) -> Result<(), ModelError> {
    swap::delete(&note_path(partial))
}

/// Returns how many bytes of the part can be continued from this address.
fn start(work: &Work, url: &Address, partial: &Path) -> Result<u64, ModelError> {
    let have = length(partial);
    if have == 0 || have > work.limit() {
        return Ok(0);
    }
    let note = read_note(partial);
    let same = note.is_some_and(|note| note.url == url.shown() && note.etag.is_some());
    Ok(if same || work.file.sha256.is_some() {
        have
    } else {
        0
    })
}

fn attempt(work: &Work, url: &Address, shown: &str, partial: &Path) -> Result<(), Failure> {
    let have = start(work, url, partial)?;
    if have > 0 && Some(have) == work.file.size {
        return Ok(());
    }
    work.tell(shown, Phase::Connecting, have);
    let etag = read_note(partial)
        .filter(|note| note.url == url.shown())
        .and_then(|note| note.etag);
    let response = request(work, url, have, etag.as_deref())?;
    let status = response.status();
    let from = match status {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT => continued(response.headers(), have)?,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            swap::delete(partial)?;
            let message = "the server has less of the file than was here; it starts again";
            return Err(passing(ModelError::new(ModelErrorKind::Network, message)));
        }
        _ => return Err(refused(status, response.headers(), work, url)),
    };
    let total = response
        .body()
        .content_length()
        .map(|length| from.saturating_add(length));
    let limit = work.limit();
    if let Some(total) =
        total.filter(|&total| total > limit || work.file.size.is_some_and(|size| size != total))
    {
        let message = format!("the server offers {total} bytes instead of {limit}");
        return Err(ModelError::new(ModelErrorKind::Size, message).into());
    }
    if from == 0 {
        let needed = total.or(work.file.size).unwrap_or(0);
        files::check_room(work.stage, needed, work.options.free_space)?;
    }
    write_note(
        partial,
        &Note {
            url: url.shown(),
            etag: strong_etag(response.headers()),
        },
    )?;
    receive(
        work,
        response,
        shown,
        partial,
        from,
        total.or(work.file.size),
    )
}

/// Appends the body to the part.
fn receive(
    work: &Work,
    response: Response<Body>,
    shown: &str,
    partial: &Path,
    from: u64,
    total: Option<u64>,
) -> Result<(), Failure> {
    let failed = |e| ModelError::io(partial, "write", e);
    let opened = if from == 0 {
        File::create(partial)
    } else {
        OpenOptions::new().append(true).open(partial)
    };
    let mut file = opened.map_err(failed)?;
    let mut body = response
        .into_body()
        .into_with_config()
        .limit(u64::MAX)
        .reader();
    let mut block = vec![0; BLOCK];
    let mut size = from;
    let cut = |e: Option<std::io::Error>, size: u64| {
        let of = total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default();
        let error = ModelError::new(
            ModelErrorKind::Network,
            format!("the connection was cut after {size}{of} bytes"),
        );
        let error = match e {
            Some(e) => error.caused_by(e),
            None => error,
        };
        Failure {
            gained: size - from,
            ..passing(error)
        }
    };
    loop {
        files::check(work.cancel)?;
        work.tell(shown, Phase::Downloading, size);
        let n = match body.read(&mut block) {
            Ok(0) if total.is_some_and(|total| size < total) => return Err(cut(None, size)),
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(cut(Some(e), size)),
        };
        size += n as u64;
        if size > total.unwrap_or_else(|| work.limit()) {
            let message = format!("the server sends more than {} bytes", work.limit());
            return Err(ModelError::new(ModelErrorKind::Size, message).into());
        }
        file.write_all(&block[..n]).map_err(failed)?;
    }
    Ok(file.sync_all().map_err(failed)?)
}

/// Sends the request and follows redirects. The token goes along only as far as the endpoint itself.
fn request(
    work: &Work,
    url: &Address,
    have: u64,
    etag: Option<&str>,
) -> Result<Response<Body>, Failure> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        files::check(work.cancel)?;
        let agent = agent(work, &url)?;
        let mut request = agent
            .get(url.as_str())
            .header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(etag) = etag {
                request = request.header(header::IF_RANGE, etag);
            }
        }
        if let Some(authorization) = work.options.authorization(&url) {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.call().map_err(|e| unreachable(e, &url))?;
        if !response.status().is_redirection() {
            return Ok(response);
        }
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|l| l.to_str().ok());
        let broken = || ModelError::new(ModelErrorKind::Network, "the server redirects to nowhere");
        url = url.join(location.ok_or_else(broken)?)?;
    }
    Err(ModelError::new(
        ModelErrorKind::Network,
        format!("more than {MAX_REDIRECTS} redirects"),
    )
    .into())
}

fn agent(work: &Work, url: &Address) -> Result<Agent, ModelError> {
    let options = work.options;
    let tls = TlsConfig::builder().root_certs(roots()).build();
    let config = Agent::config_builder()
        .proxy(options.proxy(url)?)
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_recv_response(Some(options.read_timeout))
        .timeout_per_read(Some(options.read_timeout))
        .user_agent(concat!("sori/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(Agent::new_with_config(config))
}

/// The system's certificates, because a company's proxy may have put its own among them; Mozilla's where a bare container
/// has none.
fn roots() -> RootCerts {
    const USUAL: [&str; 3] = ["/etc/ssl/certs", "/etc/pki/tls", "/etc/ssl/cert.pem"];
    let bare = cfg!(target_os = "linux")
        && std::env::var_os("SSL_CERT_FILE").is_none()
        && std::env::var_os("SSL_CERT_DIR").is_none()
        && !USUAL.iter().any(|path| Path::new(path).exists());
    if bare {
        RootCerts::WebPki
    } else {
        RootCerts::PlatformVerifier
    }
}

fn unreachable(error: ureq::Error, url: &Address) -> Failure {
    let host = url.shown();
    let host = host.split('/').nth(2).unwrap_or_default();
    let (what, cost) = match &error {
        ureq::Error::HostNotFound => ("the host is not known", u32::MAX),
        ureq::Error::Timeout(_) => ("it does not answer in time", UNREACHED),
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => ("no connection", UNREACHED),
        ureq::Error::Protocol(_) => ("it does not speak HTTP properly", UNREACHED),
        _ => ("the request failed", u32::MAX),
    };
    let error = ModelError::new(
        ModelErrorKind::Network,
        format!("cannot reach {host}: {what}"),
    )
    .caused_by(error);
    Failure {
        cost,
        ..error.into()
    }
}

fn refused(status: StatusCode, headers: &HeaderMap, work: &Work, url: &Address) -> Failure {
    let hint = match status.as_u16() {
        401 | 403 if work.options.authorization(url).is_none() => {
            "; if the model needs a login, set HF_TOKEN"
        }
        401 | 403 => "; HF_TOKEN may have no access to it",
        404 => "; it is not there",
        407 => "; the proxy wants a user and password in HTTPS_PROXY",
        429 => "; too many requests, try later or set HF_TOKEN",
        _ => "",
    };
    let error = ModelError::new(
        ModelErrorKind::Network,
        format!("the server answers {status}{hint}"),
    );
    let seconds = headers
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok());
    let may_pass = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
    let cost = if may_pass { 1 } else { u32::MAX };
    Failure {
        cost,
        wait: seconds.map(Duration::from_secs),
        ..error.into()
    }
}

fn passing(error: ModelError) -> Failure {
    Failure {
        cost: 1,
        ..error.into()
    }
}

/// Returns where a partial answer begins, which must be where the part ends.
fn continued(headers: &HeaderMap, have: u64) -> Result<u64, ModelError> {
    let range = headers
        .get(header::CONTENT_RANGE)
        .and_then(|range| range.to_str().ok());
    let from = range.and_then(|range| {
        range
            .strip_prefix("bytes ")?
            .split_once('-')?
            .0
            .trim()
            .parse()
            .ok()
    });
    if from == Some(have) && have > 0 {
        return Ok(have);
    }
    Err(ModelError::new(
        ModelErrorKind::Network,
        "the server sends another part of the file than was asked for",
    ))
}

/// A weak tag (`W/`) does not promise the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    (etag.starts_with('"') && etag.len() > 2 && etag.len() < 1000).then(|| etag.to_owned())
}

fn note_path(partial: &Path) -> PathBuf {
    let mut path = partial.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

fn read_note(partial: &Path) -> Option<Note> {
    let text = files::read_small(&note_path(partial), MAX_NOTE).ok()?;
    // The tag goes into a header; a note that was tampered with counts as none.
    serde_json::from_slice(&text).ok().filter(|note: &Note| {
        note.etag
            .as_ref()
            .is_none_or(|tag| tag.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
    })
}

fn write_note(partial: &Path, note: &Note) -> Result<(), ModelError> {
    let path = note_path(partial);
    let text = serde_json::to_vec(note).expect("a note is plain text");
    fs::write(&path, text).map_err(|e| ModelError::io(&path, "write", e))
}

fn length(partial: &Path) -> u64 {
    fs::metadata(partial).map_or(0, |found| found.len())
}
