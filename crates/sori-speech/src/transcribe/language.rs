//! Which language a window is in (openai/whisper decoding.py, `detect_language`).

use sori_infer::ops::softmax;

use super::{Heard, Whisper};

impl Whisper {
    /// The allowed languages with their probabilities, most probable first; empty for an English-only model.
    ///
    /// An empty list of `allowed` codes allows all.
    pub fn languages(&self, heard: &Heard, allowed: &[String]) -> Vec<(String, f32)> {
        let known: Vec<_> = self
            .spec
            .steering
            .languages
            .iter()
            .filter(|(code, _)| allowed.is_empty() || allowed.contains(code))
            .collect();
        if known.is_empty() {
            return Vec::new();
        }
        let logits = self.forced_logits(heard, &[self.spec.steering.start]);
        let mut chances: Vec<f32> = known.iter().map(|(_, id)| logits[*id as usize]).collect();
        softmax(&mut chances);
        let mut found: Vec<_> = known
            .into_iter()
            .map(|(code, _)| code.clone())
            .zip(chances)
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }
}
