//! A URL that was read and checked once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use super::{Denied, Rule};

/// The longest URL in bytes; browsers and proxies stop at about 2000.
pub const MAX_URL: usize = 2048;
/// Ports from 1024 on that no web server has, but that services inside a network have: the "bad ports" of the Fetch
/// standard (WHATWG), and databases, queues, remote desktops and the controls of containers.
const DENIED_PORTS: &[u16] = &[
    1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060,
    5061, 5432, 5672, 5900, 5984, 6000, 6379, 6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
    9042, 9092, 9200, 9300, 10080, 10250, 10255, 11211, 27017,
];

/// A URL that passed: `http` or `https`, without user info, on a web port, and no forbidden address by its text.
///
/// What a *name* in it resolves to is checked when it is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUrl(pub(super) Url);

impl CheckedUrl {
    /// The URL as it is used: normalised, without its fragment.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host: a name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.0
            .host_str()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
    }

    /// The port, 80 or 443 where the URL has none.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Scheme, host and port: all of the URL that errors and logs may show.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The name, if the host is no address.
    pub(super) fn name(&self) -> Option<&str> {
        match self.0.host() {
            Some(Host::Domain(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether it names this machine as RFC 6761 §6.3 has it: `localhost` and names below it.
    pub(super) fn is_localhost(&self) -> bool {
        let name = self.name().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        name == "localhost" || name.ends_with(".localhost")
    }

    /// The addresses that the text of the URL names, without asking anybody; none for other names than `localhost`.
    pub(super) fn literal(&self) -> Vec<SocketAddr> {
        let addresses: &[IpAddr] = match self.0.host() {
            Some(Host::Ipv4(ip)) => &[IpAddr::V4(ip)],
            Some(Host::Ipv6(ip)) => &[IpAddr::V6(ip)],
            _ if self.is_localhost() => &[
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
            _ => &[],
        };
        addresses
            .iter()
            .map(|ip| SocketAddr::new(*ip, self.port()))
            .collect()
    }
}

/// The refusal of what is not a URL.
pub(super) fn form(message: &str) -> Denied {
    Denied {
        rule: Rule::Form,
        message: message.to_owned(),
    }
}

/// Reads a URL and checks all that its text says but its address.
pub(super) fn read(text: &str) -> Result<CheckedUrl, Denied> {
    let refuse = |rule, message: String| Err(Denied { rule, message });
    if text.len() > MAX_URL {
        return refuse(
            Rule::Length,
            format!("the URL has {} bytes, more than {MAX_URL}", text.len()),
        );
    }
    // The parser drops tabs, line ends and blanks at the ends (WHATWG); a URL that has them is not meant well.
    if text
        .chars()
        .any(|c| c.is_control() || c == ' ' || c == '\\')
    {
        return Err(form(
            "the URL has blanks, backslashes or control characters: encode them",
        ));
    }
    let mut url = Url::parse(text).map_err(|error| form(&format!("not a URL ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return refuse(
            Rule::Scheme,
            "only http and https URLs are fetched".to_owned(),
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            Rule::Userinfo,
            "the URL has a user name or a password in it: use a signed URL".to_owned(),
        );
    }
    url.set_fragment(None);
    let url = CheckedUrl(url);
    let port = url.port();
    if !matches!(port, 80 | 443 | 1024..) || DENIED_PORTS.contains(&port) {
        return refuse(
            Rule::Port,
            format!(
                "{} is not a port of web servers: serve it at 80, 443 or from 1024 on",
                url.origin()
            ),
        );
    }
    Ok(url)
}
