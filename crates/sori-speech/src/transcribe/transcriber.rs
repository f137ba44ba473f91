//! Windows in, texts out: several windows in the decoder at once, each finished one replaced by the next.

use std::collections::{BTreeMap, VecDeque};

use sori_infer::ops::softmax;
use sori_timeline::{DropReason, Dropped, Segment};

use super::network::Row;
use super::options::{Task, TranscribeOptions};
use super::quality::{Quality, compression_ratio};
use super::rules::Rules;
use super::search::{Attempt, Written};
use super::segments::{Pieces, into_segments};
use super::{Heard, TranscribeError, Whisper};

/// Up to one window of sound to be transcribed.
#[derive(Clone, Debug, Default)]
pub struct AudioWindow {
    /// Start in the recording, in seconds.
    pub start: f64,
    /// 16 kHz mono sound, −1 to 1; what exceeds the model's window is cut off.
    pub pcm: Vec<f32>,
    /// Where speech is, as (start, end) in seconds of the recording, in order.
    pub speech: Vec<(f64, f64)>,
}

/// What was said in one window.
#[derive(Clone, Debug, Default)]
pub struct WindowText {
    /// The window, for the stages that listen to it again.
    pub window: AudioWindow,
    /// The text in pieces, in order; empty when nothing was said.
    pub segments: Vec<Segment>,
    /// What the model wrote and is not kept.
    pub dropped: Vec<Dropped>,
    /// The language and its probability; none for an English-only model.
    pub language: Option<(String, f32)>,
    /// The tokens written, time tokens included, the end not.
    pub tokens: Vec<u32>,
    /// Mean log-probability of the tokens and the end, at most 0.
    pub avg_logprob: f32,
    /// Probability that the window holds no speech, 0 to 1; 0 where a model cannot say.
    pub no_speech_prob: f32,
}

/// Transcribes a stream of windows with a fixed set of options.
pub struct Transcriber<'a> {
    whisper: &'a Whisper,
    options: TranscribeOptions,
    suppressed: Vec<u32>,
    prompt: Vec<u32>,
    waiting: VecDeque<(usize, AudioWindow)>,
    active: Vec<Active>,
    done: BTreeMap<usize, WindowText>,
    pushed: usize,
    taken: usize,
    /// Windows that became finished and were not yet told of.
    news: Vec<usize>,
    previous: Vec<u32>,
    scratch: Scratch,
}

/// What a step computes, kept so that the next need not allocate it.
#[derive(Default)]
struct Scratch {
    hidden: Vec<f32>,
    /// The hidden states whose scores are wanted.
    chosen: Vec<f32>,
    scores: Vec<f32>,
}

/// A window in the decoder.
struct Active {
    id: usize,
    window: AudioWindow,
    heard: Heard,
    language: Option<(String, u32, f32)>,
    /// The prompt and the opening tokens.
    initial: Vec<u32>,
    /// Place of the start token in `initial`.
    start: usize,
    no_speech_prob: f32,
    tried: usize,
    attempt: Attempt,
}

impl<'a> Transcriber<'a> {
    /// A transcriber with nothing to do yet.
    ///
    /// # Errors
    /// When an option cannot be followed with this model.
    pub fn new(whisper: &'a Whisper, options: TranscribeOptions) -> Result<Self, TranscribeError> {
        options.validate(&whisper.spec)?;
        let half = whisper.spec.sizes.text_context / 2 - 1;
        let mut prompt = Vec::new();
        for text in [&options.hotwords, &options.initial_prompt]
            .into_iter()
            .flatten()
        {
            prompt.extend(whisper.spec.tokenizer.encode(&format!(" {}", text.trim())));
        }
        prompt.drain(..prompt.len().saturating_sub(half));
        Ok(Self {
            suppressed: whisper.spec.suppressed.clone(),
            whisper,
            options,
            prompt,
            waiting: VecDeque::new(),
            active: Vec::new(),
            done: BTreeMap::new(),
            pushed: 0,
            taken: 0,
            news: Vec::new(),
            previous: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Adds a window; nothing is computed.
    pub fn push(&mut self, window: AudioWindow) {
        self.waiting.push_back((self.pushed, window));
        self.pushed += 1;
    }

    /// Adds a window whose text a transcriber with the same options found before; it takes its place in the order. Where the
    /// window is told what was said before it and that is not yet known, it is transcribed again.
    pub fn remember(&mut self, text: WindowText) {
        if self.options.condition_on_previous {
            if self.pending() > 0 {
                return self.push(text.window);
            }
            if text.dropped.is_empty() {
                self.previous = self.text_tokens(&text.tokens);
            }
        }
        self.done.insert(self.pushed, text);
        self.pushed += 1;
    }

    /// Texts that were finished since the last call and are not yet taken, in the order in which they were finished.
    pub fn news(&mut self) -> impl Iterator<Item = &WindowText> {
        let done = &self.done;
        self.news.drain(..).filter_map(|id| done.get(&id))
    }

    /// Windows that are pushed and not finished.
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    /// Windows that wait for a place in the decoder.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next finished window, in the order in which they were pushed.
    pub fn take(&mut self) -> Option<WindowText> {
        let text = self.done.remove(&self.taken)?;
        self.news.retain(|&id| id != self.taken);
        self.taken += 1;
        Some(text)
    }

    /// Computes one token for every window in the decoder, after filling free places; returns whether work is left.
    pub fn step(&mut self) -> bool {
        let places = if self.options.condition_on_previous {
            1
        } else {
            self.whisper.batch(self.options.batch)
        };
        while self.active.len() < places
            && let Some((id, window)) = self.waiting.pop_front()
        {
            let active = self.begin(id, window);
            self.active.push(active);
        }
        if self.active.is_empty() {
            return false;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        self.advance(&mut scratch);
        let vocabulary = self.whisper.spec.sizes.vocabulary;
        let rules = Rules {
            spec: &self.whisper.spec,
            suppressed: &self.suppressed,
            timestamp_tokens: self.options.timestamp_tokens,
            no_repeat_ngram: self.options.no_repeat_ngram,
        };
        let mut rest = scratch.scores.as_mut_slice();
        let mut over = Vec::new();
        for (place, active) in self.active.iter_mut().enumerate() {
            let (mine, others) = rest.split_at_mut(active.attempt.rows() * vocabulary);
            rest = others;
            if active.attempt.absorb(mine, &rules) {
                over.push(place);
            }
        }
        self.scratch = scratch;
        for place in over.into_iter().rev() {
            let active = self.active.swap_remove(place);
            self.conclude(active);
        }
        self.pending() > 0
    }

    fn begin(&self, id: usize, mut window: AudioWindow) -> Active {
        let whisper = self.whisper;
        window.pcm.truncate(whisper.spec.window_samples());
        let heard = whisper.hear(&whisper.mel(&window.pcm));
        let given = match &self.options.languages[..] {
            [one] => whisper.spec.language(one).map(|id| (one.clone(), id, 1.0)),
            _ => None,
        };
        let language = given.or_else(|| {
            let (code, chance) = whisper
                .languages(&heard, &self.options.languages)
                .into_iter()
                .next()?;
            let id = whisper.spec.language(&code)?;
            Some((code, id, chance))
        });
        let mut initial = Vec::new();
        let mut prompt = self.prompt.clone();
        if self.options.condition_on_previous {
            prompt.extend(&self.previous);
        }
        if let Some(previous) = whisper
            .spec
            .steering
            .previous
            .filter(|_| !prompt.is_empty())
        {
            let half = whisper.spec.sizes.text_context / 2 - 1;
            initial.push(previous);
            initial.extend(&prompt[prompt.len().saturating_sub(half)..]);
        }
        let start = initial.len();
        initial.extend(whisper.opening(
            language.as_ref().map(|l| l.1),
            self.options.task,
            self.options.timestamp_tokens,
        ));
        let attempt = self.attempt(0, id, initial.len());
        Active {
            id,
            window,
            heard,
            language,
            initial,
            start,
            no_speech_prob: 0.0,
            tried: 0,
            attempt,
        }
    }

    fn attempt(&self, tried: usize, id: usize, opening: usize) -> Attempt {
        let o = &self.options;
        let room = (self.whisper.spec.sizes.text_context - 1).saturating_sub(opening);
        let most = o.max_tokens.map_or(room, |m| m.min(room)).max(1);
        let seed = o.seed ^ (id as u64) << 32 ^ (tried as u64) << 24;
        Attempt::new(o.temperatures[tried], o.search, o.best_of, most, seed)
    }

    /// Runs the network over the next token of every row for the rows' scores, and notes no-speech probabilities.
    fn advance(&mut self, scratch: &mut Scratch) {
        let (network, width) = (&self.whisper.network, self.whisper.spec.sizes.width);
        let (mut rows, mut wanted, mut starts, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (place, active) in self.active.iter_mut().enumerate() {
            let fresh = active.attempt.fresh();
            if fresh && active.tried == 0 {
                starts.push((place, at + active.start));
            }
            let initial = fresh.then_some(active.initial.as_slice());
            for (tokens, memory) in active.attempt.inputs(initial) {
                at += tokens.len();
                wanted.push(at - 1);
                rows.push(Row {
                    tokens,
                    memory,
                    heard: &active.heard.0,
                });
            }
        }
        let Scratch {
            hidden,
            chosen,
            scores,
        } = scratch;
        network.read(&mut rows, &[], &mut Vec::new(), hidden);
        let mut score = |places: &mut dyn Iterator<Item = usize>, scores: &mut Vec<f32>| {
            chosen.clear();
            places.for_each(|p| chosen.extend(&hidden[p * width..(p + 1) * width]));
            network.logits(chosen, scores);
        };
        if let Some(no_speech) = self
            .whisper
            .spec
            .steering
            .no_speech
            .filter(|_| !starts.is_empty())
        {
            score(&mut starts.iter().map(|s| s.1), scores);
            for (row, (place, _)) in scores
                .chunks_exact_mut(self.whisper.spec.sizes.vocabulary)
                .zip(&starts)
            {
                softmax(row);
                self.active[*place].no_speech_prob = row[no_speech as usize];
            }
        }
        score(&mut wanted.into_iter(), scores);
    }

    /// Judges a finished attempt: tries again, or makes it the window's text.
    fn conclude(&mut self, mut active: Active) {
        let next = self.attempt(
            (active.tried + 1).min(self.options.temperatures.len() - 1),
            active.id,
            active.initial.len(),
        );
        let written = std::mem::replace(&mut active.attempt, next).result();
        let text_only = self.text_tokens(&written.tokens);
        let text = self.whisper.spec.tokenizer.decode(&text_only);
        let quality = Quality {
            avg_logprob: written.sum_logprob / (written.tokens.len() + 1) as f32,
            compression_ratio: compression_ratio(text.trim()),
            no_speech_prob: active.no_speech_prob,
        };
        if quality.wants_retry(&self.options) && active.tried + 1 < self.options.temperatures.len()
        {
            active.tried += 1;
            self.active.push(active);
            return;
        }
        let mut result = self.finish(&active, &written, text.trim(), quality);
        if self.options.condition_on_previous && result.dropped.is_empty() {
            self.previous = text_only;
        }
        result.window = active.window;
        self.news.push(active.id);
        self.done.insert(active.id, result);
    }

    fn finish(
        &self,
        active: &Active,
        written: &Written,
        text: &str,
        quality: Quality,
    ) -> WindowText {
        let language = active.language.as_ref();
        let mut result = WindowText {
            language: language.map(|l| (l.0.clone(), l.2)),
            tokens: written.tokens.clone(),
            avg_logprob: quality.avg_logprob,
            no_speech_prob: quality.no_speech_prob,
            ..Default::default()
        };
        let window = &active.window;
        let end = window.start + window.pcm.len() as f64 / 16000.0;
        let mut drop = |reason| {
            result.dropped.push(Dropped {
                start: window.start,
                end,
                text: text.to_owned(),
                reason,
            })
        };
        if let Some(reason) = quality.refusal(text, &self.options) {
            drop(reason);
            return result;
        }
        if text.is_empty() {
            return result;
        }
        if window.speech.is_empty() {
            drop(DropReason::OutsideSpeech);
            return result;
        }
        result.segments = self.cut(active, written, text, quality);
        result
    }

    /// Times a text's words and cuts it into segments.
    fn cut(
        &self,
        active: &Active,
        written: &Written,
        text: &str,
        quality: Quality,
    ) -> Vec<Segment> {
        let (spec, window) = (&self.whisper.spec, &active.window);
        let language = active.language.as_ref();
        let words = if self.options.word_times {
            let language = language.map(|l| (l.0.as_str(), l.1));
            let text = self.text_tokens(&written.tokens);
            let (task, samples) = (self.options.task, window.pcm.len());
            self.whisper
                .time_words(&active.heard, &text, language, task, samples)
        } else {
            Vec::new()
        };
        let template = Segment {
            language: match self.options.task {
                Task::Translate => Some("en".to_owned()),
                Task::Transcribe => language.map(|l| l.0.clone()),
            },
            avg_logprob: quality.avg_logprob,
            compression_ratio: quality.compression_ratio,
            no_speech_prob: quality.no_speech_prob,
            temperature: self.options.temperatures[active.tried],
            ..Default::default()
        };
        let times = spec.steering.first_timestamp;
        let pieces = Pieces {
            window,
            text,
            words,
            tokens: &written.tokens,
            first_time: times.filter(|_| self.options.timestamp_tokens),
            tokenizer: &spec.tokenizer,
            language: template.language.as_deref().unwrap_or("en"),
        };
        into_segments(pieces, &template)
    }

    /// The tokens that are text: all below the end token.
    fn text_tokens(&self, tokens: &[u32]) -> Vec<u32> {
        let end = self.whisper.spec.steering.end;
        tokens.iter().copied().filter(|&t| t < end).collect()
    }
}
