//! The most probable way of known labels through a CTC network's frames.
//!
//! Viterbi over the 2L + 1 states of connectionist temporal classification (Graves et al. 2006, section 4.1): a blank before,
//! between and after the labels, which may be passed over unless the labels on its sides are equal. Every frame is accounted
//! for, so that no end is free to drift; WhisperX's trellis lets the path end early, which saves frames and pulls words to the
//! left. Paths are those of torchaudio's `forced_align` (libtorchaudio/forced_align/cpu/compute.cpp), spans those of its
//! `merge_tokens`. Added: labels that stand for several tokens, and edges that tolerate speech that nobody wrote down.

use std::collections::HashMap;

/// The most cells (frames × states, a byte each) of one trellis: four minutes of dense speech.
pub const MAX_CELLS: usize = 64 << 20;

/// What a frame costs that an open edge hears as speech, in nats: so much must be gained by leaving it out.
const EDGE_COST: f32 = 2.0;

/// What is to be found in the sound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// A token of the vocabulary.
    Token(u32),
    /// Any of some tokens: what is heard counts as the best of them.
    Any(Vec<u32>),
    /// A sound whose token is not known: the best of all tokens but blank and delimiter.
    Star,
}

/// How the first and the last blank take frames with speech in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    /// As blank only: the sound has the labels and nothing else.
    Closed,
    /// As speech of others, at a price: the sound has a margin.
    Open,
}

/// What a network heard: log-probabilities `(frames, vocabulary)`, row-major.
#[derive(Clone, Debug, Default)]
pub struct Emissions {
    /// Natural logarithms of probabilities; each row has `vocabulary` of them.
    pub values: Vec<f32>,
    /// Tokens of the network, blank included.
    pub vocabulary: usize,
    /// The token for nothing new.
    pub blank: u32,
    /// The token between words.
    pub delimiter: Option<u32>,
}

/// The frames of one label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// First frame.
    pub start: usize,
    /// The frame after the last.
    pub end: usize,
    /// Mean log-probability over these frames.
    pub score: f32,
}

impl Emissions {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.values.len() / self.vocabulary.max(1)
    }

    fn star(&self, row: &[f32]) -> f32 {
        let spoken = |id: usize| id != self.blank as usize && Some(id as u32) != self.delimiter;
        let ids = (0..row.len()).filter(|&id| spoken(id));
        ids.fold(f32::NEG_INFINITY, |best, id| best.max(row[id]))
    }

    fn score(&self, row: &[f32], label: &Label) -> f32 {
        let of = |id: u32| row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
        match label {
            Label::Token(id) => of(*id),
            Label::Any(ids) => ids.iter().fold(f32::NEG_INFINITY, |m, &id| m.max(of(id))),
            Label::Star => self.star(row),
        }
    }
}

/// Returns the frames of each label on the most probable path. Spans are in order, not empty, and do not overlap.
///
/// `None` when there is no path (fewer frames than labels and the blanks between equal neighbours, or impossible
/// probabilities) or when the trellis would have more than [`MAX_CELLS`]. Allocates one byte per cell.
pub fn align(emissions: &Emissions, labels: &[Label], edges: Edges) -> Option<Vec<Span>> {
    let (frames, states) = (emissions.frames(), 2 * labels.len() + 1);
    let repeats = labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
    if labels.is_empty() || frames < labels.len() + repeats {
        return None;
    }
    if frames.checked_mul(states)? > MAX_CELLS {
        return None;
    }
    let trellis = Trellis::new(emissions, labels, edges);
    let (last, steps) = trellis.forward();
    trellis.back(last, &steps)
}

struct Trellis<'a> {
    emissions: &'a Emissions,
    edges: Edges,
    /// The different labels.
    kinds: Vec<&'a Label>,
    /// Which of `kinds` each label is.
    kind: Vec<usize>,
}

impl<'a> Trellis<'a> {
    fn new(emissions: &'a Emissions, labels: &'a [Label], edges: Edges) -> Self {
        let (mut kinds, mut known) = (Vec::new(), HashMap::new());
        let number = |label| {
            *known.entry(label).or_insert_with(|| {
                kinds.push(label);
                kinds.len() - 1
            })
        };
        let kind = labels.iter().map(number).collect();
        Self {
            emissions,
            edges,
            kinds,
            kind,
        }
    }

    /// The best last state, and for every cell by how many states the best way came forward.
    fn forward(&self) -> (usize, Vec<u8>) {
        let (frames, states) = (self.emissions.frames(), 2 * self.kind.len() + 1);
        let mut steps = vec![0u8; frames * states];
        let (mut now, mut before) = (
            vec![f32::NEG_INFINITY; states],
            vec![f32::NEG_INFINITY; states],
        );
        let mut heard = vec![0.0; self.kinds.len()];
        let rows = self
            .emissions
            .values
            .chunks_exact(self.emissions.vocabulary);
        for (frame, (row, steps)) in rows.zip(steps.chunks_exact_mut(states)).enumerate() {
            for (score, label) in heard.iter_mut().zip(&self.kinds) {
                *score = self.emissions.score(row, label);
            }
            let blank = row[self.emissions.blank as usize];
            let edge = match self.edges {
                Edges::Closed => blank,
                Edges::Open => blank.max(self.emissions.star(row) - EDGE_COST),
            };
            // States from which the end can be reached, and that can be reached from the start.
            let from = states.saturating_sub(2 * (frames - frame));
            let to = (2 * frame + 2).min(states);
            now.fill(f32::NEG_INFINITY);
            for state in from..to {
                let (best, step) = match frame {
                    0 => (0.0, 0),
                    _ => self.arrive(&before, state),
                };
                steps[state] = step;
                now[state] = best
                    + match state {
                        s if s % 2 == 1 => heard[self.kind[s / 2]],
                        s if s == 0 || s + 1 == states => edge,
                        _ => blank,
                    };
            }
            std::mem::swap(&mut now, &mut before);
        }
        let last = if before[states - 1] > before[states - 2] {
            states - 1
        } else {
            states - 2
        };
        (last, steps)
    }

    /// The best score of ways into a state, and the step that the best one takes. Where ways are equal the shorter step wins.
    fn arrive(&self, before: &[f32], state: usize) -> (f32, u8) {
        let mut best = (before[state], 0);
        if state >= 1 && before[state - 1] > best.0 {
            best = (before[state - 1], 1);
        }
        let label = state % 2 == 1 && state >= 3;
        if label && self.kind[state / 2] != self.kind[state / 2 - 1] && before[state - 2] > best.0 {
            best = (before[state - 2], 2);
        }
        best
    }

    fn back(&self, last: usize, steps: &[u8]) -> Option<Vec<Span>> {
        let states = 2 * self.kind.len() + 1;
        let mut spans: Vec<Option<Span>> = vec![None; self.kind.len()];
        let mut state = last;
        for (frame, steps) in steps.chunks_exact(states).enumerate().rev() {
            if state % 2 == 1 {
                let row = &self.emissions.values[frame * self.emissions.vocabulary..]
                    [..self.emissions.vocabulary];
                let score = self.emissions.score(row, self.kinds[self.kind[state / 2]]);
                let span = spans[state / 2].get_or_insert(Span {
                    start: frame,
                    end: frame + 1,
                    score: 0.0,
                });
                (span.start, span.score) = (frame, span.score + score);
            }
            if frame > 0 {
                state = state.checked_sub(steps[state].into())?;
            }
        }
        // Impossible probabilities lead to other states than the first two.
        let spans: Vec<_> = spans.into_iter().collect::<Option<_>>()?;
        let mean = |span: Span| Span {
            score: span.score / (span.end - span.start) as f32,
            ..span
        };
        let possible = state <= 1 && spans.iter().all(|span| span.score.is_finite());
        possible.then(|| spans.into_iter().map(mean).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Emissions over four tokens, blank 0, in which each frame is sure of one.
    fn heard(frames: &[u32]) -> Emissions {
        let row = |&token: &u32| {
            (0..4).map(move |id| {
                if id == token {
                    0.91f32.ln()
                } else {
                    0.03f32.ln()
                }
            })
        };
        Emissions {
            values: frames.iter().flat_map(row).collect(),
            vocabulary: 4,
            blank: 0,
            delimiter: Some(3),
        }
    }

    #[track_caller]
    fn check(frames: &[u32], labels: &[Label], edges: Edges, want: &[(usize, usize)]) {
        let spans = align(&heard(frames), labels, edges).expect("a path exists");
        let found: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
        assert_eq!(found, want, "{frames:?} {labels:?}");
    }

    #[test]
    fn labels_lie_where_they_were_heard() {
        use Edges::*;
        use Label::*;
        check(
            &[0, 1, 0, 2, 2, 0],
            &[Token(1), Token(2)],
            Closed,
            &[(1, 2), (3, 5)],
        );
        check(&[1, 2], &[Token(1), Token(2)], Closed, &[(0, 1), (1, 2)]);
        // Equal labels need a blank between them, even where none was heard.
        check(&[1, 1, 1], &[Token(1), Token(1)], Closed, &[(0, 1), (2, 3)]);
        check(&[0, 2, 0], &[Any(vec![1, 2])], Closed, &[(1, 2)]);
        // A delimiter is no sound of a word.
        check(&[3, 3, 0, 2, 0], &[Star], Closed, &[(3, 4)]);
        // What the neighbours say is left out where edges are open.
        check(
            &[2, 0, 1, 0, 0, 2, 0, 1, 0],
            &[Token(1), Token(2)],
            Open,
            &[(2, 3), (5, 6)],
        );
        check(
            &[1, 0, 2, 0, 1, 2, 0, 1, 1],
            &[Token(2), Token(1), Token(2)],
            Open,
            &[(2, 3), (4, 5), (5, 6)],
        );
    }

    #[test]
    fn impossible_tasks_have_no_path() {
        let two = [Label::Token(1), Label::Token(1)];
        assert_eq!(align(&heard(&[1, 1]), &two, Edges::Closed), None);
        assert_eq!(align(&heard(&[1, 1]), &[], Edges::Closed), None);
        assert_eq!(align(&Emissions::default(), &two, Edges::Open), None);
        assert_eq!(
            align(&heard(&[1, 0, 1]), &[Label::Token(9)], Edges::Closed),
            None
        );
        assert_eq!(
            align(&heard(&[1, 0, 1]), &[Label::Any(vec![])], Edges::Closed),
            None
        );
        let mut broken = heard(&[1, 0, 1]);
        broken.values.fill(f32::NAN);
        assert_eq!(align(&broken, &two, Edges::Closed), None);
        let long = heard(&vec![1; MAX_CELLS / 1000]);
        let many: Vec<_> = (0..600).map(|i| Label::Token(1 + i % 2)).collect();
        assert_eq!(align(&long, &many, Edges::Closed), None);
    }
}
