//! Linkage, cuts and VBx against scipy and pyannote, and what goldens do not reach.

use sori_testing::{golden, shared};

use super::{linkage::Merge, *};
use crate::diarize::VbxOptions;

fn points(array: &golden::Array<f64>) -> Points {
    Points {
        dimension: array.shape[1],
        values: array.values.clone(),
    }
}

fn indices(array: &golden::Array<f64>) -> Vec<usize> {
    array.values.iter().map(|&value| value as usize).collect()
}

#[test]
fn forty_trees_and_their_cuts_are_those_of_scipy_and_pyannote() {
    let gold = golden::npz_f64(&shared("research/speakers/gold/clus.npz"));
    for case in 0..40 {
        let of = |name: &str| gold.get(&format!("{case}_{name}"));
        let unit = points(of("x").expect("a case has points"));
        let threshold = of("th").expect("a case has a threshold").values[0];
        let merges =
            linkage::centroid_linkage(&unit.values, unit.dimension, &vec![1.0; unit.len()]);
        let rows = of("Z").expect("a case has a tree").values.chunks_exact(4);
        for (merge, row) in merges.iter().zip(rows) {
            let Merge {
                left,
                right,
                height,
                weight,
            } = *merge;
            assert_eq!(
                [left as f64, right as f64, weight],
                [row[0], row[1], row[3]],
                "{case}"
            );
            assert!((height - row[2]).abs() < 1e-9, "{case}");
        }
        let clusters = linkage::cut(&merges, threshold, |merge| merges[merge].height);
        let flat: Vec<usize> = indices(of("fc").expect("a case is cut"))
            .iter()
            .map(|c| c - 1)
            .collect();
        assert_eq!(clusters, flat, "{case}");
        let any = Bounds {
            least: 1,
            most: unit.len(),
        };
        let two = Bounds { least: 2, most: 2 };
        for (name, bounds) in [("ac", any), ("ac2", two)] {
            if let Some(expected) = of(name) {
                let clusters = ahc::sized_clusters(&unit, threshold, 12, bounds);
                assert_eq!(clusters, indices(expected), "{case} {name}");
            }
        }
    }
}

#[test]
fn twenty_posteriors_are_those_of_pyannote() {
    let gold = golden::npz_f64(&shared("research/speakers/gold/clus.npz"));
    for case in 0..20 {
        let of = |name: &str| &gold[&format!("v{case}_{name}")];
        let found = vbx::vbx(
            &points(of("x")),
            &of("phi").values,
            &indices(of("init")),
            &VbxOptions::default(),
        );
        for (name, values) in [("gamma", &found.gamma), ("pi", &found.pi)] {
            let expected = &of(name).values;
            assert_eq!(values.len(), expected.len(), "{case} {name}");
            let off = values
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            assert!(off <= 1e-9, "{case} {name}: {off:e}");
        }
    }
}

/// `count` unit vectors around each of `groups` corners of a cube, in turns.
fn groups(groups: usize, count: usize, spread: f64) -> Points {
    let mut random = sori_testing::tone::Random::new(3);
    let mut points = Points::new(8);
    for index in 0..groups * count {
        let noise = (0..8).map(|_| spread * random.normal());
        let centre = (0..8).map(|axis| f64::from(u8::from(axis == index % groups)));
        points
            .values
            .extend(noise.zip(centre).map(|(noise, centre)| noise + centre));
    }
    points.unit()
}

#[test]
fn blocks_find_the_groups_that_the_whole_has() {
    let points = groups(4, 75, 0.05);
    let expected: Vec<usize> = (0..300).map(|index| index % 4).collect();
    for block in [20, 64, 299, 300] {
        let items = ahc::in_blocks(&points, 0.7, block);
        assert!(items.weights.len() <= block, "{block}");
        assert_eq!(items.weights.iter().sum::<f64>(), 300.0, "{block}");
        let merges = linkage::centroid_linkage(&items.points.values, 8, &items.weights);
        let clusters = linkage::cut(&merges, 0.7, |merge| merges[merge].height);
        let mut seen = Vec::new();
        let number = |item: &usize| {
            let cluster = clusters[*item];
            if !seen.contains(&cluster) {
                seen.push(cluster);
            }
            seen.iter()
                .position(|&old| old == cluster)
                .expect("just put there")
        };
        assert_eq!(
            items.of.iter().map(number).collect::<Vec<_>>(),
            expected,
            "{block}"
        );
    }
}

#[test]
fn blocks_of_noise_come_to_an_end() {
    let points = groups(1, 200, 9.0);
    let items = ahc::in_blocks(&points, 0.01, 16);
    assert!(items.weights.len() <= 16);
    assert_eq!(items.weights.iter().sum::<f64>(), 200.0);
}

#[test]
fn few_points_are_clustered_too() {
    let any = Bounds { least: 1, most: 9 };
    for (count, expected) in [(0, vec![]), (1, vec![0]), (2, vec![0, 0])] {
        let points = groups(1, count, 0.01);
        assert_eq!(ahc::threshold_clusters(&points, 0.7), expected);
        assert_eq!(ahc::sized_clusters(&points, 0.7, 12, any), expected);
    }
}
