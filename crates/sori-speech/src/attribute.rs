//! Words to speakers: the likeliest path of speakers over all words, from how active each speaker is.
//!
//! A word alone decides badly where turns meet, where a turn's edge is off and where the diarization flickers. Here a change of
//! speaker costs something, less at pauses and at the ends of sentences. The constants were tuned on simulated conversations
//! (`tests/attribute.rs`, with another seed than the test's).

use crate::diarize::Activations;

/// A word as far as its speaker is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordSpan {
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds.
    pub end: f64,
    /// Whether a sentence ends with it.
    pub ends_sentence: bool,
    /// Whether the two times are known. Where not, the words around it decide.
    pub timed: bool,
}

/// Who said a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attribution {
    /// The speaker; none where there is no speaker at all.
    pub speaker: Option<usize>,
    /// By how much the speaker's probability is above that of the next likely, 0 to 1.
    pub confidence: f32,
    /// Another speaker who talks during most of the word.
    pub second: Option<usize>,
}

/// Seconds before and after a word in which activity counts, too.
const NEAR: f64 = 0.1;
/// What activity there counts, against 1 inside.
const NEAR_WEIGHT: f64 = 0.1;
/// Activity in this share of the time counts as none.
const FLOOR: f64 = 0.05;
/// Cost of another speaker at the next word, in nats.
const CHANGE: f64 = 0.1;
/// What it costs more inside a sentence.
const INSIDE_SENTENCE: f64 = 1.5;
/// What each second of pause takes off.
const PAUSE_GAIN: f64 = 1.0;
/// The most that a pause takes off.
const MOST_PAUSE_GAIN: f64 = 1.5;
/// The least cost of a change.
const LEAST_CHANGE: f64 = 0.02;
/// A second speaker is active in this share of the word.
const SECOND_SHARE: f64 = 0.5;

/// The speaker of each word, for words in their order. (Viterbi 1967; confidences by forward-backward over the same costs.)
pub fn attribute(words: &[WordSpan], activations: &Activations) -> Vec<Attribution> {
    let speakers = activations.speakers();
    if speakers == 0 {
        let nobody = Attribution {
            speaker: None,
            confidence: 0.0,
            second: None,
        };
        return vec![nobody; words.len()];
    }
    let evidence: Vec<Evidence> = words
        .iter()
        .map(|word| Evidence::of(word, activations))
        .collect();
    let costs: Vec<f64> = words
        .windows(2)
        .map(|pair| change_cost(&pair[0], &pair[1]))
        .collect();
    let path = likeliest_path(&evidence, &costs);
    let posteriors = posteriors(&evidence, &costs);
    let attribution = |((evidence, speaker), posterior): ((&Evidence, usize), Vec<f64>)| {
        let others = (0..speakers).filter(|&other| other != speaker);
        let rival = others
            .clone()
            .map(|other| posterior[other])
            .fold(0.0, f64::max);
        let second =
            others.reduce(
                |best, other| match evidence.shares[other] > evidence.shares[best] {
                    true => other,
                    false => best,
                },
            );
        Attribution {
            speaker: Some(speaker),
            confidence: (posterior[speaker] - rival).max(0.0) as f32,
            second: second.filter(|&second| evidence.shares[second] >= SECOND_SHARE),
        }
    };
    evidence
        .iter()
        .zip(path)
        .zip(posteriors)
        .map(attribution)
        .collect()
}

/// What activations say about one word.
struct Evidence {
    /// Share of the word in which each speaker is active.
    shares: Vec<f64>,
    /// The logarithm of the same with what is near; 0 for all where the word has no time.
    scores: Vec<f64>,
}

impl Evidence {
    fn of(word: &WordSpan, activations: &Activations) -> Self {
        let nothing = vec![0.0; activations.speakers()];
        if !is_timed(word) {
            return Self {
                shares: nothing.clone(),
                scores: nothing,
            };
        }
        let seconds = length(word);
        let (mut inside, mut around) = (nothing.clone(), nothing);
        activations.add_overlap(word.start, word.start + seconds, &mut inside);
        activations.add_overlap(word.start - NEAR, word.start + seconds + NEAR, &mut around);
        let whole = seconds + 2.0 * NEAR * NEAR_WEIGHT;
        let score = |(inside, around): (&f64, &f64)| {
            let active = inside + NEAR_WEIGHT * (around - inside);
            (FLOOR + active / whole).ln()
        };
        Self {
            scores: inside.iter().zip(&around).map(score).collect(),
            shares: inside.iter().map(|active| active / seconds).collect(),
        }
    }
}

fn is_timed(word: &WordSpan) -> bool {
    word.timed && word.start.is_finite() && word.end.is_finite() && word.end >= word.start
}

/// Length of a word in seconds; one without any counts as a frame or so.
fn length(word: &WordSpan) -> f64 {
    (word.end - word.start).max(0.02)
}

/// What it costs when these two words in a row are said by different speakers.
fn change_cost(word: &WordSpan, next: &WordSpan) -> f64 {
    let cost = CHANGE
        + if word.ends_sentence {
            0.0
        } else {
            INSIDE_SENTENCE
        };
    if !is_timed(word) || !is_timed(next) {
        return cost;
    }
    let pause = next.start - word.end;
    let pause_gain = (PAUSE_GAIN * pause.max(0.0)).min(MOST_PAUSE_GAIN);
    (cost - pause_gain).max(LEAST_CHANGE)
}

/// The path with the highest sum of scores less costs; the lowest speaker of equals.
fn likeliest_path(evidence: &[Evidence], costs: &[f64]) -> Vec<usize> {
    let Some(first) = evidence.first() else {
        return Vec::new();
    };
    let speakers = first.scores.len();
    let mut best = first.scores.clone();
    let mut from: Vec<usize> = Vec::with_capacity(costs.len() * speakers);
    for (evidence, cost) in evidence[1..].iter().zip(costs) {
        let before = best.clone();
        for (to, best) in best.iter_mut().enumerate() {
            let way = |speaker: usize| before[speaker] - if speaker == to { 0.0 } else { *cost };
            let origin = highest((0..speakers).map(way));
            from.push(origin);
            *best = way(origin) + evidence.scores[to];
        }
    }
    let mut path = vec![highest(best.into_iter())];
    for row in from.chunks_exact(speakers).rev() {
        path.push(row[path[path.len() - 1]]);
    }
    path.reverse();
    path
}

fn highest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// The probability of each speaker at each word, over all paths.
fn posteriors(evidence: &[Evidence], costs: &[f64]) -> Vec<Vec<f64>> {
    let likelihood = |evidence: &Evidence| {
        evidence
            .scores
            .iter()
            .map(|score| score.exp())
            .collect::<Vec<f64>>()
    };
    // From a word's probabilities to the next word's: all but the speaker's own share are reduced by the change.
    let step = |from: &[f64], cost: f64| {
        let change = (-cost).exp();
        let all: f64 = from.iter().sum();
        from.iter()
            .map(|own| own + change * (all - own))
            .collect::<Vec<f64>>()
    };
    let mut forward: Vec<Vec<f64>> = Vec::with_capacity(evidence.len());
    for (index, evidence) in evidence.iter().enumerate() {
        let mut row = likelihood(evidence);
        if index > 0 {
            let before = step(&forward[index - 1], costs[index - 1]);
            row.iter_mut()
                .zip(before)
                .for_each(|(value, before)| *value *= before);
        }
        to_sum_one(&mut row);
        forward.push(row);
    }
    let mut after: Option<Vec<f64>> = None;
    for index in (0..evidence.len()).rev() {
        if let Some(after) = &after {
            let row = forward[index].iter_mut().zip(after);
            row.for_each(|(value, after)| *value *= after);
            to_sum_one(&mut forward[index]);
        }
        if index > 0 {
            let mut seen = likelihood(&evidence[index]);
            let row = seen.iter_mut().zip(after.iter().flatten());
            row.for_each(|(value, after)| *value *= after);
            let mut before = step(&seen, costs[index - 1]);
            to_sum_one(&mut before);
            after = Some(before);
        }
    }
    forward
}

fn to_sum_one(values: &mut [f64]) {
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}
