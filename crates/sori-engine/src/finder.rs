//! Where somebody speaks, as windows for the recogniser.

use sori_infer::InferError;
use sori_speech::vad::{Packer, Segmenter, Span, SpeechWindow, Vad, VadModel, VadOptions};

use crate::EngineError;
use crate::session::Pace;

/// The stages of voice activity.
pub(crate) struct Finder {
    vad: Vad,
    segmenter: Segmenter,
    packer: Packer,
    frames: u64,
    /// Every span that was found.
    pub(crate) spans: Vec<Span>,
    /// End of the last span that may still wait in the packer for company.
    waiting: Option<f64>,
    /// Silence after which it waits no longer, in seconds.
    patience: f64,
}

impl Finder {
    /// A finder of windows of at most so many seconds.
    pub(crate) fn new(
        model: VadModel,
        options: &VadOptions,
        window_seconds: f64,
        pace: Pace,
    ) -> Result<Self, EngineError> {
        let vad = Vad::new(model);
        let segmenter = Segmenter::new(options, vad.frame_seconds(), window_seconds)?;
        Ok(Self {
            vad,
            segmenter,
            packer: Packer::new(window_seconds),
            frames: 0,
            spans: Vec::new(),
            waiting: None,
            patience: match pace {
                Pace::Live => 1.0,
                Pace::Batch => window_seconds,
            },
        })
    }

    /// Takes the next samples, 16 kHz mono, and adds the windows that are whole by now.
    pub(crate) fn push(
        &mut self,
        pcm: &[f32],
        windows: &mut Vec<SpeechWindow>,
    ) -> Result<(), InferError> {
        let mut chances = Vec::new();
        self.vad.push(pcm, &mut chances)?;
        self.absorb(&chances, windows);
        Ok(())
    }

    /// Ends the sound of so many seconds, and adds the windows that are left.
    pub(crate) fn finish(
        &mut self,
        seconds: f64,
        windows: &mut Vec<SpeechWindow>,
    ) -> Result<(), InferError> {
        let (mut chances, mut spans) = (Vec::new(), Vec::new());
        self.vad.finish(&mut chances)?;
        self.absorb(&chances, windows);
        self.segmenter.finish(seconds, &mut spans);
        for span in spans {
            self.spans.push(span);
            self.packer.push(span, windows);
        }
        self.packer.finish(windows);
        Ok(())
    }

    fn absorb(&mut self, chances: &[f32], windows: &mut Vec<SpeechWindow>) {
        let frame = self.vad.frame_seconds();
        let mut spans: Vec<Span> = Vec::new();
        for &chance in chances {
            self.frames += 1;
            self.segmenter.push(chance, &mut spans);
            for span in spans.drain(..) {
                self.waiting = Some(span.end);
                self.spans.push(span);
                self.packer.push(span, windows);
            }
            if self
                .waiting
                .is_some_and(|end| self.frames as f64 * frame - end > self.patience)
            {
                self.packer.finish(windows);
                self.waiting = None;
            }
        }
    }
}

/// A window that is taken as speech throughout.
pub(crate) fn whole(start: f64, seconds: f64) -> SpeechWindow {
    let end = start + seconds;
    SpeechWindow {
        start,
        end,
        spans: vec![Span { start, end }],
    }
}
