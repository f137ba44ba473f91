//! Web addresses: which server is meant, where a redirect leads, what may be shown.

use ureq::http::Uri;

use crate::catalogue::{ModelError, ModelErrorKind};

/// An absolute http or https address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(Uri);

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, ModelError> {
        let broken = || ModelError::new(ModelErrorKind::Network, "not an http or https address");
        let uri: Uri = text.parse().map_err(|_| broken())?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        if web && uri.host().is_some_and(|host| !host.is_empty()) {
            Ok(Self(uri))
        } else {
            Err(broken())
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    fn host(&self) -> String {
        self.0
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase()
    }

    fn port(&self) -> u16 {
        self.0
            .port_u16()
            .unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Whether it is a loopback address, where nobody listens in.
    pub(super) fn is_this_machine(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether both are the same scheme, host and port (RFC 6454).
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.is_https() == other.is_https()
            && self.host() == other.host()
            && self.port() == other.port()
    }

    /// Where a `Location` header leads (RFC 9110, 10.2.2; dot segments are left to the server).
    pub(super) fn join(&self, location: &str) -> Result<Self, ModelError> {
        let scheme = self.0.scheme_str().unwrap_or("https");
        let authority = self.0.authority().map(|a| a.as_str()).unwrap_or_default();
        let location = location.split('#').next().unwrap_or_default();
        let joined = if location.contains("://") {
            location.to_owned()
        } else if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else {
            let folder = self
                .0
                .path()
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{folder}/{location}")
        };
        let next = Self::parse(&joined)?;
        if self.is_https() && !next.is_https() {
            return Err(ModelError::new(
                ModelErrorKind::Network,
                "the server redirects from https to plain http",
            ));
        }
        Ok(next)
    }

    pub(super) fn as_str(&self) -> String {
        self.0.to_string()
    }

    /// The address without user, password and query, which can be secrets.
    pub(super) fn shown(&self) -> String {
        let port = self
            .0
            .port_u16()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let scheme = self.0.scheme_str().unwrap_or_default();
        format!(
            "{scheme}://{}{port}{}",
            self.0.host().unwrap_or_default(),
            self.0.path()
        )
    }
}

/// Whether a NO_PROXY list names the host: `*`, the host itself, a domain it is in (with or without a leading dot or `*.`),
/// each optionally with a port. Address ranges are not understood.
pub(super) fn is_no_proxy(list: &str, address: &Address) -> bool {
    let host = address.host();
    list.split([',', ' '])
        .filter(|item| !item.is_empty())
        .any(|item| {
            let item = item.to_ascii_lowercase();
            let (name, port) = match item.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                    (name, port.parse().ok())
                }
                _ => (item.as_str(), None),
            };
            let name = name
                .trim_matches(['[', ']'])
                .trim_start_matches('*')
                .trim_start_matches('.');
            let inside = host
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            item == "*"
                || (!name.is_empty()
                    && inside
                    && port.is_none_or(|port: u16| port == address.port()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn redirects_lead_where_the_standard_says() {
        let from = address("https://a.example:8443/x/y?z=1");
        for (location, to) in [
            ("https://b.example/q?token=1", "https://b.example/q?token=1"),
            ("//b.example/q", "https://b.example/q"),
            ("/q", "https://a.example:8443/q"),
            ("q#part", "https://a.example:8443/x/q"),
        ] {
            assert_eq!(from.join(location).expect("joined").as_str(), to);
        }
        for bad in [
            "http://b.example/",
            "file:///etc/passwd",
            "https://",
            "\u{1}",
        ] {
            assert!(from.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let endpoint = address("https://HF.example");
        assert!(address("https://hf.example:443/x").same_origin(&endpoint));
        for other in [
            "http://hf.example/",
            "https://hf.example:444/",
            "https://hf.example.evil/",
            "https://cdn.hf.example/",
        ] {
            assert!(!address(other).same_origin(&endpoint), "{other}");
        }
        assert!(
            address("http://[::1]:8/").is_this_machine()
                && address("http://127.0.0.1/").is_this_machine()
        );
        assert!(!address("http://127.0.0.1.evil.example/").is_this_machine());
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(
            address("https://me:secret@h.example:1/p?sig=2").shown(),
            "https://h.example:1/p"
        );
    }

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        let to = address("https://cdn.hf.example:8443/x");
        for yes in [
            "*",
            "cdn.hf.example",
            ".hf.example",
            "a, hf.example",
            "*.hf.example",
            "HF.example:8443",
        ] {
            assert!(is_no_proxy(yes, &to), "{yes}");
        }
        for no in ["", "f.example", "hf.example:443", "other.example", ","] {
            assert!(!is_no_proxy(no, &to), "{no}");
        }
        assert!(
            is_no_proxy("[::1]:80", &address("http://[::1]/"))
                && is_no_proxy("::1", &address("http://[::1]/"))
        );
    }
}
