//! How numbers are written: times to 1 ms, scores to four decimals, never `NaN`. Formats that are not for people (MessagePack, in
//! which stage results are kept) take numbers as they are, so that nothing is lost on the way to the document.

use serde::{Serializer, ser::Error};

/// Writes a time in seconds rounded to 1 ms.
///
/// # Errors
/// When it is not finite: a document with such a time is broken, and JSON could only hold `null`.
pub(crate) fn seconds<S: Serializer>(value: &f64, out: S) -> Result<S::Ok, S::Error> {
    if !out.is_human_readable() {
        return out.serialize_f64(*value);
    }
    if !value.is_finite() {
        return Err(S::Error::custom("a time is not a finite number of seconds"));
    }
    out.serialize_f64((value * 1000.0).round() / 1000.0)
}

/// Writes a score rounded to four decimals. What is not finite becomes the nearest finite number (0 for `NaN`): a
/// decoder's log-probability of minus infinity must not cost the whole document.
pub(crate) fn score<S: Serializer>(value: &f32, out: S) -> Result<S::Ok, S::Error> {
    if !out.is_human_readable() {
        return out.serialize_f32(*value);
    }
    let finite = if value.is_nan() {
        0.0
    } else {
        value.clamp(-1e9, 1e9)
    };
    out.serialize_f64((f64::from(finite) * 1e4).round() / 1e4)
}

/// Writes an optional score as [`score`] does.
pub(crate) fn score_option<S: Serializer>(value: &Option<f32>, out: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => score(value, out),
        None => out.serialize_none(),
    }
}
