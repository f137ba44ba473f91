//! When a delivery is tried again.

use sha2::{Digest, Sha256};

/// Waits in seconds before each try: at once, then 5 s, 5 min, 30 min, 2, 5, 10, 14, 20, 24 h (the example of Standard
/// Webhooks 1.0.0, "Deliverability and reliability"): 75.6 hours in all.
const WAITS_S: [i64; 10] = [
    0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400,
];
/// The longest wait a receiver can ask for.
const MAX_RETRY_AFTER_MS: i64 = 24 * 3600 * 1000;
/// The shortest wait after a receiver said that it is too busy.
const THROTTLED_MS: i64 = 60_000;

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It arrived.
    Done,
    /// It is due again at this time, in Unix milliseconds.
    At(i64),
    /// It was tried often enough.
    GiveUp,
    /// The receiver wants no more of it (410), nor any other.
    Disabled,
}

/// How a receiver took an attempt, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// 2xx.
    Taken,
    /// 410.
    Gone,
    /// It is busy (429, 502, 504), with what `Retry-After` asks for in milliseconds.
    Busy(Option<i64>),
    /// Anything else: another status, no connection, no answer in time; with what `Retry-After` asks for.
    Failed(Option<i64>),
}

/// Returns what becomes of the delivery `id` after its `tries`-th attempt (the first is 1), which ended at `now_ms`.
///
/// Waits grow by up to a tenth, by the id and the count, so that deliveries which failed together do not come back
/// together; a receiver's `Retry-After` can lengthen a wait to 24 hours, never shorten it. After ten tries it is over.
pub fn next_try(id: &str, tries: u32, reply: Reply, now_ms: i64) -> Next {
    let asked = match reply {
        Reply::Taken => return Next::Done,
        Reply::Gone => return Next::Disabled,
        Reply::Busy(asked) => asked.unwrap_or(0).max(THROTTLED_MS),
        Reply::Failed(asked) => asked.unwrap_or(0),
    };
    match WAITS_S.get(tries.max(1) as usize) {
        Some(wait) => {
            let wait = wait * 1000;
            let wait = wait + jitter(id, tries, wait / 10);
            Next::At(now_ms.saturating_add(wait.max(asked.min(MAX_RETRY_AFTER_MS))))
        }
        None => Next::GiveUp,
    }
}

/// A number from 0 to `most` that depends on the delivery and its count only.
fn jitter(id: &str, tries: u32, most: i64) -> i64 {
    let digest = Sha256::new()
        .chain_update(tries.to_le_bytes())
        .chain_update(id)
        .finalize();
    let draw = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    most * i64::from(draw) / i64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Reply = Reply::Failed(None);

    #[test]
    fn ten_tries_are_spread_over_three_days() {
        let mut now = 0;
        for tries in 1..10 {
            let Next::At(due) = next_try("msg_1", tries, FAILED, now) else {
                panic!("try {tries} is not the last");
            };
            let wait = WAITS_S[tries as usize] * 1000;
            assert!(
                (wait..=wait + wait / 10).contains(&(due - now)),
                "{tries}: {}",
                due - now
            );
            now = due;
        }
        assert!(
            (272_105_000..=272_105_000 * 11 / 10).contains(&now),
            "{now}"
        );
        assert_eq!(next_try("msg_1", 10, FAILED, now), Next::GiveUp);
        assert_eq!(next_try("msg_1", u32::MAX, FAILED, now), Next::GiveUp);
    }

    #[test]
    fn waits_differ_by_delivery_and_not_by_chance() {
        let dues: std::collections::BTreeSet<_> = (0..50)
            .map(|n| match next_try(&format!("msg_{n}"), 2, FAILED, 0) {
                Next::At(due) => due,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(dues.len() > 45, "{}", dues.len());
        assert_eq!(next_try("a", 3, FAILED, 5), next_try("a", 3, FAILED, 5));
    }

    #[test]
    fn receivers_can_end_it_or_ask_for_time() {
        let due = |reply, tries| match next_try("a", tries, reply, 0) {
            Next::At(due) => due,
            other => panic!("{other:?}"),
        };
        assert_eq!(next_try("a", 1, Reply::Taken, 0), Next::Done);
        assert_eq!(next_try("a", 1, Reply::Gone, 0), Next::Disabled);
        assert_eq!(due(Reply::Busy(None), 1), THROTTLED_MS);
        assert_eq!(due(Reply::Failed(Some(90_000)), 1), 90_000);
        assert_eq!(due(Reply::Busy(Some(i64::MAX)), 1), MAX_RETRY_AFTER_MS);
        assert!(due(Reply::Busy(Some(1)), 3) >= 1_800_000);
        assert!(due(Reply::Failed(Some(-5)), 1) >= 5000);
        assert_eq!(next_try("a", 10, Reply::Busy(Some(1)), 0), Next::GiveUp);
    }
}
