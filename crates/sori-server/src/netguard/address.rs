//! What an address is, and whether a user may name it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Why an address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// This network: `0.0.0.0/8`, `::`.
    Unspecified,
    /// This machine: `127.0.0.0/8`, `::1`.
    Loopback,
    /// The cable, and the metadata servers of clouds: `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// A private network: RFC 1918, `fc00::/7`.
    Private,
    /// A provider's own network: `100.64.0.0/10` (RFC 6598).
    Shared,
    /// For protocols, for documents or for tests, and what nobody has been given.
    Reserved,
    /// Many receivers: multicast and broadcast.
    Multicast,
    /// An IPv4 address in IPv6 clothes: `::ffff:0:0/96`, `::/96`.
    Mapped,
    /// An IPv4 address behind a translator: `64:ff9b::/96`, `64:ff9b:1::/48` (RFC 6052, 8215).
    Nat64,
    /// A tunnel that holds an IPv4 address: 6to4 `2002::/16`.
    SixToFour,
    /// A tunnel that holds an IPv4 address: Teredo `2001::/32`.
    Teredo,
}

impl AddressClass {
    /// The name in error messages and in `sori_netguard_denied_total{rule}`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Reserved => "reserved",
            Self::Multicast => "multicast",
            Self::Mapped => "ipv4-mapped",
            Self::Nat64 => "nat64",
            Self::SixToFour => "6to4",
            Self::Teredo => "teredo",
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The IANA registry of special IPv4 addresses (RFC 6890 and what came after), with multicast.
const SPECIAL_V4: &[(Ipv4Net, AddressClass)] = &[
    (v4(0, 0, 0, 8), AddressClass::Unspecified),
    (v4(10, 0, 0, 8), AddressClass::Private),
    (v4(100, 64, 0, 10), AddressClass::Shared),
    (v4(127, 0, 0, 8), AddressClass::Loopback),
    (v4(169, 254, 0, 16), AddressClass::LinkLocal),
    (v4(172, 16, 0, 12), AddressClass::Private),
    (v4(192, 0, 0, 24), AddressClass::Reserved),
    (v4(192, 0, 2, 24), AddressClass::Reserved),
    (v4(192, 88, 99, 24), AddressClass::Reserved),
    (v4(192, 168, 0, 16), AddressClass::Private),
    (v4(198, 18, 0, 15), AddressClass::Reserved),
    (v4(198, 51, 100, 24), AddressClass::Reserved),
    (v4(203, 0, 113, 24), AddressClass::Reserved),
    (v4(224, 0, 0, 4), AddressClass::Multicast),
    (
        Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32),
        AddressClass::Multicast,
    ),
    (v4(240, 0, 0, 4), AddressClass::Reserved),
];

/// The same for IPv6, narrow before wide; whatever lies outside `2000::/3` is no global unicast (RFC 4291 §2.4).
const SPECIAL_V6: &[(Ipv6Net, AddressClass)] = &[
    (
        Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128),
        AddressClass::Unspecified,
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128),
        AddressClass::Loopback,
    ),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        AddressClass::Mapped,
    ),
    (v6(0, 0, 0, 96), AddressClass::Mapped),
    (v6(0x64, 0xff9b, 0, 96), AddressClass::Nat64),
    (v6(0x64, 0xff9b, 1, 48), AddressClass::Nat64),
    (v6(0x2001, 0, 0, 32), AddressClass::Teredo),
    (v6(0x2001, 0, 0, 23), AddressClass::Reserved),
    (v6(0x2001, 0xdb8, 0, 32), AddressClass::Reserved),
    (v6(0x2002, 0, 0, 16), AddressClass::SixToFour),
    (v6(0x3fff, 0, 0, 20), AddressClass::Reserved),
    (v6(0xfc00, 0, 0, 7), AddressClass::Private),
    (v6(0xfe80, 0, 0, 10), AddressClass::LinkLocal),
    (v6(0xff00, 0, 0, 8), AddressClass::Multicast),
];

const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Returns why an address is not public; `None` for the addresses of the internet.
pub fn classify(address: IpAddr) -> Option<AddressClass> {
    match address {
        IpAddr::V4(ip) => SPECIAL_V4
            .iter()
            .find(|(net, _)| net.contains(&ip))
            .map(|(_, class)| *class),
        IpAddr::V6(ip) => SPECIAL_V6
            .iter()
            .find(|(net, _)| net.contains(&ip))
            .map(|(_, class)| *class)
            .or((!GLOBAL_V6.contains(&ip)).then_some(AddressClass::Reserved)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_address_has_its_class() {
        use AddressClass::*;
        let cases = [
            ("0.0.0.0", Unspecified),
            ("0.255.255.255", Unspecified),
            ("10.0.0.1", Private),
            ("100.64.0.0", Shared),
            ("100.127.255.255", Shared),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("169.254.169.254", LinkLocal),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.0.0.192", Reserved),
            ("192.0.2.1", Reserved),
            ("192.88.99.1", Reserved),
            ("192.168.1.1", Private),
            ("198.18.0.1", Reserved),
            ("198.19.255.255", Reserved),
            ("198.51.100.7", Reserved),
            ("203.0.113.7", Reserved),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Multicast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Mapped),
            ("::127.0.0.1", Mapped),
            ("::ffff:127.0.0.1", Mapped),
            ("::ffff:8.8.8.8", Mapped),
            ("64:ff9b::7f00:1", Nat64),
            ("64:ff9b:1::1", Nat64),
            ("100::1", Reserved),
            ("2001::1", Teredo),
            ("2001:10::1", Reserved),
            ("2001:db8::1", Reserved),
            ("2002:7f00:1::", SixToFour),
            ("3fff::1", Reserved),
            ("4000::1", Reserved),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fe80::1", LinkLocal),
            ("fec0::1", Reserved),
            ("ff02::1", Multicast),
        ];
        for (text, class) in cases {
            assert_eq!(classify(text.parse().unwrap()), Some(class), "{text}");
        }
    }

    #[test]
    fn the_internet_is_public_up_to_the_edges() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00::1",
        ] {
            assert_eq!(classify(text.parse().unwrap()), None, "{text}");
        }
    }
}
