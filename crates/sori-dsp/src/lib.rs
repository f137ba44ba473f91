//! Numbers from sound: the log-mel pictures that Whisper and speaker networks look at, and a streaming resampler.
//! Numbers from sound: the log-mel picture that a Whisper model looks at, measurements of voices, and a streaming resampler.
//!
//! This crate computes on PCM that is already in memory. It reads no files and knows no codec, no model and no document:
//! it depends on no other crate of Sori, and nothing in it is asynchronous or global. PCM is `f32` in `-1.0..=1.0`, one
//! channel per slice.
//!
//! What a caller can rely on:
//! - [`LogMel`] is a plan: build it once, then compute windows from as many threads as wanted through `&self`. Its values
//!   equal those of openai-whisper within 1e-4 (golden files in `tests/golden`, written by `reference/mel_golden.py`).
//! - [`Resampler`] keeps time: output sample 0 lies on input sample 0, and `n` input samples become exactly
//!   `round(n × to / from)` output samples, whatever the pieces in which they were pushed.
//! - Options from outside are checked ([`LogMelOptions::validate`], [`Resampler::new`]); a bad value is a [`DspError`] and
//!   never a panic or a giant allocation. Samples that are not finite give values that are not finite, nothing worse.
//!
//! | module | what is in it |
//! |---|---|
//! | `mel` | [`LogMelOptions`], [`LogMel`]: STFT, Slaney mel bank, Whisper's log scale |
//! | `fbank` | [`FbankOptions`], [`Fbank`]: Kaldi's log-mel filter bank, for speaker networks |
//! | `stft`, `spectrum`, `mfcc` | [`Stft`], [`spectral_shape`], [`level`], [`Mfcc`]: librosa's features of frames |
//! | `pitch`, [`voice`] | [`PitchTracker`]: fundamental frequency; its periods, jitter and shimmer, as Praat finds them |
//! | [`loudness`] | LUFS by ITU-R BS.1770-4 |
//! | `resample` | [`Resampler`]: any rate to any rate, piece by piece |
//! | `error` | [`DspError`], [`DspErrorKind`] |

mod error;
mod fbank;
pub mod loudness;
mod mel;
mod mfcc;
mod pitch;
mod resample;
mod spectrum;
mod stft;
pub mod voice;

pub use error::{DspError, DspErrorKind};
pub use fbank::{Fbank, FbankOptions, FbankWindow};
pub use mel::{LogMel, LogMelOptions};
pub use mfcc::{Mfcc, slopes};
pub use pitch::{PitchOptions, PitchTrack, PitchTracker};
pub use resample::{RATE_RANGE_HZ, Resampler};
pub use spectrum::{Level, SpectralShape, level, spectral_shape};
pub use stft::Stft;
