//! The stages of the work, and how one may fail without the others.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use sori_timeline::{StageFailure, StageTime};

/// A step on the way from sound to document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Where somebody speaks.
    Vad,
    /// What is said.
    Transcribe,
    /// Exact times of words.
    Align,
    /// How it sounds.
    Acoustics,
    /// Voices in each window.
    Diarize,
    /// Voices of the whole recording, and who said which words.
    Speakers,
}

impl Stage {
    /// The name in documents and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vad => "vad",
            Self::Transcribe => "transcribe",
            Self::Align => "align",
            Self::Acoustics => "acoustics",
            Self::Diarize => "diarize",
            Self::Speakers => "speakers",
        }
    }
}

/// What each stage took, and which of them failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    seconds: BTreeMap<Stage, f64>,
    failures: BTreeMap<Stage, String>,
}

impl Ledger {
    /// Adds to the time of a stage.
    pub(crate) fn spend(&mut self, stage: Stage, seconds: f64) {
        *self.seconds.entry(stage).or_default() += seconds;
    }

    /// Whether the stage did something.
    pub(crate) fn ran(&self, stage: Stage) -> bool {
        self.seconds.contains_key(&stage)
    }

    /// Whether the stage has failed.
    pub(crate) fn failed(&self, stage: Stage) -> bool {
        self.failures.contains_key(&stage)
    }

    /// The result of a late stage's `work`; nothing once the stage has failed. A panic is a bug of that stage and costs no
    /// other stage its result.
    pub(crate) fn attempt<T, E: fmt::Display>(
        &mut self,
        stage: Stage,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        if self.failed(stage) {
            return None;
        }
        let reason = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => {
                let message = panic
                    .downcast_ref::<&str>()
                    .map(|m| (*m).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                format!("a bug, please report it: {message}")
            }
        };
        self.failures.insert(stage, reason);
        None
    }

    /// Times in the order of the stages.
    pub(crate) fn times(&self) -> Vec<StageTime> {
        self.seconds
            .iter()
            .map(|(stage, &seconds)| StageTime {
                stage: stage.name().to_owned(),
                seconds,
            })
            .collect()
    }

    /// Sum of all times in seconds.
    pub(crate) fn total(&self) -> f64 {
        self.seconds.values().sum()
    }

    /// The failures in the order of the stages.
    pub(crate) fn failures(&self) -> Vec<StageFailure> {
        self.failures
            .iter()
            .map(|(stage, reason)| StageFailure {
                stage: stage.name().to_owned(),
                reason: reason.clone(),
            })
            .collect()
    }

    /// Forgets what is known of a stage, for it runs again.
    pub(crate) fn forget(&mut self, stage: Stage) {
        self.seconds.remove(&stage);
        self.failures.remove(&stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_fails_alone_and_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.attempt(Stage::Align, || Ok::<_, String>(1)), Some(1));
        let broken = ledger.attempt(Stage::Align, || Err::<i32, _>("no such language"));
        assert_eq!(broken, None);
        let panics = |_: ()| -> Result<i32, String> { panic!("index {}", 3) };
        assert_eq!(ledger.attempt(Stage::Acoustics, || panics(())), None);
        // A failed stage is not tried again.
        assert_eq!(ledger.attempt(Stage::Align, || Ok::<_, String>(1)), None);
        assert_eq!(ledger.attempt(Stage::Vad, || Ok::<_, String>(1)), Some(1));
        let reasons: Vec<_> = ledger
            .failures()
            .into_iter()
            .map(|f| (f.stage, f.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                ("align".to_owned(), "no such language".to_owned()),
                (
                    "acoustics".to_owned(),
                    "a bug, please report it: index 3".to_owned()
                )
            ]
        );
    }
}
