//! What came of a command.

/// What came of a command that could be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All was done.
    Done,
    /// Every file has a result, but a stage failed for one of them; the document says which.
    Partial,
    /// A file has no result.
    Failed,
}

impl Outcome {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => crate::FAILED,
            Self::Partial => 3,
        }
    }
}
