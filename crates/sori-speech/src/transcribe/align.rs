//! When each word was said: one forced pass over the text, watching the alignment heads.

use sori_infer::ops::softmax;

use super::network::{Memory, Row};
use super::options::Task;
use super::timestamps::{attention_map, row_starts, warp};
use super::words::{TimedWord, split};
use super::{Heard, Whisper};

/// A text laid along time.
pub struct Alignment {
    /// For each text token and the end, the encoder frame at which it begins.
    pub frames: Vec<usize>,
    /// The path of the time warp: (row, frame) pairs; rows are the text tokens and the end.
    pub path: Vec<(usize, usize)>,
    /// The probability of each text token.
    pub chances: Vec<f32>,
}

impl Whisper {
    /// Lays text tokens along the `samples` of a window by cross-attention.
    ///
    /// # Panics
    /// When the text does not fit into the text context.
    pub fn lay(
        &self,
        heard: &Heard,
        text: &[u32],
        language: Option<u32>,
        task: Task,
        samples: usize,
    ) -> Alignment {
        let opening = self.opening(language, task, false);
        let tokens: Vec<u32> = opening
            .iter()
            .chain(text)
            .copied()
            .chain([self.spec.steering.end])
            .collect();
        let mut memory = Memory::default();
        let mut rows = [Row {
            tokens: &tokens,
            memory: &mut memory,
            heard: &heard.0,
        }];
        let (mut scores, mut hidden, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        let heads = &self.spec.alignment_heads;
        self.network
            .read(&mut rows, heads, &mut scores, &mut hidden);
        let width = self.spec.sizes.width;
        // The row before each text token, and before the end, is the one that chose it.
        let (first, last) = (opening.len() - 1, tokens.len() - 1);
        let chosen = &hidden[first * width..last * width];
        self.network.logits(chosen, &mut logits);
        let chance = |(row, &token): (&[f32], &u32)| {
            let mut row = row[..self.spec.steering.end as usize].to_vec();
            softmax(&mut row);
            row.get(token as usize).copied().unwrap_or(0.0)
        };
        let chances = logits
            .chunks_exact(self.spec.sizes.vocabulary)
            .zip(text)
            .map(chance)
            .collect();
        let frames = self.spec.sizes.audio_context;
        let used = (samples / self.spec.framing.hop / 2).clamp(1, frames);
        let map = attention_map(&scores, frames, used);
        let cost: Vec<f32> = map[first * used..last * used].iter().map(|x| -x).collect();
        let path = warp(&cost, used);
        Alignment {
            frames: row_starts(&path),
            path,
            chances,
        }
    }

    /// The words of a text with their times from the window's start, in seconds.
    pub(super) fn time_words(
        &self,
        heard: &Heard,
        text: &[u32],
        language: Option<(&str, u32)>,
        task: Task,
        samples: usize,
    ) -> Vec<TimedWord> {
        let code = language.map_or(
            "en",
            |(code, _)| if task == Task::Translate { "en" } else { code },
        );
        let words = split(&self.spec.tokenizer, text, code);
        if words.is_empty() {
            return Vec::new();
        }
        let laid = self.lay(heard, text, language.map(|(_, id)| id), task, samples);
        let second = |token: usize| {
            laid.frames.get(token).copied().unwrap_or(0) as f64 * self.spec.frame_seconds()
        };
        let mut at = 0;
        let timed = |word: super::words::TokenWord| {
            let range = at..at + word.tokens;
            at = range.end;
            let score = laid.chances[range.clone()].iter().sum::<f32>() / word.tokens as f32;
            TimedWord {
                text: word.text,
                tokens: word.tokens,
                start: second(range.start),
                end: second(range.end),
                score,
            }
        };
        words.into_iter().map(timed).collect()
    }
}
