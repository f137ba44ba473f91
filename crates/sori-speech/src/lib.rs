//! Ears: what is said in a recording, and where.
//!
//! What: voice activity ([`vad`]) decides where text may exist; Whisper ([`transcribe`]) writes it, with words in time.
//!
//! What not: no files and no clocks: sound comes in as 16 kHz mono f32, time is counted in samples. Weights are read through
//! sori-infer, numbers are made by sori-dsp, results are sori-timeline's types.

pub mod acoustics;
pub mod align;
pub mod attribute;
pub mod delivery;
pub mod diarize;
pub mod profile;
pub mod transcribe;
pub mod vad;
