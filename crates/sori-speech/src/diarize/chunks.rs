//! What was heard, window by window: all that clustering needs, so that it can be done again without hearing again.

use serde::{Deserialize, Serialize};

use super::{DiarizeError, Grid};

/// The result of listening to a recording.
///
/// About 1.7 kB for each local speaker of a window, 10 MB for an hour of conversation, as 256 numbers each, 9 MB for its slices
/// and 0.2 MB for its levels. Whoever reads it back (it is `serde`'s) gets an error, and no panic later, when parts do not fit
/// together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Chunks {
    grid: Grid,
    samples: u64,
    dimension: usize,
    windows: Vec<Window>,
    slices: Slices,
    levels: Vec<u8>,
}

/// What was heard in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Masks of the frames as runs of equal ones: bit `s` of the first says that local speaker `s` talks, the second
    /// is the number of frames.
    runs: Vec<(u8, u16)>,
    /// The local speakers that talk at all, in their order.
    voices: Vec<Voice>,
}

/// A local speaker of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    /// Its bit in the masks.
    pub speaker: u8,
    /// The number of frames in which nobody else talks.
    pub alone: u16,
    /// How sure the network was in each frame, in 255ths; empty where the mask is all that is known (powerset heads
    /// beside an embedding network that pyannote's methods suit).
    pub scores: Vec<u8>,
    /// The speaker's embedding, not normalised; empty where there was too little to hear.
    pub embedding: Vec<f32>,
}

impl Window {
    /// A window with these masks, one for each frame. `probabilities` `(frames, speakers)` come from a head that has
    /// them, else it is empty. Embeddings are still absent.
    pub fn new(masks: &[u8], probabilities: &[f32]) -> Self {
        let mut runs: Vec<(u8, u16)> = Vec::new();
        for &mask in masks {
            match runs.last_mut() {
                Some((last, frames)) if *last == mask && *frames < u16::MAX => *frames += 1,
                _ => runs.push((mask, 1)),
            }
        }
        let heard = masks.iter().fold(0, |all, mask| all | mask);
        let speakers = probabilities.len().checked_div(masks.len()).unwrap_or(0);
        let score =
            |frame: &[f32], speaker: u8| (frame[usize::from(speaker)] * 255.0).round() as u8;
        let voices = (0..8)
            .filter(|speaker| heard & (1 << speaker) != 0)
            .map(|speaker| Voice {
                speaker,
                alone: masks.iter().filter(|&&mask| mask == 1 << speaker).count() as u16,
                scores: if usize::from(speaker) < speakers {
                    let frames = probabilities.chunks_exact(speakers);
                    frames.map(|frame| score(frame, speaker)).collect()
                } else {
                    Vec::new()
                },
                embedding: Vec::new(),
            })
            .collect();
        Self { runs, voices }
    }

    /// The local speakers that talk, in their order.
    pub fn voices(&self) -> &[Voice] {
        &self.voices
    }

    /// The same, to set their embeddings.
    pub(super) fn voices_mut(&mut self) -> &mut [Voice] {
        &mut self.voices
    }

    /// Whether masks are of so many frames and voices theirs, with embeddings of so many numbers or none.
    pub(super) fn fits(&self, frames: usize, dimension: usize) -> bool {
        let heard = self.runs.iter().fold(0, |all, run| all | run.0);
        let bit = |voice: &Voice| 1u8.checked_shl(voice.speaker.into()).unwrap_or(0);
        self.runs
            .iter()
            .map(|run| usize::from(run.1))
            .sum::<usize>()
            == frames
            && self.voices.iter().fold(0, |all, voice| all | bit(voice)) == heard
            && self.voices.len() == heard.count_ones() as usize
            && self.voices.iter().all(|voice| {
                [0, frames].contains(&voice.scores.len()) && embeds(&voice.embedding, dimension)
            })
    }

    /// The mask of each frame.
    pub fn masks(&self) -> impl Iterator<Item = u8> + '_ {
        let runs = self.runs.iter();
        runs.flat_map(|&(mask, frames)| std::iter::repeat_n(mask, usize::from(frames)))
    }
}

/// Whether this is an embedding of so many numbers, or none.
pub(super) fn embeds(embedding: &[f32], dimension: usize) -> bool {
    [0, dimension].contains(&embedding.len()) && embedding.iter().all(|value| value.is_finite())
}

/// Embeddings of short stretches of sound, one after the other with overlaps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Slices {
    /// Samples of a slice.
    pub length: u32,
    /// Samples from one to the next.
    pub step: u32,
    /// The embeddings; empty where nobody talks.
    pub embeddings: Vec<Vec<f32>>,
}

impl Slices {
    /// Start and end of a slice in seconds.
    pub fn span(&self, index: usize) -> (f64, f64) {
        let start = index as f64 * f64::from(self.step) / f64::from(super::SAMPLE_RATE);
        (
            start,
            start + f64::from(self.length) / f64::from(super::SAMPLE_RATE),
        )
    }

    /// The slice whose middle is before a time, and the share of the way to the middle of the next, 0 to 1.
    pub(super) fn between(&self, seconds: f64) -> (usize, f64) {
        let step = f64::from(self.step.max(1)) / f64::from(super::SAMPLE_RATE);
        let at = (seconds - 0.5 * f64::from(self.length) / f64::from(super::SAMPLE_RATE)) / step;
        let at = at.clamp(0.0, self.embeddings.len().saturating_sub(1) as f64);
        (at as usize, at.fract())
    }
}

impl Chunks {
    /// A recording of `samples` samples, heard in these windows with embeddings of `dimension` numbers.
    ///
    /// # Errors
    /// When the windows are not those that the grid puts over so much sound, or a part of one has another length.
    pub fn new(
        grid: Grid,
        samples: u64,
        dimension: usize,
        windows: Vec<Window>,
    ) -> Result<Self, DiarizeError> {
        let chunks = Self {
            grid,
            samples,
            dimension,
            windows,
            slices: Slices::default(),
            levels: Vec::new(),
        };
        match chunks.fault() {
            Some(fault) => Err(DiarizeError::Damaged(fault)),
            None => Ok(chunks),
        }
    }

    /// The same with embeddings of slices.
    ///
    /// # Errors
    /// When an embedding has another length, or slices have none.
    pub fn with_slices(mut self, slices: Slices) -> Result<Self, DiarizeError> {
        let fits = |e: &Vec<f32>| embeds(e, self.dimension);
        let empty = slices.embeddings.is_empty();
        if !slices.embeddings.iter().all(fits) || !empty && slices.step.min(slices.length) == 0 {
            return Err(DiarizeError::Damaged("a slice of another length"));
        }
        self.slices = slices;
        Ok(self)
    }

    /// The same with the level of the sound: decibels below full scale for each [`Grid::frame_step`] of it, without hum and
    /// rumble.
    ///
    /// # Errors
    /// When there are some, but not as many as the sound has.
    pub fn with_levels(mut self, levels: Vec<u8>) -> Result<Self, DiarizeError> {
        let blocks = self.samples.div_ceil(u64::from(self.grid.frame_step));
        if ![0, blocks].contains(&(levels.len() as u64)) {
            return Err(DiarizeError::Damaged(
                "another number of levels than the sound has",
            ));
        }
        self.levels = levels;
        Ok(self)
    }

    /// The level of the sound; empty where it was not measured.
    pub fn levels(&self) -> &[u8] {
        &self.levels
    }

    /// Embeddings of slices.
    pub fn slices(&self) -> &Slices {
        &self.slices
    }

    fn fault(&self) -> Option<&'static str> {
        let fits = |w: &Window| w.fits(self.grid.frames as usize, self.dimension);
        if !self.grid.is_sound() {
            Some("a window or frame of no or of endless length")
        } else if self.windows.len() != self.grid.windows(self.samples) {
            Some("another number of windows than the sound has")
        } else if !self.windows.iter().all(fits) {
            Some("a window whose masks, voices, scores or embeddings do not fit each other")
        } else {
            None
        }
    }

    /// Where windows and frames lie.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Samples of the recording, at 16 kHz.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Length of the recording in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(super::SAMPLE_RATE)
    }

    /// Numbers in an embedding.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The windows, in their order.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// All voices with the index of their window, in their order.
    pub(super) fn voices(&self) -> impl Iterator<Item = (usize, &Voice)> {
        let windows = self.windows.iter().enumerate();
        windows.flat_map(|(index, window)| window.voices.iter().map(move |voice| (index, voice)))
    }
}

/// [`Chunks`] as they are read, before their parts are compared.
#[derive(Deserialize)]
struct Unchecked {
    grid: Grid,
    samples: u64,
    dimension: usize,
    windows: Vec<Window>,
    #[serde(default)]
    slices: Slices,
    #[serde(default)]
    levels: Vec<u8>,
}

impl TryFrom<Unchecked> for Chunks {
    type Error = DiarizeError;

    fn try_from(parts: Unchecked) -> Result<Self, DiarizeError> {
        Self::new(parts.grid, parts.samples, parts.dimension, parts.windows)?
            .with_slices(parts.slices)?
            .with_levels(parts.levels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_windows() -> Chunks {
        let grid = Grid {
            window: 100,
            step: 50,
            frames: 5,
            frame_step: 20,
            frame_size: 20,
        };
        let mut first = Window::new(
            &[0, 1, 1, 3, 2],
            &[0.0, 0.1, 1.0, 0.2, 0.8, 0.3, 0.7, 0.9, 0.1, 1.0],
        );
        first.voices_mut()[1].embedding = vec![0.5, -0.25];
        Chunks::new(grid, 130, 2, vec![first, Window::new(&[0; 5], &[])])
            .and_then(|chunks| chunks.with_levels(vec![20, 30, 40, 50, 60, 255, 0]))
            .expect("the parts fit")
    }

    #[test]
    fn a_window_keeps_masks_and_voices() {
        let chunks = two_windows();
        let window = &chunks.windows()[0];
        assert_eq!(window.masks().collect::<Vec<_>>(), [0, 1, 1, 3, 2]);
        let voices: Vec<_> = window
            .voices()
            .iter()
            .map(|voice| (voice.speaker, voice.alone))
            .collect();
        assert_eq!(voices, [(0, 2), (1, 1)]);
        assert_eq!(window.voices()[1].scores, [26, 51, 77, 230, 255]);
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let chunks = two_windows();
        let text = serde_json::to_string(&chunks).expect("plain data");
        assert_eq!(
            serde_json::from_str::<Chunks>(&text).expect("just written"),
            chunks
        );
    }

    #[test]
    fn what_was_kept_before_levels_were_is_read() {
        let mut old = serde_json::to_value(two_windows()).expect("plain data");
        let parts = old.as_object_mut().expect("an object");
        parts.remove("levels").expect("a part");
        let read = serde_json::from_value::<Chunks>(old).expect("all else is there");
        assert!(read.levels().is_empty());
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let good = serde_json::to_value(two_windows()).expect("plain data");
        for (pointer, wrong) in [
            ("/grid/step", serde_json::json!(0)),
            ("/grid/frames", serde_json::json!(6)),
            ("/samples", serde_json::json!(u64::MAX)),
            ("/windows/0/runs/0/1", serde_json::json!(65_535)),
            ("/windows/0/voices/0/speaker", serde_json::json!(9)),
            ("/windows/0/voices/1/embedding", serde_json::json!([1.0])),
            ("/windows/0/voices/1/scores", serde_json::json!([1])),
            ("/levels", serde_json::json!([20, 30])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).expect("a part") = wrong;
            assert!(serde_json::from_value::<Chunks>(bad).is_err(), "{pointer}");
        }
    }
}
