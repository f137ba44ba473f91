//! One recording or conversation on its way from sound to document.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use sori_speech::transcribe::{AudioWindow, TranscribeOptions, Transcriber, Whisper, WindowText};
use sori_speech::vad::{Packer, Segmenter, Span, SpeechWindow, Vad, VadModel, VadOptions};
use sori_timeline::{Document, Metadata, ModelVersion, Segment, SourceInfo, StageTime};

use crate::EngineError;

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
    /// Name and checksum of the recogniser, for the document.
    pub whisper_version: ModelVersion,
    /// The voice activity detector; `None` transcribes every window, speech or not.
    pub vad: Option<VadModel>,
    /// Name and checksum of the detector.
    pub vad_version: Option<ModelVersion>,
}

/// Options of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// How words are found.
    pub transcribe: TranscribeOptions,
    /// How speech is found.
    pub vad: VadOptions,
    /// Delay or throughput.
    pub pace: Pace,
}

/// Something that became known.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A segment in its final form.
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
    segments: Vec<Segment>,
    languages: BTreeMap<String, (f64, f32)>,
    metadata: Metadata,
    spent: [f64; 2],
}

/// The stages of voice activity.
struct Finder {
    vad: Vad,
    segmenter: Segmenter,
    packer: Packer,
    frames: u64,
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
                waiting: None,
                patience,
            })
        });
        let mut versions = BTreeMap::from([("transcribe".to_owned(), models.whisper_version)]);
        versions.extend(models.vad_version.map(|v| ("vad".to_owned(), v)));
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
            segments: Vec::new(),
            languages: BTreeMap::new(),
            metadata: Metadata {
                generator: concat!("sori ", env!("CARGO_PKG_VERSION")).to_owned(),
                model_versions: versions,
                ..Default::default()
            },
            spent: [0.0; 2],
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
        self.spent[0] += (self.clock)() - before;
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
            spans
                .into_iter()
                .for_each(|span| finder.packer.push(span, &mut windows));
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
        self.spent[1] += (self.clock)() - before;
        while let Some(text) = self.transcriber.take() {
            self.absorb(text);
        }
        more
    }

    /// Finishes all work and returns the document; `source` is what is known of the recording.
    ///
    /// # Errors
    /// When a network cannot be run.
    pub fn finish(
        mut self,
        source: Option<SourceInfo>,
        warnings: Vec<String>,
    ) -> Result<Document, EngineError> {
        while self.work() {}
        let text = self
            .segments
            .iter()
            .map(|s| s.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let main = self.languages.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        let stage = |stage: &str, seconds| StageTime {
            stage: stage.to_owned(),
            seconds,
        };
        let mut metadata = mem::take(&mut self.metadata);
        metadata.stages = vec![
            stage("vad", self.spent[0]),
            stage("transcribe", self.spent[1]),
        ];
        metadata.processing_time = self.spent.iter().sum();
        metadata.warnings = warnings;
        metadata.source = source;
        Ok(Document {
            text,
            language: main.map_or_else(|| "en".to_owned(), |(code, _)| code.clone()),
            language_probability: main
                .map(|(_, (seconds, chance))| chance / (*seconds).max(1e-3) as f32),
            duration: self.heard as f64 / 16000.0,
            segments: self.segments,
            metadata,
            ..Document::default()
        })
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
            let entry = self.languages.entry(code).or_insert((0.0, 0.0));
            *entry = (entry.0 + seconds, entry.1 + chance * seconds as f32);
        }
        self.metadata.audit.extend(text.dropped);
        for mut segment in text.segments {
            segment.id = self.segments.len();
            self.events.push_back(Event::Segment(segment.clone()));
            self.segments.push(segment);
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
