//! What a session found out, piece by piece, so that one that was killed need not find it out again.
//!
//! Kept are the results of the costly networks: each window's text as soon as it is written, its exact times as soon as they are
//! found, and what was heard of voices, batch by batch. Decoding, voice activity, loudness and acoustics are repeated: they are
//! cheap and their results always the same. So are texts: a window's attempts draw by chance from a seed that its number
//! gives, and where it is told what was said before it ([`sori_speech::transcribe::TranscribeOptions`]), the text before it
//! comes from the journal as well.
//!
//! A journal is a file that only grows: eight bytes of magic, 32 of fingerprint, then records, each the length and the CRC-32 of
//! its content (`u32`, little-endian) and the content as MessagePack. A record that is cut off or damaged ends it.

use std::collections::HashMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use sori_speech::diarize::Window;
use sori_speech::transcribe::{AudioWindow, WindowText};
use sori_timeline::{Dropped, Segment};

/// First bytes of a journal: a name and the version of what follows.
const MAGIC: [u8; 8] = *b"SORI-J\0\x01";
/// Bytes before the first record.
const HEADER: usize = MAGIC.len() + size_of::<Fingerprint>();
/// Longest content of a record, in bytes; 16 windows of voices with eight speakers each are 300 kB.
const MAX_RECORD: u32 = 16 << 20;
/// Most bytes of a journal that are read: some 50 hours. What follows is heard again.
const MAX_BYTES: u64 = 1 << 30;

/// A checksum of all that a session's results depend on: recording, options, models, version of the program.
pub type Fingerprint = [u8; 32];

/// What a session before found out; empty for one that has no past.
#[derive(Debug, Default)]
pub struct Journal {
    length: u64,
    texts: HashMap<Place, Text>,
    pub(crate) windows: Vec<Window>,
    pub(crate) slices: Vec<Vec<f32>>,
}

/// A window of sound: its first sample, and how many it has.
pub(crate) type Place = (u64, u64);

/// What was said in a window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Text {
    segments: Vec<Segment>,
    dropped: Vec<Dropped>,
    language: Option<(String, f32)>,
    tokens: Vec<u32>,
    avg_logprob: f32,
    no_speech_prob: f32,
    /// The segments with the times that an aligner found.
    #[serde(skip)]
    aligned: Option<Vec<Segment>>,
}

/// A result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Record {
    /// A window was transcribed.
    Text(Place, Text),
    /// The segments of a window were aligned.
    Aligned(Place, Vec<Segment>),
    /// Voices were heard, behind so many windows and slices.
    Voices((usize, usize), Vec<Window>, Vec<Vec<f32>>),
}

impl Journal {
    /// The beginning of a new journal's file.
    pub fn header(fingerprint: &Fingerprint) -> Vec<u8> {
        [&MAGIC[..], fingerprint].concat()
    }

    /// Reads a journal as far as it is whole. One with another fingerprint, and anything else, is taken as empty; so is what
    /// cannot be read.
    pub fn read(input: impl Read, fingerprint: &Fingerprint) -> Self {
        let mut journal = Self::default();
        let mut input = input.take(MAX_BYTES);
        let mut header = [0; HEADER];
        if input.read_exact(&mut header).is_err() || header != *Self::header(fingerprint) {
            return journal;
        }
        journal.length = HEADER as u64;
        while let Some((record, length)) = next(&mut input) {
            journal.length += length;
            journal.absorb(record);
        }
        journal
    }

    /// Bytes of the file that are whole: it is to be cut off here before more is written. 0 for a file to be begun anew.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The number of windows whose text is known.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    fn absorb(&mut self, record: Record) {
        match record {
            Record::Text(place, text) => {
                self.texts.insert(place, text);
            }
            Record::Aligned(place, segments) => {
                if let Some(text) = self.texts.get_mut(&place) {
                    text.aligned = Some(segments);
                }
            }
            Record::Voices((first_window, first_slice), windows, slices) => {
                if first_window > self.windows.len() || first_slice > self.slices.len() {
                    return;
                }
                self.windows.truncate(first_window);
                self.windows.extend(windows);
                self.slices.truncate(first_slice);
                self.slices.extend(slices);
            }
        }
    }

    /// What is known of a window's text.
    pub(crate) fn take(&mut self, place: Place) -> Option<Text> {
        self.texts
            .remove(&place)
            .filter(|text| text.is_sound(place))
    }
}

impl Record {
    /// The record as a journal has it.
    pub(crate) fn framed(&self) -> Vec<u8> {
        let content = rmp_serde::to_vec_named(self).expect("all of it has a form in MessagePack");
        let mut framed = (content.len() as u32).to_le_bytes().to_vec();
        framed.extend(crc32fast::hash(&content).to_le_bytes());
        framed.extend(content);
        framed
    }
}

impl Text {
    pub(crate) fn of(text: &WindowText) -> Self {
        Self {
            segments: text.segments.clone(),
            dropped: text.dropped.clone(),
            language: text.language.clone(),
            tokens: text.tokens.clone(),
            avg_logprob: text.avg_logprob,
            no_speech_prob: text.no_speech_prob,
            aligned: None,
        }
    }

    /// The text as the transcriber gave it, and its segments as they were aligned.
    pub(crate) fn of_window(self, window: AudioWindow) -> (WindowText, Option<Vec<Segment>>) {
        let text = WindowText {
            window,
            segments: self.segments,
            dropped: self.dropped,
            language: self.language,
            tokens: self.tokens,
            avg_logprob: self.avg_logprob,
            no_speech_prob: self.no_speech_prob,
        };
        (text, self.aligned)
    }

    /// Whether all times are in the window, give or take a second, and in order.
    fn is_sound(&self, (first, samples): Place) -> bool {
        let start = first as f64 / 16_000.0 - 1.0;
        let end = start + samples as f64 / 16_000.0 + 2.0;
        let inside = |from: f64, to: f64| start <= from && from <= to && to <= end;
        let mut segments = self.segments.iter().chain(self.aligned.iter().flatten());
        segments.all(|segment| {
            inside(segment.start, segment.end)
                && segment
                    .words
                    .iter()
                    .all(|word| inside(word.start, word.end))
        })
    }
}

/// The next record and the bytes it takes; nothing at the end and at the first damage.
fn next(input: &mut impl Read) -> Option<(Record, u64)> {
    let mut head = [0; 8];
    input.read_exact(&mut head).ok()?;
    let [a, b, c, d, crc @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length > MAX_RECORD {
        return None;
    }
    // It grows with what there is, whatever the length claims.
    let mut content = Vec::new();
    input
        .take(u64::from(length))
        .read_to_end(&mut content)
        .ok()?;
    if content.len() != length as usize || crc32fast::hash(&content) != u32::from_le_bytes(crc) {
        return None;
    }
    let record = rmp_serde::from_slice(&content).ok()?;
    Some((record, 8 + u64::from(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: Fingerprint = [7; 32];

    fn journal(records: &[Record]) -> Vec<u8> {
        let mut bytes = Journal::header(&FINGERPRINT);
        records.iter().for_each(|r| bytes.extend(r.framed()));
        bytes
    }

    fn text(start: f64, end: f64) -> Text {
        Text {
            segments: vec![Segment {
                start,
                end,
                ..Segment::default()
            }],
            ..Text::default()
        }
    }

    #[test]
    fn a_journal_is_read_up_to_its_first_damage() {
        let records = [
            Record::Text((0, 16_000), text(0.123_456_789, 0.5)),
            Record::Text((32_000, 16_000), text(2.0, 2.5)),
        ];
        let whole = journal(&records);
        let ends = [0, 1, 2].map(|count| journal(&records[..count]).len());
        for (cut, bytes) in (0..=whole.len()).map(|cut| (cut, &whole[..cut])) {
            let read = Journal::read(bytes, &FINGERPRINT);
            let known = ends.iter().filter(|&&end| end <= cut).count();
            let length = known.checked_sub(1).map_or(0, |i| ends[i]);
            assert_eq!(read.length(), length as u64, "cut at {cut}");
            assert_eq!(read.texts(), known.saturating_sub(1), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let known = ends.iter().filter(|&&end| end <= at).count();
            let read = Journal::read(&bytes[..], &FINGERPRINT);
            assert_eq!(read.texts(), known.saturating_sub(1), "damaged at {at}");
        }
        let mut read = Journal::read(&whole[..], &FINGERPRINT);
        let first = read.take((0, 16_000)).expect("it is there");
        assert_eq!(first.segments[0].start, 0.123_456_789, "not rounded");
        assert_eq!(Journal::read(&whole[..], &[8; 32]).length(), 0);
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let bytes = journal(&[
            Record::Text((0, 16_000), text(0.0, 9.0)),
            Record::Text((16_000, 16_000), text(f64::NAN, 1.5)),
            Record::Text((32_000, 16_000), text(2.5, 2.1)),
            Record::Aligned((48_000, 16_000), Vec::new()),
            Record::Voices((usize::MAX, 0), Vec::new(), vec![vec![0.0]]),
            Record::Voices((0, 0), Vec::new(), vec![vec![1.0], vec![2.0]]),
            Record::Voices((0, 1), Vec::new(), vec![vec![3.0]]),
        ]);
        let mut read = Journal::read(&bytes[..], &FINGERPRINT);
        assert_eq!(read.length(), bytes.len() as u64);
        for first in [0, 16_000, 32_000, 48_000] {
            assert!(read.take((first, 16_000)).is_none(), "{first}");
        }
        assert_eq!(read.slices, [[1.0], [3.0]]);
        // A length that nothing stands behind.
        let mut bytes = journal(&[]);
        bytes.extend((MAX_RECORD).to_le_bytes());
        bytes.extend([0; 5]);
        assert_eq!(
            Journal::read(&bytes[..], &FINGERPRINT).length(),
            HEADER as u64
        );
    }
}
