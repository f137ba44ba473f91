//! What tests share: synthetic sound, rule-made weights, golden files and scoring.
//!
//! Only test code and `sori bench` depend on this crate. It knows nothing of the product's own types, so that a golden
//! compare can never be bent by the code it checks.

use std::path::PathBuf;

/// Path of a file of the shared test material, which lies beside the checkout.
///
/// # Panics
/// When the file is not there: a suite without its material must fail, not pass silently.
pub fn shared(path: &str) -> PathBuf {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    assert!(full.exists(), "shared test material is missing: {}", full.display());
    full
}
