//! What a self-hoster opens with `--allow-net`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

/// One entry of `--allow-net`: a network, or a host whose addresses may be whatever its name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowNet {
    /// Addresses, such as `192.168.1.0/24`; a single address is a network of one.
    Net(IpNet),
    /// A host by name, in lower case, without a final dot. Whoever answers for the name in DNS is trusted.
    Host(String),
}

/// An entry of `--allow-net` that is neither a network nor a host.
#[derive(Debug, thiserror::Error)]
#[error(
    "--allow-net {0:?}: give a network (192.168.1.0/24), an address (10.0.0.7) or a host name (nas.lan)"
)]
pub struct AllowNetError(String);

impl FromStr for AllowNet {
    type Err = AllowNetError;

    fn from_str(text: &str) -> Result<Self, AllowNetError> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address.into()));
        }
        let refused = || AllowNetError(text.to_owned());
        match Host::parse(text).map_err(|_| refused())? {
            Host::Ipv4(address) => Ok(Self::Net(IpAddr::V4(address).into())),
            Host::Ipv6(address) => Ok(Self::Net(IpAddr::V6(address).into())),
            Host::Domain(name) => match without_dot(&name) {
                "" | "*" => Err(refused()),
                name if name.contains('*') => Err(refused()),
                name => Ok(Self::Host(name.to_owned())),
            },
        }
    }
}

impl AllowNet {
    /// Whether this entry opens an address that was reached under a name, if it was.
    pub(super) fn opens(&self, address: IpAddr, host: Option<&str>) -> bool {
        match self {
            Self::Net(net) => net.contains(&address),
            Self::Host(name) => host.is_some_and(|host| without_dot(host) == name),
        }
    }
}

/// A name with and without its final dot is one name (RFC 1034 §3.1).
fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_networks_addresses_or_hosts() {
        let cases = [
            ("192.168.1.7/24", "192.168.1.0/24"),
            ("10.0.0.7", "10.0.0.7/32"),
            ("::1", "::1/128"),
            ("[::1]", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("0x7f000001", "127.0.0.1/32"),
        ];
        for (text, net) in cases {
            let AllowNet::Net(found) = text.parse().unwrap() else {
                panic!("{text} is no network");
            };
            assert_eq!(found.to_string(), net);
        }
        let host = AllowNet::Host("nas.lan".into());
        for text in ["nas.lan", "NAS.lan", "nas.lan.", " nas.lan "] {
            assert_eq!(text.parse::<AllowNet>().unwrap(), host);
        }
        for text in [
            "",
            ".",
            "*",
            "*.lan",
            "a b",
            "10.0.0.0/33",
            "http://nas.lan",
            "nas.lan:80",
        ] {
            let error = text.parse::<AllowNet>().unwrap_err().to_string();
            assert!(error.contains("--allow-net"), "{error}");
        }
    }
}
