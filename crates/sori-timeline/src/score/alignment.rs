//! The edit distance of units that may only match when they meet in time.

use super::text::{Cell, Edits, Step};
use crate::{ErrorKind, TimelineError};

/// Cells that an alignment may take, one byte each: 256 MiB. Words that all lie at one time reach it at 16,000 a side.
const MAX_CELLS: usize = 1 << 28;

/// A unit and the open interval in which it may meet another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timed {
    pub unit: u32,
    pub start: f64,
    pub end: f64,
}

impl Timed {
    fn meets(&self, other: &Self) -> bool {
        self.start < other.end && self.end > other.start
    }
}

/// For each unit of the reference, the units of the hypothesis in front of `0` that nothing from here on meets, and those
/// in front of `1` beyond which nothing up to here reaches. Both rise.
fn windows(reference: &[Timed], hypothesis: &[Timed]) -> Vec<(usize, usize)> {
    let mut latest_end: Vec<f64> = hypothesis.iter().map(|timed| timed.end).collect();
    for at in 1..latest_end.len() {
        latest_end[at] = latest_end[at].max(latest_end[at - 1]);
    }
    let mut earliest_start: Vec<f64> = hypothesis.iter().map(|timed| timed.start).collect();
    for at in (1..earliest_start.len()).rev() {
        earliest_start[at - 1] = earliest_start[at - 1].min(earliest_start[at]);
    }
    let mut windows: Vec<(usize, usize)> = reference
        .iter()
        .map(|timed| {
            let first = latest_end.partition_point(|&end| end <= timed.start);
            let last = earliest_start.partition_point(|&start| start < timed.end);
            (first, last.max(first))
        })
        .collect();
    for at in (1..windows.len()).rev() {
        windows[at - 1].0 = windows[at - 1].0.min(windows[at].0);
    }
    for at in 1..windows.len() {
        windows[at].1 = windows[at].1.max(windows[at - 1].1);
    }
    windows
}

/// The fewest edits between two sequences whose units match or replace each other only where their intervals meet, and
/// one alignment with that many: for each unit of the reference, the unit of the hypothesis that it is paired with.
///
/// Equal costs are decided as in [`super::edits`], which is also meeteval's rule. Cells where nothing can meet are left
/// out, so that time and memory grow with the words within reach of each other.
///
/// # Errors
/// [`ErrorKind::Limit`] when more than 2^28 pairs of units are within reach.
pub(crate) fn align(
    reference: &[Timed],
    hypothesis: &[Timed],
) -> Result<(Edits, Vec<Option<usize>>), TimelineError> {
    let windows = windows(reference, hypothesis);
    let cells = windows.iter().try_fold(0usize, |sum, (first, last)| {
        sum.checked_add(last - first + 1)
            .filter(|&sum| sum <= MAX_CELLS)
    });
    let Some(cells) = cells else {
        let problem = "too many words lie at the same time to be compared by time; use a smaller collar, or check the times";
        return Err(TimelineError::new(
            ErrorKind::Limit,
            "words".into(),
            problem.into(),
        ));
    };
    let mut steps: Vec<Step> = Vec::with_capacity(cells);
    let mut row = vec![Cell::shifts(0)];
    row.reserve(hypothesis.len());
    for (word, &(first, last)) in reference.iter().zip(&windows) {
        while row.len() <= last {
            row.push(row[row.len() - 1].shifted());
        }
        // Whatever the hypothesis says before `first` was inserted earlier; only a deletion leads here.
        let mut diagonal = row[first];
        row[first] = diagonal.shifted();
        steps.push(Step::Deletion);
        for at in first + 1..=last {
            let heard = &hypothesis[at - 1];
            let both = match word.meets(heard) {
                true => diagonal.paired(word.unit == heard.unit),
                false => Cell::UNREACHED,
            };
            diagonal = row[at];
            let (cell, step) = Cell::best(both, diagonal.shifted(), row[at - 1].shifted());
            row[at] = cell;
            steps.push(step);
        }
    }
    Ok(trace(reference, hypothesis, &windows, &steps))
}

/// Follows the steps back from the end.
fn trace(
    reference: &[Timed],
    hypothesis: &[Timed],
    windows: &[(usize, usize)],
    steps: &[Step],
) -> (Edits, Vec<Option<usize>>) {
    let mut edits = Edits {
        reference: reference.len(),
        ..Edits::default()
    };
    let mut pairs = vec![None; reference.len()];
    let (mut at, mut row_end) = (hypothesis.len(), steps.len());
    for (index, &(first, last)) in windows.iter().enumerate().rev() {
        edits.insertions += at.saturating_sub(last);
        at = at.min(last);
        let row = &steps[row_end - (last - first + 1)..row_end];
        row_end -= row.len();
        while row[at - first] == Step::Insertion {
            edits.insertions += 1;
            at -= 1;
        }
        if row[at - first] == Step::Deletion {
            edits.deletions += 1;
            continue;
        }
        at -= 1;
        edits.substitutions += usize::from(reference[index].unit != hypothesis[at].unit);
        pairs[index] = Some(at);
    }
    edits.insertions += at;
    (edits, pairs)
}
