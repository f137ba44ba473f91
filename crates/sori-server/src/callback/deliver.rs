//! One attempt to deliver a callback.

use std::time::{Duration, Instant};

use jiff::fmt::rfc2822;
use ureq::http::{HeaderMap, header};

use super::schedule::Reply;
use super::sign::{Secret, sign};
use crate::netguard::{ClientLimits, Denied, Guard, Purpose, is_tls_failure};

/// How long a receiver may take if nothing else is said (Standard Webhooks 1.0.0: 15 to 30 s).
const TIMEOUT: Duration = Duration::from_secs(20);

/// Who is told.
#[derive(Clone, Debug)]
pub struct CallbackTarget {
    /// Where, as the user gave it; it is checked at each attempt.
    pub url: String,
    /// What signs it: none, one, or the old and the new one while they rotate.
    pub secrets: Vec<Secret>,
    /// How long it may take, from its name to the headers of its answer.
    pub timeout: Duration,
}

impl CallbackTarget {
    /// A receiver that has 20 seconds.
    pub fn new(url: impl Into<String>, secrets: Vec<Secret>) -> Self {
        Self {
            url: url.into(),
            secrets,
            timeout: TIMEOUT,
        }
    }
}

/// What is told.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The same at every attempt: the receiver's means to see that it had it already. Letters, digits, `_` and `-`.
    pub id: &'a str,
    /// JSON.
    pub body: &'a [u8],
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 2xx.
    Delivered,
    /// 410: the receiver wants no more.
    Disabled,
    /// 429, 502 or 504: slower.
    Throttled,
    /// The guard refused the URL.
    Denied,
    /// Every other status, redirects too, and no answer.
    Failed,
}

/// What came of an attempt, for the log of deliveries.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why there is none, or what is wrong with it. Nothing of the answer's body is in it.
    pub error: Option<String>,
    /// How long it took.
    pub millis: u64,
    /// What `Retry-After` asks for, in milliseconds from now.
    pub retry_after_ms: Option<i64>,
}

impl Outcome {
    /// How the receiver took it, for [`next_try`](super::next_try). A URL that the guard refused is tried again like any
    /// failure: a name can move, and `--allow-net` can be set.
    pub fn reply(&self) -> Reply {
        match self.verdict {
            Verdict::Delivered => Reply::Taken,
            Verdict::Disabled => Reply::Gone,
            Verdict::Throttled => Reply::Busy(self.retry_after_ms),
            Verdict::Denied | Verdict::Failed => Reply::Failed(self.retry_after_ms),
        }
    }
}

/// Posts a message with the headers of Standard Webhooks and returns what came of it; never an error. `now_ms` goes into
/// `webhook-timestamp`. Blocks for up to the target's time. The answer's body is not read.
pub fn deliver(
    guard: &Guard,
    target: &CallbackTarget,
    message: &Message<'_>,
    now_ms: i64,
) -> Outcome {
    let started = Instant::now();
    let (verdict, status, error, retry_after_ms) = match post(guard, target, message, now_ms) {
        Ok((status, headers)) => {
            let verdict = judge(status);
            let error = (verdict != Verdict::Delivered).then(|| refusal(status));
            (verdict, Some(status), error, retry_after(&headers, now_ms))
        }
        Err(Unsent::Denied(denied)) => (Verdict::Denied, None, Some(denied.message), None),
        Err(Unsent::Failed(error)) => (Verdict::Failed, None, Some(error), None),
    };
    Outcome {
        verdict,
        status,
        error,
        millis: started.elapsed().as_millis() as u64,
        retry_after_ms,
    }
}

enum Unsent {
    Denied(Denied),
    Failed(String),
}

impl From<Denied> for Unsent {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

fn post(
    guard: &Guard,
    target: &CallbackTarget,
    message: &Message<'_>,
    now_ms: i64,
) -> Result<(u16, HeaderMap), Unsent> {
    let url = guard.check_url(&target.url, Purpose::Callback)?;
    let limits = ClientLimits {
        connect: target.timeout,
        idle: target.timeout,
        total: target.timeout,
    };
    let timestamp_s = now_ms.div_euclid(1000);
    let mut request = guard
        .client(&limits, Purpose::Callback)
        .post(url.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", message.id)
        .header("webhook-timestamp", timestamp_s.to_string());
    if !target.secrets.is_empty() {
        let signature = sign(&target.secrets, message.id, timestamp_s, message.body);
        request = request.header("webhook-signature", signature);
    }
    match request.send(message.body) {
        Ok(response) => Ok((response.status().as_u16(), response.into_parts().0.headers)),
        Err(error) => match Denied::from_http(error) {
            Ok(denied) => Err(denied.into()),
            Err(error) => Err(Unsent::Failed(format!(
                "{}: {}",
                url.origin(),
                reason(&error)
            ))),
        },
    }
}

fn reason(error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Timeout(_) => "no answer in time",
        ureq::Error::HostNotFound => "the host is not known",
        _ if is_tls_failure(error) => "no trusted TLS: its certificate must be valid for this name",
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => "no connection",
        _ => "does not speak HTTP properly",
    }
}

fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Disabled,
        429 | 502 | 504 => Verdict::Throttled,
        _ => Verdict::Failed,
    }
}

fn refusal(status: u16) -> String {
    match status {
        300..=399 => {
            format!("status {status}: redirects are not followed, register the final address")
        }
        _ => format!("status {status}"),
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1000);
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some((date.as_millisecond() - now_ms).max(0))
}
