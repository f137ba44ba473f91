//! Signatures of Standard Webhooks 1.0.0, symmetric (`v1`).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::entropy::random;

/// The prefix of symmetric secrets.
const PREFIX: &str = "whsec_";

/// A signing secret of 24 to 64 bytes, written `whsec_` + base64. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A text that is no signing secret; the text itself is not repeated.
#[derive(Debug, thiserror::Error)]
#[error(
    "a callback secret is \"whsec_\" and 24 to 64 bytes in base64: make one with `openssl rand -base64 32`"
)]
pub struct SecretError;

impl Secret {
    /// Returns a new secret of 32 random bytes.
    pub fn fresh() -> Self {
        Self(random::<32>().to_vec())
    }

    /// The secret as receivers are given it: `whsec_` + base64.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let coded = text.trim().strip_prefix(PREFIX).ok_or(SecretError)?;
        let bytes = STANDARD.decode(coded).map_err(|_| SecretError)?;
        match bytes.len() {
            24..=64 => Ok(Self(bytes)),
            _ => Err(SecretError),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Returns the value of `webhook-signature`: for each secret `v1,` and the base64 of HMAC-SHA256 over
/// `id.timestamp.body`, apart by blanks, so that a receiver may hold the old or the new one while secrets rotate. The
/// time is in Unix seconds. Empty without secrets.
pub fn sign(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0)
                .expect("HMAC takes a key of any length (RFC 2104)");
            mac.update(format!("{id}.{timestamp_s}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector in the tests of the reference libraries (standard-webhooks/standard-webhooks, `libraries/`).
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_vector_is_met() {
        let secret: Secret = SECRET.parse().unwrap();
        assert_eq!(
            sign(std::slice::from_ref(&secret), ID, 1_614_265_330, BODY),
            SIGNATURE
        );
        assert_eq!(secret.reveal(), SECRET);
    }

    #[test]
    fn two_secrets_sign_twice_and_none_not_at_all() {
        let old: Secret = SECRET.parse().unwrap();
        let both = sign(&[Secret::fresh(), old], ID, 1_614_265_330, BODY);
        let (new, old) = both.split_once(' ').unwrap();
        assert_eq!(old, SIGNATURE);
        assert!(new.starts_with("v1,") && new != old);
        assert_eq!(sign(&[], ID, 0, BODY), "");
    }

    #[test]
    fn secrets_have_their_form_and_do_not_show() {
        for bytes in [24, 64] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7u8; bytes]));
            assert!(text.parse::<Secret>().is_ok(), "{bytes}");
        }
        for bytes in [0, 23, 65] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7u8; bytes]));
            assert!(text.parse::<Secret>().is_err(), "{bytes}");
        }
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!!!!",
        ] {
            assert!(text.parse::<Secret>().is_err(), "{text}");
        }
        let secret = Secret::fresh();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_ne!(secret, Secret::fresh());
        assert_eq!(secret.reveal().parse::<Secret>().unwrap(), secret);
    }
}
