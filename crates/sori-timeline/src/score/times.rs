//! When words were said, against when they were found.

use std::ops::AddAssign;

use super::{
    alignment::{Timed, align},
    speakers::{in_order, places},
    text::Numbers,
};
use crate::{TimelineError, Utterance};

/// Seconds by which a word that was found may lie beside the one that was said and still be the same.
const REACH: f64 = 5.0;

/// How far the words of a hypothesis lie from the same words of the reference.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WordTimes {
    /// Words of the reference.
    pub reference: usize,
    /// |start - start| of each word that both have, in seconds.
    pub starts: Vec<f64>,
    /// |end - end| of each word that both have, in seconds.
    pub ends: Vec<f64>,
}

/// What a set of deviations comes to; all 0 for none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Deviation {
    /// Mean in seconds.
    pub mean: f64,
    /// Median in seconds.
    pub median: f64,
    /// 95th percentile in seconds.
    pub p95: f64,
    /// Shares within 50, 100 and 200 ms, 0 to 1.
    pub within: [f64; 3],
}

impl WordTimes {
    /// The starts, summed up.
    pub fn start(&self) -> Deviation {
        Deviation::of(&self.starts)
    }

    /// The ends, summed up.
    pub fn end(&self) -> Deviation {
        Deviation::of(&self.ends)
    }

    /// Share of the reference's words that were found, 0 to 1; the deviations speak of these alone.
    pub fn found(&self) -> f64 {
        self.starts.len() as f64 / self.reference.max(1) as f64
    }
}

/// Joins the words of two recordings.
impl AddAssign for WordTimes {
    fn add_assign(&mut self, other: Self) {
        self.reference += other.reference;
        self.starts.extend(other.starts);
        self.ends.extend(other.ends);
    }
}

impl Deviation {
    /// The limits of [`Deviation::within`], in seconds.
    pub const LIMITS: [f64; 3] = [0.05, 0.1, 0.2];

    /// Percentiles are interpolated linearly, as numpy does.
    fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            sorted[low] + (sorted[high] - sorted[low]) * place.fract()
        };
        // A time read from a file of milliseconds is off by the last bit.
        let within = |limit: f64| sorted.partition_point(|&value| value <= limit + 1e-9);
        Self {
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            median: at(0.5),
            p95: at(0.95),
            within: Self::LIMITS.map(|limit| within(limit) as f64 / sorted.len() as f64),
        }
    }
}

/// How far each word of the hypothesis lies from the same word of the reference.
///
/// Both sides hold one word an utterance. Words are paired by the fewest edits (texts put through [`super::normalise`]), never
/// when they lie more than 5 s apart; equal pairs count, whoever said them.
///
/// # Errors
/// [`crate::ErrorKind::Limit`] when too many words lie within 5 s of each other.
pub fn word_times(
    reference: &[Utterance],
    hypothesis: &[Utterance],
) -> Result<WordTimes, TimelineError> {
    let texts = [in_order(reference), in_order(hypothesis)];
    let mut numbers = Numbers::default();
    let [reference, hypothesis] = [0, 1].map(|side| {
        let mut words = Vec::new();
        for (said, text) in &texts[side] {
            places(said, text, |word, start, end| {
                let unit = numbers.of(word);
                words.push(Timed { unit, start, end });
            });
        }
        words
    });
    let reaching: Vec<Timed> = hypothesis
        .iter()
        .map(|word| Timed {
            start: word.start - REACH,
            end: word.end + REACH,
            ..*word
        })
        .collect();
    let mut times = WordTimes {
        reference: reference.len(),
        ..WordTimes::default()
    };
    let (_, pairs) = align(&reference, &reaching)?;
    for (said, heard) in reference.iter().zip(pairs) {
        let heard = heard.map(|at| &hypothesis[at]);
        if let Some(heard) = heard.filter(|heard| heard.unit == said.unit) {
            times.starts.push((said.start - heard.start).abs());
            times.ends.push((said.end - heard.end).abs());
        }
    }
    Ok(times)
}
