//! Hearing a recording once, as it comes: windows to masks and embeddings.

use std::collections::VecDeque;
use std::ops::Range;

use super::{
    Chunks, DiarizeError, Grid, Method, Slices, Window,
    chunks::embeds,
    embedding::Embedding,
    pauses::Meter,
    powerset,
    segmentation::{Heads, Segmentation},
};

/// Windows that go through the segmentation network together.
const BATCH: usize = 16;
/// Samples of a slice (1.6 s, a part of Resemblyzer's encoder), and from one to the next.
const SLICE: u64 = 25_600;
const SLICE_STEP: u64 = 6_400;
/// Slices that go through the embedding network together, with one normalisation: 20 s of sound.
const BLOCK: u64 = 50;
/// Share of a slice in which somebody talks, from which it is embedded.
const TALK: f64 = 0.4;

/// The networks that listen.
#[derive(Clone, Copy)]
pub struct Networks<'a> {
    /// Tells the speakers of a window apart.
    pub segmentation: &'a Segmentation,
    /// Makes a vector of a voice.
    pub embedding: &'a Embedding,
}

/// How closely it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As pyannote: windows a tenth of their length apart, each with a pass of the embedding network of its own.
    Exact,
    /// Windows a fifth of their length apart; a voice of a window gets the mean of its slices.
    #[default]
    Fast,
}

/// How a recording is heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListenOptions {
    /// How closely.
    pub mode: Mode,
    /// Above this probability a speaker begins; only for networks with one probability for each speaker.
    pub onset: f32,
    /// Below this probability a speaker ends.
    pub offset: f32,
}

impl Default for ListenOptions {
    /// Fast, with both thresholds at 0.5.
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            onset: 0.5,
            offset: 0.5,
        }
    }
}

/// Listens to 16 kHz mono sound that comes in pieces of any length; the result does not depend on how it was cut.
///
/// Beside the windows the embedding network goes once over the recording, in blocks of 20 s, and embeds slices of 1.6 s. It
/// does not in exact mode with a network that [`Method::suited`] clusters without slices.
///
/// It keeps the sound of a batch of windows and of a block of slices (at most 120 s); beyond that only what [`Chunks`] has.
pub struct Listener<'a> {
    networks: Networks<'a>,
    options: ListenOptions,
    grid: Grid,
    classes: Vec<u8>,
    /// The sound from sample `kept_from` on.
    kept: Vec<f32>,
    kept_from: u64,
    windows: Vec<Window>,
    /// Whether somebody talks, by frame of the recording.
    talk: Vec<bool>,
    /// Whether slices are of any use.
    sliced: bool,
    /// Whether windows keep the probabilities of powerset heads: for networks whose suited method is slices.
    soft: bool,
    slices: Vec<Vec<f32>>,
    meter: Meter,
    /// The next windows and slices, where they were heard before.
    known: (VecDeque<Window>, VecDeque<Vec<f32>>),
}

impl<'a> Listener<'a> {
    /// A listener at the start of a recording.
    ///
    /// # Errors
    /// When the segmentation network has more than eight speakers, or windows or frames of no or of endless length.
    pub fn new(networks: Networks<'a>, options: ListenOptions) -> Result<Self, DiarizeError> {
        let spec = networks.segmentation.spec();
        let parts = match options.mode {
            Mode::Exact => 10,
            Mode::Fast => 5,
        };
        let samples = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let grid = Grid {
            window: samples(spec.window_samples),
            step: samples(spec.window_samples / parts),
            frames: samples(spec.frames),
            frame_step: samples(spec.frame_step),
            frame_size: samples(spec.frame_size),
        };
        if !grid.is_sound() {
            return Err(DiarizeError::Segmentation(
                "windows or frames of no or of endless length",
            ));
        }
        if !(1..=8).contains(&spec.speakers) {
            return Err(DiarizeError::Segmentation(
                "more than eight speakers in a window",
            ));
        }
        let suited = Method::suited(networks.embedding.spec().name);
        let sliced = options.mode == Mode::Fast || matches!(suited, Method::Slices(_));
        Ok(Self {
            networks,
            options,
            grid,
            classes: powerset::powerset_classes(spec.speakers, spec.max_together),
            kept: Vec::new(),
            kept_from: 0,
            windows: Vec::new(),
            talk: Vec::new(),
            sliced,
            soft: matches!(suited, Method::Slices(_)),
            slices: Vec::new(),
            meter: Meter::new(grid.frame_step),
            known: Default::default(),
        })
    }

    /// Gives the first windows and slices of the recording, as a listener with the same networks and options heard them before
    /// (see [`Listener::since`]): the networks are not run for these. Whole batches are used up to the first that is damaged;
    /// returns how many windows and slices that are.
    pub fn remember(
        &mut self,
        mut windows: Vec<Window>,
        mut slices: Vec<Vec<f32>>,
    ) -> (usize, usize) {
        let (frames, dimension) = (
            self.grid.frames as usize,
            self.networks.embedding.spec().dimensions,
        );
        let whole = windows
            .iter()
            .take_while(|w| w.fits(frames, dimension))
            .count();
        windows.truncate(whole / BATCH * BATCH);
        let whole = slices.iter().take_while(|e| embeds(e, dimension)).count();
        slices.truncate(whole / BLOCK as usize * BLOCK as usize);
        let counts = (windows.len(), slices.len());
        self.known = (windows.into(), slices.into());
        counts
    }

    /// What was heard behind so many windows and slices.
    pub fn since(&self, windows: usize, slices: usize) -> (&[Window], &[Vec<f32>]) {
        let behind = (self.windows.get(windows..), self.slices.get(slices..));
        (behind.0.unwrap_or_default(), behind.1.unwrap_or_default())
    }

    /// Takes the next samples, in -1..1, and listens to all windows they complete. Blocks; computes on the caller's rayon pool.
    pub fn push(&mut self, pcm: &[f32]) {
        self.meter.push(pcm);
        let mut rest = pcm;
        while !rest.is_empty() {
            let wanted = self.wanted().saturating_sub(self.heard()).max(1);
            let (piece, later) = rest.split_at(rest.len().min(wanted as usize));
            self.kept.extend_from_slice(piece);
            rest = later;
            if self.heard() >= self.wanted() {
                self.listen(BATCH);
            }
        }
    }

    /// Samples taken so far.
    pub fn heard(&self) -> u64 {
        self.kept_from + self.kept.len() as u64
    }

    /// Listens to what is left, the last window filled up with silence, and gives back all that was heard.
    pub fn finish(mut self) -> Chunks {
        let samples = self.heard();
        let count = self.grid.windows(samples);
        while self.windows.len() < count {
            self.listen(BATCH.min(count - self.windows.len()));
        }
        let whole = samples.saturating_sub(SLICE).div_ceil(SLICE_STEP) + 1;
        self.cut_slices(whole, true);
        let slices = Slices {
            length: SLICE as u32,
            step: SLICE_STEP as u32,
            embeddings: std::mem::take(&mut self.slices),
        };
        if self.options.mode == Mode::Fast {
            self.embed_from_slices(&slices);
        }
        let dimension = self.networks.embedding.spec().dimensions;
        Chunks::new(self.grid, samples, dimension, self.windows)
            .and_then(|chunks| chunks.with_slices(slices))
            .and_then(|chunks| chunks.with_levels(self.meter.finish()))
            .expect("windows and levels are made for the grid, one after the other, to the end")
    }

    /// How many samples the next whole batch needs.
    fn wanted(&self) -> u64 {
        let last = self.windows.len() + BATCH - 1;
        last as u64 * u64::from(self.grid.step) + u64::from(self.grid.window)
    }

    /// Listens to the next windows.
    fn listen(&mut self, count: usize) {
        let first = self.windows.len();
        let mut heard = match count == BATCH && self.known.0.len() >= BATCH {
            true => self.known.0.drain(..BATCH).collect(),
            false => self.hear(first, count),
        };
        let next = (first + count) as u64 * u64::from(self.grid.step);
        for (window, index) in heard.iter().zip(first..) {
            self.note_talk(window, index);
        }
        // Slices that lie before all windows to come.
        let room = next.checked_sub(SLICE);
        self.cut_slices(room.map_or(0, |room| room / SLICE_STEP + 1), false);
        let needed = match self.sliced {
            true => next.min(self.slices.len() as u64 * SLICE_STEP),
            false => next,
        };
        self.windows.append(&mut heard);
        let done = (needed.saturating_sub(self.kept_from) as usize).min(self.kept.len());
        self.kept.drain(..done);
        self.kept_from += done as u64;
    }

    /// Runs the networks over windows.
    fn hear(&self, first: usize, count: usize) -> Vec<Window> {
        let starts = (first..first + count).map(|index| index as u64 * u64::from(self.grid.step));
        let sounds: Vec<&[f32]> = starts
            .map(|start| self.sound(start, start + u64::from(self.grid.window)))
            .collect();
        let scores = self.networks.segmentation.scores(&sounds);
        let mut heard: Vec<Window> = scores.iter().map(|scores| self.window(scores)).collect();
        if self.options.mode == Mode::Exact {
            for (window, sound) in heard.iter_mut().zip(&sounds) {
                self.embed_exactly(window, sound);
            }
        }
        heard
    }

    /// Notes where somebody talks in a window.
    fn note_talk(&mut self, window: &Window, index: usize) {
        let first = self.grid.first_frame(index);
        let length = first + self.grid.frames as usize;
        self.talk.resize(self.talk.len().max(length), false);
        for (talk, mask) in self.talk[first..].iter_mut().zip(window.masks()) {
            *talk |= mask != 0;
        }
    }

    /// Embeds slices, block by block, until there are `whole` of them. Before the end of the recording only whole blocks are
    /// cut, so that the result does not depend on how sound came.
    fn cut_slices(&mut self, whole: u64, ended: bool) {
        while self.sliced && (self.slices.len() as u64) < whole {
            let first = self.slices.len() as u64;
            let count = (whole - first).min(BLOCK);
            if count < BLOCK && !ended {
                break;
            }
            if count == BLOCK && self.known.1.len() >= BLOCK as usize {
                self.slices.extend(self.known.1.drain(..BLOCK as usize));
                continue;
            }
            let from = first * SLICE_STEP;
            let length = ((count - 1) * SLICE_STEP + SLICE) as usize;
            let talks: Vec<u64> = (0..count).filter(|i| self.talks(first + i)).collect();
            let mut embeddings = vec![Vec::new(); count as usize];
            if !talks.is_empty() {
                let mut sound = self.sound(from, from + length as u64).to_vec();
                sound.resize(length, 0.0);
                let frames = self.networks.embedding.frames(&sound);
                let spans: Vec<Range<usize>> = talks
                    .iter()
                    .map(|i| (i * SLICE_STEP) as usize..(i * SLICE_STEP + SLICE) as usize)
                    .collect();
                let vectors = self.networks.embedding.slices(&frames, &spans);
                for (i, vector) in talks.iter().zip(vectors) {
                    embeddings[*i as usize] = vector.unwrap_or_default();
                }
            }
            self.slices.append(&mut embeddings);
        }
    }

    /// Whether there is talk enough in a slice.
    fn talks(&self, slice: u64) -> bool {
        let at = |sample: u64| (sample / u64::from(self.grid.frame_step)) as usize;
        let to = at(slice * SLICE_STEP + SLICE).min(self.talk.len());
        let frames = &self.talk[at(slice * SLICE_STEP).min(to)..to];
        let talk = frames.iter().filter(|&&talk| talk).count();
        talk as f64 >= TALK * (SLICE / u64::from(self.grid.frame_step)) as f64
    }

    /// Gives each voice the mean of the slices in which it mainly talks alone; else of those in which it mainly talks.
    fn embed_from_slices(&mut self, slices: &Slices) {
        let frame = u64::from(self.grid.frame_step);
        let width = (SLICE / frame) as usize;
        for (index, window) in self.windows.iter_mut().enumerate() {
            let start = index as u64 * u64::from(self.grid.step);
            let masks: Vec<u8> = window.masks().collect();
            let inside = start.div_ceil(SLICE_STEP)
                ..=(start + u64::from(self.grid.window)).saturating_sub(SLICE) / SLICE_STEP;
            for voice in window.voices_mut() {
                let bit = 1u8 << voice.speaker;
                let mean_of = |talks: &dyn Fn(u8) -> bool| {
                    let mut sum: Vec<f32> = Vec::new();
                    let mut many = 0.0;
                    for slice in inside.clone() {
                        let from = ((slice * SLICE_STEP - start) / frame) as usize;
                        let to = (from + width).min(masks.len());
                        let part = &masks[from.min(to)..to];
                        let share = part.iter().filter(|&&mask| talks(mask)).count();
                        match slices.embeddings.get(slice as usize) {
                            Some(e) if 2 * share >= width && !e.is_empty() => {
                                sum.resize(e.len(), 0.0);
                                sum.iter_mut().zip(e).for_each(|(s, v)| *s += v);
                                many += 1.0;
                            }
                            _ => {}
                        }
                    }
                    sum.iter_mut().for_each(|s| *s /= many);
                    sum
                };
                voice.embedding = mean_of(&|mask| mask == bit);
                if voice.embedding.is_empty() {
                    voice.embedding = mean_of(&|mask| mask & bit != 0);
                }
            }
        }
    }

    /// The sound from sample `start` to `end`, as far as there is any.
    fn sound(&self, start: u64, end: u64) -> &[f32] {
        let at =
            |sample: u64| (sample.saturating_sub(self.kept_from) as usize).min(self.kept.len());
        &self.kept[at(start)..at(end)]
    }

    /// The masks of a window with these scores; no embeddings yet.
    fn window(&self, scores: &[f32]) -> Window {
        match self.networks.segmentation.spec().heads {
            Heads::Powerset => {
                let masks = powerset::powerset_masks(scores, &self.classes);
                let speakers = self.networks.segmentation.spec().speakers;
                let chances = match self.soft {
                    true => powerset::powerset_chances(scores, &self.classes, speakers),
                    false => Vec::new(),
                };
                Window::new(&masks, &chances)
            }
            Heads::Sigmoid => {
                let (onset, offset) = (self.options.onset, self.options.offset);
                let speakers = self.networks.segmentation.spec().speakers;
                Window::new(
                    &powerset::sigmoid_masks(scores, speakers, onset, offset),
                    scores,
                )
            }
        }
    }

    /// Embeds a window's voices from a pass over the window alone, filled up with silence.
    fn embed_exactly(&self, window: &mut Window, sound: &[f32]) {
        if window.voices().is_empty() {
            return;
        }
        let mut whole = sound.to_vec();
        whole.resize(self.grid.window as usize, 0.0);
        let frames = self.networks.embedding.frames(&whole);
        let picked = self.picked(window);
        for (voice, picked) in window.voices_mut().iter_mut().zip(picked) {
            let vector = self.networks.embedding.pool(&frames, &picked);
            voice.embedding = vector.unwrap_or_default();
        }
    }

    /// For each voice the frames to embed it from, as weights of 0 and 1: those in which nobody else talks where they are enough
    /// for the network, else all of its own. (`get_embeddings` with `exclude_overlap` of pyannote's speaker_diarization.py)
    fn picked(&self, window: &Window) -> Vec<Vec<f32>> {
        let masks: Vec<u8> = window.masks().collect();
        let seconds = f64::from(self.grid.window) / f64::from(super::SAMPLE_RATE);
        let least = self.networks.embedding.spec().min_seconds / seconds;
        let least = (least * f64::from(self.grid.frames)).ceil() as u16;
        let voices = window.voices().iter().map(|voice| {
            let bit = 1 << voice.speaker;
            let talks = |&mask: &u8| match voice.alone > least {
                true => f32::from(u8::from(mask == bit)),
                false => f32::from(u8::from(mask & bit != 0)),
            };
            masks.iter().map(talks).collect()
        });
        voices.collect()
    }
}
