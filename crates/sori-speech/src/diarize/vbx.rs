//! VBx: a Bayesian mixture, or hidden Markov model, of speakers over embeddings in the space of a PLDA.
//!
//! Landini, Profant, Diez, Burget (2022), "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization"; the
//! numbers of equations are theirs. Mixture: pyannote/audio/utils/vbx.py. With staying: BUTSpeechFIT/VBx:VBx/VBx.py.

use super::clustering::Points;

/// Keeps logarithms of vanished speakers finite (both references).
const EPSILON: f64 = 1e-8;

/// The constants of VBx. The default is pyannote's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VbxOptions {
    /// Scale of the evidence: less counts neighbours' common sound (`Fa`).
    pub evidence: f64,
    /// Cost of a speaker: more gives fewer speakers (`Fb`).
    pub speaker_cost: f64,
    /// How firmly the first clusters are believed.
    pub smoothing: f64,
    /// Probability that the next embedding is of the same speaker (`loopP`). At 0, as in pyannote, order does not count; above
    /// it embeddings must come in the order of time.
    pub stay: f64,
    /// The most rounds.
    pub rounds: usize,
    /// It ends when a round gains less than this.
    pub least_gain: f64,
}

impl Default for VbxOptions {
    fn default() -> Self {
        Self {
            evidence: 0.07,
            speaker_cost: 0.8,
            smoothing: 7.0,
            stay: 0.0,
            rounds: 20,
            least_gain: 1e-4,
        }
    }
}

/// Who each embedding is of, as VBx sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// Probability `(embeddings, speakers)` of each speaker.
    pub gamma: Vec<f64>,
    /// Prior of each speaker; of those not needed it nears 0.
    pub pi: Vec<f64>,
}

/// The posterior for features with variances `phi` between speakers, starting from clusters numbered from 0.
pub fn vbx(features: &Points, phi: &[f64], init: &[usize], options: &VbxOptions) -> Posterior {
    let speakers = init.iter().max().map_or(1, |most| most + 1);
    let other = 1.0 / ((speakers - 1) as f64 + options.smoothing.exp());
    let mut gamma = vec![other; init.len() * speakers];
    for (row, &cluster) in gamma.chunks_exact_mut(speakers).zip(init) {
        row[cluster] = options.smoothing.exp() * other;
    }
    let mut pi = vec![1.0 / speakers as f64; speakers];
    let dimension = phi.len();
    let root: Vec<f64> = phi.iter().map(|variance| variance.sqrt()).collect();
    // Equation 18, and the part of equation 23 that no speaker changes.
    let rho: Vec<f64> = features
        .rows()
        .flat_map(|row| row.iter().zip(&root).map(|(x, root)| x * root))
        .collect();
    let constant = dimension as f64 * std::f64::consts::TAU.ln();
    let alone: Vec<f64> = features
        .rows()
        .map(|row| -0.5 * (row.iter().map(|x| x * x).sum::<f64>() + constant))
        .collect();
    let mut last = f64::NEG_INFINITY;
    for round in 0..options.rounds {
        let model = Model::fit(&gamma, &rho, phi, options);
        let mut likelihood = model.likelihood(&rho, phi);
        for (row, alone) in likelihood.chunks_exact_mut(speakers).zip(&alone) {
            row.iter_mut()
                .for_each(|value| *value = options.evidence * (*value + alone));
        }
        let total = if options.stay > 0.0 {
            smooth_chain(&likelihood, &mut gamma, &mut pi, options.stay)
        } else {
            smooth_mixture(&likelihood, &mut gamma, &mut pi)
        };
        let bound = total + options.speaker_cost * 0.5 * model.divergence();
        if round > 0 && bound - last < options.least_gain {
            break;
        }
        last = bound;
    }
    Posterior { gamma, pi }
}

/// The distribution of each speaker's mean: `(speakers, dimension)` inverse precisions and means.
struct Model {
    speakers: usize,
    inverse: Vec<f64>,
    alpha: Vec<f64>,
}

impl Model {
    /// Equations 17 and 16.
    fn fit(gamma: &[f64], rho: &[f64], phi: &[f64], options: &VbxOptions) -> Self {
        let dimension = phi.len();
        let speakers = gamma.len() * dimension / rho.len().max(1);
        let ratio = options.evidence / options.speaker_cost;
        let mut counts = vec![0.0; speakers];
        let mut alpha = vec![0.0; speakers * dimension];
        for (weights, row) in gamma
            .chunks_exact(speakers)
            .zip(rho.chunks_exact(dimension))
        {
            for (speaker, &weight) in weights.iter().enumerate() {
                counts[speaker] += weight;
                let sum = &mut alpha[speaker * dimension..][..dimension];
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(sum, x)| *sum += weight * x);
            }
        }
        let inverse: Vec<f64> = counts
            .iter()
            .flat_map(|count| {
                phi.iter()
                    .map(move |variance| 1.0 / (1.0 + ratio * count * variance))
            })
            .collect();
        alpha
            .iter_mut()
            .zip(&inverse)
            .for_each(|(alpha, inverse)| *alpha *= ratio * inverse);
        Self {
            speakers,
            inverse,
            alpha,
        }
    }

    /// Equation 23 without its constant and scale, `(embeddings, speakers)`.
    fn likelihood(&self, rho: &[f64], phi: &[f64]) -> Vec<f64> {
        let dimension = phi.len();
        let speakers = || {
            self.alpha
                .chunks_exact(dimension)
                .zip(self.inverse.chunks_exact(dimension))
        };
        let spread: Vec<f64> = speakers()
            .map(|(alpha, inverse)| {
                let terms = alpha.iter().zip(inverse).zip(phi);
                0.5 * terms
                    .map(|((alpha, inverse), phi)| (inverse + alpha * alpha) * phi)
                    .sum::<f64>()
            })
            .collect();
        let mut out = Vec::with_capacity(rho.len() / dimension * self.speakers);
        for row in rho.chunks_exact(dimension) {
            let means = self.alpha.chunks_exact(dimension).zip(&spread);
            out.extend(means.map(|(alpha, spread)| super::clustering::dot(row, alpha) - spread));
        }
        out
    }

    /// The second part of equation 25, which is twice the negative divergence from the prior.
    fn divergence(&self) -> f64 {
        let terms = self.inverse.iter().zip(&self.alpha);
        terms
            .map(|(inverse, alpha)| inverse.ln() - inverse - alpha * alpha + 1.0)
            .sum()
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// Probabilities of speakers where each embedding stands for itself; returns the total log-likelihood.
fn smooth_mixture(likelihood: &[f64], gamma: &mut [f64], pi: &mut [f64]) -> f64 {
    let prior: Vec<f64> = pi.iter().map(|pi| (pi + EPSILON).ln()).collect();
    let speakers = pi.len();
    let mut total = 0.0;
    pi.fill(0.0);
    for (row, out) in likelihood
        .chunks_exact(speakers)
        .zip(gamma.chunks_exact_mut(speakers))
    {
        let joint = row
            .iter()
            .zip(&prior)
            .map(|(likelihood, prior)| likelihood + prior);
        let evidence = log_sum_exp(joint.clone());
        total += evidence;
        for ((out, joint), pi) in out.iter_mut().zip(joint).zip(pi.iter_mut()) {
            *out = (joint - evidence).exp();
            *pi += *out;
        }
    }
    let sum: f64 = pi.iter().sum();
    pi.iter_mut().for_each(|pi| *pi /= sum);
    total
}

/// The same along a chain that stays with its speaker with probability `stay`, else draws from the prior (forward-backward).
fn smooth_chain(likelihood: &[f64], gamma: &mut [f64], pi: &mut [f64], stay: f64) -> f64 {
    let speakers = pi.len();
    let count = likelihood.len() / speakers;
    if count == 0 {
        return 0.0;
    }
    let step = |from: usize, to: usize| {
        let remains = if from == to { stay } else { 0.0 };
        (remains + (1.0 - stay) * pi[to] + EPSILON).ln()
    };
    let steps: Vec<f64> = (0..speakers * speakers)
        .map(|at| step(at / speakers, at % speakers))
        .collect();
    let at = |values: &[f64], index: usize, speaker: usize| values[index * speakers + speaker];
    let mut forward = vec![0.0; likelihood.len()];
    let mut backward = vec![0.0; likelihood.len()];
    for speaker in 0..speakers {
        forward[speaker] = likelihood[speaker] + (pi[speaker] + EPSILON).ln();
    }
    for index in 1..count {
        for to in 0..speakers {
            let ways =
                (0..speakers).map(|from| at(&forward, index - 1, from) + at(&steps, from, to));
            forward[index * speakers + to] = at(likelihood, index, to) + log_sum_exp(ways);
        }
    }
    for index in (0..count - 1).rev() {
        for from in 0..speakers {
            let ways = (0..speakers).map(|to| {
                at(&steps, from, to) + at(likelihood, index + 1, to) + at(&backward, index + 1, to)
            });
            backward[index * speakers + from] = log_sum_exp(ways);
        }
    }
    let total = log_sum_exp((0..speakers).map(|speaker| at(&forward, count - 1, speaker)));
    for (out, (forward, backward)) in gamma.iter_mut().zip(forward.iter().zip(&backward)) {
        *out = (forward + backward - total).exp();
    }
    // Speakers are drawn at the start and wherever the chain does not stay.
    let drawn: Vec<f64> = (0..speakers)
        .map(|speaker| {
            let entries = (1..count).map(|index| {
                let before = log_sum_exp((0..speakers).map(|from| at(&forward, index - 1, from)));
                (before + at(likelihood, index, speaker) + at(&backward, index, speaker) - total)
                    .exp()
            });
            gamma[speaker] + (1.0 - stay) * pi[speaker] * entries.sum::<f64>()
        })
        .collect();
    let sum: f64 = drawn.iter().sum();
    pi.iter_mut()
        .zip(&drawn)
        .for_each(|(pi, drawn)| *pi = drawn / sum);
    total
}
