//! Every measure that two transcripts allow, and their sums.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sori_timeline::Transcript;
use sori_timeline::score::{
    Der, Deviation, DiarizationOptions, Edits, Jer, TcpOptions, WordTimes, cer, cp_wer, der, jer,
    tcp_wer, wer, word_times,
};

/// How to measure.
pub struct Options {
    pub diarization: DiarizationOptions,
    pub tcp: TcpOptions,
}

/// What was measured; `None` is what the files do not allow.
#[derive(Clone, Default)]
pub struct Measured {
    pub wer: Option<Edits>,
    pub cer: Option<Edits>,
    pub der: Option<Der>,
    pub jer: Option<Jer>,
    pub cp_wer: Option<Edits>,
    pub tcp_wer: Option<Edits>,
    pub times: Option<WordTimes>,
    /// Speakers of the reference and of the result that belong together.
    pub pairs: Vec<(Option<String>, Option<String>)>,
}

/// Takes every measure that both sides allow.
///
/// # Errors
/// When a side is beyond the limits of the scores.
pub fn measure(
    reference: &Transcript,
    hypothesis: &Transcript,
    options: &Options,
) -> Result<Measured> {
    let mut measured = Measured::default();
    if reference.utterances.is_some() && hypothesis.utterances.is_some() {
        let (spoken, heard) = (reference.text(), hypothesis.text());
        measured.wer = Some(wer(&spoken, &heard));
        measured.cer = Some(cer(&spoken, &heard));
    }
    if let (Some(spoken), Some(heard)) = (&reference.turns, &hypothesis.turns) {
        measured.der = Some(der(spoken, heard, &options.diarization)?);
        measured.jer = Some(jer(spoken, heard, &options.diarization)?);
    }
    let (spoken, heard) = (reference.spoken(), hypothesis.spoken());
    let timed = reference.timed && hypothesis.timed;
    if reference.names_speakers() && hypothesis.names_speakers() {
        let matched = cp_wer(spoken, heard)?;
        measured.cp_wer = Some(matched.edits);
        measured.pairs = matched.pairs;
        if timed {
            measured.tcp_wer = Some(tcp_wer(spoken, heard, &options.tcp)?.edits);
        }
    }
    if let (Some(spoken), Some(heard)) = (&reference.words, &hypothesis.words) {
        measured.times = Some(word_times(spoken, heard)?);
    }
    Ok(measured)
}

/// Adds what is there to what is there.
fn add<T: std::ops::AddAssign + Default + Clone>(sum: &mut Option<T>, more: &Option<T>) {
    if let Some(more) = more {
        *sum.get_or_insert_default() += more.clone();
    }
}

impl Measured {
    /// The sums over recordings: long ones weigh more.
    pub fn total<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut total = Self::default();
        for measured in all {
            add(&mut total.wer, &measured.wer);
            add(&mut total.cer, &measured.cer);
            add(&mut total.der, &measured.der);
            add(&mut total.jer, &measured.jer);
            add(&mut total.cp_wer, &measured.cp_wer);
            add(&mut total.tcp_wer, &measured.tcp_wer);
            add(&mut total.times, &measured.times);
        }
        total
    }

    /// The rates in the order of [`Measured::RATES`].
    pub fn rates(&self) -> [Option<f64>; 6] {
        let rate = |edits: &Option<Edits>| edits.as_ref().map(Edits::rate);
        [
            rate(&self.wer),
            rate(&self.cer),
            self.der.as_ref().map(Der::rate),
            self.jer.as_ref().map(Jer::rate),
            rate(&self.cp_wer),
            rate(&self.tcp_wer),
        ]
    }

    /// The names of the rates.
    pub const RATES: [&str; 6] = ["WER", "CER", "DER", "JER", "cpWER", "tcpWER"];

    pub fn is_empty(&self) -> bool {
        self.times.is_none() && self.rates().iter().all(Option::is_none)
    }

    /// All of it, for programs.
    pub fn json(&self) -> Map<String, Value> {
        let edits = |edits: &Edits| {
            json!({ "rate": edits.rate(), "substitutions": edits.substitutions, "deletions": edits.deletions,
                "insertions": edits.insertions, "reference": edits.reference })
        };
        let mut object = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        };
        put("wer", self.wer.as_ref().map(edits));
        put("cer", self.cer.as_ref().map(edits));
        put(
            "der",
            self.der.map(|der| {
                json!({ "rate": der.rate(), "missed": der.missed, "false_alarm": der.false_alarm,
                "confusion": der.confusion, "correct": der.correct, "total": der.total })
            }),
        );
        put(
            "jer",
            self.jer
                .map(|jer| json!({ "rate": jer.rate(), "speakers": jer.speakers })),
        );
        put("cp_wer", self.cp_wer.as_ref().map(edits));
        put("tcp_wer", self.tcp_wer.as_ref().map(edits));
        put(
            "word_times",
            self.times.as_ref().map(|times| {
                json!({ "reference": times.reference, "matched": times.starts.len(),
                "start": deviation(times.start()), "end": deviation(times.end()) })
            }),
        );
        if !self.pairs.is_empty() {
            put("speakers", Some(pairs(&self.pairs)));
        }
        object
    }
}

fn pairs(pairs: &[(Option<String>, Option<String>)]) -> Value {
    #[derive(Serialize)]
    struct Pair<'a> {
        reference: &'a Option<String>,
        hypothesis: &'a Option<String>,
    }
    let pair = |(reference, hypothesis)| Pair {
        reference,
        hypothesis,
    };
    json!(pairs.iter().map(|(r, h)| pair((r, h))).collect::<Vec<_>>())
}

fn deviation(of: Deviation) -> Value {
    let [within_50_ms, within_100_ms, within_200_ms] = of.within;
    json!({ "mean": of.mean, "median": of.median, "p95": of.p95, "within_50_ms": within_50_ms,
        "within_100_ms": within_100_ms, "within_200_ms": within_200_ms })
}
