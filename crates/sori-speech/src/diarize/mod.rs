//! Who speaks when: pyannote's speaker diarization 3.1 and community-1.
//!
//! Sound goes through overlapping windows. In each, a segmentation network says which of a few local speakers talk when, and
//! an embedding network turns each of them into a vector; beside the windows it embeds short slices of the sound ([`Chunks`]:
//! all that is kept). Clustering finds the people ([`cluster`]): the vectors of windows as pyannote does, or, with networks
//! that were trained on less, slices and a path through them ([`Method::Slices`], which is our own). Windows laid over one
//! another give back their turns.
//!
//! | module | holds |
//! |---|---|
//! | [`segmentation`] | the network that tells the speakers of a window apart |
//! | [`embedding`] | the network that makes a vector of a voice |
//! | `listener` | [`Listener`]: sound in, [`Chunks`] out |
//! | `grid` | [`Grid`]: windows and frames in time |
//! | `chunks` | [`Chunks`]: what was heard, window by window |
//! | [`powerset`] | scores of a network to masks of speakers |
//! | `clustering` | linkage, cutting, k-means, giving voices to centroids; slices and their path |
//! | `plda`, `vbx` | [`Plda`] and the Bayesian clustering of community-1 |
//! | `count`, `reconstruct`, `pauses` | how many talk, who they are, turns and the pauses in them |
//! | `activations` | [`Activations`]: scores of speakers in time |
//!
//! Wherever scores are equal the lowest index goes first, so that results are the same on every machine; pyannote ranks with
//! an unstable sort.

mod activations;
mod chunks;
mod clustering;
mod count;
pub mod embedding;
mod error;
mod grid;
mod listener;
mod pauses;
mod plda;
pub mod powerset;
mod reconstruct;
pub mod segmentation;
#[cfg(test)]
mod tests;
mod vbx;

pub use self::{
    activations::Activations,
    chunks::{Chunks, Slices, Voice, Window},
    error::DiarizeError,
    grid::{Grid, SAMPLE_RATE},
    listener::{ListenOptions, Listener, Mode, Networks},
    plda::Plda,
    reconstruct::Turn,
    vbx::VbxOptions,
};

/// How voices are clustered.
#[derive(Debug, Clone, PartialEq)]
pub enum Method<'a> {
    /// Agglomerative clustering, as pyannote 3.1.
    Ahc {
        /// Greatest distance of the centroids of unit vectors that still are one speaker, 0 to 2.
        threshold: f64,
        /// Voices that a speaker has at least, with windows a tenth of their length apart (it is scaled for others); fewer in
        /// recordings of less than ten times as many voices.
        min_cluster_size: usize,
    },
    /// Slices of sound and a path through them.
    Slices(SliceOptions),
    /// Variational Bayes on a PLDA, as community-1.
    Vbx {
        /// The PLDA of the embedding network.
        plda: &'a Plda,
        /// As the threshold of `Ahc`, for the clusters it starts from.
        threshold: f64,
        /// Its constants.
        options: VbxOptions,
    },
}

impl<'a> Method<'a> {
    /// The constants of pyannote/speaker-diarization-3.1.
    pub const AHC: Method<'static> = Method::Ahc {
        threshold: 0.704_565_496_394_579_9,
        min_cluster_size: 12,
    };

    /// What suits an embedding network, by the name in its [`EmbeddingSpec`](embedding::EmbeddingSpec). Measured on mixed
    /// conversations of LibriSpeech (`sori bench speakers`) but for WeSpeaker's networks, whose voices are clustered with
    /// pyannote's constants.
    pub fn suited(network: &str) -> Method<'static> {
        match network {
            "ge2e" => Method::Slices(SliceOptions {
                merge: 0.55,
                voices: 0.7,
            }),
            "resnet" => Method::Slices(SliceOptions {
                merge: 0.4,
                voices: 0.94,
            }),
            _ => Method::AHC,
        }
    }

    /// The constants of pyannote/speaker-diarization-community-1 (`default_parameters` of pyannote-audio 4).
    pub fn community_1(plda: &'a Plda) -> Self {
        Self::Vbx {
            plda,
            threshold: 0.6,
            options: VbxOptions::default(),
        }
    }
}

/// How slices become speakers; which values fit depends on the embedding network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SliceOptions {
    /// Cosine of two centroids above which they are one speaker, -1 to 1.
    pub merge: f64,
    /// As the threshold of [`Method::Ahc`], for voices, where slices say nothing.
    pub voices: f64,
}

/// How a recording is divided among speakers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterOptions<'a> {
    /// How voices are clustered.
    pub method: Method<'a>,
    /// The number of speakers where it is known; it goes before the two bounds.
    pub speakers: Option<usize>,
    /// The least number of speakers.
    pub min_speakers: Option<usize>,
    /// The greatest number of speakers; the least goes before it.
    pub max_speakers: Option<usize>,
    /// Pauses within one speaker's turn that are shorter are filled, in seconds; 0 fills none.
    pub min_pause: f64,
    /// Turns that are shorter are dropped, in seconds; 0 drops none.
    pub min_turn: f64,
}

impl<'a> ClusterOptions<'a> {
    /// The method with any number of speakers and turns as they are found.
    pub fn new(method: Method<'a>) -> Self {
        Self {
            method,
            speakers: None,
            min_speakers: None,
            max_speakers: None,
            min_pause: 0.0,
            min_turn: 0.0,
        }
    }

    fn bounds(&self) -> clustering::Bounds {
        let given = |count: Option<usize>| count.filter(|&count| count > 0);
        let speakers = given(self.speakers);
        let least = speakers.or(given(self.min_speakers)).unwrap_or(1);
        let most = speakers.or(given(self.max_speakers)).unwrap_or(usize::MAX);
        clustering::Bounds {
            least,
            most: most.max(least),
        }
    }
}

/// Who speaks when.
#[derive(Debug, Clone, PartialEq)]
pub struct Diarization {
    /// Turns by their start, inside the recording; those of different speakers may overlap.
    pub turns: Vec<Turn>,
    /// The same where at most one speaks at once.
    pub exclusive: Vec<Turn>,
    /// How active each speaker is.
    pub activations: Activations,
    /// The mean embedding of each speaker, not normalised; empty for one that talks only where more talk at once than there are
    /// clusters.
    pub centroids: Vec<Vec<f32>>,
}

/// Divides a recording among speakers, who are numbered in the order in which they first talk.
///
/// Time: with `n` voices (one or two for each window) O(n²) up to 5,000 of them, about an hour; longer recordings are linked in
/// blocks whose clusters are linked again, in at most 100 MB beside what the result takes. With `m` slices (2.5 a second)
/// [`Method::Slices`] takes O(m · 2,000), linked in blocks of 2,000 and 16 MB, and below 17 clusters a path for each merge and,
/// in the end, one without each cluster, O(frames · clusters), at each of five distances, and once more where windows contradict
/// the result.
///
/// # Errors
/// When a PLDA is given that takes other embeddings.
pub fn cluster(chunks: &Chunks, options: &ClusterOptions) -> Result<Diarization, DiarizeError> {
    let (clusters, main) = clustering::cluster(chunks, options)?;
    let most = options.bounds().most;
    let made = reconstruct::reconstruct(chunks, &clusters, main.as_deref(), most);
    let mut found = Diarization {
        turns: made.turns,
        exclusive: made.exclusive,
        activations: made.activations,
        centroids: Vec::new(),
    };
    let end = chunks.seconds();
    for turns in [&mut found.turns, &mut found.exclusive] {
        turns
            .iter_mut()
            .for_each(|turn| turn.end = turn.end.min(end));
        turns.retain(|turn| turn.end > turn.start);
        reconstruct::smooth(turns, options.min_pause, options.min_turn);
    }
    number_by_appearance(&mut found, &clusters.centroids);
    Ok(found)
}

/// Drops clusters without a turn and numbers the others by their first one.
fn number_by_appearance(found: &mut Diarization, centroids: &clustering::Points) {
    let mut order: Vec<usize> = Vec::new();
    for turn in &found.turns {
        if !order.contains(&turn.speaker) {
            order.push(turn.speaker);
        }
    }
    let number = |speaker: usize| order.iter().position(|&old| old == speaker);
    for turns in [&mut found.turns, &mut found.exclusive] {
        turns.retain_mut(|turn| match number(turn.speaker) {
            Some(new) => {
                turn.speaker = new;
                true
            }
            None => false,
        });
    }
    found.activations.reorder(&order);
    let centroid = |&old: &usize| match old < centroids.len() {
        true => centroids
            .row(old)
            .iter()
            .map(|&value| value as f32)
            .collect(),
        false => Vec::new(),
    };
    found.centroids = order.iter().map(centroid).collect();
}
