//! Pooling of frames under weights, as `pyannote/audio/models/blocks/pooling.py` does it.

/// The weights at `count` places, each the nearest of those given, as `torch.nn.functional.interpolate(mode="nearest")`.
pub(super) fn nearest(weights: &[f32], count: usize) -> Vec<f32> {
    if weights.is_empty() {
        return vec![0.0; count];
    }
    let scale = weights.len() as f32 / count as f32;
    (0..count)
        .map(|at| weights[((at as f32 * scale) as usize).min(weights.len() - 1)])
        .collect()
}

/// The weighted means and deviations of each column of `frames` `(weights.len(), width)`, side by side; some weight is not 0.
///
/// The deviation is the unbiased one of weighted samples with reliability weights; of a single frame it is the root of
/// `floor`, a variance that is added to all.
pub(super) fn statistics(frames: &[f32], width: usize, weights: &[f32], floor: f64) -> Vec<f32> {
    let rows = || {
        let rows = frames.chunks_exact(width).zip(weights);
        rows.filter(|(_, weight)| **weight > 0.0)
            .map(|(row, weight)| (row, f64::from(*weight)))
    };
    // The reference adds 1e-8 here too, which its single precision rounds away.
    let total = rows().map(|(_, weight)| weight).sum::<f64>();
    let squares = rows().map(|(_, weight)| weight * weight).sum::<f64>();
    let mut means = vec![0.0f64; width];
    for (row, weight) in rows() {
        for (mean, &value) in means.iter_mut().zip(row) {
            *mean += weight * f64::from(value);
        }
    }
    means.iter_mut().for_each(|mean| *mean /= total);
    let mut spreads = vec![0.0f64; width];
    for (row, weight) in rows() {
        for ((spread, mean), &value) in spreads.iter_mut().zip(&means).zip(row) {
            let off = f64::from(value) - mean;
            *spread += weight * off * off;
        }
    }
    let scale = total - squares / total + 1e-8;
    let deviations = spreads.iter().map(|spread| (spread / scale + floor).sqrt());
    means
        .iter()
        .copied()
        .chain(deviations)
        .map(|value| value as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_nearest_place() {
        for (weights, count, want) in [
            (&[1.0, 2.0, 3.0][..], 3, &[1.0, 2.0, 3.0][..]),
            (&[1.0, 2.0], 5, &[1.0, 1.0, 1.0, 2.0, 2.0]),
            (&[1.0, 2.0, 3.0, 4.0, 5.0], 2, &[1.0, 3.0]),
            (&[], 2, &[0.0, 0.0]),
            (&[1.0], 0, &[]),
        ] {
            assert_eq!(nearest(weights, count), want);
        }
    }

    #[test]
    fn statistics_are_weighted_and_unbiased() {
        let frames = [1.0, 10.0, 3.0, 10.0, 100.0, 0.0];
        let found = statistics(&frames, 2, &[1.0, 1.0, 0.0], 0.0);
        let want = [2.0, 10.0, 2f32.sqrt(), 0.0];
        for (found, want) in found.iter().zip(want) {
            assert!((found - want).abs() < 1e-5, "{found} {want}");
        }
        let single = statistics(&frames, 2, &[0.0, 0.5, 0.0], 0.25);
        assert_eq!(single[2..], [0.5, 0.5]);
    }
}
