//! One recording or conversation on its way from sound to document.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;

use sori_dsp::loudness::Meter;
use sori_speech::acoustics::Features;
use sori_speech::align::Aligner;
use sori_speech::diarize::{ListenOptions, Listener, Networks};
use sori_speech::profile::EmbedderId;
use sori_speech::transcribe::{AudioWindow, TranscribeOptions, Transcriber, Whisper, WindowText};
use sori_speech::vad::{SpeechWindow, VadModel, VadOptions};
use sori_timeline::{Metadata, ModelVersion, Segment, SourceInfo};

use crate::finder::{Finder, whole};
use crate::heard::StageResult;
use crate::journal::{Journal, Place, Record, Text};
use crate::late::{Late, LateWindow, Times};
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
    /// Something to be put at the end of the session's journal at once; only after [`Session::remember`].
    Record(Vec<u8>),
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
    past: Option<Past>,
}

/// What a session before found out, for one that keeps a journal.
struct Past {
    journal: Journal,
    /// Segments with exact times, by the start of their window.
    aligned: HashMap<u64, Vec<Segment>>,
    /// Windows and slices of voices that stand in the journal.
    voices: (usize, usize),
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
        let finder = models
            .vad
            .map(|model| Finder::new(model, &options.vad, window_seconds, options.pace));
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
            past: None,
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

    /// Keeps a journal from here on, and takes from `journal` what a session with the same models and options found out about the
    /// same sound: its networks are not run for that again, and the document is the same. To be called before the first sound;
    /// what was heard already would be told of again.
    pub fn remember(&mut self, mut journal: Journal) {
        let windows = std::mem::take(&mut journal.windows);
        let slices = std::mem::take(&mut journal.slices);
        let listener = self.listener.as_mut();
        self.past = Some(Past {
            journal,
            aligned: HashMap::new(),
            voices: listener.map_or((0, 0), |listener| listener.remember(windows, slices)),
        });
    }

    /// Takes the next samples, 16 kHz mono; computes when enough windows have come together.
    ///
    /// # Errors
    /// When a network cannot be run.
    pub fn push(&mut self, pcm: &[f32]) -> Result<(), EngineError> {
        self.feed(pcm)?;
        while self.due() {
            self.work();
        }
        Ok(())
    }

    /// Takes the next samples as [`Session::push`] and leaves [`Session::work`] to the caller, as long as it is
    /// [`Session::due`]: for one who wants to stop in between.
    ///
    /// # Errors
    /// When a network cannot be run.
    pub fn feed(&mut self, pcm: &[f32]) -> Result<(), EngineError> {
        let before = (self.clock)();
        self.pcm.extend(pcm);
        self.heard += pcm.len() as u64;
        let mut windows = Vec::new();
        if let Some(finder) = &mut self.finder {
            finder.push(pcm, &mut windows)?;
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
        self.gather();
        Ok(())
    }

    /// Whether enough windows have come together.
    pub fn due(&self) -> bool {
        let enough = match self.pace {
            Pace::Live => 1,
            Pace::Batch => self.batch,
        };
        self.transcriber.waiting() >= enough
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
            finder.finish(seconds, &mut windows)?;
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
        if self.past.is_some() {
            let records = self.transcriber.news().map(|text| {
                let place = place(&text.window);
                Event::Record(Record::Text(place, Text::of(text)).framed())
            });
            self.events.extend(records);
        }
        self.gather();
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
        self.listen_again();
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
        if let (Some(listener), Some(past)) = (&self.listener, &mut self.past) {
            let (windows, slices) = listener.since(past.voices.0, past.voices.1);
            if !windows.is_empty() {
                let record = Record::Voices(past.voices, windows.to_vec(), slices.to_vec());
                past.voices.0 += windows.len();
                past.voices.1 += slices.len();
                self.events.push_back(Event::Record(record.framed()));
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
            let room = (self.window_seconds * 16000.0).round() as usize;
            let pcm = self
                .pcm
                .range((from - self.first) as usize..(to - self.first) as usize)
                .take(room)
                .copied()
                .collect();
            let speech = window.spans.iter().map(|s| (s.start, s.end)).collect();
            self.transcribe(AudioWindow {
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

    /// Gives a window to the transcriber, with its text where that is known.
    fn transcribe(&mut self, window: AudioWindow) {
        if let Some(past) = &mut self.past
            && let place = place(&window)
            && let Some(text) = past.journal.take(place)
        {
            let (text, aligned) = text.of_window(window);
            past.aligned
                .extend(aligned.map(|segments| (place.0, segments)));
            self.transcriber.remember(text);
        } else {
            self.transcriber.push(window);
        }
    }

    /// Takes every text that is ready.
    fn gather(&mut self) {
        while let Some(text) = self.transcriber.take() {
            self.absorb(text);
        }
    }

    /// Listens again to the windows that wait for it.
    fn listen_again(&mut self) {
        self.late.align(&mut self.found, self.clock);
        if self.past.is_some() {
            let found = self.late.windows.iter().filter(|w| w.times == Times::Found);
            let records = found.map(|late| {
                let record = Record::Aligned(place(&late.window), late.segments.clone());
                Event::Record(record.framed())
            });
            self.events.extend(records);
        }
        self.late.measure(&mut self.found, self.clock);
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
        let first = place(&text.window).0;
        let past = self.past.as_mut();
        let (segments, times) = match past.and_then(|past| past.aligned.remove(&first)) {
            Some(segments) => (segments, Times::Known),
            None => (text.segments, Times::Rough),
        };
        self.late.windows.push(LateWindow {
            window: text.window,
            segments,
            times,
        });
        if self.pace == Pace::Live || self.late.windows.len() >= LATE_WINDOWS {
            self.listen_again();
        }
        self.events.extend(self.ends.pop_front().map(Event::Done));
    }
}

/// Where a window lies, to be found again.
fn place(window: &AudioWindow) -> Place {
    let first = (window.start * 16000.0).round() as u64;
    (first, window.pcm.len() as u64)
}

/// The result of work that has no error of its own; a panic is still caught.
pub(crate) fn sure<T>(value: T) -> Result<T, Infallible> {
    Ok(value)
}
