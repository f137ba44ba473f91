//! From clips of one person to a profile.

use std::fmt;

use super::{Calibration, EmbedderId, Gates, Profile, Quality, dot, spread, unit};

/// One clip of a person: its embedding (any length but zero) and what was measured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// The embedding of the clip's speech.
    pub embedding: Vec<f32>,
    /// What was measured.
    pub quality: Quality,
}

/// What an enrolment goes by, beside the clips.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolment {
    /// The embedder of all clips.
    pub model: EmbedderId,
    /// What is demanded of the clips.
    pub gates: Gates,
    /// Tells whether two clips are of one person.
    pub calibration: Calibration,
}

/// Why clips do not make a profile; says what to do about it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no name to enroll under, or it is longer than 200 characters.
    Name,
    /// All clips together hold too little speech.
    TooLittleSpeech {
        /// Seconds found.
        seconds: f64,
        /// Seconds needed.
        needed: f64,
    },
    /// One clip holds too little speech.
    ShortClip {
        /// Index of the clip, from 0.
        clip: usize,
        /// Seconds found.
        seconds: f64,
        /// Seconds needed.
        needed: f64,
    },
    /// One clip is noisy.
    Noisy {
        /// Index of the clip, from 0.
        clip: usize,
        /// dB found.
        snr_db: f32,
        /// dB needed.
        needed: f32,
    },
    /// One clip is cut off at the loudest value.
    Clipped {
        /// Index of the clip, from 0.
        clip: usize,
        /// Share found.
        share: f32,
        /// Share allowed.
        allowed: f32,
    },
    /// In one clip more than one person speaks at a time.
    Overlapped {
        /// Index of the clip, from 0.
        clip: usize,
        /// Share found.
        share: f32,
        /// Share allowed.
        allowed: f32,
    },
    /// One clip sounds like somebody else than the others.
    AnotherVoice {
        /// Index of the clip, from 0.
        clip: usize,
        /// Probability that it is the same person, 0 to 1.
        probability: f32,
    },
    /// An embedding is empty, too long, zero, not finite, or not as long as the first.
    Embedding {
        /// Index of the clip, from 0.
        clip: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "the name is empty or longer than 200 characters; give a shorter one"
            ),
            Self::TooLittleSpeech { seconds, needed } => write!(
                f,
                "{seconds:.1} s of speech in all, {needed:.0} s needed; add clips of the same person"
            ),
            Self::ShortClip {
                clip,
                seconds,
                needed,
            } => write!(
                f,
                "clip {}: {seconds:.1} s of speech, {needed:.0} s needed; leave it out or record a longer one",
                clip + 1
            ),
            Self::Noisy {
                clip,
                snr_db,
                needed,
            } => write!(
                f,
                "clip {}: speech is {snr_db:.0} dB above the noise, {needed:.0} dB needed; record nearer to the microphone \
                 or in a quieter room",
                clip + 1
            ),
            Self::Clipped {
                clip,
                share,
                allowed,
            } => write!(
                f,
                "clip {}: {:.1} % of the speech is cut off, {:.1} % allowed; record at a lower level",
                clip + 1,
                100.0 * share,
                100.0 * allowed
            ),
            Self::Overlapped {
                clip,
                share,
                allowed,
            } => write!(
                f,
                "clip {}: others speak in {:.0} % of the speech, {:.0} % allowed; use a part where the person speaks alone",
                clip + 1,
                100.0 * share,
                100.0 * allowed
            ),
            Self::AnotherVoice { clip, probability } => write!(
                f,
                "clip {}: sounds like another person than the other clips ({:.0} % sure that it is the same); leave it out, \
                 or enroll that person under a name of their own",
                clip + 1,
                100.0 * probability
            ),
            Self::Embedding { clip } => write!(
                f,
                "clip {}: its embedding is unusable; the speaker model may be damaged",
                clip + 1
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Makes the profile of `name` from `clips`.
///
/// # Errors
/// All reasons against it, in the order of the clips: every one that fails a gate or sounds like somebody else.
pub fn enroll(name: &str, clips: &[Clip], by: &Enrolment) -> Result<Profile, Vec<Refusal>> {
    let mut reasons = Vec::new();
    if name.trim().is_empty() || name.chars().count() > 200 {
        reasons.push(Refusal::Name);
    }
    for (clip, c) in clips.iter().enumerate() {
        gate(clip, &c.quality, &by.gates, &mut reasons);
    }
    let seconds: f64 = clips.iter().map(|c| c.quality.speech_seconds).sum();
    if clips.is_empty() || !reaches(seconds, by.gates.speech_seconds) {
        let needed = by.gates.speech_seconds;
        reasons.push(Refusal::TooLittleSpeech { seconds, needed });
    }
    let units = units(clips, &mut reasons);
    if reasons.is_empty() {
        strangers(clips, &units, &by.calibration, &mut reasons);
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let centroid: Vec<f32> = (0..units[0].len())
        .map(|d| (units.iter().map(|u| u[d]).sum::<f64>() / units.len() as f64) as f32)
        .collect();
    Ok(Profile {
        name: name.trim().to_owned(),
        model: by.model.clone(),
        spread: spread(&centroid),
        centroid,
        seconds,
        clips: clips.len(),
    })
}

/// Whether `value` is at least `needed`; false for what is not a number.
fn reaches(value: impl Into<f64>, needed: impl Into<f64>) -> bool {
    value.into() >= needed.into()
}

fn gate(clip: usize, q: &Quality, gates: &Gates, reasons: &mut Vec<Refusal>) {
    let (seconds, snr_db) = (q.speech_seconds, q.snr_db);
    if !reaches(seconds, gates.clip_seconds) {
        let needed = gates.clip_seconds;
        reasons.push(Refusal::ShortClip {
            clip,
            seconds,
            needed,
        });
    }
    if !reaches(snr_db, gates.snr_db) {
        let needed = gates.snr_db;
        reasons.push(Refusal::Noisy {
            clip,
            snr_db,
            needed,
        });
    }
    if !reaches(gates.clipped_share, q.clipped_share) {
        let (share, allowed) = (q.clipped_share, gates.clipped_share);
        reasons.push(Refusal::Clipped {
            clip,
            share,
            allowed,
        });
    }
    if !reaches(gates.overlap_share, q.overlap_share) {
        let (share, allowed) = (q.overlap_share, gates.overlap_share);
        reasons.push(Refusal::Overlapped {
            clip,
            share,
            allowed,
        });
    }
}

fn units(clips: &[Clip], reasons: &mut Vec<Refusal>) -> Vec<Vec<f64>> {
    let dimension = clips.first().map_or(0, |c| c.embedding.len());
    let mut out = Vec::with_capacity(clips.len());
    for (clip, c) in clips.iter().enumerate() {
        match unit(&c.embedding) {
            Some(u) if u.len() == dimension => out.push(u),
            _ => reasons.push(Refusal::Embedding { clip }),
        }
    }
    out
}

/// Refuses each clip that is more likely of another person than of the one in the other clips.
fn strangers(
    clips: &[Clip],
    units: &[Vec<f64>],
    calibration: &Calibration,
    reasons: &mut Vec<Refusal>,
) {
    for (clip, own) in units.iter().enumerate().filter(|_| units.len() > 1) {
        let mut rest = vec![0.0; own.len()];
        let mut seconds = 0.0;
        for (other, (u, c)) in units.iter().zip(clips).enumerate() {
            if other != clip {
                rest.iter_mut().zip(u).for_each(|(r, v)| *r += v);
                seconds += c.quality.speech_seconds;
            }
        }
        let norm = dot(&rest, &rest).sqrt().max(1e-12);
        let cosine = dot(own, &rest) / norm;
        let log_odds = calibration.log_ratio(cosine, clips[clip].quality.speech_seconds, seconds);
        if log_odds < 0.0 {
            let probability = (1.0 / (1.0 + (-log_odds).exp())) as f32;
            reasons.push(Refusal::AnotherVoice { clip, probability });
        }
    }
}
