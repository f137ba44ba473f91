//! Random bytes for keys and secrets.

use rustls::crypto::ring::default_provider;

/// Returns bytes of the system's generator, through `ring`, fit for keys.
///
/// # Panics
/// When the system has no source of random bytes: nothing that needs one may go on then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the system has a source of random bytes");
    bytes
}
