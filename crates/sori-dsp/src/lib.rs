//! Sori's dsp crate.
