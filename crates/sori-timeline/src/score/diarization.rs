//! Who spoke when: diarization and Jaccard error rates.

use std::ops::AddAssign;

use super::check_crowd;
use crate::{ErrorKind, TimelineError, Turn, assignment::assign, transcript::speakers};

/// What of a recording is scored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DiarizationOptions {
    /// TOTAL width in seconds of the stretch around each start and end of a reference turn that is not scored, 0 to 3600,
    /// as in pyannote.metrics. NIST's md-eval counts one side only: its `-c 0.25` is 0.5 here.
    pub collar: f64,
    /// Leaves out where the reference has more than one turn at a time.
    pub skip_overlap: bool,
    /// Stretches (start, end) to score; `None` is from the first start to the last end of either side.
    pub uem: Option<Vec<(f64, f64)>>,
}

/// Seconds of speaker time and what is wrong with them; overlap counts once a speaker.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Der {
    /// Speaker time of the reference.
    pub total: f64,
    /// Given to the right speaker.
    pub correct: f64,
    /// Not found.
    pub missed: f64,
    /// Found where there is none.
    pub false_alarm: f64,
    /// Given to another speaker.
    pub confusion: f64,
}

impl Der {
    /// Missed, false and confused time over the reference's time. A reference without any gives 0 when nothing was found,
    /// else 1.
    pub fn rate(&self) -> f64 {
        let wrong = self.missed + self.false_alarm + self.confusion;
        if self.total == 0.0 {
            return if wrong == 0.0 { 0.0 } else { 1.0 };
        }
        wrong / self.total
    }
}

/// Sums over recordings: the rate of a sum weights each by its speaker time.
impl AddAssign for Der {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.correct += other.correct;
        self.missed += other.missed;
        self.false_alarm += other.false_alarm;
        self.confusion += other.confusion;
    }
}

/// Jaccard errors of the speakers of a reference.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Jer {
    /// Sum of the speakers' error rates.
    pub errors: f64,
    /// Speakers that say something where it is scored.
    pub speakers: usize,
}

impl Jer {
    /// Mean error of a speaker, 0 to 1; 1 for a reference without speakers, as in pyannote.metrics.
    pub fn rate(&self) -> f64 {
        match self.speakers {
            0 => 1.0,
            speakers => self.errors / speakers as f64,
        }
    }
}

/// Sums over recordings: the rate of a sum weights every speaker alike.
impl AddAssign for Jer {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
        self.speakers += other.speakers;
    }
}

/// The diarization error rate of a hypothesis under the pairing of speakers with the most time in common.
///
/// Equal to pyannote.metrics' `DiarizationErrorRate` (NIST's rule): where r speakers talk, h were found and m of these
/// are right, max(0, r - h) are missed, max(0, h - r) are false alarms and min(r, h) - m are confused. Turns of one
/// speaker that overlap count each. Turns without length or with times that are not finite are left out.
///
/// ```
/// use sori_timeline::{Turn, score::{DiarizationOptions, der}};
/// let turn = |start, end, speaker: &str| Turn { start, end, speaker: speaker.into() };
/// let found = der(
///     &[turn(0.0, 6.0, "A"), turn(6.0, 10.0, "B")],
///     &[turn(0.0, 5.0, "x"), turn(5.0, 10.0, "y")],
///     &DiarizationOptions::default(),
/// )?;
/// assert_eq!((found.confusion, found.rate()), (1.0, 0.1));
/// # Ok::<(), sori_timeline::TimelineError>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Option`] for options out of range, [`ErrorKind::Limit`] when a side has more than [`super::MAX_SPEAKERS`]
/// speakers.
pub fn der(
    reference: &[Turn],
    hypothesis: &[Turn],
    options: &DiarizationOptions,
) -> Result<Der, TimelineError> {
    let shared = Shared::measure(reference, hypothesis, options)?;
    let mut der = shared.sums;
    for (row, column) in shared.mapping() {
        der.correct += shared.counted[row * shared.columns + column];
    }
    der.confusion = shared.found_of_spoken - der.correct;
    Ok(der)
}

/// The Jaccard error rate (DIHARD II): for each speaker of the reference, how much of the time that it or its partner
/// speaks is not common to both; 1 for a speaker without partner. Equal to pyannote.metrics' `JaccardErrorRate`.
///
/// # Errors
/// Those of [`der`].
pub fn jer(
    reference: &[Turn],
    hypothesis: &[Turn],
    options: &DiarizationOptions,
) -> Result<Jer, TimelineError> {
    let shared = Shared::measure(reference, hypothesis, options)?;
    let mut jer = Jer::default();
    let mut partner = vec![None; shared.spoken.len()];
    for (row, column) in shared.mapping() {
        partner[row] = Some(column);
    }
    for (row, &spoken) in shared.spoken.iter().enumerate() {
        if spoken <= 0.0 {
            continue;
        }
        jer.speakers += 1;
        jer.errors += match partner[row] {
            None => 1.0,
            Some(column) => {
                let both = shared.both[row * shared.columns + column];
                let either = spoken + shared.found[column] - both;
                (either - both) / either
            }
        };
    }
    Ok(jer)
}

/// What two sides have in common where it is scored; tables are (speakers of the reference, of the hypothesis).
struct Shared {
    columns: usize,
    /// Seconds times turns of the one times turns of the other: what speakers are paired by.
    together: Vec<f64>,
    /// Seconds times the smaller number of turns: what is right of a pair.
    counted: Vec<f64>,
    /// Seconds in which both speak.
    both: Vec<f64>,
    /// Seconds in which each speaker of the reference speaks.
    spoken: Vec<f64>,
    /// Seconds in which each speaker of the hypothesis speaks.
    found: Vec<f64>,
    /// Seconds times the smaller number of turns of all speakers.
    found_of_spoken: f64,
    /// Totals, without what needs the pairing.
    sums: Der,
}

/// Where something begins (+1) or ends (-1).
struct Edge {
    at: f64,
    change: isize,
    of: Lane,
}

/// What an [`Edge`] belongs to.
#[derive(Clone, Copy)]
enum Lane {
    Spoken(usize),
    Found(usize),
    Scored,
    Collar,
}

/// Turns of each speaker that are open, and the speakers that have any.
struct Open {
    turns: Vec<isize>,
    speakers: Vec<usize>,
    total: isize,
}

impl Open {
    fn of(speakers: usize) -> Self {
        Self {
            turns: vec![0; speakers],
            speakers: Vec::new(),
            total: 0,
        }
    }

    fn change(&mut self, speaker: usize, change: isize) {
        let turns = &mut self.turns[speaker];
        if *turns == 0 {
            self.speakers.push(speaker);
        }
        *turns += change;
        if *turns == 0 {
            self.speakers.retain(|&open| open != speaker);
        }
        self.total += change;
    }
}

impl Shared {
    fn measure(
        reference: &[Turn],
        hypothesis: &[Turn],
        options: &DiarizationOptions,
    ) -> Result<Self, TimelineError> {
        let names = [(reference, "reference"), (hypothesis, "hypothesis")]
            .map(|(turns, side)| names(turns, side));
        let [rows, columns] = names;
        let (rows, columns) = (rows?, columns?);
        let edges = edges((reference, &rows), (hypothesis, &columns), options)?;
        let cells = rows.len() * columns.len();
        let mut shared = Self {
            columns: columns.len(),
            together: vec![0.0; cells],
            counted: vec![0.0; cells],
            both: vec![0.0; cells],
            spoken: vec![0.0; rows.len()],
            found: vec![0.0; columns.len()],
            found_of_spoken: 0.0,
            sums: Der::default(),
        };
        let (mut spoken, mut found) = (Open::of(rows.len()), Open::of(columns.len()));
        let (mut scored, mut collars) = (0, 0);
        let mut last = f64::NEG_INFINITY;
        for edge in edges {
            let skipped = collars > 0 || (options.skip_overlap && spoken.total > 1);
            if edge.at > last && scored > 0 && !skipped {
                shared.add(edge.at - last, &spoken, &found);
            }
            last = edge.at;
            match edge.of {
                Lane::Spoken(speaker) => spoken.change(speaker, edge.change),
                Lane::Found(speaker) => found.change(speaker, edge.change),
                Lane::Scored => scored += edge.change,
                Lane::Collar => collars += edge.change,
            }
        }
        Ok(shared)
    }

    fn add(&mut self, seconds: f64, spoken: &Open, found: &Open) {
        let (r, h) = (spoken.total as f64, found.total as f64);
        self.sums.total += seconds * r;
        self.sums.missed += seconds * (r - h).max(0.0);
        self.sums.false_alarm += seconds * (h - r).max(0.0);
        self.found_of_spoken += seconds * r.min(h);
        for &column in &found.speakers {
            self.found[column] += seconds;
        }
        for &row in &spoken.speakers {
            self.spoken[row] += seconds;
            for &column in &found.speakers {
                let (r, h) = (spoken.turns[row] as f64, found.turns[column] as f64);
                let cell = row * self.columns + column;
                self.together[cell] += seconds * r * h;
                self.counted[cell] += seconds * r.min(h);
                self.both[cell] += seconds;
            }
        }
    }

    /// Pairs of speakers that have the most time in common; those that have none are not paired.
    fn mapping(&self) -> Vec<(usize, usize)> {
        let costs: Vec<f64> = self.together.iter().map(|seconds| -seconds).collect();
        let pairs = assign(&costs, self.columns).into_iter().enumerate();
        pairs
            .filter_map(|(row, column)| Some((row, column?)))
            .filter(|(row, column)| self.together[row * self.columns + column] > 0.0)
            .collect()
    }
}

fn sound(turn: &&Turn) -> bool {
    turn.start.is_finite() && turn.end.is_finite() && turn.end > turn.start
}

fn names<'a>(turns: &'a [Turn], side: &str) -> Result<Vec<&'a str>, TimelineError> {
    let names = speakers(turns.iter().filter(sound).map(|turn| turn.speaker.as_str()));
    check_crowd(names.len(), side)?;
    Ok(names)
}

/// Everything that begins or ends, in order of time.
fn edges(
    (reference, rows): (&[Turn], &[&str]),
    (hypothesis, columns): (&[Turn], &[&str]),
    options: &DiarizationOptions,
) -> Result<Vec<Edge>, TimelineError> {
    let half = options.collar / 2.0;
    if !(0.0..=3600.0).contains(&options.collar) {
        return Err(TimelineError::new(
            ErrorKind::Option,
            "collar".into(),
            "it is out of range, use 0 to 3600 seconds".into(),
        ));
    }
    let mut edges = Vec::new();
    let mut span = |start: f64, end: f64, of: Lane| {
        if end > start {
            edges.extend([(start, 1), (end, -1)].map(|(at, change)| Edge { at, change, of }));
        }
    };
    let place = |names: &[&str], turn: &Turn| {
        names
            .binary_search(&turn.speaker.as_str())
            .expect("the names are those of these turns, in order")
    };
    let (mut first, mut last) = (f64::INFINITY, f64::NEG_INFINITY);
    for turn in reference.iter().filter(sound) {
        span(turn.start, turn.end, Lane::Spoken(place(rows, turn)));
        for edge in [turn.start, turn.end] {
            span(edge - half, edge + half, Lane::Collar);
        }
        (first, last) = (first.min(turn.start), last.max(turn.end));
    }
    for turn in hypothesis.iter().filter(sound) {
        span(turn.start, turn.end, Lane::Found(place(columns, turn)));
        (first, last) = (first.min(turn.start), last.max(turn.end));
    }
    match &options.uem {
        None => span(first, last, Lane::Scored),
        Some(uem) => {
            for &(start, end) in uem {
                span(start, end, Lane::Scored);
            }
        }
    }
    edges.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(edges)
}
