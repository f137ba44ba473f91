//! Which tokens may come next (openai/whisper decoding.py: `SuppressBlank`, `SuppressTokens`, `ApplyTimestampRules`).

use sori_infer::ops::log_softmax;

use super::spec::Spec;

/// The rules of one window's decoding.
pub(super) struct Rules<'a> {
    pub spec: &'a Spec,
    pub suppressed: &'a [u32],
    pub timestamp_tokens: bool,
    pub no_repeat_ngram: usize,
}

impl Rules<'_> {
    /// Forbids tokens in a row of scores, given the tokens written so far, with `-inf`.
    pub(super) fn apply(&self, logits: &mut [f32], written: &[u32]) {
        let known = |list: &'_ [u32]| {
            list.iter()
                .copied()
                .filter(|&id| (id as usize) < self.spec.sizes.vocabulary)
                .collect::<Vec<_>>()
                .into_iter()
        };
        let mut forbid = |id: u32| logits[id as usize] = f32::NEG_INFINITY;
        if written.is_empty() {
            known(&self.spec.not_first).for_each(&mut forbid);
        }
        known(self.suppressed).for_each(&mut forbid);
        if self.no_repeat_ngram > 0 {
            followers(written, self.no_repeat_ngram).for_each(&mut forbid);
        }
        if self.timestamp_tokens
            && let Some(first) = self.spec.steering.first_timestamp
        {
            self.times(logits, written, first as usize);
        }
    }

    fn times(&self, logits: &mut [f32], written: &[u32], first: usize) {
        let end = self.spec.steering.end as usize;
        let is_time = |id: &u32| *id as usize >= first;
        let last = written.last().is_some_and(is_time);
        let before = written.len() < 2 || is_time(&written[written.len() - 2]);
        if let Some(id) = self.spec.steering.no_timestamps {
            logits[id as usize] = f32::NEG_INFINITY;
        }
        if last && before {
            logits[first..].fill(f32::NEG_INFINITY); // times come in pairs, then text
        } else if last {
            logits[..end].fill(f32::NEG_INFINITY); // a segment's end is followed by a start, or by the end
        }
        if let Some(&time) = written.iter().rev().find(|id| is_time(id)) {
            // Times never go back, and a segment has a length.
            let least = if last && !before {
                time as usize
            } else {
                time as usize + 1
            };
            logits[first..least].fill(f32::NEG_INFINITY);
        }
        if written.is_empty() {
            logits[..first].fill(f32::NEG_INFINITY);
            let latest = first + 50; // the first time lies in the first second
            if latest + 1 < logits.len() {
                logits[latest + 1..].fill(f32::NEG_INFINITY);
            }
        }
        let mut log = logits.to_vec();
        log_softmax(&mut log);
        let largest = log[first..]
            .iter()
            .fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        let all_times = largest
            + log[first..]
                .iter()
                .map(|x| (x - largest).exp())
                .sum::<f32>()
                .ln();
        let best_text = log[..first]
            .iter()
            .fold(f32::NEG_INFINITY, |m, &x| m.max(x));
        if all_times > best_text {
            logits[..first].fill(f32::NEG_INFINITY);
        }
    }
}

/// Tokens that would complete an n-gram that already occurred.
fn followers(written: &[u32], n: usize) -> impl Iterator<Item = u32> {
    let tail = written.len().saturating_sub(n - 1);
    let tail = written[tail..].to_vec();
    let grams: Vec<u32> = written
        .windows(n)
        .filter(|g| tail.len() == n - 1 && g[..n - 1] == tail)
        .map(|g| g[n - 1])
        .collect();
    grams.into_iter()
}

/// Whether a text has fallen into a loop: its last `period` tokens stand there five times in a row.
pub(super) fn loops(written: &[u32]) -> bool {
    (1..=24).any(|period| {
        let span = 5 * period.max(4);
        written.len() >= span
            && written[written.len() - span..]
                .windows(period + 1)
                .all(|w| w[0] == w[period])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_seen_and_speech_is_not() {
        assert!(loops(&[7; 20]));
        assert!(loops(
            &[&[1, 2, 3][..], &[4, 5, 6, 7, 8].repeat(5)].concat()
        ));
        assert!(!loops(&[7; 19]));
        assert!(!loops(&(0..200).map(|i| i * i % 97).collect::<Vec<u32>>()));
    }

    #[test]
    fn an_n_gram_is_not_written_twice() {
        assert_eq!(followers(&[1, 2, 3, 9, 1, 2], 3).collect::<Vec<_>>(), [3]);
        assert_eq!(followers(&[1], 3).count(), 0);
        assert_eq!(followers(&[5, 6], 1).collect::<Vec<_>>(), [5, 6]);
    }
}
