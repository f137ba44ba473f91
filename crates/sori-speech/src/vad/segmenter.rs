//! From probabilities to spans of speech.

use super::{OptionError, VadOptions};

/// A stretch of time, in seconds from the start of the sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Where it starts.
    pub start: f64,
    /// Where it ends, after `start`.
    pub end: f64,
}

impl Span {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// Finds spans of speech in a stream of probabilities.
///
/// The rules are those of `get_speech_timestamps` (snakers4/silero-vad, utils_vad.py): speech starts at `threshold`, ends
/// after `min_silence_ms` below the lower threshold, is dropped when shorter than `min_speech_ms`, and is padded without
/// touching its neighbours. A span that grows too long is cut where the probability is lowest in its last third, and the
/// piece behind the cut is kept however short it is.
///
/// Memory is bounded by the longest span allowed.
#[derive(Debug, Clone)]
pub struct Segmenter {
    options: VadOptions,
    frame_seconds: f64,
    /// Frames in a span before it is cut; room for the padding is taken off.
    max_frames: usize,
    min_speech_frames: f64,
    min_silence_frames: f64,
    pad_frames: f64,
    /// Frames seen.
    now: usize,
    open: Option<Open>,
    /// A finished span that waits for its right padding, and where its padded start is; in frames.
    pending: Option<(f64, usize)>,
}

/// A span that has started, in frames.
#[derive(Debug, Clone)]
struct Open {
    start: usize,
    /// Where the silence began that may end it.
    silence: Option<usize>,
    /// It follows a cut, so it belongs to speech that was long enough.
    continued: bool,
    /// Of every frame since the start.
    probabilities: Vec<f32>,
}

impl Segmenter {
    /// A segmenter for frames of this length (see [`super::Vad::frame_seconds`]) that makes no span longer than
    /// `max_span_seconds`.
    ///
    /// # Errors
    /// When an option is out of range; `max_span_seconds` must leave a second beside the padding.
    pub fn new(
        options: &VadOptions,
        frame_seconds: f64,
        max_span_seconds: f64,
    ) -> Result<Self, OptionError> {
        options.validate()?;
        let frames = |ms: u32| f64::from(ms) / 1e3 / frame_seconds;
        let pad_frames = frames(options.speech_pad_ms);
        let max_frames = (max_span_seconds / frame_seconds - 2.0 * pad_frames).floor();
        if !(frame_seconds > 0.0 && max_frames * frame_seconds >= 1.0 && max_frames <= 1e6) {
            return Err(OptionError::new(
                "max_span_seconds",
                "a second beside the padding to 1000",
            ));
        }
        Ok(Self {
            frame_seconds,
            max_frames: max_frames as usize,
            min_speech_frames: frames(options.min_speech_ms),
            min_silence_frames: frames(options.min_silence_ms),
            pad_frames,
            options: options.clone(),
            now: 0,
            open: None,
            pending: None,
        })
    }

    /// Takes the probability of the next frame; appends a span that is certain now, if there is one.
    pub fn push(&mut self, probability: f32, out: &mut Vec<Span>) {
        let frame = self.now;
        self.now += 1;
        let Some(open) = &mut self.open else {
            if probability >= self.options.threshold {
                let probabilities = vec![probability];
                self.open = Some(Open {
                    start: frame,
                    silence: None,
                    continued: false,
                    probabilities,
                });
            } else if let Some((_, end)) = self.pending
                && (self.now - end) as f64 >= 2.0 * self.pad_frames
            {
                self.release(end as f64 + self.pad_frames, out);
            }
            return;
        };
        open.probabilities.push(probability);
        if probability >= self.options.threshold {
            open.silence = None;
        } else if probability < self.options.end_threshold() {
            let silence = *open.silence.get_or_insert(frame);
            if (frame - silence) as f64 >= self.min_silence_frames {
                self.close(silence, out);
                return;
            }
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.probabilities.len() >= self.max_frames)
        {
            self.cut(out);
        }
    }

    /// Ends the stream, which was `seconds` long: appends what is left, within that length. The next frame starts a new
    /// stream.
    pub fn finish(&mut self, seconds: f64, out: &mut Vec<Span>) {
        let first = out.len();
        if self.open.is_some() {
            self.close(self.now, out);
        }
        if let Some((_, end)) = self.pending {
            self.release((end as f64 + self.pad_frames).min(self.now as f64), out);
        }
        out[first..]
            .iter_mut()
            .for_each(|span| span.end = span.end.min(seconds));
        let mut index = 0;
        out.retain(|span| {
            index += 1;
            index <= first || span.start < span.end
        });
        self.now = 0;
    }

    /// Ends the open span at this frame and pads it against the one in front of it.
    fn close(&mut self, end: usize, out: &mut Vec<Span>) {
        let Some(open) = self.open.take() else { return };
        let frames = (end - open.start) as f64;
        if end == open.start || !(open.continued || frames > self.min_speech_frames) {
            return;
        }
        let mut start = open.start as f64 - self.pad_frames;
        if let Some((_, before)) = self.pending {
            let gap = (open.start - before) as f64;
            let room = if gap < 2.0 * self.pad_frames {
                gap / 2.0
            } else {
                self.pad_frames
            };
            self.release(before as f64 + room, out);
            start = open.start as f64 - room;
        }
        self.pending = Some((start.max(0.0), end));
    }

    /// Cuts the open span at its least probable frame in the last third.
    fn cut(&mut self, out: &mut Vec<Span>) {
        let Some(open) = self.open.take() else { return };
        let from = open.probabilities.len() * 2 / 3;
        let last_third = open.probabilities[from..].iter().enumerate();
        let lowest = last_third
            .min_by(|a, b| a.1.total_cmp(b.1))
            .map_or(0, |(at, _)| from + at);
        let at = open.start + lowest;
        let rest = Open {
            start: at,
            silence: open.silence.map(|silence| silence.max(at)),
            continued: true,
            probabilities: open.probabilities[lowest..].to_vec(),
        };
        self.open = Some(open);
        self.close(at, out);
        self.open = Some(rest);
    }

    fn release(&mut self, end: f64, out: &mut Vec<Span>) {
        if let Some((start, _)) = self.pending.take() {
            let (start, end) = (start * self.frame_seconds, end * self.frame_seconds);
            out.push(Span { start, end });
        }
    }
}
