//! Conversations mixed from single utterances, with the truth about who speaks when.

use std::ops::Range;

use crate::tone::Random;

/// Samples per second.
const RATE: usize = 16_000;
/// One person speaking alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Utterance {
    /// 16 kHz mono sound.
    pub pcm: Vec<f32>,
    /// Where there is speech in it, in samples, in order: what a detector finds in the clean sound. The sound before and after
    /// is not used.
    pub speech: Vec<Range<usize>>,
}

impl Utterance {
    /// The same as several utterances, cut in the first pause that ends so many seconds after one began.
    pub fn parts(self, seconds: f64) -> Vec<Self> {
        let mut parts: Vec<Vec<Range<usize>>> = Vec::new();
        for speech in self.speech {
            match parts.last_mut() {
                Some(part) if ((speech.start - part[0].start) as f64) < seconds * RATE as f64 => {
                    part.push(speech);
                }
                _ => parts.push(vec![speech]),
            }
        }
        let utterance = |speech: Vec<Range<usize>>| {
            let (from, to) = (speech[0].start, speech[speech.len() - 1].end);
            Self {
                pcm: self.pcm[from..to].to_vec(),
                speech: speech
                    .iter()
                    .map(|s| s.start - from..s.end - from)
                    .collect(),
            }
        };
        parts.into_iter().map(utterance).collect()
    }
}

/// What a conversation is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// How many of the given speakers take part, the first ones.
    pub speakers: usize,
    /// How often somebody begins to speak. Utterances are used again when a speaker has no more.
    pub turns: usize,
    /// Share of the speech during which two speak at once.
    pub overlap: f64,
    /// The seed of all that is left to chance.
    pub seed: u64,
}

impl Shape {
    /// Twelve turns with a tenth of overlap.
    pub fn new(speakers: usize, seed: u64) -> Self {
        Self {
            speakers,
            turns: 12,
            overlap: 0.1,
            seed,
        }
    }
}

/// A stretch of speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speech {
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds.
    pub end: f64,
    /// Index of the speaker.
    pub speaker: usize,
}

/// A conversation and its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// 16 kHz mono sound.
    pub pcm: Vec<f32>,
    /// Who speaks when, by start; only where an utterance has speech.
    pub speech: Vec<Speech>,
}

/// A conversation of the first speakers of `voices`: for each speaker some utterances.
///
/// Turns go to another speaker each. The next begins during the last one while there is too little overlap, else
/// 0.2 to 1 s after it. Speakers differ by up to 3 dB.
///
/// # Panics
/// With less than two speakers, or one without an utterance.
pub fn converse(voices: &[Vec<Utterance>], shape: Shape) -> Conversation {
    let voices = &voices[..shape.speakers];
    assert!(
        voices.len() > 1 && voices.iter().all(|utterances| !utterances.is_empty()),
        "two speakers with utterances"
    );
    let mut random = Random::new(shape.seed);
    let gains: Vec<f32> = voices
        .iter()
        .map(|_| decibels(random.unit() * 6.0 - 3.0))
        .collect();
    let mut used: Vec<usize> = voices
        .iter()
        .map(|all| (random.unit() * all.len() as f64) as usize)
        .collect();
    let mut made = Conversation {
        pcm: Vec::new(),
        speech: Vec::new(),
    };
    let (mut spoken, mut overlapped, mut end, mut last) = (0usize, 0usize, RATE / 2, voices.len());
    for _ in 0..shape.turns {
        let others: Vec<usize> = (0..voices.len())
            .filter(|&speaker| speaker != last)
            .collect();
        let speaker = others[(random.unit() * others.len() as f64) as usize];
        let Utterance { pcm, speech } = &voices[speaker][used[speaker] % voices[speaker].len()];
        used[speaker] += 1;
        let (Some(first), Some(until)) = (speech.first(), speech.last()) else {
            continue;
        };
        let (first, until) = (first.start, until.end);
        let is_early = (overlapped as f64) < shape.overlap * spoken as f64 && last < voices.len();
        let shift = ((if is_early {
            0.5 + random.unit()
        } else {
            0.2 + 0.8 * random.unit()
        }) * RATE as f64) as usize;
        let shift = shift.min((until - first) / 2);
        let start = if is_early {
            end.saturating_sub(shift)
        } else {
            end + shift
        };
        overlapped += end.saturating_sub(start);
        spoken += until - first;
        let gain = gains[speaker] * 0.05 / rms(&pcm[first..until]);
        made.pcm
            .resize(made.pcm.len().max(start + until - first), 0.0);
        for (to, from) in made.pcm[start..].iter_mut().zip(&pcm[first..until]) {
            *to += gain * from;
        }
        let seconds = |sample: usize| (start + sample - first) as f64 / RATE as f64;
        made.speech.extend(speech.iter().map(|part| Speech {
            start: seconds(part.start),
            end: seconds(part.end),
            speaker,
        }));
        end = end.max(start + until - first);
        last = speaker;
    }
    made.pcm.resize(end + RATE / 2, 0.0);
    let peak = made
        .pcm
        .iter()
        .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    made.pcm
        .iter_mut()
        .for_each(|sample| *sample *= 0.99 / peak.max(0.99));
    made.speech.sort_by(|a, b| a.start.total_cmp(&b.start));
    made
}

fn decibels(db: f64) -> f32 {
    10f64.powf(db / 20.0) as f32
}

fn rms(pcm: &[f32]) -> f32 {
    (pcm.iter().map(|x| x * x).sum::<f32>() / pcm.len().max(1) as f32)
        .sqrt()
        .max(1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone;

    /// Noise, a pause, noise, over a faint floor.
    fn utterance(seed: u64) -> Utterance {
        let noise = |seconds: f64, level: f32| {
            tone::white_noise(tone::Shape::seconds(seconds).level(level), seed)
        };
        Utterance {
            pcm: [
                noise(0.3, 1e-4),
                noise(1.0, 0.1),
                noise(0.5, 1e-4),
                noise(2.0, 0.1),
                noise(0.5, 1e-4),
            ]
            .concat(),
            speech: vec![4_800..20_800, 28_800..60_800],
        }
    }

    #[test]
    fn the_reference_lies_where_the_speech_was_put() {
        let voices = [vec![utterance(1)], vec![utterance(2)]];
        let made = converse(&voices, Shape::new(2, 3));
        let level = |from: f64, to: f64| {
            rms(&made.pcm[(from * RATE as f64) as usize..(to * RATE as f64) as usize])
        };
        for part in &made.speech {
            assert!(level(part.start, part.end) > 0.01, "{part:?}");
        }
        assert!(level(0.0, made.speech[0].start) < 1e-3);
    }

    #[test]
    fn long_utterances_are_cut_in_pauses() {
        let lengths = |seconds| -> Vec<usize> {
            let parts = utterance(1).parts(seconds);
            parts.iter().map(|part| part.speech.len()).collect()
        };
        assert_eq!((lengths(1.0), lengths(5.0)), (vec![1, 1], vec![2]));
    }

    #[test]
    fn speakers_alternate_and_overlap_as_asked() {
        let voices: Vec<Vec<Utterance>> = (0..3)
            .map(|speaker| vec![utterance(speaker), utterance(speaker + 9)])
            .collect();
        let shape = Shape {
            turns: 30,
            ..Shape::new(3, 5)
        };
        let made = converse(&voices, shape);
        assert_eq!(made, converse(&voices, shape));
        assert_ne!(made, converse(&voices, Shape { seed: 6, ..shape }));
        let end = made.pcm.len() as f64 / 16e3;
        assert!(
            made.speech
                .iter()
                .all(|part| part.start < part.end && part.end < end)
        );
        assert!((0..3).all(|speaker| made.speech.iter().any(|part| part.speaker == speaker)));
        let at = |time: f64| {
            made.speech
                .iter()
                .filter(|part| part.start <= time && time < part.end)
                .count()
        };
        let counts: Vec<usize> = (0..(end * 100.0) as usize)
            .map(|tick| at(tick as f64 / 100.0))
            .collect();
        let (speech, overlap) = (
            counts.iter().filter(|n| **n > 0).count(),
            counts.iter().filter(|n| **n > 1).count(),
        );
        let share = overlap as f64 / speech as f64;
        assert!((0.04..0.16).contains(&share), "{share}");
        assert!(made.pcm.iter().all(|sample| sample.abs() < 1.0));
    }
}
