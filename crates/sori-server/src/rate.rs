//! Limits per key: requests per minute, seconds of sound per day. Jobs at once are the store's to count, when it accepts one.
//!
//! Plain values with the time passed in. Requests and sound are counted in memory: a restart forgives them.

use std::collections::HashMap;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Keys that are remembered at once; a key that is forgotten starts afresh.
const MAX_KEYS: usize = 10_000;

/// What one key may use; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimits {
    /// Requests per minute; as many may come at once.
    pub requests_per_minute: Option<u32>,
    /// Seconds of sound in jobs that ended, per day (UTC).
    pub audio_seconds_per_day: Option<f64>,
}

/// The limit that refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests per minute.
    Requests,
    /// Seconds of sound per day.
    Audio,
}

/// A refusal: status 429, with `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: try again in {retry_after_s} s", match limit {
    Limit::Requests => "too many requests per minute with this key",
    Limit::Audio => "no more seconds of sound today with this key",
})]
pub struct Exceeded {
    /// Which limit.
    pub limit: Limit,
    /// Seconds until it is worth another try, at least 1.
    pub retry_after_s: u64,
}

/// How a key stands in its minute, for the headers of any answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `RateLimit-Limit`: requests per minute.
    pub limit: u32,
    /// `RateLimit-Remaining`: requests that may come at once.
    pub remaining: u32,
    /// `RateLimit-Reset`: seconds until all of them may.
    pub reset_s: u64,
}

impl Standing {
    /// The headers of draft-ietf-httpapi-ratelimit-headers-07, which client programs read, in lower case.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("ratelimit-limit", self.limit.to_string()),
            ("ratelimit-remaining", self.remaining.to_string()),
            ("ratelimit-reset", self.reset_s.to_string()),
        ]
    }
}

#[derive(Clone, Copy, Debug)]
struct Usage {
    /// What the bucket holds, in parts of a request: one request is [`MINUTE_MS`] of them, and each millisecond brings as
    /// many as there are requests per minute.
    level: i64,
    at_ms: i64,
    day: i64,
    audio_seconds: f64,
}

/// Counts what each key uses. Holds at most 10,000 keys (about 1 MB).
#[derive(Debug)]
pub struct RateLimiter {
    limits: RateLimits,
    keys: HashMap<String, Usage>,
}

impl RateLimiter {
    /// A limiter with the same limits for every key.
    pub fn new(limits: RateLimits) -> Self {
        Self {
            limits,
            keys: HashMap::new(),
        }
    }

    /// Counts one request of a key. `None` if requests are not limited.
    ///
    /// # Errors
    /// When its minute is used up, with the standing that belongs into the headers.
    pub fn request(
        &mut self,
        key: &str,
        now_ms: i64,
    ) -> Result<Option<Standing>, (Exceeded, Standing)> {
        let Some(limit) = self.limits.requests_per_minute else {
            return Ok(None);
        };
        let limit = limit.max(1);
        let (per_ms, full) = (i64::from(limit), i64::from(limit) * MINUTE_MS);
        let usage = self.usage(key, now_ms);
        let passed = now_ms.saturating_sub(usage.at_ms).clamp(0, MINUTE_MS);
        usage.level = (usage.level + passed * per_ms).min(full);
        usage.at_ms = usage.at_ms.max(now_ms);
        let missing = MINUTE_MS - usage.level;
        if missing <= 0 {
            usage.level -= MINUTE_MS;
        }
        let standing = Standing {
            limit,
            remaining: (usage.level / MINUTE_MS) as u32,
            reset_s: seconds_up((full - usage.level) / per_ms),
        };
        if missing <= 0 {
            return Ok(Some(standing));
        }
        let retry_after_s = seconds_up((missing + per_ms - 1) / per_ms).max(1);
        let limit = Limit::Requests;
        Err((
            Exceeded {
                limit,
                retry_after_s,
            },
            standing,
        ))
    }

    /// Checks whether a key has sound left today.
    ///
    /// # Errors
    /// When it has used all of it, with the time until midnight (UTC).
    pub fn audio(&mut self, key: &str, now_ms: i64) -> Result<(), Exceeded> {
        let Some(limit) = self.limits.audio_seconds_per_day else {
            return Ok(());
        };
        if self.usage(key, now_ms).audio_seconds < limit {
            return Ok(());
        }
        Err(Exceeded {
            limit: Limit::Audio,
            retry_after_s: seconds_up(DAY_MS - now_ms.rem_euclid(DAY_MS)).max(1),
        })
    }

    /// Counts the sound of a job that ended, when its length is known: the last job of a day may go over the limit.
    pub fn add_audio(&mut self, key: &str, seconds: f64, now_ms: i64) {
        if self.limits.audio_seconds_per_day.is_some() && seconds.is_finite() {
            self.usage(key, now_ms).audio_seconds += seconds.max(0.0);
        }
    }

    fn usage(&mut self, key: &str, now_ms: i64) -> &mut Usage {
        let day = now_ms.div_euclid(DAY_MS);
        if !self.keys.contains_key(key) {
            self.make_room(now_ms, day);
            let full = i64::from(self.limits.requests_per_minute.unwrap_or(0).max(1)) * MINUTE_MS;
            self.keys.insert(
                key.to_owned(),
                Usage {
                    level: full,
                    at_ms: now_ms,
                    day,
                    audio_seconds: 0.0,
                },
            );
        }
        let usage = self.keys.get_mut(key).expect("it was put in just now");
        if usage.day < day {
            (usage.day, usage.audio_seconds) = (day, 0.0);
        }
        usage
    }

    /// Forgets whoever loses nothing by it, else those that were idle for longest, the ones with sound on their
    /// account last.
    fn make_room(&mut self, now_ms: i64, day: i64) {
        if self.keys.len() < MAX_KEYS {
            return;
        }
        self.keys.retain(|_, usage| {
            now_ms.saturating_sub(usage.at_ms) < MINUTE_MS
                || (usage.day == day && usage.audio_seconds > 0.0)
        });
        if self.keys.len() < MAX_KEYS {
            return;
        }
        // A tenth at once, so that a storm of new keys does not pay for each of them.
        let rank = |usage: &Usage| (usage.audio_seconds > 0.0, usage.at_ms);
        let mut ranks: Vec<_> = self.keys.values().map(rank).collect();
        let last = *ranks.select_nth_unstable(MAX_KEYS / 10).1;
        self.keys.retain(|_, usage| rank(usage) > last);
    }
}

fn seconds_up(ms: i64) -> u64 {
    (ms.max(0) as u64).div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(requests: u32) -> RateLimiter {
        RateLimiter::new(RateLimits {
            requests_per_minute: Some(requests),
            audio_seconds_per_day: Some(3600.0),
        })
    }

    #[test]
    fn a_minute_is_spent_and_comes_back() {
        let mut limiter = limiter(3);
        for remaining in [2, 1, 0] {
            let standing = limiter.request("a", 1000).unwrap().unwrap();
            assert_eq!((standing.limit, standing.remaining), (3, remaining));
        }
        let (exceeded, standing) = limiter.request("a", 1000).unwrap_err();
        assert_eq!(
            exceeded,
            Exceeded {
                limit: Limit::Requests,
                retry_after_s: 20
            }
        );
        assert_eq!((standing.remaining, standing.reset_s), (0, 60));
        assert!(
            limiter.request("b", 1000).is_ok(),
            "another key has its own minute"
        );
        assert_eq!(limiter.request("a", 20_999).unwrap_err().0.retry_after_s, 1);
        assert!(limiter.request("a", 21_000).is_ok());
        assert!(limiter.request("a", 21_000).is_err());
        assert!(
            limiter.request("a", 0).is_err(),
            "a clock that goes back brings nothing"
        );
        let standing = limiter.request("a", i64::MAX).unwrap().unwrap();
        assert_eq!(standing.remaining, 2);
    }

    #[test]
    fn no_limit_is_no_count() {
        let mut limiter = RateLimiter::new(RateLimits::default());
        assert_eq!(limiter.request("a", 0), Ok(None));
        limiter.add_audio("a", 1e9, 0);
        assert_eq!(limiter.audio("a", 0), Ok(()));
        assert!(limiter.keys.is_empty());
    }

    #[test]
    fn sound_has_its_end() {
        let mut limiter = limiter(1);
        let evening = 10 * DAY_MS - 1500;
        for (seconds, open) in [(3599.0, true), (f64::NAN, true), (-7.0, true), (2.0, false)] {
            limiter.add_audio("a", seconds, evening);
            assert_eq!(limiter.audio("a", evening).is_ok(), open, "{seconds}");
        }
        assert_eq!(limiter.audio("a", evening).unwrap_err().retry_after_s, 2);
        assert!(limiter.audio("b", evening).is_ok());
        assert!(limiter.audio("a", 10 * DAY_MS).is_ok(), "a new day");
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = limiter(1);
        limiter.add_audio("spent", 3600.0, 0);
        for n in 0..MAX_KEYS as i64 * 2 {
            assert!(limiter.request(&n.to_string(), n).is_ok());
        }
        assert!(limiter.keys.len() <= MAX_KEYS);
        for n in 0..MAX_KEYS as i64 + 5 {
            assert!(limiter.request(&format!("busy {n}"), MINUTE_MS * 2).is_ok());
        }
        assert!(limiter.keys.len() <= MAX_KEYS);
        assert!(
            limiter.audio("spent", MINUTE_MS * 2).is_err(),
            "whose sound is spent is remembered"
        );
    }

    #[test]
    fn headers_have_their_names() {
        let standing = Standing {
            limit: 60,
            remaining: 59,
            reset_s: 1,
        };
        let headers = standing
            .headers()
            .map(|(name, value)| format!("{name}: {value}"));
        assert_eq!(
            headers.join("\n"),
            "ratelimit-limit: 60\nratelimit-remaining: 59\nratelimit-reset: 1"
        );
    }
}
