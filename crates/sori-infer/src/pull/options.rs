//! The settings of a pull and where they come from.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::address::{Address, is_no_proxy};
use crate::catalogue::{ModelError, ModelErrorKind, Source};
use crate::library::files::FreeSpace;

/// The endpoint that `{hf}` stands for unless HF_ENDPOINT names another.
const HUGGING_FACE: &str = "https://huggingface.co";

/// A secret that prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; it must be printable ASCII to be sent in a header.
    ///
    /// # Errors
    /// [`ModelErrorKind::Settings`] if it is not; the message does not contain it.
    pub fn new(text: String) -> Result<Self, ModelError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            let message = "HF_TOKEN is not a token: letters, digits and signs without spaces";
            return Err(ModelError::new(ModelErrorKind::Settings, message));
        }
        Ok(Self(text))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The settings of a pull.
#[derive(Clone)]
pub struct PullOptions<'a> {
    /// What `{hf}` in the catalogue stands for, `http://` or `https://`, with no slash at the end.
    pub hf_endpoint: String,
    /// Sent to `hf_endpoint` only, and only over https or to this machine.
    pub hf_token: Option<Token>,
    /// The proxy for https addresses.
    pub https_proxy: Option<String>,
    /// The proxy for http addresses.
    pub http_proxy: Option<String>,
    /// Hosts to reach without a proxy, separated by commas; `*` for all.
    pub no_proxy: String,
    /// Whether the network must not be used at all.
    pub offline: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may send nothing before it counts as cut off.
    pub read_timeout: Duration,
    /// How often in a row a source may fail for reasons that pass (1 = no second try).
    pub tries: u32,
    /// The longest time `pip` or `npm` may take.
    pub client_timeout: Duration,
    /// Names of the user's `pip`, tried in order.
    pub pip: Vec<String>,
    /// Names of the user's `npm`, tried in order.
    pub npm: Vec<String>,
    /// The time to note in the manifest, in seconds since 1970 (UTC).
    pub installed_unix_s: u64,
    /// How to wait between two tries.
    pub sleep: &'a dyn Fn(Duration),
    /// Returns the free bytes on the disk of a folder.
    pub free_space: FreeSpace<'a>,
}

impl PullOptions<'_> {
    /// The settings of an environment: HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY (also in lower
    /// case), SORI_OFFLINE or HF_HUB_OFFLINE (`1`, `true`, `yes`, `on`), SORI_PIP and SORI_NPM.
    ///
    /// # Errors
    /// [`ModelErrorKind::Settings`] for an endpoint that is no address or a token that cannot be sent.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ModelError> {
        let given = |name: &str| {
            env(name)
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
        };
        let either = |name: &str| given(name).or_else(|| given(&name.to_lowercase()));
        let on = |name: &str| {
            given(name)
                .is_some_and(|v| matches!(v.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
        };
        let hf_endpoint = match given("HF_ENDPOINT") {
            Some(endpoint) => {
                let endpoint = endpoint.trim_end_matches('/').to_owned();
                Address::parse(&endpoint).map_err(|_| {
                    let message = "HF_ENDPOINT is not an address such as https://huggingface.co";
                    ModelError::new(ModelErrorKind::Settings, message)
                })?;
                endpoint
            }
            None => HUGGING_FACE.to_owned(),
        };
        let all = either("ALL_PROXY");
        let programs = |name: &str, default: &[&str]| match given(name) {
            Some(program) => vec![program],
            None => default.iter().map(|&program| program.to_owned()).collect(),
        };
        Ok(Self {
            hf_endpoint,
            hf_token: given("HF_TOKEN").map(Token::new).transpose()?,
            https_proxy: either("HTTPS_PROXY").or_else(|| all.clone()),
            http_proxy: either("HTTP_PROXY").or(all),
            no_proxy: either("NO_PROXY").unwrap_or_default(),
            offline: on("SORI_OFFLINE") || on("HF_HUB_OFFLINE"),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            tries: 5,
            client_timeout: Duration::from_secs(600),
            pip: programs("SORI_PIP", &["pip", "pip3"]),
            npm: programs(
                "SORI_NPM",
                if cfg!(windows) {
                    &["npm.cmd"]
                } else {
                    &["npm"]
                },
            ),
            installed_unix_s: 0,
            sleep: &|time| std::thread::sleep(time),
            free_space: &|path: &Path| fs4::available_space(path),
        })
    }

    /// The address of a source, with `{hf}` replaced.
    pub(super) fn resolve(&self, address: &str) -> Result<Address, ModelError> {
        match address.strip_prefix("{hf}") {
            Some(rest) => Address::parse(&format!("{}{rest}", self.hf_endpoint)),
            None => Address::parse(address),
        }
    }

    /// What to call a source in messages; no secrets.
    pub(super) fn show(&self, source: &Source) -> String {
        match source {
            Source::Url(address) => self
                .resolve(address)
                .map_or_else(|_| address.clone(), |url| url.shown()),
            Source::Pip { package, .. } => format!("pip {package}"),
            Source::Npm { package, .. } => format!("npm {package}"),
        }
    }

    /// The `Authorization` header for an address, if it may have one.
    pub(super) fn authorization(&self, address: &Address) -> Option<String> {
        let token = self.hf_token.as_ref()?;
        let endpoint = Address::parse(&self.hf_endpoint).ok()?;
        let safe = address.is_https() || address.is_this_machine();
        (safe && address.same_origin(&endpoint)).then(|| token.header())
    }

    /// The proxy for an address.
    pub(super) fn proxy(&self, address: &Address) -> Result<Option<ureq::Proxy>, ModelError> {
        let proxy = if address.is_https() {
            &self.https_proxy
        } else {
            &self.http_proxy
        };
        match proxy {
            Some(proxy) if !is_no_proxy(&self.no_proxy, address) => ureq::Proxy::new(proxy).map(Some).map_err(|e| {
                let message = "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is not an address such as http://proxy:3128";
                ModelError::new(ModelErrorKind::Settings, message).caused_by(e)
            }),
            _ => Ok(None),
        }
    }
}
