//! Decoded pieces laid on the recording's own time line.

/// Longest silence that a jump of the time stamps may cause at once, in seconds.
const MAX_GAP_SECONDS: i64 = 600;
/// Longest silence that all jumps together may cause, in seconds.
const MAX_GAPS_SECONDS: i64 = 3600;
/// Jumps below this many milliseconds are jitter: browsers stamp packets by their own clock.
const JITTER_MS: i64 = 60;

/// Where a piece goes: silence to put before it, and how many of its first frames to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Placement {
    pub(crate) silence: u64,
    pub(crate) skip: usize,
    /// Frames by which the time stamps jumped without being followed.
    pub(crate) ignored: i64,
}

/// Counts output frames at the source rate against the container's time stamps.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    rate_hz: i64,
    /// Next output frame.
    position: i64,
    /// What is added to a time stamp to get an output frame, after jumps that were not followed.
    shift: i64,
    started: bool,
    /// Frames of encoder priming still to leave out. Counted, because stamps of the pieces to come may be rounded.
    priming: u64,
    silence_used: i64,
}

impl Timeline {
    /// Sets the rate, in Hz; the position keeps its time.
    pub(crate) fn set_rate(&mut self, rate_hz: u32) {
        let rate_hz = i64::from(rate_hz);
        if self.rate_hz > 0 && rate_hz != self.rate_hz {
            let convert = |frames: i64| {
                (i128::from(frames) * i128::from(rate_hz) / i128::from(self.rate_hz)) as i64
            };
            self.position = convert(self.position);
            self.shift = convert(self.shift);
            self.silence_used = convert(self.silence_used);
            self.priming = convert(self.priming.min(i64::MAX as u64) as i64) as u64;
        }
        self.rate_hz = rate_hz;
    }

    /// Seconds of output so far.
    pub(crate) fn seconds(&self) -> f64 {
        if self.rate_hz == 0 {
            0.0
        } else {
            self.position as f64 / self.rate_hz as f64
        }
    }

    /// Places a piece of `frames` frames that the container puts at frame `stamp`, and moves on past it.
    pub(crate) fn place(&mut self, stamp: Option<i64>, frames: usize) -> Placement {
        let mut placement = Placement::default();
        let first = !std::mem::replace(&mut self.started, true);
        if let Some(stamp) = stamp {
            let jump = stamp
                .saturating_add(self.shift)
                .saturating_sub(self.position);
            // The first piece lies exactly where it is stamped; what is stamped before 0 is priming.
            if first && jump < 0 {
                self.priming = jump.unsigned_abs();
            } else if self.priming == 0
                && (first || jump.unsigned_abs() > (self.rate_hz * JITTER_MS / 1000) as u64)
            {
                self.follow(jump, &mut placement);
            }
        }
        placement.skip = self.leave_out(frames);
        self.position += placement.silence as i64 + (frames - placement.skip) as i64;
        placement
    }

    /// Moves on by `frames` that are lost, and gives the frames of silence that stand for them.
    pub(crate) fn lose(&mut self, frames: usize) -> u64 {
        self.started |= frames > 0;
        let silence = frames - self.leave_out(frames);
        self.position += silence as i64;
        silence as u64
    }

    fn leave_out(&mut self, frames: usize) -> usize {
        let skip = self.priming.min(frames as u64);
        self.priming -= skip;
        skip as usize
    }

    fn follow(&mut self, jump: i64, placement: &mut Placement) {
        let room = self.rate_hz * MAX_GAPS_SECONDS - self.silence_used;
        if (0..=room.min(self.rate_hz * MAX_GAP_SECONDS)).contains(&jump) {
            placement.silence = jump as u64;
            self.silence_used += jump;
        } else if jump > 0 || jump < -self.rate_hz {
            // Chained files start over at 0, and captured broadcasts start anywhere.
            self.shift = self.shift.saturating_sub(jump);
            placement.ignored = jump;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate_hz: u32) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.set_rate(rate_hz);
        timeline
    }

    #[test]
    fn priming_is_left_out_over_several_pieces() {
        let mut line = at(48_000);
        line.place(Some(-1024), 1024);
        assert_eq!(
            line.place(Some(-10), 1024),
            Placement::default(),
            "stamps in milliseconds"
        );
        let mut line = at(48_000);
        assert_eq!(
            line.place(Some(-1500), 960),
            Placement {
                skip: 960,
                ..Default::default()
            }
        );
        assert_eq!(
            line.place(Some(-540), 960),
            Placement {
                skip: 540,
                ..Default::default()
            }
        );
        assert_eq!(line.place(Some(420), 960), Placement::default());
        assert_eq!(line.position, 1380);
    }

    #[test]
    fn gaps_become_silence_and_jitter_does_not() {
        let mut line = at(1000);
        assert_eq!(
            line.place(Some(5), 100).silence,
            5,
            "the first piece is placed exactly"
        );
        assert_eq!(
            line.place(Some(155), 100),
            Placement::default(),
            "50 ms of jitter"
        );
        assert_eq!(line.place(Some(1205), 100).silence, 1000);
        assert_eq!(
            line.place(Some(1255), 100),
            Placement::default(),
            "a small overlap"
        );
        assert_eq!(line.place(None, 100), Placement::default());
        assert_eq!(line.position, 1505);
    }

    #[test]
    fn wild_jumps_are_closed_up() {
        let mut line = at(1000);
        assert_eq!(line.place(Some(i64::MAX - 5), 10).silence, 0);
        let next = line.place(Some(i64::MIN), 10);
        assert_eq!((next.silence, next.skip), (0, 0));
        assert_eq!(line.position, 20);
        let mut line = at(1000);
        line.place(Some(0), 5000);
        assert_eq!(
            line.place(Some(0), 5000).ignored,
            -5000,
            "a chained file starts over"
        );
        assert_eq!(line.place(Some(5000), 10), Placement::default());
    }

    #[test]
    fn silence_from_gaps_is_bounded_in_all() {
        let mut line = at(1000);
        let mut stamp = 0;
        for _ in 0..1000 {
            line.place(Some(stamp), 1);
            stamp += 500_000;
        }
        assert!(line.seconds() <= 3601.0, "{} s", line.seconds());
    }

    #[test]
    fn a_change_of_rate_keeps_the_time() {
        let mut line = at(48_000);
        line.place(Some(0), 96_000);
        line.set_rate(16_000);
        assert_eq!(line.place(Some(32_000), 10), Placement::default());
        assert_eq!(line.position, 32_010);
    }
}
