//! Media in, PCM out: any recording a person has becomes blocks of 16 kHz `f32` samples, within limits.
//!
//! This is the only crate that names a decoder or ffmpeg. [`AudioReader`] opens a path, standard input or any byte source and
//! hands out [`AudioBlock`]s of at most one second until the sound ends. What it promises:
//! - **Time is right.** Sample `n` of the output is the sound at `n / 16,000` s of the recording's own time line. Encoder
//!   priming and pre-skip (AAC, Opus, MP3), start offsets and gaps of the container are corrected, and a packet that cannot be
//!   decoded becomes silence of its length.
//! - **Bounded.** Memory does not grow with the length of the recording; a header's claims never size an allocation beyond
//!   [`Limits`].
//! - **Nothing lost in silence.** Bad input is a [`MediaError`] that names the file, the byte and a remedy, or the decodable part
//!   plus a [`Warning`]. A panic in a third-party decoder is caught and becomes such an error (the process's panic hook still
//!   prints it); a build with `panic = "abort"` would lose that.
//!
//! Containers and codecs are read in pure Rust: WAV, AIFF, CAF, FLAC, MP3, AAC, ALAC, Ogg, WebM/Matroska and MP4 (also fragmented
//! or unfinished) by symphonia, Opus by rusty-opus. Whatever these refuse goes to an `ffmpeg` child process when one is
//! installed. There are no models and no network in here: ffmpeg is confined to local files and to container formats that
//! cannot name other files.
//!
//! ```no_run
//! use sori_media::{AudioOptions, AudioReader};
//!
//! let mut reader = AudioReader::open("talk.webm".as_ref(), &AudioOptions::default())?;
//! while let Some(block) = reader.next_block()? {
//!     println!("{:.1} s: {} samples", block.start as f64 / 16_000.0, block.channels[0].len());
//! }
//! for warning in reader.warnings() {
//!     eprintln!("{warning}");
//! }
//! # Ok::<(), sori_media::MediaError>(())
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `audio` | [`AudioReader`]: open, fall back, place on the time line, cut into blocks |
//! | `block` | [`AudioBlock`], [`AudioInfo`] |
//! | `options` | [`AudioOptions`], [`Channels`], [`Ffmpeg`], [`Limits`] |
//! | `error` | [`MediaError`], [`Warning`] |
//! | `input` | an input before a decoder is chosen |
//! | `output` | mixing and resampling |
//! | `source` | bytes with a position, rewinding for streams, spooling to a file |
//! | `native` | the pure Rust demuxers and decoders |
//! | `opus` | Opus packets and their identification header |
//! | `edit_list` | where an MP4 says that its sound starts |
//! | `start` | priming and pre-skip of every container and codec |
//! | `timeline` | decoded pieces laid on the recording's time line |
//! | `child` | the ffmpeg process |

mod audio;
mod block;
mod child;
mod edit_list;
mod error;
mod input;
mod native;
mod options;
mod opus;
mod output;
mod source;
mod start;
mod timeline;

pub use audio::AudioReader;
pub use block::{AudioBlock, AudioInfo, OUTPUT_RATE_HZ};
pub use error::{MediaError, MediaErrorKind, Warning, WarningKind};
pub use options::{AudioOptions, Channels, Ffmpeg, Limits};
