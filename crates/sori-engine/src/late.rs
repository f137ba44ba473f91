//! Stages that listen again to what was transcribed: exact times of words, and what they sound like.

use rayon::prelude::*;
use sori_infer::InferError;
use sori_speech::acoustics::{Column, Features, Frames};
use sori_speech::align::Aligner;
use sori_speech::transcribe::AudioWindow;
use sori_timeline::Segment;

use crate::heard::{Heard, HeardSegment};
use crate::session::{Clock, sure};
use crate::stage::Stage;

/// Sound before and after a segment that an aligner may also use, in seconds.
const ALIGN_MARGIN: f64 = 0.2;
/// Sound before and after a segment that its frames need to see, in seconds.
const FRAME_MARGIN: f64 = 0.05;

/// Windows that are transcribed and wait to be listened to again.
pub(crate) struct Late<'a> {
    pub(crate) aligner: Option<&'a Aligner>,
    pub(crate) features: Option<Features>,
    pub(crate) keep_frames: bool,
    pub(crate) windows: Vec<LateWindow>,
}

/// A window that is transcribed.
pub(crate) struct LateWindow {
    pub(crate) window: AudioWindow,
    pub(crate) segments: Vec<Segment>,
    pub(crate) times: Times,
}

/// What is known of the times of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// Those of the recogniser.
    Rough,
    /// An aligner has just found them.
    Found,
    /// A session before had found them.
    Known,
}

impl Late<'_> {
    /// Finds the exact times of the words of every waiting window.
    pub(crate) fn align(&mut self, heard: &mut Heard, clock: Clock<'_>) {
        let Some(aligner) = self.aligner else { return };
        let started = clock();
        for late in self.windows.iter_mut().filter(|w| w.times == Times::Rough) {
            let LateWindow {
                window, segments, ..
            } = late;
            let found = heard
                .ledger
                .attempt(Stage::Align, || align(aligner, window, segments));
            if found.is_some() {
                late.times = Times::Found;
            }
        }
        heard.ledger.spend(Stage::Align, clock() - started);
    }

    /// Measures the sound of every waiting window and adds its segments to what was heard.
    pub(crate) fn measure(&mut self, heard: &mut Heard, clock: Clock<'_>) {
        let started = clock();
        let mut parts: Vec<(&AudioWindow, Segment)> = Vec::new();
        for late in &mut self.windows {
            let segments = std::mem::take(&mut late.segments);
            parts.extend(segments.into_iter().map(|s| (&late.window, s)));
        }
        let mut frames: Vec<Frames> = Vec::new();
        if let Some(features) = &self.features {
            let all = || {
                let all = parts.par_iter();
                sure(all.map(|(w, s)| listen(w, s, features)).collect())
            };
            let listened = heard.ledger.attempt(Stage::Acoustics, all);
            frames = listened.unwrap_or_default();
        }
        let mut frames = frames.into_iter();
        for (_, mut segment) in parts {
            segment.id = heard.segments.len();
            let mut tallies = Vec::new();
            if let Some(frames) = frames.next() {
                let words = &segment.words;
                tallies.extend(words.iter().map(|w| frames.between(w.start, w.end)));
                let (level, pitch) = (frames.column(Column::RmsDb), frames.column(Column::PitchHz));
                for at in 0..frames.len() {
                    let time = frames.time(at);
                    heard.curves.note(time, level.get(at), pitch.get(at));
                }
                if self.keep_frames {
                    heard.frames.push(frames);
                }
            }
            heard.segments.push(HeardSegment { segment, tallies });
        }
        if self.features.is_some() {
            heard.ledger.spend(Stage::Acoustics, clock() - started);
        }
        self.windows.clear();
    }
}

/// The sound of a window between two times of the recording, and when it really begins.
fn slice(window: &AudioWindow, from: f64, to: f64) -> (&[f32], f64) {
    let at = |seconds: f64| {
        (((seconds - window.start) * 16_000.0).round().max(0.0) as usize).min(window.pcm.len())
    };
    let (from, to) = (at(from), at(to));
    (
        &window.pcm[from..to.max(from)],
        window.start + from as f64 / 16_000.0,
    )
}

/// Frames of a segment.
fn listen(window: &AudioWindow, segment: &Segment, features: &Features) -> Frames {
    let (pcm, start) = slice(
        window,
        segment.start - FRAME_MARGIN,
        segment.end + FRAME_MARGIN,
    );
    Frames::of(pcm, start, features)
}

/// Gives the words of a window the times at which an aligner finds them.
fn align(
    aligner: &Aligner,
    window: &AudioWindow,
    segments: &mut [Segment],
) -> Result<(), InferError> {
    let mut before = window.start;
    for index in 0..segments.len() {
        let after = segments.get(index + 1).map_or(f64::INFINITY, |s| s.start);
        let segment = &mut segments[index];
        let (pcm, start) = slice(
            window,
            (segment.start - ALIGN_MARGIN).max(before),
            (segment.end + ALIGN_MARGIN).min(after),
        );
        let end = start + pcm.len() as f64 / 16_000.0;
        let words: Vec<&str> = segment.words.iter().map(|w| w.word.as_str()).collect();
        let language = segment.language.as_deref().unwrap_or("en");
        let found = aligner.align(pcm, &words, language)?;
        let mut last = start;
        for (word, found) in segment.words.iter_mut().zip(&found) {
            word.start = (start + found.start).clamp(last, end);
            word.end = (start + found.end).clamp(word.start, end);
            last = word.end;
            word.time_source = found.time_source;
        }
        if let (Some(first), Some(last)) = (segment.words.first(), segment.words.last()) {
            (segment.start, segment.end) = (first.start, last.end);
        }
        before = segment.end;
    }
    Ok(())
}
