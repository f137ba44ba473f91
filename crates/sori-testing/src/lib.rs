//! What tests share: synthetic sound, rule-made weights and golden files.
//!
//! Only test code and `sori bench` depend on this crate. It knows nothing of the product's own types, so that a golden
//! compare can never be bent by the code it checks.
//!
//! | module | holds |
//! |---|---|
//! | [`tone`] | sound without speech: tones, noise, something like music; a small random generator |
//! | [`wav`] | 16-bit WAV files, read and written |
//! | [`conversation`] | utterances mixed to conversations, with who speaks when |
//! | [`rule_weights`] | true-size networks with weights made by a rule |
//! | [`ggml`] | the same networks as GGML files |
//! | [`lcg_weights`] | the weights of the speaker goldens, made by another rule |
//! | [`golden`] | `.npy`, `.npz`, JSON and text files to compare with |
//!
//! `tests/architecture` enforces what ARCHITECTURE.md promises: allowed edges between crates, sizes, no `unsafe`.

pub mod conversation;
pub mod ggml;
pub mod golden;
pub mod lcg_weights;
pub mod rule_weights;
pub mod tone;
pub mod wav;

use std::path::PathBuf;

/// Path of a file of the shared test material, which lies beside the checkout.
///
/// # Panics
/// When the file is not there: a suite without its material must fail, not pass silently.
pub fn shared(path: &str) -> PathBuf {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    assert!(
        full.exists(),
        "shared test material is missing: {}",
        full.display()
    );
    full
}
