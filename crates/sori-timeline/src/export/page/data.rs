//! What the script needs beside the markup: one block of JSON with columns of integers.

use std::{collections::BTreeMap, io::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    AudioSource, Cast, Curves, PageMedia, markup,
    transcript::{Paragraph, Said},
};
use crate::{AcousticFeatures, Document, TimelineError};

/// Entries of a curve that a page keeps: ten a second of one hour, and a megabyte at most for all three.
const MOST_POINTS: usize = 36_000;

#[derive(Serialize)]
struct Data {
    /// Under which names that a reader gives are kept: the same document, the same key.
    key: String,
    duration: u64,
    /// Names of the speakers, by number.
    names: Vec<String>,
    /// Speaker, start, end.
    turns: Vec<(usize, u64, u64)>,
    words: Columns,
    #[serde(skip_serializing_if = "Option::is_none")]
    curves: Option<Drawn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Sound>,
    say: BTreeMap<&'static str, &'static str>,
}

/// One entry a word: times in ms, confidence and level in whole percent and dB, frequencies in Hz.
#[derive(Default, Serialize)]
struct Columns {
    start: Vec<u64>,
    length: Vec<u64>,
    score: Vec<Option<i32>>,
    volume: Vec<Option<i32>>,
    pitch: Vec<Option<i32>>,
    centroid: Vec<Option<i32>>,
}

/// Curves, a byte an entry, in base64. `loudness` and `pitch` keep 0 for nothing and spread 1 to 255 over their range,
/// pitch by its logarithm.
#[derive(Serialize)]
struct Drawn {
    hop: f64,
    peaks: String,
    loudness: String,
    loudness_range: (f32, f32),
    pitch: String,
    pitch_range: (f32, f32),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Sound {
    Mime(String),
    Url(String),
}

/// Writes the block. Every `<` is escaped, which in JSON stands in strings only, so that nothing ends the block early.
pub(super) fn write(
    document: &Document,
    media: &PageMedia,
    (cast, paragraphs): (&Cast, &[Paragraph]),
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let data = Data {
        key: key(document, media),
        duration: milliseconds(document.duration),
        names: (0..cast.ids().len())
            .map(|number| cast.name(number))
            .collect(),
        turns: turns(document, cast, paragraphs),
        words: columns(paragraphs.iter().flat_map(|paragraph| &paragraph.said)),
        curves: media.curves.as_ref().map(drawn),
        audio: match &media.audio {
            AudioSource::None => None,
            AudioSource::Linked { path } => Some(Sound::Url(markup::url(path))),
            AudioSource::Embedded { mime, .. } => Some(Sound::Mime(mime.clone())),
        },
        say: cast.wording.all().collect(),
    };
    let json = serde_json::to_string(&data)?.replace('<', "\\u003c");
    Ok(out.write_all(json.as_bytes())?)
}

fn key(document: &Document, media: &PageMedia) -> String {
    let hash = Sha256::new()
        .chain_update(&media.title)
        .chain_update(&document.text)
        .finalize();
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Who spoke when: the turns that were heard, else what the words say.
fn turns(document: &Document, cast: &Cast, paragraphs: &[Paragraph]) -> Vec<(usize, u64, u64)> {
    let heard = document.turns.iter().filter_map(|turn| {
        let number = cast.number(&turn.speaker)?;
        Some((number, milliseconds(turn.start), milliseconds(turn.end)))
    });
    let said = paragraphs.iter().filter_map(|paragraph| {
        let (first, last) = (paragraph.said.first()?, paragraph.said.last()?);
        Some((
            paragraph.speaker?,
            milliseconds(first.start()),
            milliseconds(last.end()),
        ))
    });
    if document.turns.is_empty() {
        said.collect()
    } else {
        heard.collect()
    }
}

fn columns<'a>(words: impl Iterator<Item = &'a Said<'a>>) -> Columns {
    let mut columns = Columns::default();
    for said in words {
        let start = milliseconds(said.start());
        columns.start.push(start);
        columns
            .length
            .push(milliseconds(said.end()).saturating_sub(start));
        columns
            .score
            .push(said.word.map(|word| (word.score * 100.0).round() as i32));
        let sound = said.word.and_then(|word| word.acoustic_features.as_deref());
        let whole = |pick: fn(&AcousticFeatures) -> Option<f32>| Some(pick(sound?)?.round() as i32);
        columns.volume.push(whole(|sound| sound.volume_db));
        columns.pitch.push(whole(|sound| sound.pitch_hz));
        columns
            .centroid
            .push(whole(|sound| sound.spectral_centroid));
    }
    columns
}

fn drawn(curves: &Curves) -> Drawn {
    let Curves {
        hop_seconds,
        peaks,
        loudness_db,
        pitch_hz,
    } = curves;
    let longest = peaks.len().max(loudness_db.len()).max(pitch_hz.len());
    let step = longest.div_ceil(MOST_POINTS).max(1);
    let top = peaks.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let peaks = peaks.chunks(step).map(|part| {
        let peak = part.iter().copied().fold(0.0, f32::max);
        (peak / top * 255.0).round() as u8
    });
    let (loudness_range, pitch_range) = ((-70.0, 0.0), (50.0, 600.0));
    Drawn {
        hop: hop_seconds * step as f64,
        peaks: STANDARD.encode(peaks.collect::<Vec<u8>>()),
        loudness: quantised(loudness_db, step, loudness_range, |db| db),
        loudness_range,
        pitch: quantised(pitch_hz, step, pitch_range, f32::ln),
        pitch_range,
    }
}

/// The median of each `step` values, spread over 1 to 255 along `scale`; 0 where there is none.
fn quantised(
    values: &[Option<f32>],
    step: usize,
    range: (f32, f32),
    scale: fn(f32) -> f32,
) -> String {
    let (low, high) = (scale(range.0), scale(range.1));
    let byte = |part: &[Option<f32>]| {
        let mut present: Vec<f32> = part
            .iter()
            .copied()
            .flatten()
            .filter(|v| !v.is_nan())
            .collect();
        present.sort_unstable_by(f32::total_cmp);
        let Some(median) = present.get(present.len() / 2) else {
            return 0;
        };
        let along = (scale(median.clamp(range.0, range.1)) - low) / (high - low);
        1 + (along * 254.0).round() as u8
    };
    STANDARD.encode(values.chunks(step).map(byte).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        STANDARD.decode(text).unwrap()
    }

    #[test]
    fn curves_become_bytes() {
        let drawn = drawn(&Curves {
            hop_seconds: 0.01,
            peaks: vec![0.0, 0.25, 0.5, f32::NAN],
            loudness_db: vec![
                None,
                Some(-70.0),
                Some(-35.0),
                Some(0.0),
                Some(f32::NAN),
                Some(9.0),
            ],
            pitch_hz: vec![None, Some(50.0), Some(173.2), Some(600.0), Some(0.0)],
        });
        assert_eq!(bytes(&drawn.peaks), [0, 128, 255, 0]);
        assert_eq!(bytes(&drawn.loudness), [0, 1, 128, 255, 0, 255]);
        assert_eq!(bytes(&drawn.pitch), [0, 1, 128, 255, 1]);
    }

    #[test]
    fn long_curves_are_thinned_to_their_peaks_and_medians() {
        let many = 3 * MOST_POINTS - 1;
        let drawn = drawn(&Curves {
            hop_seconds: 0.01,
            peaks: (0..many).map(|at| (at % 3) as f32).collect(),
            loudness_db: (0..many)
                .map(|at| [None, Some(0.0), Some(-70.0)][at % 3])
                .collect(),
            pitch_hz: Vec::new(),
        });
        assert!((drawn.hop - 0.03).abs() < 1e-12);
        let peaks = bytes(&drawn.peaks);
        assert_eq!(
            (peaks.len(), peaks[0], peaks[MOST_POINTS - 1]),
            (MOST_POINTS, 255, 128)
        );
        assert_eq!(bytes(&drawn.loudness)[0], 255);
        assert!(drawn.pitch.is_empty());
    }
}
