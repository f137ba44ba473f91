//! From a cosine to log-odds.

use serde::{Deserialize, Serialize};

/// An embedder whose scores were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownEmbedder {
    /// This project's, `models/starter-speakers`.
    Starter,
    /// The 256-value LSTM of the Python package Resemblyzer 0.1.4.
    Resemblyzer,
    /// WeSpeaker's ResNet34-LM, as in pyannote 3.1 and community-1.
    ResNet34Lm,
}

/// Seconds within which durations were fitted; shorter and longer ones count as these.
const FITTED: (f64, f64) = (1.0, 7.0);

/// How scores of one embedder become log-likelihood ratios, and how sure a decision must be.
///
/// ratio = slope * cosine + offset + brevity * ln(seconds), where seconds is the shorter of the two sides, held within 1 to 7:
/// logistic regression on cosine and duration, as in WeSpeaker's score_calibration.py. The longer the clips, the more alike they
/// must be, so `brevity` is negative.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Log-likelihood ratio for each unit of cosine.
    pub slope: f64,
    /// Log-likelihood ratio at cosine 0 and 1 s.
    pub offset: f64,
    /// Log-likelihood ratio for each e-fold of seconds.
    pub brevity: f64,
    /// Probability beforehand that a voice is of somebody enrolled, 0 to 1, both excluded.
    pub known: f64,
    /// Probability from which a name is given, 0.5 to 1.
    pub sure: f64,
}

impl Calibration {
    /// The calibration of an embedder.
    ///
    /// Starter and Resemblyzer: fitted by `training/speakers/measure.py` on 25 speakers that trained nothing, half of the clips and a
    /// quarter of the enrolments degraded (EER 11.3 and 15.8 %, Cllr 0.33 and 0.45; Resemblyzer's without its mean, as [`Embedding`](crate::diarize::embedding::Embedding) gives them). ResNet34-LM: not fitted here. Two Gaussians whose
    /// error rate is the published one of VoxCeleb1-H (1.7 %, so 4.2 deviations apart), with means of 0.65 and 0.1, would give a slope
    /// of 33 and equal odds at 0.38; a quarter less and 0.4 leave room for other channels.
    #[must_use]
    pub fn of(embedder: KnownEmbedder) -> Self {
        let (slope, offset, brevity) = match embedder {
            KnownEmbedder::Starter => (13.39, -2.64, -1.18),
            KnownEmbedder::Resemblyzer => (10.72, -1.81, -0.19),
            KnownEmbedder::ResNet34Lm => (25.0, -10.0, 0.0),
        };
        Self {
            slope,
            offset,
            brevity,
            known: 0.5,
            sure: 0.75,
        }
    }

    /// The log-likelihood ratio of "one person" against "two" for a cosine between voices of so many seconds; natural logarithm.
    #[must_use]
    pub fn log_ratio(&self, cosine: f64, seconds: f64, other_seconds: f64) -> f64 {
        let shorter = seconds.min(other_seconds).clamp(FITTED.0, FITTED.1);
        self.slope * cosine + self.offset + self.brevity * shorter.ln()
    }
}
