//! From spans to windows that a recogniser takes.

use super::Span;

/// Pause that always starts a new window, in seconds: a longer one would be computed for nothing.
const MAX_PAUSE: f64 = 2.0;

/// A stretch of the recording to transcribe at once. It keeps the pauses inside, so times in it are times of the recording
/// less `start`.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechWindow {
    /// Start of the first span, in seconds.
    pub start: f64,
    /// End of the last span, in seconds.
    pub end: f64,
    /// Where speech is; never empty.
    pub spans: Vec<Span>,
}

impl SpeechWindow {
    /// Its length in seconds, pauses included.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// Packs spans into windows, as full as they may be, cut at the longest pause of their second half.
#[derive(Debug, Clone)]
pub struct Packer {
    max_window_seconds: f64,
    spans: Vec<Span>,
}

impl Packer {
    /// A packer of windows of at most this length, which should be that of the [`super::Segmenter`]'s spans.
    pub fn new(max_window_seconds: f64) -> Self {
        Self {
            max_window_seconds,
            spans: Vec::new(),
        }
    }

    /// Takes the next span, which starts no earlier than the one before it ends; appends the windows that are full. A span
    /// longer than a window is cut into equal parts.
    pub fn push(&mut self, span: Span, out: &mut Vec<SpeechWindow>) {
        let parts = (span.seconds() / self.max_window_seconds)
            .ceil()
            .clamp(1.0, 1e6) as usize;
        let edge = |part: usize| span.start + span.seconds() * part as f64 / parts as f64;
        for part in 0..parts {
            let end = if part + 1 == parts {
                span.end
            } else {
                edge(part + 1)
            };
            self.push_part(
                Span {
                    start: edge(part),
                    end,
                },
                out,
            );
        }
    }

    /// Ends the stream; appends the last window, if there is one.
    pub fn finish(&mut self, out: &mut Vec<SpeechWindow>) {
        self.emit(self.spans.len(), out);
    }

    fn push_part(&mut self, span: Span, out: &mut Vec<SpeechWindow>) {
        if self
            .spans
            .last()
            .is_some_and(|last| span.start - last.end > MAX_PAUSE)
        {
            self.finish(out);
        }
        self.spans.push(span);
        while span.end - self.spans[0].start > self.max_window_seconds && self.spans.len() > 1 {
            let half = self.spans[0].start + self.max_window_seconds / 2.0;
            let pause = |at: usize| self.spans[at].start - self.spans[at - 1].end;
            let fits = |at: &usize| {
                self.spans[at - 1].end - self.spans[0].start <= self.max_window_seconds
            };
            let late = |at: &usize| self.spans[at - 1].end >= half;
            let cuts = (1..self.spans.len()).filter(fits);
            // Where speech ends before the half, the window is cut as late as it can be.
            let last = cuts.clone().next_back().unwrap_or(1);
            let best = cuts
                .filter(late)
                .max_by(|&a, &b| pause(a).total_cmp(&pause(b)));
            self.emit(best.unwrap_or(last), out);
        }
    }

    fn emit(&mut self, count: usize, out: &mut Vec<SpeechWindow>) {
        let spans: Vec<Span> = self.spans.drain(..count).collect();
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            out.push(SpeechWindow {
                start: first.start,
                end: last.end,
                spans,
            });
        }
    }
}
