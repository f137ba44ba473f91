//! Progress, thinned out.

/// Time between two reports in milliseconds, if little happens.
const EVERY_MS: i64 = 1000;
/// Progress in points after which a report is due at once.
const STEP: u8 = 5;

/// Decides for one job which reports of progress are worth a callback: one a second, or sooner after five points. What it
/// lets through never goes back, so a job sends at most one report a second and twenty besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coalescer {
    last: Option<(i64, u8)>,
}

impl Coalescer {
    /// Returns whether to send a report of `percent` (0 to 100) at `now_ms`, and then remembers it as sent.
    pub fn offer(&mut self, percent: u8, now_ms: i64) -> bool {
        let due = match self.last {
            None => true,
            Some((_, sent)) if percent < sent => false,
            Some((at, sent)) => percent - sent >= STEP || now_ms.saturating_sub(at) >= EVERY_MS,
        };
        if due {
            self.last = Some((now_ms, percent));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_thinned_and_never_go_back() {
        let mut reports = Coalescer::default();
        let cases = [
            (0, 0, true),
            (10, 1, false),
            (20, 4, false),
            (30, 5, true),
            (900, 9, false),
            (1029, 9, false),
            (1030, 9, true),
            (1031, 8, false),
            (9000, 8, false),
            (9001, 9, true),
            (9002, 100, true),
            (9003, 100, false),
        ];
        for (now_ms, percent, sent) in cases {
            assert_eq!(
                reports.offer(percent, now_ms),
                sent,
                "{percent} % at {now_ms}"
            );
        }
    }

    #[test]
    fn a_storm_of_reports_is_bounded() {
        let mut reports = Coalescer::default();
        let sent = (0..10_000)
            .filter(|n| reports.offer((n / 100) as u8, *n))
            .count();
        assert!(sent <= 10 + 21, "{sent}");
    }
}
