//! Sori's timeline crate.
