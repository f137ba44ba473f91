//! Ears: what is said in a recording, by whom, where, and how it sounds.
//!
//! What not: no files (but for models) and no clocks: sound comes in as 16 kHz mono f32, time is counted in samples. Weights are
//! read through sori-infer, numbers are made by sori-dsp, results are sori-timeline's types.
//!
//! | module | answers |
//! |---|---|
//! | [`vad`] | where somebody speaks; text exists nowhere else |
//! | [`transcribe`] | what is said: Whisper, with words in time |
//! | [`align`] | when exactly: known words laid along the sound by a CTC network |
//! | [`diarize`] | who speaks when |
//! | [`attribute`] | who said which word |
//! | [`profile`] | which voices are known by name |
//! | [`acoustics`] | how it sounds, frame by frame and word by word |
//! | [`delivery`] | how fast and how fluently |

pub mod acoustics;
pub mod align;
pub mod attribute;
pub mod delivery;
pub mod diarize;
pub mod profile;
pub mod transcribe;
pub mod vad;
