//! The guard between what a user names and what this machine can reach (server-side request forgery).
//!
//! Every URL that comes from outside goes through one [`Guard`]: [`Guard::check_url`] reads it with the parser whose
//! result is then used, and [`Guard::client`] gives an HTTP client that resolves a name once, checks *every* address and
//! connects to nothing else. It follows no redirect by itself, uses no proxy of the environment and unpacks nothing. The
//! rules follow Stripe's smokescreen; what they refuse can be opened with `--allow-net`.

mod address;
mod allow;
mod checked;
mod resolve;

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::{DefaultConnector, NextTimeout, time};

pub use address::{AddressClass, classify};
pub use allow::{AllowNet, AllowNetError};
pub use checked::{CheckedUrl, MAX_URL};
pub use resolve::{Answer, Names};

use checked::{form, read};
use resolve::CheckedNames;

/// All headers of an answer in bytes.
const MAX_HEADERS: usize = 32 << 10;
/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(5);

/// What a URL is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A recording to download: up to three redirects, each checked.
    Media,
    /// An address that is told about jobs: no redirects.
    Callback,
}

/// The rule that refused a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Longer than [`MAX_URL`].
    Length,
    /// Not a URL, or with control characters.
    Form,
    /// Neither `http` nor `https`.
    Scheme,
    /// A user name or a password in it.
    Userinfo,
    /// A port below 1024 other than 80 and 443, or one where no web server listens.
    Port,
    /// An address that is not public.
    Address(AddressClass),
    /// The address at which this server itself listens; `--allow-net` does not open it.
    Own,
    /// More redirects than the purpose has.
    Redirects,
    /// A redirect from `https` to `http`.
    Downgrade,
}

impl Rule {
    /// The label in `sori_netguard_denied_total{rule}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Form => "form",
            Self::Scheme => "scheme",
            Self::Userinfo => "userinfo",
            Self::Port => "port",
            Self::Address(class) => class.name(),
            Self::Own => "own",
            Self::Redirects => "redirects",
            Self::Downgrade => "downgrade",
        }
    }
}

/// A URL that may not be used, with the rule that says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// The rule.
    pub rule: Rule,
    /// What is wrong and what opens it. It holds a scheme, a host, a port and an address, never a path or a query.
    pub message: String,
}

impl Denied {
    /// Returns the refusal inside an error of a guarded client, or the error.
    pub(crate) fn from_http(error: ureq::Error) -> Result<Self, ureq::Error> {
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(denied) => Ok(*denied),
                Err(inner) => Err(ureq::Error::Other(inner)),
            },
            error => Err(error),
        }
    }
}

/// Is told of each refusal, to count it.
pub type DenialHook = Arc<dyn Fn(&Denied) + Send + Sync>;

/// What a [`Guard`] is made of.
#[derive(Clone, Default)]
pub struct GuardOptions {
    /// What is reachable although it is not public (`--allow-net`).
    pub allow: Vec<AllowNet>,
    /// Where this server listens. An unspecified address stands for all of this machine's.
    pub own_addresses: Vec<SocketAddr>,
    /// Where addresses of names come from.
    pub names: Names,
    /// Certificates (DER) to trust in place of the system's; empty means the system's.
    pub roots: Vec<Vec<u8>>,
    /// Is told of each refusal.
    pub on_denied: Option<DenialHook>,
}

impl fmt::Debug for GuardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardOptions")
            .field("allow", &self.allow)
            .field("own_addresses", &self.own_addresses)
            .field("names", &self.names)
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// The limits of one client in time.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// For the connection and TLS.
    pub connect: Duration,
    /// For one read or write, and for the headers of the answer.
    pub idle: Duration,
    /// For everything.
    pub total: Duration,
}

/// The guard; cheap to clone. See the module.
#[derive(Clone, Debug)]
pub struct Guard {
    options: Arc<GuardOptions>,
}

impl Guard {
    /// A guard with these rules.
    pub fn new(options: GuardOptions) -> Self {
        Self {
            options: Arc::new(options),
        }
    }

    /// Returns the URL, read once and checked as far as its text allows: addresses and `localhost` count, other names are
    /// checked when they are resolved. Does not block.
    ///
    /// # Errors
    /// The first rule that refuses it.
    pub fn check_url(&self, text: &str, purpose: Purpose) -> Result<CheckedUrl, Denied> {
        read(text)
            .and_then(|url| {
                self.admit(url.literal(), &url)?;
                Ok(url)
            })
            .map_err(|denied| self.tell(denied, purpose))
    }

    /// Resolves the name in a URL and checks every address, so that a request can be refused when it comes. A name that
    /// cannot be resolved passes: the connection will say so. Blocks for up to five seconds.
    ///
    /// # Errors
    /// When one of the addresses is refused.
    pub fn check_addresses(&self, url: &CheckedUrl, purpose: Purpose) -> Result<(), Denied> {
        let names = CheckedNames {
            guard: self.clone(),
            purpose,
        };
        let timeout = NextTimeout {
            after: time::Duration::Exact(RESOLVE),
            reason: ureq::Timeout::Resolve,
            ..NextTimeout::default()
        };
        let Ok(uri) = url.as_str().parse() else {
            return Err(self.tell(form("the URL has characters that are not allowed"), purpose));
        };
        match names.resolve(&uri, &ureq::config::Config::default(), timeout) {
            Ok(_) => Ok(()),
            Err(error) => Denied::from_http(error).map_or(Ok(()), Err),
        }
    }

    /// Returns where a redirect leads.
    ///
    /// # Errors
    /// When the rules refuse it, or when `https` leads to `http`.
    pub fn check_redirect(&self, from: &CheckedUrl, to: &str) -> Result<CheckedUrl, Denied> {
        let purpose = Purpose::Media;
        let Ok(joined) = from.0.join(to) else {
            return Err(self.tell(form("the redirect leads to no URL"), purpose));
        };
        let next = self.check_url(joined.as_str(), purpose)?;
        if from.is_https() && !next.is_https() {
            let message = format!(
                "{} redirects from https to http: give the address of the recording itself",
                from.origin()
            );
            return Err(self.tell(
                Denied {
                    rule: Rule::Downgrade,
                    message,
                },
                purpose,
            ));
        }
        Ok(next)
    }

    /// Returns the refusal of one redirect too many, counted.
    pub(crate) fn too_many_redirects(&self, from: &CheckedUrl, purpose: Purpose) -> Denied {
        let message = format!(
            "{} redirects too often: give the address of the recording itself",
            from.origin()
        );
        self.tell(
            Denied {
                rule: Rule::Redirects,
                message,
            },
            purpose,
        )
    }

    /// Returns an HTTP client that reaches checked addresses only. It keeps no connection open, follows no redirect, uses
    /// no proxy, unpacks nothing, and an answer of any status is an answer.
    pub fn client(&self, limits: &ClientLimits, purpose: Purpose) -> ureq::Agent {
        let roots = match self.options.roots.as_slice() {
            [] => RootCerts::PlatformVerifier,
            roots => roots
                .iter()
                .map(|der| Certificate::from_der(der).to_owned())
                .into(),
        };
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("sori/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MAX_HEADERS)
            .max_idle_connections(0)
            .timeout_resolve(Some(RESOLVE))
            .timeout_connect(Some(limits.connect))
            .timeout_per_read(Some(limits.idle))
            .timeout_per_write(Some(limits.idle))
            .timeout_recv_response(Some(limits.idle))
            .timeout_global(Some(limits.total))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let names = CheckedNames {
            guard: self.clone(),
            purpose,
        };
        ureq::Agent::with_parts(config, DefaultConnector::default(), names)
    }

    /// Returns the addresses of a URL's host, if all of them may be used. Of `localhost`, which has one address in each
    /// family, those that may are enough.
    fn admit(
        &self,
        mut found: Vec<SocketAddr>,
        url: &CheckedUrl,
    ) -> Result<Vec<SocketAddr>, Denied> {
        if url.is_localhost() {
            let first = found.first().map(|address| self.judge(*address, url));
            found.retain(|address| self.judge(*address, url).is_ok());
            return match first {
                Some(Err(denied)) if found.is_empty() => Err(denied),
                _ => Ok(found),
            };
        }
        for address in &found {
            self.judge(*address, url)?;
        }
        Ok(found)
    }

    fn judge(&self, address: SocketAddr, url: &CheckedUrl) -> Result<(), Denied> {
        let ip = address.ip();
        if self.is_own(address) {
            return Err(Denied {
                rule: Rule::Own,
                message: format!("{} is this server itself", url.origin()),
            });
        }
        let Some(class) = classify(ip) else {
            return Ok(());
        };
        if self
            .options
            .allow
            .iter()
            .any(|net| net.opens(ip, url.name()))
        {
            return Ok(());
        }
        Err(Denied {
            rule: Rule::Address(class),
            message: format!(
                "{} leads to {ip}, which is not a public address ({}): if this server may go there, start it with \
                 --allow-net {ip} (or the network, or the host's name)",
                url.origin(),
                class.name()
            ),
        })
    }

    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.options.own_addresses.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            own.port() == address.port() && (own_ip == ip || own_ip.is_unspecified() && is_here(ip))
        })
    }

    fn tell(&self, denied: Denied, purpose: Purpose) -> Denied {
        tracing::warn!(rule = denied.rule.name(), ?purpose, why = %denied.message, "URL refused");
        if let Some(hook) = &self.options.on_denied {
            hook(&denied);
        }
        denied
    }
}

/// Whether a request failed since the certificate or TLS itself cannot be trusted. rustls reports most of it from within
/// reads and writes.
pub(crate) fn is_tls_failure(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error
            .get_ref()
            .is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

/// Whether an address belongs to this machine: only those can be bound.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}
