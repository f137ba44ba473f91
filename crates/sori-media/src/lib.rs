//! Sori's media crate.
