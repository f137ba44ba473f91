//! Accepting the right voices and no others.

/// The rate at which false acceptances and false rejections are equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualError {
    /// The rate, 0 to 1.
    pub rate: f64,
    /// The score from which on to accept for that rate.
    pub threshold: f64,
}

/// The equal error rate of scores of true pairs and of false pairs, higher meaning more alike; `None` when either is empty
/// or a score is not a number.
///
/// Between two neighbouring thresholds both rates are taken to be straight lines, as on the usual ROC curve.
///
/// ```
/// use sori_timeline::score::eer;
/// assert_eq!(eer(&[0.9, 0.8, 0.4], &[0.1, 0.2, 0.6]).map(|found| found.rate), Some(1.0 / 3.0));
/// ```
pub fn eer(targets: &[f64], impostors: &[f64]) -> Option<EqualError> {
    let mut targets = targets.to_vec();
    let mut impostors = impostors.to_vec();
    if targets.is_empty() || impostors.is_empty() {
        return None;
    }
    if targets.iter().chain(&impostors).any(|score| score.is_nan()) {
        return None;
    }
    targets.sort_by(f64::total_cmp);
    impostors.sort_by(f64::total_cmp);
    let mut thresholds: Vec<f64> = targets.iter().chain(&impostors).copied().collect();
    thresholds.sort_by(f64::total_cmp);
    thresholds.dedup();
    let rejected = |threshold: f64| {
        targets.partition_point(|&score| score < threshold) as f64 / targets.len() as f64
    };
    let accepted = |threshold: f64| {
        let below = impostors.partition_point(|&score| score < threshold);
        (impostors.len() - below) as f64 / impostors.len() as f64
    };
    // At the lowest threshold all is accepted; the rates cross once on the way up.
    let mut before = (thresholds[0], 0.0, 1.0);
    let beyond = f64::INFINITY;
    for threshold in thresholds.into_iter().chain([beyond]) {
        let here = (threshold, rejected(threshold), accepted(threshold));
        if here.1 >= here.2 {
            let (gap_before, gap_here) = (before.2 - before.1, here.1 - here.2);
            let share = gap_before / (gap_before + gap_here).max(f64::MIN_POSITIVE);
            return Some(EqualError {
                rate: before.1 + (here.1 - before.1) * share,
                threshold: if threshold == beyond {
                    before.0
                } else {
                    threshold
                },
            });
        }
        before = here;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_meet_where_they_should() {
        type Case<'a> = (&'a [f64], &'a [f64], Option<f64>);
        let cases: [Case; 7] = [
            (&[1.0, 0.9], &[0.1, 0.0], Some(0.0)),
            (&[0.0, 0.1], &[0.9, 1.0], Some(1.0)),
            (&[0.5; 4], &[0.5; 4], Some(0.5)),
            (&[0.2, 0.8, 0.9, 1.0], &[0.1, 0.1, 0.1, 0.5], Some(0.25)),
            (&[0.3, 0.7], &[0.1, 0.2, 0.4, 0.5, 0.6], Some(0.5)),
            (&[], &[0.1], None),
            (&[f64::NAN], &[0.1], None),
        ];
        for (targets, impostors, rate) in cases {
            let found = eer(targets, impostors).map(|found| found.rate);
            let near = match (found, rate) {
                (Some(found), Some(rate)) => (found - rate).abs() < 1e-12,
                (found, rate) => found == rate,
            };
            assert!(near, "{targets:?} {impostors:?}: {found:?}, not {rate:?}");
        }
        let parted = eer(&[1.0, 0.9], &[0.1, 0.0]).unwrap().threshold;
        assert_eq!(parted, 0.9);
    }
}
