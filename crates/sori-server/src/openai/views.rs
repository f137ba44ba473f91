//! A document in the shapes of OpenAI's audio API.

use std::collections::BTreeSet;

use serde::Serialize;
use sori_timeline::{Document, Segment, TimelineError, export};
use utoipa::ToSchema;

use super::{ResponseFormat, Wanted, language};
use crate::punctuation::bare;

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// For `json`.
    Json(Transcription),
    /// For `verbose_json`.
    Verbose(TranscriptionVerbose),
    /// For `diarized_json`.
    Diarized(TranscriptionDiarized),
    /// For `text`, `srt` and `vtt`.
    Text(String),
}

/// The answer to a request.
///
/// # Errors
/// When a document cannot be written as subtitles.
pub fn answer(document: &Document, wanted: &Wanted) -> Result<Answer, TimelineError> {
    Ok(match wanted.format {
        ResponseFormat::Json => Answer::Json(json(document, wanted)),
        ResponseFormat::VerboseJson => Answer::Verbose(verbose_json(document, wanted)),
        ResponseFormat::DiarizedJson => Answer::Diarized(diarized_json(document)),
        ResponseFormat::Text if wanted.speakers => {
            Answer::Text(exported(document, export::Format::Txt)?)
        }
        ResponseFormat::Text => Answer::Text(format!("{}\n", document.text)),
        ResponseFormat::Srt => Answer::Text(exported(document, export::Format::Srt)?),
        ResponseFormat::Vtt => Answer::Text(exported(document, export::Format::Vtt)?),
    })
}

fn exported(document: &Document, format: export::Format) -> Result<String, TimelineError> {
    let mut out = Vec::new();
    format.write(document, &export::ExportOptions::default(), &mut out)?;
    Ok(String::from_utf8(out).expect("text formats are written from strings"))
}

/// `json`: the text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Transcription {
    /// All text.
    pub text: String,
    /// How sure each word is, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<Logprob>>,
    /// The languages that were detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub languages: Option<Vec<DetectedLanguage>>,
    /// What the request cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How sure a word is. A document keeps probabilities of words and not of the recogniser's tokens, so a word is what stands
/// for a token here.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Logprob {
    /// The word, with a space in front of all but the first.
    pub token: String,
    /// Natural logarithm of its probability, at most 0.
    pub logprob: f64,
    /// The word in UTF-8.
    pub bytes: Vec<u8>,
}

/// A language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DetectedLanguage {
    /// Its code (ISO 639-1).
    pub code: String,
}

/// What a request cost: sound that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// `duration`.
    pub r#type: &'static str,
    /// Length of the recording in seconds.
    pub seconds: f64,
}

impl Usage {
    /// What hearing the recording cost.
    pub fn of(document: &Document) -> Self {
        Self {
            r#type: "duration",
            seconds: seconds(document.duration),
        }
    }
}

/// `verbose_json`: segments, and words where asked.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TranscriptionVerbose {
    /// `transcribe` or `translate`.
    pub task: &'static str,
    /// Full English name of the language, in lower case.
    pub language: String,
    /// Length of the recording in seconds.
    pub duration: f64,
    /// All text.
    pub text: String,
    /// The segments, unless words alone were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<Vec<VerboseSegment>>,
    /// The words, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<VerboseWord>>,
    /// What the request cost.
    pub usage: Usage,
}

/// A segment of [`TranscriptionVerbose`].
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VerboseSegment {
    /// Number, from 0.
    pub id: usize,
    /// Where it begins, in frames of 10 ms.
    pub seek: u64,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Its text, with a space in front.
    pub text: String,
    /// Empty: a document keeps words and not the recogniser's tokens.
    pub tokens: Vec<u32>,
    /// The temperature that gave the text.
    pub temperature: f64,
    /// Mean log-probability of its tokens.
    pub avg_logprob: f64,
    /// How well the text can be compressed.
    pub compression_ratio: f64,
    /// Probability that nobody speaks.
    pub no_speech_prob: f64,
}

/// A word of [`TranscriptionVerbose`].
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VerboseWord {
    /// The word without the punctuation around it.
    pub word: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
}

/// `diarized_json`: who said what.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TranscriptionDiarized {
    /// `transcribe`.
    pub task: &'static str,
    /// Length of the recording in seconds.
    pub duration: f64,
    /// The dialogue: a line for each change of the speaker, `A: …`.
    pub text: String,
    /// What each speaker said.
    pub segments: Vec<DiarizedSegment>,
    /// What the request cost.
    pub usage: Usage,
}

/// A segment of [`TranscriptionDiarized`].
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DiarizedSegment {
    /// `transcript.text.segment`.
    pub r#type: &'static str,
    /// `seg_001` and so on.
    pub id: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// What was said.
    pub text: String,
    /// A name, or `A`, `B` and so on for those without one.
    pub speaker: String,
}

fn json(document: &Document, wanted: &Wanted) -> Transcription {
    Transcription {
        text: document.text.clone(),
        logprobs: wanted.logprobs.then(|| logprobs(document)),
        // A translation is an object with its text.
        languages: (!wanted.translated).then(|| languages(document)),
        usage: (!wanted.translated).then(|| Usage::of(document)),
    }
}

/// The language of the document, unless nobody spoke.
pub(super) fn languages(document: &Document) -> Vec<DetectedLanguage> {
    let mut codes: Vec<&str> = vec![&document.language];
    let others = document
        .segments
        .iter()
        .filter_map(|s| s.language.as_deref());
    codes.extend(others);
    let mut seen = BTreeSet::from([""]);
    codes.retain(|code| seen.insert(code));
    codes
        .into_iter()
        .map(|code| DetectedLanguage {
            code: code.to_owned(),
        })
        .collect()
}

/// One entry a word; of a segment without words, one for all of it.
pub(super) fn logprobs(document: &Document) -> Vec<Logprob> {
    let mut all = Vec::new();
    let mut add = |text: &str, logprob: f64| {
        let token = if all.is_empty() {
            text.to_owned()
        } else {
            format!(" {text}")
        };
        all.push(Logprob {
            logprob: score(logprob.min(0.0)),
            bytes: token.as_bytes().to_vec(),
            token,
        });
    };
    for segment in &document.segments {
        if segment.words.is_empty() {
            add(&segment.text, f64::from(segment.avg_logprob));
        }
        for word in &segment.words {
            // JSON knows no infinity: below 1e-5 a probability of four decimals is no longer told from 0.
            add(&word.word, f64::from(word.score).max(1e-5).ln());
        }
    }
    all
}

fn verbose_json(document: &Document, wanted: &Wanted) -> TranscriptionVerbose {
    let words = document.segments.iter().flat_map(|segment| &segment.words);
    let (task, spoken) = match wanted.translated {
        true => ("translate", "english"),
        false => ("transcribe", language::name(&document.language)),
    };
    TranscriptionVerbose {
        task,
        language: spoken.to_owned(),
        duration: seconds(document.duration),
        text: document.text.clone(),
        segments: wanted
            .segments
            .then(|| document.segments.iter().map(verbose_segment).collect()),
        words: wanted.words.then(|| {
            words
                .map(|word| VerboseWord {
                    word: bare(&word.word).to_owned(),
                    start: seconds(word.start),
                    end: seconds(word.end),
                })
                .collect()
        }),
        usage: Usage::of(document),
    }
}

fn verbose_segment(segment: &Segment) -> VerboseSegment {
    VerboseSegment {
        id: segment.id,
        seek: (segment.start * 100.0) as u64,
        start: seconds(segment.start),
        end: seconds(segment.end),
        text: format!(" {}", segment.text),
        tokens: Vec::new(),
        temperature: score(f64::from(segment.temperature)),
        avg_logprob: score(f64::from(segment.avg_logprob)),
        compression_ratio: score(f64::from(segment.compression_ratio)),
        no_speech_prob: score(f64::from(segment.no_speech_prob)),
    }
}

fn diarized_json(document: &Document) -> TranscriptionDiarized {
    let segments = diarized_segments(document);
    let mut text = String::new();
    let mut last = "";
    for segment in &segments {
        if segment.speaker == last {
            text.push(' ');
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&segment.speaker);
            text.push_str(": ");
        }
        text.push_str(&segment.text);
        last = &segment.speaker;
    }
    TranscriptionDiarized {
        task: "transcribe",
        duration: seconds(document.duration),
        text,
        segments,
        usage: Usage::of(document),
    }
}

/// What each speaker said, in order.
pub(super) fn diarized_segments(document: &Document) -> Vec<DiarizedSegment> {
    let labels = Labels::of(document);
    let spoken = document
        .segments
        .iter()
        .filter(|segment| !segment.text.is_empty());
    spoken
        .enumerate()
        .map(|(index, segment)| DiarizedSegment {
            r#type: "transcript.text.segment",
            id: format!("seg_{:03}", index + 1),
            start: seconds(segment.start),
            end: seconds(segment.end),
            text: segment.text.clone(),
            speaker: labels.label(segment),
        })
        .collect()
}

/// What speakers are called: names stay, and the numbered ones are `A`, `B`, … in order of their first words.
struct Labels<'a>(Vec<(&'a str, String)>);

impl<'a> Labels<'a> {
    fn of(document: &'a Document) -> Self {
        let ids = || document.segments.iter().filter_map(id);
        let names: BTreeSet<_> = ids().filter(|id| !is_number(id)).collect();
        let mut letters = (0..).map(letter).filter(|l| !names.contains(l.as_str()));
        let mut labels: Vec<(&str, String)> = Vec::new();
        for id in ids() {
            if !labels.iter().any(|(known, _)| *known == id) {
                let mut letter = || letters.next().expect("there is no last letter");
                let label = if is_number(id) {
                    letter()
                } else {
                    id.to_owned()
                };
                labels.push((id, label));
            }
        }
        Self(labels)
    }

    /// Where nobody was told apart all is said by `A`; who was not found among others is `UNKNOWN`, as in the exports.
    fn label(&self, segment: &Segment) -> String {
        let label = |id| self.0.iter().find(|(known, _)| *known == id);
        match id(segment).and_then(label) {
            Some((_, label)) => label.clone(),
            None if self.0.is_empty() => "A".to_owned(),
            None => "UNKNOWN".to_owned(),
        }
    }
}

fn id(segment: &Segment) -> Option<&str> {
    segment
        .speaker
        .as_ref()
        .map(|speaker| speaker.speaker_id.as_str())
}

/// Whether an id is `SPEAKER_00` and so on, and not a name.
fn is_number(id: &str) -> bool {
    id.strip_prefix("SPEAKER_")
        .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// `A` to `Z`, then `AA` and so on, as columns of a table are called.
fn letter(index: usize) -> String {
    let last = char::from(b'A' + (index % 26) as u8);
    match index / 26 {
        0 => last.to_string(),
        more => format!("{}{last}", letter(more - 1)),
    }
}

/// Seconds to the millisecond, as everywhere in documents.
pub(super) fn seconds(value: f64) -> f64 {
    rounded(value, 1e3)
}

fn score(value: f64) -> f64 {
    rounded(value, 1e4)
}

fn rounded(value: f64, steps: f64) -> f64 {
    if value.is_finite() {
        (value * steps).round() / steps
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
