//! Who a voice is, if anybody known.

use super::{Calibration, EmbedderId, Profile, ProfileError, dot, unit};

/// A voice to be named.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Its embedding, or the centroid of its embeddings.
    pub embedding: &'a [f32],
    /// Net speech behind it, in seconds.
    pub seconds: f64,
    /// The embedder that made it.
    pub model: &'a EmbedderId,
}

/// A profile compared with a voice.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The profile's name.
    pub name: String,
    /// Cosine of the angle between voice and profile, -1 to 1.
    pub cosine: f32,
    /// Probability that the voice is this person's, given all profiles and that it may be nobody's, 0 to 1.
    pub probability: f32,
}

/// Who a voice is.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// This person.
    Accept(Candidate),
    /// One of these two, but not clearly either.
    Ambiguous {
        /// The likelier.
        first: Candidate,
        /// The other.
        second: Candidate,
    },
    /// Nobody known, or not surely enough.
    Unknown {
        /// The nearest profile, if there is any.
        nearest: Option<Candidate>,
    },
}

/// Compares a voice with `profiles` and decides.
///
/// Each profile's log-likelihood ratio is Bayes' evidence beside the hypothesis that the voice is nobody's: with the prior
/// [`Calibration::known`] shared out among the profiles, a name is accepted at a probability of [`Calibration::sure`]. The more
/// profiles, the stronger the evidence that is needed. Ties go to the earlier profile.
///
/// # Errors
/// When a profile is damaged or of another embedder, or the voice's embedding is unusable.
pub fn identify(
    probe: &Probe<'_>,
    profiles: &[Profile],
    calibration: &Calibration,
) -> Result<Decision, ProfileError> {
    let voice = unit(probe.embedding).ok_or(ProfileError::Probe)?;
    let known = calibration.known.clamp(1e-6, 1.0 - 1e-6);
    let prior = (known / profiles.len().max(1) as f64).ln();
    let mut scored = Vec::with_capacity(profiles.len());
    for p in profiles {
        p.validate()?;
        p.comparable(probe.model, voice.len())?;
        let centroid = unit(&p.centroid).expect("a validated centroid has a direction");
        let cosine = dot(&voice, &centroid).clamp(-1.0, 1.0);
        let ratio = calibration.log_ratio(cosine, probe.seconds, p.seconds);
        scored.push((prior + ratio, cosine, p));
    }
    // The sort is stable: equal evidence keeps the order of the profiles.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let unknown = (1.0 - known).ln();
    let top = scored.first().map_or(unknown, |s| s.0.max(unknown));
    let total = scored.iter().map(|s| (s.0 - top).exp()).sum::<f64>() + (unknown - top).exp();
    let mut best = scored.iter().map(|(evidence, cosine, p)| Candidate {
        name: p.name.clone(),
        cosine: *cosine as f32,
        probability: ((evidence - top).exp() / total) as f32,
    });
    let sure = calibration.sure as f32;
    Ok(match (best.next(), best.next()) {
        (Some(first), _) if first.probability >= sure => Decision::Accept(first),
        (Some(first), Some(second)) if first.probability + second.probability >= sure => {
            Decision::Ambiguous { first, second }
        }
        (nearest, _) => Decision::Unknown { nearest },
    })
}
