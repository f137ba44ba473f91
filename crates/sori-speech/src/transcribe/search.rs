//! One attempt at one window: greedy, sampled or beam search (openai/whisper decoding.py).

use sori_infer::ops::{log_softmax, softmax};

use super::network::Memory;
use super::options::Search;
use super::rules::{Rules, loops};

/// A sequence being written.
#[derive(Clone)]
struct Beam {
    written: Vec<u32>,
    sum_logprob: f32,
    memory: Memory,
    ended: bool,
}

/// A text that an attempt arrived at.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub tokens: Vec<u32>,
    pub sum_logprob: f32,
}

/// An attempt's state between two steps of the decoder.
pub(super) struct Attempt {
    temperature: f32,
    beams: Vec<Beam>,
    search: Search,
    best_of: usize,
    max_tokens: usize,
    finished: Vec<Written>,
    random: u64,
}

impl Attempt {
    /// An attempt that has written nothing; at a temperature above 0 it draws `best_of` samples.
    pub(super) fn new(
        temperature: f32,
        search: Search,
        best_of: usize,
        max_tokens: usize,
        seed: u64,
    ) -> Self {
        let beam = Beam {
            written: Vec::new(),
            sum_logprob: 0.0,
            memory: Memory::default(),
            ended: false,
        };
        Self {
            temperature,
            beams: vec![beam],
            search,
            best_of,
            max_tokens,
            finished: Vec::new(),
            random: seed,
        }
    }

    /// Whether nothing has been written yet.
    pub(super) fn fresh(&self) -> bool {
        self.beams.len() == 1 && self.beams[0].written.is_empty()
    }

    /// Rows of scores that the next step needs.
    pub(super) fn rows(&self) -> usize {
        self.beams.iter().filter(|b| !b.ended).count()
    }

    /// The tokens that each unfinished beam has not read yet, `initial` for a fresh attempt, and its memory.
    pub(super) fn inputs<'a>(
        &'a mut self,
        initial: Option<&'a [u32]>,
    ) -> impl Iterator<Item = (&'a [u32], &'a mut Memory)> {
        self.beams.iter_mut().filter(|b| !b.ended).map(move |beam| {
            let Beam {
                written, memory, ..
            } = beam;
            (
                initial.unwrap_or_else(|| &written[written.len() - 1..]),
                memory,
            )
        })
    }

    /// Takes one row of scores `(beams, vocabulary)` per unfinished beam; returns whether the attempt is over.
    pub(super) fn absorb(&mut self, logits: &mut [f32], rules: &Rules) -> bool {
        let vocabulary = rules.spec.sizes.vocabulary;
        let end = rules.spec.steering.end;
        for (row, beam) in logits
            .chunks_exact_mut(vocabulary)
            .zip(self.beams.iter().filter(|b| !b.ended))
        {
            rules.apply(row, &beam.written);
        }
        match (self.search, self.temperature > 0.0) {
            (Search::Beam { size, patience, .. }, false) => {
                self.widen(logits, vocabulary, end, size, patience)
            }
            (_, sampled) => self.follow(logits, vocabulary, end, sampled),
        }
    }

    fn follow(&mut self, logits: &mut [f32], vocabulary: usize, end: u32, sampled: bool) -> bool {
        let first = sampled && self.fresh();
        if first {
            self.beams = vec![self.beams[0].clone(); self.best_of];
        }
        let live: Vec<usize> = (0..self.beams.len())
            .filter(|&i| !self.beams[i].ended)
            .collect();
        for (at, i) in live.into_iter().enumerate() {
            let at = if first { 0 } else { at };
            let row = &logits[at * vocabulary..][..vocabulary];
            let token = if sampled {
                self.draw(row)
            } else {
                best(row, 1)[0].0
            };
            let mut log = row.to_vec();
            log_softmax(&mut log);
            let beam = &mut self.beams[i];
            beam.sum_logprob += log[token as usize];
            beam.ended = token == end;
            if !beam.ended {
                beam.written.push(token);
                beam.ended = beam.written.len() >= self.max_tokens || loops(&beam.written);
            }
        }
        self.beams.iter().all(|b| b.ended)
    }

    /// Draws a token by its probability at the attempt's temperature (splitmix64 as the source of chance).
    fn draw(&mut self, row: &[f32]) -> u32 {
        let mut chances: Vec<f32> = row.iter().map(|x| x / self.temperature).collect();
        softmax(&mut chances);
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let mut left = ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32;
        for (id, chance) in chances.iter().enumerate() {
            left -= chance;
            if left < 0.0 {
                return id as u32;
            }
        }
        best(row, 1)[0].0
    }

    fn widen(
        &mut self,
        logits: &mut [f32],
        vocabulary: usize,
        end: u32,
        size: usize,
        patience: f32,
    ) -> bool {
        let mut candidates = Vec::new();
        for (index, (beam, row)) in self
            .beams
            .iter()
            .zip(logits.chunks_exact_mut(vocabulary))
            .enumerate()
        {
            log_softmax(row);
            candidates.extend(
                best(row, size + 1)
                    .into_iter()
                    .map(|(token, logprob)| (beam.sum_logprob + logprob, index, token)),
            );
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
        let most = ((size as f32 * patience).round() as usize).max(1);
        let (mut next, mut ended) = (Vec::new(), Vec::new());
        for (sum_logprob, index, token) in candidates {
            let mut tokens = self.beams[index].written.clone();
            if token == end {
                ended.push(Written {
                    tokens,
                    sum_logprob,
                });
                continue;
            }
            tokens.push(token);
            next.push(Beam {
                written: tokens,
                sum_logprob,
                memory: self.beams[index].memory.clone(),
                ended: false,
            });
            if next.len() == size {
                break;
            }
        }
        let room = most.saturating_sub(self.finished.len());
        self.finished.extend(ended.into_iter().take(room));
        self.beams = next;
        let full = self
            .beams
            .first()
            .is_none_or(|b| b.written.len() >= self.max_tokens);
        self.finished.len() >= most || full || self.beams.iter().all(|b| loops(&b.written))
    }

    /// The best text of a finished attempt.
    pub(super) fn result(mut self) -> Written {
        let (mut found, penalty) = match (self.search, self.temperature > 0.0) {
            (
                Search::Beam {
                    size,
                    length_penalty,
                    ..
                },
                false,
            ) => {
                let missing = size.saturating_sub(self.finished.len());
                self.beams
                    .sort_by(|a, b| b.sum_logprob.total_cmp(&a.sum_logprob));
                self.finished
                    .extend(self.beams.into_iter().take(missing).map(|b| Written {
                        tokens: b.written,
                        sum_logprob: b.sum_logprob,
                    }));
                (self.finished, length_penalty)
            }
            _ => (
                self.beams
                    .into_iter()
                    .map(|b| Written {
                        tokens: b.written,
                        sum_logprob: b.sum_logprob,
                    })
                    .collect(),
                None,
            ),
        };
        let score = |w: &Written| {
            let length = w.tokens.len() as f32;
            w.sum_logprob / penalty.map_or(length, |p| ((5.0 + length) / 6.0).powf(p))
        };
        // An empty text has no score; it wins only when nothing else was written. Of equals the first wins.
        let place = (0..found.len()).rev().max_by(|&a, &b| {
            score_or_least(score(&found[a])).total_cmp(&score_or_least(score(&found[b])))
        });
        place.map_or(
            Written {
                tokens: Vec::new(),
                sum_logprob: 0.0,
            },
            |i| found.swap_remove(i),
        )
    }
}

fn score_or_least(score: f32) -> f32 {
    if score.is_nan() {
        f32::NEG_INFINITY
    } else {
        score
    }
}

/// The `count` largest values of a row with their places, largest first; of equals the first place comes first.
pub(super) fn best(row: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut found: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, &x) in row.iter().enumerate() {
        if found.len() == count && found.last().is_some_and(|f| x <= f.1) {
            continue;
        }
        let place = found.partition_point(|f| f.1 >= x);
        found.insert(place, (id as u32, x));
        found.truncate(count);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_in_order_with_ties_to_the_first() {
        assert_eq!(
            best(&[1.0, 5.0, 3.0, 5.0, 4.0], 3),
            [(1, 5.0), (3, 5.0), (4, 4.0)]
        );
        assert_eq!(best(&[2.0], 3), [(0, 2.0)]);
        assert_eq!(best(&[f32::NEG_INFINITY; 2], 1), [(0, f32::NEG_INFINITY)]);
    }
}
