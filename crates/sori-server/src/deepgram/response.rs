//! A document in the shape that Deepgram answers with.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use sori_timeline::{Document, Word};
use utoipa::ToSchema;

use super::Shape;
use super::query::Warning;
use crate::punctuation::{bare, ends_sentence, spacer};

/// Most sentences of a paragraph whose speaker does not change.
const PARAGRAPH_SENTENCES: usize = 5;

/// What an answer tells that is not in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Id of the request, which is the job's.
    pub request_id: String,
    /// SHA-256 of the recording's bytes, lower-case hex; empty for one that lay elsewhere.
    pub sha256: String,
    /// When the request came, Unix milliseconds.
    pub created_ms: i64,
}

/// The answer to a request with a callback: the result goes there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Accepted {
    /// Id of the request, which is the job's.
    pub request_id: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenResponse {
    /// How it was made.
    pub metadata: ListenMetadata,
    /// What was said.
    pub results: ListenResults,
}

/// How an answer was made.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenMetadata {
    /// `deprecated`, as Deepgram has it.
    pub transaction_key: &'static str,
    /// Id of the request, which is the job's.
    pub request_id: String,
    /// SHA-256 of the recording's bytes.
    pub sha256: String,
    /// When the request came (RFC 3339).
    pub created: String,
    /// Length of the recording in seconds.
    pub duration: f64,
    /// 1: all channels are heard as one.
    pub channels: u32,
    /// Ids of models.
    pub models: Vec<String>,
    /// Name, version and kind of each model by its id.
    pub model_info: BTreeMap<String, ModelInfo>,
    /// What told speakers apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diarize_info: Option<DiarizeInfo>,
    /// The labels of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The pairs of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
    /// What was asked for and is not done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// The program that ran it.
    pub version: String,
    /// What it did, such as `transcribe`.
    pub arch: String,
}

/// What told speakers apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DiarizeInfo {
    /// Id of the model.
    pub model_uuid: String,
    /// Its name.
    pub arch: String,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenResults {
    /// One: all channels are heard as one.
    pub channels: Vec<ListenChannel>,
    /// What was said between pauses, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utterances: Option<Vec<ListenUtterance>>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenChannel {
    /// The one reading of it.
    pub alternatives: Vec<Alternative>,
    /// The language, where it was to be detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_language: Option<String>,
    /// Its probability, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language_confidence: Option<f64>,
}

/// A reading of a channel.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Alternative {
    /// All text.
    pub transcript: String,
    /// Mean confidence of the words, 0 to 1.
    pub confidence: f64,
    /// The words.
    pub words: Vec<ListenWord>,
    /// The text in paragraphs, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraphs: Option<Paragraphs>,
}

/// A word.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenWord {
    /// The word in lower case, without punctuation.
    pub word: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Confidence, 0 to 1.
    pub confidence: f64,
    /// Who said it, from 0, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<usize>,
    /// Probability that it was this speaker, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker_confidence: Option<f64>,
    /// The word as it is written, where punctuation was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub punctuated_word: Option<String>,
}

/// Text in paragraphs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Paragraphs {
    /// All text, with an empty line between paragraphs.
    pub transcript: String,
    /// The paragraphs.
    pub paragraphs: Vec<Paragraph>,
}

/// A paragraph.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Paragraph {
    /// Its sentences.
    pub sentences: Vec<Sentence>,
    /// Who said it, from 0, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<usize>,
    /// Number of its words.
    pub num_words: usize,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
}

/// A sentence.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Sentence {
    /// Its text.
    pub text: String,
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
}

/// What was said between two pauses by one speaker.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ListenUtterance {
    /// Start in seconds.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Mean confidence of the words, 0 to 1.
    pub confidence: f64,
    /// 0.
    pub channel: usize,
    /// Its text.
    pub transcript: String,
    /// Its words.
    pub words: Vec<ListenWord>,
    /// Who said it, from 0, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaker: Option<usize>,
    /// Id of the utterance.
    pub id: String,
}

/// The answer to a request, as its shape was asked for.
pub fn response(document: &Document, shape: &Shape, recording: &Recording) -> ListenResponse {
    let spoken = spoken(document, shape);
    let text = Writing {
        spacer: spacer(&document.language),
        punctuated: shape.punctuated,
    };
    let transcript = match shape.punctuated {
        true => document.text.clone(),
        false => unpunctuated(&document.text),
    };
    let alternative = Alternative {
        transcript,
        confidence: confidence(&spoken),
        paragraphs: shape.paragraphs.then(|| paragraphs(&spoken, text)),
        words: spoken.clone(),
    };
    let probability = document.language_probability.map(|p| rounded(f64::from(p)));
    let detected = shape.detect_language.then(|| document.language.clone());
    ListenResponse {
        metadata: metadata(document, shape, recording),
        results: ListenResults {
            channels: vec![ListenChannel {
                alternatives: vec![alternative],
                language_confidence: detected.as_ref().and(probability),
                detected_language: detected,
            }],
            utterances: shape.utterances.then(|| {
                let cut = |a: &ListenWord, b: &ListenWord| {
                    b.start - a.end >= shape.utterance_split || b.speaker != a.speaker
                };
                let runs = runs(&spoken, cut).into_iter().enumerate();
                runs.map(|(index, words)| utterance(words, text, id(recording, index)))
                    .collect()
            }),
        },
    }
}

fn metadata(document: &Document, shape: &Shape, recording: &Recording) -> ListenMetadata {
    let mut model_info = BTreeMap::new();
    let mut diarize_info = None;
    for (role, model) in &document.metadata.model_versions {
        let id = hashed(&[&model.name, model.sha256.as_deref().unwrap_or_default()]);
        if shape.speakers && role == "segmentation" {
            diarize_info = Some(DiarizeInfo {
                model_uuid: id.clone(),
                arch: model.name.clone(),
            });
        }
        model_info.insert(
            id,
            ModelInfo {
                name: model.name.clone(),
                version: document.metadata.generator.clone(),
                arch: role.clone(),
            },
        );
    }
    let created = jiff::Timestamp::from_millisecond(recording.created_ms).unwrap_or_default();
    ListenMetadata {
        transaction_key: "deprecated",
        request_id: recording.request_id.clone(),
        sha256: recording.sha256.clone(),
        created: created.to_string(),
        duration: rounded(document.duration),
        channels: 1,
        models: model_info.keys().cloned().collect(),
        model_info,
        diarize_info,
        tags: shape.tags.clone(),
        extra: shape.extra.clone(),
        warnings: shape.warnings.clone(),
    }
}

/// The words of a document; speakers are numbered in order of their first words.
fn spoken(document: &Document, shape: &Shape) -> Vec<ListenWord> {
    let mut speakers: Vec<&str> = Vec::new();
    let mut number = |name| match speakers.iter().position(|known| *known == name) {
        Some(index) => index,
        None => {
            speakers.push(name);
            speakers.len() - 1
        }
    };
    let mut all = Vec::new();
    for segment in &document.segments {
        let said_by = segment.speaker.as_ref().map(|s| s.speaker_id.as_str());
        for word in &segment.words {
            let speaker = word.speaker.as_deref().or(said_by);
            let speaker = speaker.filter(|_| shape.speakers).map(&mut number);
            all.push(listen_word(word, speaker, shape));
        }
    }
    all
}

fn listen_word(word: &Word, speaker: Option<usize>, shape: &Shape) -> ListenWord {
    let score = word.speaker_score.filter(|_| speaker.is_some());
    ListenWord {
        word: bare(&word.word).to_lowercase(),
        start: rounded(word.start),
        end: rounded(word.end),
        confidence: rounded(f64::from(word.score)),
        speaker,
        speaker_confidence: score.map(|score| rounded(f64::from(score))),
        punctuated_word: shape.punctuated.then(|| word.word.clone()),
    }
}

/// Text as it is where punctuation was not asked for.
fn unpunctuated(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(bare).collect();
    let text = words.join(" ").to_lowercase();
    text.replace(['。', '、', '，', '！', '？'], "")
}

/// How words are written one after the other.
#[derive(Clone, Copy)]
struct Writing {
    spacer: &'static str,
    punctuated: bool,
}

impl Writing {
    fn text(self, words: &[ListenWord]) -> String {
        let written = |word: &ListenWord| match &word.punctuated_word {
            Some(written) if self.punctuated => written.clone(),
            _ => word.word.clone(),
        };
        let written: Vec<_> = words.iter().map(written).collect();
        written.join(self.spacer)
    }
}

/// The words in runs, each of which ends where `cut` says so of two neighbours.
fn runs(
    words: &[ListenWord],
    cut: impl Fn(&ListenWord, &ListenWord) -> bool,
) -> Vec<&[ListenWord]> {
    words.chunk_by(|a, b| !cut(a, b)).collect()
}

fn utterance(words: &[ListenWord], text: Writing, id: String) -> ListenUtterance {
    let (start, end) = span(words);
    ListenUtterance {
        start,
        end,
        confidence: confidence(words),
        channel: 0,
        transcript: text.text(words),
        speaker: words.first().and_then(|word| word.speaker),
        words: words.to_vec(),
        id,
    }
}

fn paragraphs(words: &[ListenWord], text: Writing) -> Paragraphs {
    let ends = |word: &ListenWord| word.punctuated_word.as_deref().is_some_and(ends_sentence);
    let sentences = runs(words, |a, b| ends(a) || a.speaker != b.speaker);
    let speaker = |sentence: &[ListenWord]| sentence.first().and_then(|word| word.speaker);
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    for sentence in sentences {
        let (start, end) = span(sentence);
        let one = Sentence {
            text: text.text(sentence),
            start,
            end,
        };
        match paragraphs.last_mut() {
            Some(last)
                if last.speaker == speaker(sentence)
                    && last.sentences.len() < PARAGRAPH_SENTENCES =>
            {
                last.num_words += sentence.len();
                last.end = end;
                last.sentences.push(one);
            }
            _ => paragraphs.push(Paragraph {
                sentences: vec![one],
                speaker: speaker(sentence),
                num_words: sentence.len(),
                start,
                end,
            }),
        }
    }
    let texts: Vec<_> = paragraphs.iter().map(|p| paragraph_text(p, text)).collect();
    let transcript = match texts.is_empty() {
        true => String::new(),
        // Deepgram begins with a line break.
        false => format!("\n{}", texts.join("\n\n")),
    };
    Paragraphs {
        transcript,
        paragraphs,
    }
}

fn paragraph_text(paragraph: &Paragraph, text: Writing) -> String {
    let sentences: Vec<_> = paragraph
        .sentences
        .iter()
        .map(|s| s.text.as_str())
        .collect();
    let sentences = sentences.join(text.spacer);
    match paragraph.speaker {
        Some(speaker) => format!("Speaker {speaker}: {sentences}"),
        None => sentences,
    }
}

fn span(words: &[ListenWord]) -> (f64, f64) {
    let first = words.first().map_or(0.0, |word| word.start);
    (first, words.last().map_or(first, |word| word.end))
}

/// The mean confidence; 0 where nothing was said.
fn confidence(words: &[ListenWord]) -> f64 {
    let sum: f64 = words.iter().map(|word| word.confidence).sum();
    rounded(sum / words.len().max(1) as f64)
}

/// The id of an utterance: the same for the same request.
fn id(recording: &Recording, index: usize) -> String {
    hashed(&[&recording.request_id, &index.to_string()])
}

/// An id made of texts (RFC 9562, version 8: the first bytes of their SHA-256).
fn hashed(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// To four decimals; what is not finite is 0.
fn rounded(value: f64) -> f64 {
    if value.is_finite() {
        (value * 1e4).round() / 1e4
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
