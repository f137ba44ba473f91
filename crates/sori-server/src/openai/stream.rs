//! The events of `stream=true`: lines of `data:` with JSON, no names of events and nothing behind the last one.

use serde::Serialize;
use sori_timeline::Document;
use utoipa::ToSchema;

use super::views::{
    DetectedLanguage, DiarizedSegment, Logprob, Usage, diarized_segments, languages, logprobs,
};
use super::{ResponseFormat, Wanted};

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum StreamEvent {
    /// More text.
    Delta(TextDelta),
    /// A segment with its speaker; for `diarized_json`, once the whole recording was heard.
    Segment(DiarizedSegment),
    /// The end.
    Done(TextDone),
}

/// More text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TextDelta {
    /// `transcript.text.delta`.
    pub r#type: &'static str,
    /// The text, with a space in front of all but the first.
    pub delta: String,
}

/// The end, with all text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TextDone {
    /// `transcript.text.done`.
    pub r#type: &'static str,
    /// All text.
    pub text: String,
    /// How sure each word is, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<Logprob>>,
    /// The languages that were detected.
    pub languages: Vec<DetectedLanguage>,
    /// What the request cost.
    pub usage: Usage,
}

/// Makes the events of one answer.
#[derive(Clone, Debug, Default)]
pub struct Deltas {
    begun: bool,
}

impl Deltas {
    /// A segment that was heard; nothing for one without text.
    pub fn heard(&mut self, text: &str) -> Option<StreamEvent> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let space = if self.begun { " " } else { "" };
        self.begun = true;
        Some(StreamEvent::Delta(TextDelta {
            r#type: "transcript.text.delta",
            delta: format!("{space}{text}"),
        }))
    }

    /// The last events: the text where none was sent yet, the segments of `diarized_json`, the end.
    pub fn finish(mut self, document: &Document, wanted: &Wanted) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        if !self.begun {
            let texts = document.segments.iter().map(|segment| &segment.text);
            events.extend(texts.filter_map(|text| self.heard(text)));
        }
        if wanted.format == ResponseFormat::DiarizedJson {
            events.extend(
                diarized_segments(document)
                    .into_iter()
                    .map(StreamEvent::Segment),
            );
        }
        events.push(StreamEvent::Done(TextDone {
            r#type: "transcript.text.done",
            text: document.text.clone(),
            logprobs: wanted.logprobs.then(|| logprobs(document)),
            languages: languages(document),
            usage: Usage::of(document),
        }));
        events
    }
}
