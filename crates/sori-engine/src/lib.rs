//! Sori's engine crate.
