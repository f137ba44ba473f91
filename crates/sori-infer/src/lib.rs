//! Sori's infer crate.
