//! Sori's speech crate.
