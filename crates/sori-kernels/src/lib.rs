//! The hot loops: products of integers of 8 and 4 bits and of bf16, attention, layer normalisation, and the threads that share
//! them.
//!
//! This is the one crate with `unsafe` code. Each kernel is written once, as a body over what an instruction set offers
//! (`arch`), and compiled for AVX-512 (with VNNI and BF16 where the CPU has them), AVX2 (with VNNI), NEON (with SDOT and
//! USDOT) and plain Rust; an [`Isa`], which only a check of the CPU makes, chooses. The plain set is the twin that the others
//! are tested against (`tests/twins.rs`; NEON under an emulator, `scripts/neon`), and what CPUs of other makers run.
//!
//! What is not here: networks, files and formats (`sori-infer`, `sori-speech`). Nothing is global and nothing is read from the
//! environment.
//!
//! | module | what |
//! |---|---|
//! | `isa` | which instructions this machine has |
//! | `team` | threads that spin between small tasks |
//! | `buffer` | aligned numbers, in memory or in a mapped file |
//! | `rows` | activations: quantised, normalised, rounded |
//! | `matrix` | weights, packed, and their products |
//! | `attention` | the encoder's attention, bf16 |
//! | `probe` | what the CPU could do at best |
//! | `cache`, `look` | the decoder's keys and values in 8 bits, and attention to them |

mod arch;
mod attention;
mod body;
mod buffer;
mod cache;
mod isa;
mod look;
mod matrix;
mod probe;
mod rows;
mod team;

pub use attention::{AttendScratch, KvTile, KvTiles};
pub use body::Then;
pub use buffer::{Buffer, Image, LINE, Plain};
pub use cache::{CacheShape, KvBlock, KvCache, MOST as MAX_HEAD_COLUMNS};
pub use isa::{Isa, UnknownIsa};
pub use look::{Looking, attend_cached, head_scores};
pub use matrix::{Bf16Matrix, Bits, QuantMatrix};
pub use probe::{multiply_bf16, multiply_int8};
pub use rows::{Norm, QuantRows, norm, to_bf16};
pub use team::Team;
