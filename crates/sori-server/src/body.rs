//! JSON bodies of requests, within limits of size and time.

use std::time::Duration;

use axum::extract::Request;
use futures::StreamExt;
use serde::de::DeserializeOwned;

use crate::{ApiError, ErrorKind};

/// Largest body in bytes.
const MOST: usize = 1 << 20;
/// Bytes that are read and forgotten of a larger one: a client that still sends hears the answer only when it could send for a
/// while (RFC 9112, section 9.6).
const LINGER: usize = 16 << 20;
/// Time in which it must arrive.
const TIME: Duration = Duration::from_secs(30);

/// A header as text.
pub(crate) fn header_text(request: &Request, name: &str) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// The body of a request as what its JSON says.
///
/// # Errors
/// 415 for another media type, 413 for more than 1 MB, 400 with the place of what is wrong in it.
pub(crate) async fn json_body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let kind = header_text(&request, "content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind != "application/json" && !kind.ends_with("+json") {
        let message = "send JSON, with the header Content-Type: application/json";
        return Err(ApiError::new(ErrorKind::MediaType, message));
    }
    let wrong = |message: String| ApiError::new(ErrorKind::Invalid, message);
    let read = tokio::time::timeout(TIME, read(request)).await;
    let bytes = read.map_err(|_| wrong("the body came too slowly".to_owned()))??;
    serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the body: {e}")))
}

async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    let mut stream = request.into_body().into_data_stream();
    let (mut bytes, mut came) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|e| ApiError::new(ErrorKind::Invalid, format!("the body broke off: {e}")))?;
        came += chunk.len();
        if came <= MOST {
            bytes.extend_from_slice(&chunk);
        } else if came > LINGER {
            break;
        }
    }
    match came {
        0..=MOST => Ok(bytes),
        _ => Err(ApiError::new(
            ErrorKind::TooLarge,
            "a JSON body has at most 1 MB",
        )),
    }
}
