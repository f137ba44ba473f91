//! Word times from cross-attention by dynamic time warping (openai/whisper timing.py, `find_alignment`).

use sori_infer::ops::softmax;

/// Frames of the median filter.
const MEDIAN: usize = 7;

/// Turns cross-attention scores of the alignment heads, each `(tokens, frames)`, into one map `(tokens, used)`: softmax
/// over the `used` frames, standardised over the tokens, median-filtered along time, averaged over heads.
pub(super) fn attention_map(scores: &[Vec<f32>], frames: usize, used: usize) -> Vec<f32> {
    let tokens = scores.first().map_or(0, |s| s.len() / frames);
    let mut mean = vec![0.0; tokens * used];
    for head in scores {
        let mut map: Vec<f32> = head
            .chunks_exact(frames)
            .flat_map(|row| &row[..used])
            .copied()
            .collect();
        map.chunks_exact_mut(used).for_each(softmax);
        standardise(&mut map, used);
        for (row, into) in map.chunks_exact(used).zip(mean.chunks_exact_mut(used)) {
            median_filter(row, into);
        }
    }
    let count = scores.len() as f32;
    mean.iter_mut().for_each(|x| *x /= count);
    mean
}

/// Gives every column mean 0 and deviation 1; sums are f64, for far frames differ by little.
fn standardise(map: &mut [f32], used: usize) {
    let rows = (map.len() / used) as f64;
    for column in 0..used {
        let values = || map.iter().skip(column).step_by(used).map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / rows;
        let deviation = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / rows).sqrt();
        map.iter_mut()
            .skip(column)
            .step_by(used)
            .for_each(|x| *x = ((f64::from(*x) - mean) / deviation) as f32);
    }
}

/// Adds the median of each value's neighbourhood to `into`; the ends are mirrored, short rows stay as they are.
fn median_filter(row: &[f32], into: &mut [f32]) {
    let half = MEDIAN / 2;
    if row.len() <= half {
        into.iter_mut().zip(row).for_each(|(y, x)| *y += x);
        return;
    }
    let mirrored = |i: isize| {
        let last = row.len() as isize - 1;
        let i = i.abs();
        row[(if i > last { 2 * last - i } else { i }) as usize]
    };
    for (i, y) in into.iter_mut().enumerate() {
        let mut near: [f32; MEDIAN] =
            std::array::from_fn(|k| mirrored(i as isize + k as isize - half as isize));
        near.sort_by(f32::total_cmp);
        *y += near[half];
    }
}

/// The cheapest monotonic path through `cost` `(rows, columns)`: pairs (row, column) from the first to the last.
///
/// Of equal steps the one along a row is taken, as in timing.py `dtw_cpu`.
pub(super) fn warp(cost: &[f32], columns: usize) -> Vec<(usize, usize)> {
    let rows = cost.len() / columns;
    let mut above = vec![f32::INFINITY; rows + 1]; // one column of the cost table
    above[0] = 0.0;
    let mut trace = vec![2u8; (rows + 1) * (columns + 1)];
    for j in 1..=columns {
        let mut now = vec![f32::INFINITY; rows + 1];
        for i in 1..=rows {
            let (diagonal, down, along) = (above[i - 1], now[i - 1], above[i]);
            let (least, step) = if diagonal < down && diagonal < along {
                (diagonal, 0)
            } else if down < diagonal && down < along {
                (down, 1)
            } else {
                (along, 2)
            };
            now[i] = cost[(i - 1) * columns + j - 1] + least;
            trace[i * (columns + 1) + j] = step;
        }
        above = now;
    }
    (1..=rows).for_each(|i| trace[i * (columns + 1)] = 1);
    let (mut i, mut j, mut path) = (rows, columns, Vec::new());
    while i > 0 && j > 0 {
        path.push((i - 1, j - 1));
        match trace[i * (columns + 1) + j] {
            0 => (i, j) = (i - 1, j - 1),
            1 => i -= 1,
            _ => j -= 1,
        }
    }
    path.reverse();
    path
}

/// The frame at which each row of a path begins.
pub(super) fn row_starts(path: &[(usize, usize)]) -> Vec<usize> {
    let mut starts = Vec::new();
    for &(row, frame) in path {
        if row == starts.len() {
            starts.push(frame);
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagonal_of_low_cost_is_followed() {
        let (rows, columns) = (4, 12);
        let cost: Vec<f32> = (0..rows * columns)
            .map(|i| {
                if i % columns / 3 == i / columns {
                    -1.0
                } else {
                    1.0
                }
            })
            .collect();
        let path = warp(&cost, columns);
        assert_eq!(row_starts(&path), [0, 3, 6, 9]);
        assert_eq!((path[0], path[path.len() - 1]), ((0, 0), (3, 11)));
    }

    #[test]
    fn medians_mirror_at_the_ends() {
        let mut out = [0.0; 5];
        median_filter(&[5.0, 1.0, 2.0, 9.0, 3.0], &mut out);
        // scipy.signal.medfilt after np.pad(..., mode="reflect").
        assert_eq!(out, [2.0, 2.0, 3.0, 3.0, 2.0]);
        let mut short = [1.0; 2];
        median_filter(&[1.0, 2.0], &mut short);
        assert_eq!(short, [2.0, 3.0]);
    }
}
