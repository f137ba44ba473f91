//! Paths and spans against torchaudio's `forced_align` and `merge_tokens`, and against known truth.

use sori_speech::align::trellis::{Edges, Emissions, Label, align};
use sori_testing::tone::Random;
use sori_testing::{golden, shared};

/// The 30 cases of shared/research/speakers/golden.py, part `align` (torchaudio 2.8.0).
#[test]
fn paths_and_spans_are_torchaudios() {
    let all = golden::npz(&shared("research/speakers/gold/align.npz"));
    for case in 0..30 {
        let array = |part: &str| &all[&format!("{case}_{part}")];
        let emissions = Emissions {
            values: array("em").values.clone(),
            vocabulary: array("em").shape[1],
            blank: 0,
            delimiter: None,
        };
        let tokens: Vec<_> = array("tok").values.iter().map(|&id| id as u32).collect();
        let labels: Vec<_> = tokens.iter().copied().map(Label::Token).collect();
        let spans = align(&emissions, &labels, Edges::Closed).expect("torchaudio found a path");
        let mut path = vec![0.0; emissions.frames()];
        for (span, &token) in spans.iter().zip(&tokens) {
            path[span.start..span.end].fill(token as f32);
        }
        assert_eq!(path, array("fa").values, "case {case}");
        let want = array("fspan").values.chunks_exact(3);
        assert_eq!(spans.len(), want.len());
        for (span, want) in spans.iter().zip(want) {
            assert_eq!(
                (span.start as f32, span.end as f32),
                (want[0], want[1]),
                "case {case}"
            );
            assert!(
                (span.score - want[2]).abs() < 1e-5,
                "case {case}: {} {}",
                span.score,
                want[2]
            );
        }
    }
}

/// An utterance whose tokens are known to be at certain frames, as in shared/research/speakers/checks.py, part `ctc`.
fn utterance(random: &mut Random, blank: f64) -> (Emissions, Vec<u32>, Vec<usize>) {
    let below =
        |random: &mut Random, from: usize, to: usize| from + (random.next() as usize) % (to - from);
    let (frames, count) = (below(random, 60, 240), below(random, 3, 20));
    let tokens: Vec<_> = (0..count).map(|_| below(random, 1, 30) as u32).collect();
    let mut places: Vec<usize> = Vec::new();
    while places.len() < count {
        let place = below(random, 4, frames - 4);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_unstable();
    let mut values: Vec<f32> = (0..frames * 30)
        .map(|_| (random.normal() * 0.7) as f32)
        .collect();
    values
        .iter_mut()
        .step_by(30)
        .for_each(|x| *x += blank as f32);
    for (&place, &token) in places.iter().zip(&tokens) {
        values[place * 30 + token as usize] += blank as f32 + 4.0;
    }
    for row in values.chunks_exact_mut(30) {
        let total: f32 = row.iter().map(|x| x.exp()).sum();
        row.iter_mut().for_each(|x| *x -= total.ln());
    }
    let emissions = Emissions {
        values,
        vocabulary: 30,
        blank: 0,
        delimiter: None,
    };
    (emissions, tokens, places)
}

/// With [`Edges::Open`] too, which must not swallow what belongs to the utterance.
#[test]
fn tokens_are_found_where_they_were_put() {
    for (edges, blank) in [Edges::Closed, Edges::Open]
        .into_iter()
        .flat_map(|edges| [8.0, 6.0, 5.0, 4.0, 3.0, 2.0].map(|blank| (edges, blank)))
    {
        let mut random = Random::new(2);
        let (mut near, mut all, mut sure, mut frames) = (0, 0, 0.0, 0);
        for _ in 0..120 {
            let (emissions, tokens, places) = utterance(&mut random, blank);
            let blanks = emissions.values.iter().step_by(30);
            sure += blanks.map(|x| x.exp()).sum::<f32>();
            frames += emissions.frames();
            let labels: Vec<_> = tokens.into_iter().map(Label::Token).collect();
            let Some(spans) = align(&emissions, &labels, edges) else {
                continue;
            };
            all += spans.len();
            let found = spans.iter().zip(&places);
            near += found
                .filter(|(span, place)| span.start.abs_diff(**place) <= 2)
                .count();
        }
        let (share, sure) = (near as f64 / all as f64, sure / frames as f32);
        println!(
            "{edges:?}: mean p(blank) {sure:.3}, {:.3} % of {all} within 2 frames",
            100.0 * share
        );
        assert!(all > 1000 && share >= 0.995, "{edges:?} {blank}: {share}");
    }
}
