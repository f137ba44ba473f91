//! One recording or conversation on its way from sound to document.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;

use sori_dsp::loudness::Meter;
use sori_speech::acoustics::Features;
use sori_speech::align::Aligner;
use sori_speech::diarize::{ListenOptions, Listener, Networks};
use sori_speech::profile::EmbedderId;
use sori_speech::transcribe::{AudioWindow, TranscribeOptions, Transcriber, Whisper, WindowText};
use sori_speech::vad::{Packer, Segmenter, Span, SpeechWindow, Vad, VadModel, VadOptions};
use sori_timeline::{Metadata, ModelVersion, Segment, SourceInfo};

use crate::heard::StageResult;
use crate::late::Late;
use crate::stage::Stage;
use crate::{EngineError, Heard};

/// Windows that alignment and acoustics take at once in batches, so that every core has one.
const LATE_WINDOWS: usize = 4;

/// Seconds since any fixed moment; the session has no clock of its own.
pub type Clock<'a> = &'a dyn Fn() -> f64;

/// How results are traded against delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each window is transcribed as soon as it is whole.
    Live,
    /// Windows are collected and decoded together, as many as the transcriber has places for.
    Batch,
}

/// The networks of a session, shared read-only.
pub struct Models<'a> {
    /// The recogniser.
    pub whisper: &'a Whisper,
    /// The voice activity detector; `None` transcribes every window, speech or not.
    pub vad: Option<VadModel>,
    /// What tells voices apart; `None` leaves speakers out.
    pub voices: Option<Voices<'a>>,
    /// The aligner; `None` keeps the recogniser's times.
    pub aligner: Option<&'a Aligner>,
    /// Names and checksums by stage, for the document.
    pub versions: BTreeMap<String, ModelVersion>,
}

/// The networks that tell voices apart.
pub struct Voices<'a> {
    /// The networks.
    pub networks: Networks<'a>,
    /// Which embedding network that is; [`Heard::embedder`] keeps it.
    pub embedder: EmbedderId,
}

/// Options of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// How words are found.
    pub transcribe: TranscribeOptions,
    /// How speech is found.
    pub vad: VadOptions,
    /// How voices are told apart.
    pub listen: ListenOptions,
    /// What is measured of the sound of words; `None` measures nothing.
    pub features: Option<Features>,
    /// Whether every frame of speech is kept in [`Heard::frames`].
    pub keep_frames: bool,
    /// Delay or throughput.
    pub pace: Pace,
}

/// Something that became known.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A segment as it was transcribed; its speaker and exact times come with the document.
    Segment(Segment),
    /// Everything before this time, in seconds, is transcribed.
    Done(f64),
}

/// A recording on its way through the stages.
pub struct Session<'a> {
    clock: Clock<'a>,
    pace: Pace,
    window_seconds: f64,
    batch: usize,
    finder: Option<Finder>,
    transcriber: Transcriber<'a>,
    /// Sound that may still be needed, and the index of its first sample.
    pcm: VecDeque<f32>,
    first: u64,
    heard: u64,
    ends: VecDeque<f64>,
    events: VecDeque<Event>,
    listener: Option<Listener<'a>>,
    late: Late<'a>,
    meter: Option<Meter>,
    /// Segments that were told of.
    told: usize,
    found: Heard,
}

/// The stages of voice activity.
struct Finder {
    vad: Vad,
    segmenter: Segmenter,
    packer: Packer,
    frames: u64,
    /// Every span that was found.
    spans: Vec<Span>,
    /// End of the last span that may still wait in the packer for company.
    waiting: Option<f64>,
    /// Silence after which it waits no longer, in seconds.
    patience: f64,
}

impl<'a> Session<'a> {
    /// A session that has heard nothing.
    ///
    /// # Errors
    /// When an option is out of range or cannot be followed with these models.
    pub fn new(
        models: Models<'a>,
        options: SessionOptions,
        clock: Clock<'a>,
    ) -> Result<Self, EngineError> {
        let window_seconds = models.whisper.spec().window_samples() as f64 / 16000.0;
        let finder = models.vad.map(|model| {
            let vad = Vad::new(model);
            let segmenter = Segmenter::new(&options.vad, vad.frame_seconds(), window_seconds)?;
            let patience = if options.pace == Pace::Live {
                1.0
            } else {
                window_seconds
            };
            Ok::<_, EngineError>(Finder {
                vad,
                segmenter,
                packer: Packer::new(window_seconds),
                frames: 0,
                spans: Vec::new(),
                waiting: None,
                patience,
            })
        });
        let (networks, embedder) = models.voices.map(|v| (v.networks, v.embedder)).unzip();
        let listener = networks
            .map(|networks| Listener::new(networks, options.listen))
            .transpose()?;
        Ok(Self {
            clock,
            pace: options.pace,
            window_seconds,
            batch: models.whisper.batch(options.transcribe.batch),
            finder: finder.transpose()?,
            transcriber: Transcriber::new(models.whisper, options.transcribe)?,
            pcm: VecDeque::new(),
            first: 0,
            heard: 0,
            ends: VecDeque::new(),
            events: VecDeque::new(),
            listener,
            meter: options.features.as_ref().map(|_| Meter::new()),
            late: Late {
                aligner: models.aligner,
                features: options.features,
                keep_frames: options.keep_frames,
                windows: Vec::new(),
            },
            told: 0,
            found: Heard {
                embedder,
                metadata: Metadata {
                    generator: concat!("sori ", env!("CARGO_PKG_VERSION")).to_owned(),
                    model_versions: models.versions,
                    ..Default::default()
                },
                ..Default::default()
            },
        })
    }

    /// Takes the next samples, 16 kHz mono; computes when enough windows have come together.
    ///
    /// # Errors
    /// When a network cannot be run.
    pub fn push(&mut self, pcm: &[f32]) -> Result<(), EngineError> {
        let before = (self.clock)();
        self.pcm.extend(pcm);
        self.heard += pcm.len() as u64;
        let mut windows = Vec::new();
        if let Some(finder) = &mut self.finder {
            let mut chances = Vec::new();
            finder.vad.push(pcm, &mut chances)?;
            finder.absorb(&chances, &mut windows);
        } else {
            let window = (self.window_seconds * 16000.0) as u64;
            while self.heard - self.first >= window * (windows.len() as u64 + 1) {
                windows.push(whole(
                    self.first as f64 / 16000.0 + windows.len() as f64 * self.window_seconds,
                    self.window_seconds,
                ));
            }
        }
        self.queue(windows);
        self.forget();
        self.found.ledger.spend(Stage::Vad, (self.clock)() - before);
        self.listen(pcm);
        let enough = match self.pace {
            Pace::Live => 1,
            Pace::Batch => self.batch,
        };
        while self.transcriber.waiting() >= enough {
            self.work();
        }
        Ok(())
    }

    /// The next thing that became known.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends the sound; [`Session::work`] then computes what is left.
    ///
    /// # Errors
    /// When a network cannot be run.
    pub fn end(&mut self) -> Result<(), EngineError> {
        let mut windows = Vec::new();
        let seconds = self.heard as f64 / 16000.0;
        if let Some(finder) = &mut self.finder {
            let (mut chances, mut spans) = (Vec::new(), Vec::new());
            finder.vad.finish(&mut chances)?;
            finder.absorb(&chances, &mut windows);
            finder.segmenter.finish(seconds, &mut spans);
            for span in spans {
                finder.spans.push(span);
                finder.packer.push(span, &mut windows);
            }
            finder.packer.finish(&mut windows);
        } else if self.heard > self.first {
            let start = self.first as f64 / 16000.0;
            windows.push(whole(start, seconds - start));
        }
        self.queue(windows);
        Ok(())
    }

    /// Computes one token of every window at hand; returns whether work is left.
    pub fn work(&mut self) -> bool {
        let before = (self.clock)();
        let more = self.transcriber.step();
        self.found
            .ledger
            .spend(Stage::Transcribe, (self.clock)() - before);
        while let Some(text) = self.transcriber.take() {
            self.absorb(text);
        }
        more
    }

    /// Finishes all work and returns what was heard; `source` is what is known of the recording, `hook` follows the stages.
    pub fn finish(
        mut self,
        source: Option<SourceInfo>,
        warnings: Vec<String>,
        hook: &mut dyn FnMut(StageResult<'_>),
    ) -> Heard {
        while self.work() {}
        self.late.run(&mut self.found, self.clock);
        let mut found = self.found;
        found.duration = self.heard as f64 / 16000.0;
        if let Some(finder) = &self.finder {
            found.note_spans(&finder.spans);
        }
        if let Some(listener) = self.listener {
            let before = (self.clock)();
            found.voices = found
                .ledger
                .attempt(Stage::Diarize, || sure(listener.finish()));
            found.ledger.spend(Stage::Diarize, (self.clock)() - before);
        }
        if let Some(meter) = self.meter {
            found.loudness = meter.blocks().to_vec();
            found.curves.finish();
        }
        found.metadata.warnings = warnings;
        found.metadata.source = source;
        found.tell(hook);
        found
    }

    /// Stages that hear all sound and not its words.
    fn listen(&mut self, pcm: &[f32]) {
        if let Some(listener) = &mut self.listener {
            let before = (self.clock)();
            let heard = self.found.ledger.attempt(Stage::Diarize, || {
                listener.push(pcm);
                sure(())
            });
            self.found
                .ledger
                .spend(Stage::Diarize, (self.clock)() - before);
            if heard.is_none() {
                self.listener = None;
            }
        }
        if let Some(meter) = &mut self.meter {
            meter.push(pcm);
            self.found.curves.push(pcm);
        }
    }

    fn queue(&mut self, windows: Vec<SpeechWindow>) {
        for window in windows {
            let at =
                |seconds: f64| ((seconds * 16000.0).round() as u64).clamp(self.first, self.heard);
            let (from, to) = (at(window.start), at(window.end));
            let pcm = self
                .pcm
                .range((from - self.first) as usize..(to - self.first) as usize)
                .copied()
                .collect();
            let speech = window.spans.iter().map(|s| (s.start, s.end)).collect();
            self.transcriber.push(AudioWindow {
                start: from as f64 / 16000.0,
                pcm,
                speech,
            });
            self.ends.push_back(window.end);
            if self.finder.is_none() {
                self.pcm.drain(..(to - self.first) as usize);
                self.first = to;
            }
        }
    }

    /// Lets go of sound that no window can need any more: a window and a margin for the detector's delay are kept.
    fn forget(&mut self) {
        let keep = ((2.0 * self.window_seconds + 30.0) * 16000.0) as usize;
        let extra = self.pcm.len().saturating_sub(keep);
        self.pcm.drain(..extra);
        self.first += extra as u64;
    }

    fn absorb(&mut self, text: WindowText) {
        if let (Some((code, chance)), false) = (text.language, text.segments.is_empty()) {
            let seconds: f64 = text.segments.iter().map(|s| s.end - s.start).sum();
            let entry = self.found.languages.entry(code).or_insert((0.0, 0.0));
            *entry = (entry.0 + seconds, entry.1 + chance * seconds as f32);
        }
        self.found.metadata.audit.extend(text.dropped);
        for segment in &text.segments {
            let id = self.told;
            self.told += 1;
            self.events.push_back(Event::Segment(Segment {
                id,
                ..segment.clone()
            }));
        }
        self.late.windows.push((text.window, text.segments));
        if self.pace == Pace::Live || self.late.windows.len() >= LATE_WINDOWS {
            self.late.run(&mut self.found, self.clock);
        }
        self.events.extend(self.ends.pop_front().map(Event::Done));
    }
}

impl Finder {
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
fn whole(start: f64, seconds: f64) -> SpeechWindow {
    let end = start + seconds;
    SpeechWindow {
        start,
        end,
        spans: vec![Span { start, end }],
    }
}

/// The result of work that has no error of its own; a panic is still caught.
pub(crate) fn sure<T>(value: T) -> Result<T, Infallible> {
    Ok(value)
}
