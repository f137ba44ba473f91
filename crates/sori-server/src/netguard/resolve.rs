//! Names become addresses once, and only checked addresses are connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::{CheckedUrl, Denied, Guard, Purpose};

/// Addresses that ureq tries for one connection.
const MAX_ADDRESSES: usize = 16;

/// Returns the addresses of a host.
pub type Answer = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Where the addresses of a name come from.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Names {
    /// The system's resolver (`getaddrinfo`).
    #[default]
    System,
    /// A function of the host; tests let it change its answers.
    Given(Arc<Answer>),
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Given(_) => "Given",
        })
    }
}

/// The resolver of guarded clients: ureq connects to what it returns and to nothing else, so that the addresses that were
/// checked are those that are used.
#[derive(Debug)]
pub(super) struct CheckedNames {
    pub(super) guard: Guard,
    pub(super) purpose: Purpose,
}

impl Resolver for CheckedNames {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // What ureq read out of the URL goes through the same check again: should its parser ever see another host than
        // ours did, that host is checked too.
        let url = self
            .guard
            .check_url(&uri.to_string(), self.purpose)
            .map_err(denied)?;
        let found = match (url.literal(), &self.guard.options.names) {
            (literal, _) if !literal.is_empty() => literal,
            (_, Names::System) => DefaultResolver::default()
                .resolve(uri, config, timeout)
                .map_err(unknown)?
                .to_vec(),
            (_, Names::Given(answer)) => given(
                answer(url.host()).map_err(|error| unknown(error.into()))?,
                &url,
            ),
        };
        let found = self
            .guard
            .admit(found, &url)
            .map_err(|error| denied(self.guard.tell(error, self.purpose)))?;
        let mut kept = self.empty();
        for address in found.into_iter().take(MAX_ADDRESSES) {
            kept.push(address);
        }
        if kept.is_empty() {
            return Err(ureq::Error::HostNotFound);
        }
        Ok(kept)
    }
}

fn given(addresses: Vec<IpAddr>, url: &CheckedUrl) -> Vec<SocketAddr> {
    addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, url.port()))
        .collect()
}

/// What `getaddrinfo` says of a name without addresses reads like a broken connection.
fn unknown(error: ureq::Error) -> ureq::Error {
    match error {
        ureq::Error::Io(_) => ureq::Error::HostNotFound,
        error => error,
    }
}

fn denied(denied: Denied) -> ureq::Error {
    ureq::Error::Other(Box::new(denied))
}
