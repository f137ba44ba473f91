//! Which local speakers of all windows are one person.

mod ahc;
mod kmeans;
mod linkage;
mod slices;
#[cfg(test)]
mod tests;
mod vectors;

use sori_timeline::assignment;

pub(super) use self::vectors::{Points, dot, normalise};
use super::{Chunks, ClusterOptions, DiarizeError, Method, vbx};

/// A voice is used to find speakers when it talks alone in this share of the frames of its window (pyannote-audio 4,
/// `filter_embeddings`).
const LEAST_ALONE: f64 = 0.2;
/// Voices that a speaker has at least where slices leave it to them.
const MIN_CLUSTER_SIZE: usize = 12;
/// Speakers with less than this prior are none (pyannote's VBxClustering).
const LEAST_PRIOR: f64 = 1e-7;

/// How many speakers there may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub least: usize,
    pub most: usize,
}

/// The cluster of every voice of every window, `None` for a voice without one, and the clusters' centroids.
pub struct Clusters {
    pub labels: Vec<Vec<Option<usize>>>,
    pub centroids: Points,
}

/// Clusters a recording: its voices, and with slices also the one who mainly talks in every frame.
///
/// # Errors
/// When a PLDA is given that takes other embeddings.
pub fn cluster(
    chunks: &Chunks,
    options: &ClusterOptions,
) -> Result<(Clusters, Option<Vec<usize>>), DiarizeError> {
    let Method::Slices(how) = &options.method else {
        return Ok((cluster_voices(chunks, options)?, None));
    };
    let bounds = options.bounds();
    let Some(path) = slices::cluster(chunks, how, bounds) else {
        return Ok((cluster_voices(chunks, options)?, None));
    };
    let fits = |clusters: &Clusters| !slices::contradicted(chunks, clusters);
    if fits(&path.clusters) {
        return Ok((path.clusters, Some(path.main)));
    }
    // Windows hold people apart that slices have as one: those of whole voices, else one more is looked for, as if told.
    let voices = cluster_voices(chunks, options)?;
    let least = path.clusters.centroids.len() + 1;
    if !fits(&voices) && least <= bounds.most {
        let more = Bounds { least, ..bounds };
        if let Some(path) = slices::cluster(chunks, how, more).filter(|path| fits(&path.clusters)) {
            return Ok((path.clusters, Some(path.main)));
        }
    }
    Ok((voices, None))
}

fn cluster_voices(chunks: &Chunks, options: &ClusterOptions) -> Result<Clusters, DiarizeError> {
    if let Method::Vbx { plda, .. } = options.method
        && plda.dimension() != chunks.dimension()
    {
        return Err(DiarizeError::Dimension {
            plda: plda.dimension(),
            embedding: chunks.dimension(),
        });
    }
    let frames = f64::from(chunks.grid().frames);
    let clear = chunks.voices().map(|(_, voice)| voice).filter(|voice| {
        f64::from(voice.alone) >= LEAST_ALONE * frames && !voice.embedding.is_empty()
    });
    let training = Points::from_rows(chunks.dimension(), clear.map(|voice| &voice.embedding[..]));
    let bounds = options.bounds();
    let count = training.len();
    let within = Bounds {
        least: bounds.least.min(count).max(1),
        most: bounds.most.min(count).max(1),
    };
    if within.most < 2 {
        return Ok(one_cluster(chunks, &training));
    }
    Ok(match &options.method {
        Method::Slices(how) => {
            ahc_voices(chunks, &training, (how.voices, MIN_CLUSTER_SIZE), within)
        }
        Method::Ahc {
            threshold,
            min_cluster_size,
        } => ahc_voices(chunks, &training, (*threshold, *min_cluster_size), within),
        Method::Vbx {
            plda,
            threshold,
            options,
        } => {
            let unit = training.clone().unit();
            let first = ahc::threshold_clusters(&unit, *threshold);
            let features = plda.project(&training);
            let posterior = vbx::vbx(&features, plda.phi(), &first, options);
            let found = weighted_means(&training, &posterior);
            let wanted = found.len().clamp(within.least, within.most);
            if wanted == found.len() {
                assign(chunks, found, Sharing::Forbidden)
            } else {
                let centroids = mean_of_each(&training, &kmeans::kmeans(&unit, wanted));
                assign(chunks, centroids, Sharing::Allowed)
            }
        }
    })
}

/// Agglomerative clustering at a threshold, with a least size of a cluster.
fn ahc_voices(
    chunks: &Chunks,
    training: &Points,
    (threshold, min_cluster_size): (f64, usize),
    within: Bounds,
) -> Clusters {
    // The size is meant for windows a tenth apart, as pyannote has them.
    let grid = chunks.grid();
    let per_step = f64::from(grid.window) / 10.0 / f64::from(grid.step);
    let least = (min_cluster_size as f64 * per_step).round() as usize;
    let unit = training.clone().unit();
    let clusters = ahc::sized_clusters(&unit, threshold, least, within);
    let centroids = mean_of_each(training, &clusters);
    assign(chunks, centroids, Sharing::Allowed)
}

fn one_cluster(chunks: &Chunks, training: &Points) -> Clusters {
    let labels = chunks
        .windows()
        .iter()
        .map(|window| vec![Some(0); window.voices().len()]);
    Clusters {
        labels: labels.collect(),
        centroids: mean_of_each(training, &vec![0; training.len()]),
    }
}

fn mean_of_each(points: &Points, clusters: &[usize]) -> Points {
    let count = clusters.iter().max().map_or(1, |most| most + 1);
    vectors::means(points, clusters, count, &vec![1.0; points.len()])
}

/// The means of embeddings weighted with the posterior, for the speakers that VBx kept.
fn weighted_means(training: &Points, posterior: &vbx::Posterior) -> Points {
    let speakers = posterior.pi.len();
    let mut means = Points::new(training.dimension);
    for speaker in (0..speakers).filter(|&speaker| posterior.pi[speaker] > LEAST_PRIOR) {
        let weights: Vec<f64> = posterior
            .gamma
            .iter()
            .skip(speaker)
            .step_by(speakers)
            .copied()
            .collect();
        let mean = vectors::means(training, &vec![0; training.len()], 1, &weights);
        means.values.extend(mean.values);
    }
    means
}

/// Whether two local speakers of one window may be one person.
#[derive(Clone, Copy, PartialEq)]
enum Sharing {
    Allowed,
    Forbidden,
}

/// Gives every voice with an embedding to a centroid by cosine: each to its nearest, or all of a window together.
fn assign(chunks: &Chunks, centroids: Points, sharing: Sharing) -> Clusters {
    let label = |window: &super::Window| {
        let costs: Vec<f64> = window
            .voices()
            .iter()
            .flat_map(|voice| {
                let embedding: Vec<f64> =
                    voice.embedding.iter().map(|&value| value.into()).collect();
                let cost = |centroid| match embedding.is_empty() {
                    true => f64::NAN,
                    false => -vectors::cosine(&embedding, centroid),
                };
                centroids.rows().map(cost).collect::<Vec<_>>()
            })
            .collect();
        match sharing {
            Sharing::Forbidden => assignment::assign(&costs, centroids.len()),
            Sharing::Allowed => {
                let rows = costs.chunks_exact(centroids.len()).zip(window.voices());
                rows.map(|(row, voice)| {
                    let nearest = vectors::first_highest(row.iter().map(|cost| -cost));
                    (!voice.embedding.is_empty()).then_some(nearest)
                })
                .collect()
            }
        }
    };
    Clusters {
        labels: chunks.windows().iter().map(label).collect(),
        centroids,
    }
}
