//! JSON of other programs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Kind;
use crate::{ErrorKind, TimelineError, Transcript, Utterance};

/// Whether an object is ours or WhisperX's: only ours has a duration.
pub(super) fn kind(bytes: &[u8]) -> Kind {
    #[derive(Deserialize)]
    struct Probe {
        duration: Option<Value>,
        metadata: Option<Value>,
    }
    match serde_json::from_slice::<Probe>(bytes) {
        Ok(probe) if probe.duration.is_none() && probe.metadata.is_none() => Kind::WhisperX,
        _ => Kind::Document,
    }
}

pub(super) fn broken(error: serde_json::Error) -> TimelineError {
    TimelineError::new(
        ErrorKind::Parse,
        format!("line {} column {}", error.line(), error.column()),
        error.to_string(),
    )
}

#[derive(Deserialize)]
struct WhisperX {
    segments: Vec<Piece>,
}

#[derive(Deserialize)]
struct Piece {
    start: f64,
    end: f64,
    #[serde(default)]
    text: String,
    speaker: Option<String>,
    #[serde(default)]
    words: Vec<TimedWord>,
}

#[derive(Deserialize)]
struct TimedWord {
    word: String,
    start: Option<f64>,
    end: Option<f64>,
    speaker: Option<String>,
}

/// Words that WhisperX could not align have no time; they get the end of the word in front.
pub(super) fn whisperx(text: &str) -> Result<Vec<Transcript>, TimelineError> {
    let read: WhisperX = serde_json::from_str(text).map_err(broken)?;
    let (mut utterances, mut words) = (Vec::new(), Vec::new());
    let all_words = read
        .segments
        .iter()
        .all(|s| s.text.trim().is_empty() || !s.words.is_empty());
    for segment in read.segments {
        let speaker = segment.speaker.unwrap_or_default();
        let mut last = segment.start;
        for word in segment.words {
            let start = word.start.unwrap_or(last);
            last = word.end.unwrap_or(start).max(start);
            words.push(Utterance {
                speaker: word.speaker.unwrap_or_else(|| speaker.clone()),
                start,
                end: last,
                text: word.word,
            });
        }
        utterances.push(Utterance {
            speaker,
            start: segment.start,
            end: segment.end,
            text: segment.text,
        });
    }
    let mut transcript = Transcript::of(String::new(), utterances, true);
    transcript.words = all_words.then_some(words);
    Ok(vec![transcript])
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    session_id: Value,
    #[serde(default)]
    speaker: Value,
    #[serde(default)]
    words: String,
    start_time: Option<f64>,
    end_time: Option<f64>,
}

pub(super) fn seglst(text: &str) -> Result<Vec<Transcript>, TimelineError> {
    let read: Vec<Said> = serde_json::from_str(text).map_err(broken)?;
    let name = |value: Value| match value {
        Value::String(name) => name,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut recordings: BTreeMap<String, (bool, Vec<Utterance>)> = BTreeMap::new();
    if read.is_empty() {
        recordings.insert(String::new(), (true, Vec::new()));
    }
    for said in read {
        let (timed, utterances) = recordings
            .entry(name(said.session_id))
            .or_insert((true, Vec::new()));
        *timed &= said.start_time.is_some() && said.end_time.is_some();
        utterances.push(Utterance {
            speaker: name(said.speaker),
            start: said.start_time.unwrap_or(0.0),
            end: said.end_time.unwrap_or(0.0),
            text: said.words,
        });
    }
    let transcripts = recordings
        .into_iter()
        .map(|(recording, (timed, mut said))| {
            if !timed {
                // Half of the times would put the others in front of all.
                said.iter_mut()
                    .for_each(|said| (said.start, said.end) = (0.0, 0.0));
            }
            Transcript::of(recording, said, timed)
        });
    Ok(transcripts.collect())
}
