//! Who speaks in a document, in the order they are shown.

use std::collections::HashMap;

use super::wording::Wording;
use crate::{Document, Segment, Word};

/// The speakers of a document, numbered in order of first appearance; the number chooses a colour.
pub(super) struct Cast<'a> {
    ids: Vec<&'a str>,
    numbers: HashMap<&'a str, usize>,
    pub wording: Wording,
}

impl<'a> Cast<'a> {
    /// Everybody whom a turn, a word or the table of speakers names.
    pub fn of(document: &'a Document, wording: Wording) -> Self {
        let mut cast = Self {
            ids: Vec::new(),
            numbers: HashMap::new(),
            wording,
        };
        let heard = document.turns.iter().map(|turn| turn.speaker.as_str());
        let said = document.segments.iter().flat_map(|segment| {
            let own = segment.speaker.iter().map(|s| s.speaker_id.as_str());
            let words = segment.words.iter();
            own.chain(words.flat_map(|w| {
                w.speaker
                    .as_deref()
                    .into_iter()
                    .chain(w.other_speaker.as_deref())
            }))
        });
        let listed = document.speakers.keys().map(String::as_str);
        for id in heard.chain(said).chain(listed) {
            cast.numbers.entry(id).or_insert_with(|| {
                cast.ids.push(id);
                cast.ids.len() - 1
            });
        }
        cast
    }

    /// Ids in order.
    pub fn ids(&self) -> &[&'a str] {
        &self.ids
    }

    /// Number of a speaker.
    pub fn number(&self, id: &str) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    /// Number of who said a word; a word that does not say is its segment's.
    pub fn speaker(&self, segment: &Segment, word: Option<&Word>) -> Option<usize> {
        let own = word.and_then(|word| word.speaker.as_deref());
        let id = own.or(segment.speaker.as_ref().map(|s| s.speaker_id.as_str()))?;
        self.number(id)
    }

    /// What a speaker is called: an enrolled name as it is, `SPEAKER_00` as "Speaker 1".
    pub fn name(&self, number: usize) -> String {
        let id = self.ids[number];
        match id.strip_prefix("SPEAKER_").map(str::parse::<u32>) {
            Some(Ok(index)) => format!("{} {}", self.wording.get("speaker"), u64::from(index) + 1),
            _ => id.to_owned(),
        }
    }

    /// The class that gives an element a speaker's colour; ten colours go round.
    pub fn class(number: usize) -> String {
        format!("s{}", number % 10)
    }
}
