//! What a recording is compared by: who spoke when, and what was said when and by whom.

use std::collections::BTreeSet;

use crate::{Document, Segment, Turn};

/// Words that one speaker says in one go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Utterance {
    /// Who says them; empty when unknown.
    pub speaker: String,
    /// Start in seconds from the start of the recording; 0 when no time is known.
    pub start: f64,
    /// End in seconds; 0 when no time is known.
    pub end: f64,
    /// What is said.
    pub text: String,
}

/// One recording as a reference or a hypothesis knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// Name of the recording, where the file gives one.
    pub recording: String,
    /// Who spoke when; `None` when the file does not tell.
    pub turns: Option<Vec<Turn>>,
    /// What was said, in order; `None` when the file does not tell.
    pub utterances: Option<Vec<Utterance>>,
    /// The same, one word each, where the time of every word is known.
    pub words: Option<Vec<Utterance>>,
    /// Whether the utterances have times.
    pub timed: bool,
}

impl Transcript {
    /// What was said, as finely as it is known; empty when it is not.
    pub fn spoken(&self) -> &[Utterance] {
        let spoken = self.words.as_ref().or(self.utterances.as_ref());
        spoken.map_or(&[], Vec::as_slice)
    }

    /// The text of all utterances in order of their start, one a line.
    pub fn text(&self) -> String {
        let mut order: Vec<&Utterance> = self.utterances.iter().flatten().collect();
        order.sort_by(|a, b| a.start.total_cmp(&b.start));
        let texts: Vec<&str> = order.iter().map(|said| said.text.as_str()).collect();
        texts.join("\n")
    }

    /// Whether it is known who said what.
    pub fn names_speakers(&self) -> bool {
        self.spoken().iter().any(|said| !said.speaker.is_empty())
    }

    /// A transcript of utterances. Where they have times, they are turns if any has a speaker, and words if each is one.
    pub(crate) fn of(recording: String, utterances: Vec<Utterance>, timed: bool) -> Self {
        let turn = |said: &Utterance| Turn {
            start: said.start,
            end: said.end,
            speaker: said.speaker.clone(),
        };
        let named = || utterances.iter().filter(|said| !said.speaker.is_empty());
        let single = utterances
            .iter()
            .all(|said| said.text.split_whitespace().nth(1).is_none());
        Self {
            recording,
            turns: (timed && named().next().is_some()).then(|| named().map(turn).collect()),
            words: (timed && single).then(|| utterances.clone()),
            utterances: Some(utterances),
            timed,
        }
    }
}

impl From<&Document> for Transcript {
    /// Turns as they are, or else the segments of each speaker; words where every segment with a text has them.
    fn from(document: &Document) -> Self {
        let who = |segment: &Segment| {
            let speaker = segment.speaker.as_ref();
            speaker.map_or_else(String::new, |speaker| speaker.speaker_id.clone())
        };
        let spoken = || {
            document
                .segments
                .iter()
                .filter(|s| !s.text.trim().is_empty())
        };
        let utterances: Vec<Utterance> = spoken()
            .map(|segment| Utterance {
                speaker: who(segment),
                start: segment.start,
                end: segment.end,
                text: segment.text.clone(),
            })
            .collect();
        let words = || {
            let of = |segment| {
                let words = move |word: &crate::Word| Utterance {
                    speaker: word.speaker.clone().unwrap_or_else(|| who(segment)),
                    start: word.start,
                    end: word.end,
                    text: word.word.clone(),
                };
                segment.words.iter().map(words)
            };
            spoken().flat_map(of).collect()
        };
        let mut transcript = Self::of(String::new(), utterances, true);
        transcript.words = spoken()
            .all(|segment| !segment.words.is_empty())
            .then(words);
        if !document.turns.is_empty() {
            transcript.turns = Some(document.turns.clone());
        }
        transcript
    }
}

/// The names of the speakers in alphabetic order, each once.
pub(crate) fn speakers<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}
