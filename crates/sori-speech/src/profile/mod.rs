//! Voice profiles: people known by their voice.
//!
//! [`enroll`] makes a [`Profile`] of a few clips of one person, or refuses them with a reason and a remedy ([`Refusal`]).
//! [`identify`] compares a voice with profiles and says who it is, between whom it lies, or that it is nobody known; how sure that
//! is comes from a [`Calibration`], which turns a cosine into log-odds. Embeddings come in as numbers: no files and no networks
//! here.

mod calibration;
mod enrolment;
mod identify;
mod quality;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use calibration::{Calibration, KnownEmbedder};
pub use enrolment::{Clip, Enrolment, Refusal, enroll};
pub use identify::{Candidate, Decision, Probe, identify};
pub use quality::{Gates, Quality};

/// The longest embedding that a profile may hold; published speaker embeddings have 128 to 512 values.
pub const MAX_DIMENSION: usize = 4096;

/// Which embedder made an embedding; embeddings of different embedders cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderId {
    /// The architecture, as its [`EmbeddingSpec`](crate::diarize::embedding::EmbeddingSpec) names it.
    pub name: String,
    /// The checksum of its weights, lower-case hexadecimal.
    pub checksum: String,
}

impl EmbedderId {
    /// The embedder whose measured scores stand for this one's: that of its architecture, and WeSpeaker's ResNet34-LM for
    /// architectures of which none was measured.
    #[must_use]
    pub fn known(&self) -> KnownEmbedder {
        match self.name.as_str() {
            "ge2e" => KnownEmbedder::Resemblyzer,
            "resnet" => KnownEmbedder::Starter,
            _ => KnownEmbedder::ResNet34Lm,
        }
    }
}

/// One person's voice.
///
/// Serialisable; what is read back is checked by [`identify`] and [`Profile::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The person's name, as transcripts shall show it.
    pub name: String,
    /// The embedder that the profile belongs to.
    pub model: EmbedderId,
    /// The mean of the clips' embeddings, each of unit length; itself shorter than that.
    pub centroid: Vec<f32>,
    /// Root-mean-square distance of the unit embeddings from their mean, 0 (one clip, or all alike) to 1.
    pub spread: f32,
    /// Net speech in the clips, in seconds.
    pub seconds: f64,
    /// Number of clips.
    pub clips: usize,
}

impl Profile {
    /// Whether the profile can be used.
    ///
    /// # Errors
    /// When the name is empty or longer than 200 characters, or the centroid is empty, too long, zero or not finite.
    pub fn validate(&self) -> Result<(), ProfileError> {
        let bad = |what| {
            Err(ProfileError::Damaged {
                name: self.name.chars().take(200).collect(),
                what,
            })
        };
        if self.name.trim().is_empty() || self.name.chars().count() > 200 {
            return bad("its name is empty or longer than 200 characters");
        }
        if !self.seconds.is_finite() || self.seconds < 0.0 {
            return bad("its seconds of speech are not a length of time");
        }
        if unit(&self.centroid).is_none() {
            return bad("its centroid is empty, too long, zero or not finite");
        }
        Ok(())
    }

    /// The profile of all clips of `self` and `other`, under the name of `self`.
    ///
    /// # Errors
    /// When the two are of different embedders or one is damaged.
    pub fn merge(&self, other: &Self) -> Result<Self, ProfileError> {
        self.validate()?;
        other.validate()?;
        other.comparable(&self.model, self.centroid.len())?;
        let clips = self.clips.saturating_add(other.clips).max(1);
        let share =
            self.clips.max(1) as f32 / (self.clips.max(1) as f32 + other.clips.max(1) as f32);
        let centroid: Vec<f32> = self
            .centroid
            .iter()
            .zip(&other.centroid)
            .map(|(a, b)| share * a + (1.0 - share) * b)
            .collect();
        let merged = Self {
            name: self.name.clone(),
            model: self.model.clone(),
            spread: spread(&centroid),
            centroid,
            seconds: self.seconds + other.seconds,
            clips,
        };
        merged.validate()?;
        Ok(merged)
    }

    fn comparable(&self, model: &EmbedderId, dimension: usize) -> Result<(), ProfileError> {
        if self.model != *model || self.centroid.len() != dimension {
            return Err(ProfileError::OtherEmbedder {
                name: self.name.clone(),
                profile: self.model.name.clone(),
                wanted: model.name.clone(),
            });
        }
        Ok(())
    }
}

/// What makes a profile or an embedding unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// A profile holds what no enrolment writes.
    Damaged {
        /// Whose profile.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A profile was made with another embedder, or with other weights of the same name.
    OtherEmbedder {
        /// Whose profile.
        name: String,
        /// The embedder it was made with.
        profile: String,
        /// The embedder in use.
        wanted: String,
    },
    /// The voice to be named has an embedding that is empty, too long, zero or not finite.
    Probe,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { name, what } => {
                write!(
                    f,
                    "voice profile {name:?}: {what}; delete it and enroll again"
                )
            }
            Self::OtherEmbedder {
                name,
                profile,
                wanted,
            } => write!(
                f,
                "voice profile {name:?}: made with {profile}, which cannot be compared with {wanted}; enroll again with \
                 {wanted}, or choose the model it was made with"
            ),
            Self::Probe => write!(
                f,
                "voice to be named: its embedding is empty, too long, zero or not finite; the speaker model may be damaged"
            ),
        }
    }
}

impl std::error::Error for ProfileError {}

/// `vector` at unit length, in f64; none if it is empty, too long, zero or not finite.
fn unit(vector: &[f32]) -> Option<Vec<f64>> {
    if vector.is_empty() || vector.len() > MAX_DIMENSION {
        return None;
    }
    let norm = vector
        .iter()
        .map(|&v| f64::from(v) * f64::from(v))
        .sum::<f64>()
        .sqrt();
    (norm.is_finite() && norm > 1e-12)
        .then(|| vector.iter().map(|&v| f64::from(v) / norm).collect())
}

/// The cosine of the angle between two unit vectors of the same length.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The spread of unit vectors whose mean is `mean`: E|e - m|^2 = 1 - |m|^2.
fn spread(mean: &[f32]) -> f32 {
    let square: f32 = mean.iter().map(|v| v * v).sum();
    (1.0 - square).max(0.0).sqrt()
}
