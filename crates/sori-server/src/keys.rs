//! API keys: how they are made, kept, presented, and what they open.
//!
//! A key is `sk-sori-` and 32 random bytes. Only its SHA-256 is kept: with 256 bits of chance in it there is nothing to
//! guess, so a slow hash would save nothing and cost every request. For the same reason the look-up by hash need not take
//! constant time: what its timing could tell is the beginning of a *hash*, and nobody can make a key for a hash.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::entropy::random;

/// The prefix of keys, by which scanners of leaked secrets know them.
const PREFIX: &str = "sk-sori-";
/// 32 bytes in base64 without padding.
const CODED: usize = 43;
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// An API key in clear, as its owner has it. Its `Debug` form hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// A text that has not the form of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an API key of this server: it starts with \"sk-sori-\" (make one with `sori keys add`)"
)]
pub struct KeyError;

impl ApiKey {
    /// Returns a new key of 32 random bytes.
    pub fn fresh() -> Self {
        Self(format!(
            "{PREFIX}{}",
            URL_SAFE_NO_PAD.encode(random::<32>())
        ))
    }

    /// The key in clear, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the key in lower-case hex, under which it is kept.
    pub fn hash(&self) -> String {
        format!("{:x}", HexDigest(Sha256::digest(&self.0).into()))
    }

    /// Returns the key that a request presents: `Authorization: Bearer …` (OpenAI), `Authorization: Token …` (Deepgram) or
    /// `x-api-key`. Where both headers are there, the one that has the form of a key counts, since client programs send
    /// placeholders.
    ///
    /// # Errors
    /// When a header presents something, but no key.
    pub fn presented(headers: &HeaderMap) -> Result<Option<Self>, KeyError> {
        let authorization = headers.get(header::AUTHORIZATION).map(|value| {
            let (scheme, key) = value.to_str().ok()?.trim().split_once(' ')?;
            let known = ["bearer", "token"]
                .iter()
                .any(|name| scheme.eq_ignore_ascii_case(name));
            known.then(|| key.trim())
        });
        let plain = headers.get(X_API_KEY).map(|value| value.to_str().ok());
        let mut error = None;
        for text in [authorization, plain].into_iter().flatten() {
            match text.ok_or(KeyError).and_then(str::parse) {
                Ok(key) => return Ok(Some(key)),
                Err(wrong) => error = Some(wrong),
            }
        }
        error.map_or(Ok(None), Err)
    }
}

impl FromStr for ApiKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let coded = text.strip_prefix(PREFIX).ok_or(KeyError)?;
        let fits = coded.len() == CODED
            && coded
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        fits.then(|| Self(text.to_owned())).ok_or(KeyError)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

struct HexDigest([u8; 32]);

impl fmt::LowerHex for HexDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// To submit, cancel, retry and delete jobs of one's own.
    JobsWrite,
    /// To see one's jobs and their results.
    JobsRead,
    /// To read the server's numbers, `/metrics`.
    Metrics,
    /// Everything, and everybody's jobs.
    Admin,
}

/// A text that names no scope.
#[derive(Debug, thiserror::Error)]
#[error("no such scope: {0:?} (jobs:write, jobs:read, metrics, admin)")]
pub struct ScopeError(String);

impl Scope {
    /// Every scope, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::JobsWrite, Self::JobsRead, Self::Metrics, Self::Admin];

    /// The name in the store and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::JobsWrite => "jobs:write",
            Self::JobsRead => "jobs:read",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| ScopeError(text.to_owned()))
    }
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anybody, where no key is asked for: a server that listens on loopback only.
    Local,
    /// The holder of a key.
    Key {
        /// The id of the key; it owns the jobs.
        id: String,
        /// The name that the operator gave it.
        name: String,
        /// What it opens.
        scopes: Vec<Scope>,
    },
}

impl Caller {
    /// Whether the caller may do what the scope stands for; `admin` may do everything, and so may [`Caller::Local`].
    pub fn may(&self, scope: Scope) -> bool {
        match self {
            Self::Local => true,
            Self::Key { scopes, .. } => scopes.contains(&scope) || scopes.contains(&Scope::Admin),
        }
    }

    /// The id of the key, which is the owner of the caller's jobs.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Local => None,
            Self::Key { id, .. } => Some(id),
        }
    }

    /// Whether the caller may see a job of this owner: its own, or any as an admin.
    pub fn sees(&self, owner: Option<&str>) -> bool {
        self.may(Scope::Admin) || (owner.is_some() && owner == self.owner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_hashed_and_hidden() {
        let key = ApiKey::fresh();
        assert_eq!(key.reveal().len(), PREFIX.len() + CODED);
        assert_eq!(key.reveal().parse::<ApiKey>().unwrap(), key);
        assert_ne!(key, ApiKey::fresh());
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
        let known: ApiKey = format!("{PREFIX}{}", "A".repeat(CODED)).parse().unwrap();
        // The SHA-256 that coreutils' sha256sum gives.
        assert_eq!(
            known.hash(),
            "7750f0d1a4222ef606b6d7289e6776e68c2827757641b34cc183db3527261614"
        );
    }

    #[test]
    fn texts_that_are_no_keys_are_refused() {
        let long = "A".repeat(CODED + 1);
        let short = "A".repeat(CODED - 1);
        for coded in [
            "",
            &long,
            &short,
            &format!("{short}="),
            &format!("{short}é"),
            &format!("{short}\n"),
        ] {
            assert_eq!(
                format!("{PREFIX}{coded}").parse::<ApiKey>(),
                Err(KeyError),
                "{coded}"
            );
        }
        assert_eq!("A".repeat(CODED).parse::<ApiKey>(), Err(KeyError));
    }

    #[test]
    fn a_request_presents_its_key_in_three_ways() {
        let key = ApiKey::fresh();
        let text = key.reveal();
        let bearer = format!("Bearer {text}");
        let cases = [
            (Some(bearer.clone()), None, Ok(true)),
            (Some(format!("bearer  {text} ")), None, Ok(true)),
            (Some(format!("Token {text}")), None, Ok(true)),
            (None, Some(text), Ok(true)),
            (Some("Bearer none".to_owned()), Some(text), Ok(true)),
            (Some(bearer), Some("none"), Ok(true)),
            (None, None, Ok(false)),
            (Some("Bearer".to_owned()), None, Err(KeyError)),
            (Some(format!("Basic {text}")), None, Err(KeyError)),
            (Some(text.to_owned()), None, Err(KeyError)),
            (None, Some(""), Err(KeyError)),
        ];
        for (authorization, plain, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(value) = &authorization {
                headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            }
            if let Some(value) = plain {
                headers.insert(X_API_KEY, value.parse().unwrap());
            }
            let found = ApiKey::presented(&headers);
            assert_eq!(
                found,
                expected.map(|there| there.then(|| key.clone())),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn scopes_open_what_they_name_and_admin_everything() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse::<Scope>().unwrap(), scope);
        }
        assert!("jobs".parse::<Scope>().is_err());
        let caller = |scopes: &[Scope]| Caller::Key {
            id: "k1".into(),
            name: "a".into(),
            scopes: scopes.to_vec(),
        };
        let reader = caller(&[Scope::JobsRead]);
        assert!(
            reader.may(Scope::JobsRead)
                && !reader.may(Scope::JobsWrite)
                && !reader.may(Scope::Admin)
        );
        assert!(reader.sees(Some("k1")) && !reader.sees(Some("k2")) && !reader.sees(None));
        for whole in [caller(&[Scope::Admin]), Caller::Local] {
            assert!(Scope::ALL.iter().all(|scope| whole.may(*scope)));
            assert!(whole.sees(Some("k2")) && whole.sees(None));
        }
        assert_eq!((reader.owner(), Caller::Local.owner()), (Some("k1"), None));
    }
}
