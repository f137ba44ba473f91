//! URLs that lead where they must not.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sori_server::netguard::{
    AddressClass::*, AllowNet, Guard, GuardOptions, MAX_URL, Names, Purpose, Rule,
};

fn rule(guard: &Guard, url: &str) -> Option<Rule> {
    guard
        .check_url(url, Purpose::Media)
        .err()
        .map(|denied| denied.rule)
}

#[test]
fn every_way_to_write_a_forbidden_address_is_refused() {
    let guard = Guard::new(GuardOptions::default());
    let address = Rule::Address;
    let cases = [
        ("http://127.0.0.1/", address(Loopback)),
        ("http://127.1/", address(Loopback)),
        ("http://127.0.0.1./", address(Loopback)),
        ("http://2130706433/", address(Loopback)),
        ("http://0x7f000001/", address(Loopback)),
        ("http://0x7f.0.0.0x1/", address(Loopback)),
        ("http://017700000001/", address(Loopback)),
        ("http://0177.0.0.01/", address(Loopback)),
        ("http://%31%32%37.0.0.1/", address(Loopback)),
        ("http://１２７.0.0.1/", address(Loopback)),
        ("http://127。0。0。1/", address(Loopback)),
        ("http://localhost/", address(Loopback)),
        ("http://LOCALHOST./", address(Loopback)),
        ("http://a.localhost:8080/", address(Loopback)),
        ("http:127.0.0.1/", address(Loopback)),
        ("http:///127.0.0.1/", address(Loopback)),
        ("http://0/", address(Unspecified)),
        ("http://0.0.0.0:8080/", address(Unspecified)),
        ("http://[::]/", address(Unspecified)),
        ("http://[::1]/", address(Loopback)),
        ("http://[0:0:0:0:0:0:0:1]/", address(Loopback)),
        ("http://[::ffff:127.0.0.1]/", address(Mapped)),
        ("http://[::ffff:7f00:1]/", address(Mapped)),
        ("http://[::ffff:8.8.8.8]/", address(Mapped)),
        ("http://[::127.0.0.1]/", address(Mapped)),
        ("http://[64:ff9b::127.0.0.1]/", address(Nat64)),
        ("http://[2002:7f00:1::]/", address(SixToFour)),
        ("http://[2001:0:7f00:1::]/", address(Teredo)),
        ("http://[fe80::1]/", address(LinkLocal)),
        ("http://[fd00:ec2::254]/", address(Private)),
        (
            "http://169.254.169.254/latest/meta-data/",
            address(LinkLocal),
        ),
        ("http://2852039166/", address(LinkLocal)),
        ("http://10.0.0.1/", address(Private)),
        ("http://172.16.0.1/", address(Private)),
        ("http://192.168.0.1/", address(Private)),
        ("http://100.64.0.1/", address(Shared)),
        ("http://224.0.0.1/", address(Multicast)),
        ("http://255.255.255.255/", address(Multicast)),
        ("http://240.0.0.1/", address(Reserved)),
        ("http://user@a.example/", Rule::Userinfo),
        ("http://user:secret@a.example/", Rule::Userinfo),
        ("http://:secret@a.example/", Rule::Userinfo),
        ("http://a.example:80@127.0.0.1/", Rule::Userinfo),
        ("http://a.example:22/", Rule::Port),
        ("http://a.example:25/", Rule::Port),
        ("http://a.example:0/", Rule::Port),
        ("http://a.example:1023/", Rule::Port),
        ("http://a.example:6379/", Rule::Port),
        ("http://a.example:10250/", Rule::Port),
        ("http://a.example:65536/", Rule::Form),
        ("ftp://a.example/", Rule::Scheme),
        ("file:///etc/passwd", Rule::Scheme),
        ("gopher://127.0.0.1/", Rule::Scheme),
        ("s3://bucket/key", Rule::Scheme),
        ("data:audio/wav;base64,AAAA", Rule::Scheme),
        ("javascript:1", Rule::Scheme),
        ("", Rule::Form),
        ("//a.example/", Rule::Form),
        ("/etc/passwd", Rule::Form),
        ("http://", Rule::Form),
        ("http://a b.example/", Rule::Form),
        ("http://a.example\\@127.0.0.1/", Rule::Form),
        ("http://127.0.0.1\t/", Rule::Form),
        ("ht\ntp://a.example/", Rule::Form),
        (" http://a.example/", Rule::Form),
        ("http://[fe80::1%25eth0]/", Rule::Form),
        ("http://[::1/", Rule::Form),
        ("http://1.2.3.4.5/", Rule::Form),
        ("http://256.0.0.1/", Rule::Form),
        ("http://xn--a/", Rule::Form),
    ];
    let mut wrong = Vec::new();
    for (url, expected) in cases {
        let found = rule(&guard, url);
        if found != Some(expected) {
            wrong.push(format!("{url:?}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let long = format!("http://a.example/{}", "a".repeat(MAX_URL));
    assert_eq!(rule(&guard, &long), Some(Rule::Length));
}

#[test]
fn addresses_of_the_internet_pass_and_are_normalised() {
    let guard = Guard::new(GuardOptions::default());
    for (url, normal) in [
        ("https://A.example", "https://a.example/"),
        ("http://a.example:80/x?y#z", "http://a.example/x?y"),
        ("https://a.example.:8443/", "https://a.example.:8443/"),
        ("http://0x08.8.8.8/", "http://8.8.8.8/"),
        ("http://@a.example/", "http://a.example/"),
        ("http://a.example#@127.0.0.1:22/", "http://a.example/"),
        (
            "http://a.example?@127.0.0.1:22/",
            "http://a.example/?@127.0.0.1:22/",
        ),
        (
            "https://[2606:4700:4700::1111]/",
            "https://[2606:4700:4700::1111]/",
        ),
        ("https://예시.example/", "https://xn--vv4b11d.example/"),
    ] {
        let checked = guard.check_url(url, Purpose::Callback).unwrap();
        assert_eq!(checked.as_str(), normal);
    }
}

#[test]
fn the_refusal_names_the_flag_and_the_class_and_shows_no_path() {
    let guard = Guard::new(GuardOptions::default());
    let denied = guard
        .check_url(
            "http://192.168.7.9:8080/hooks/secret?token=1",
            Purpose::Callback,
        )
        .unwrap_err();
    for part in [
        "--allow-net 192.168.7.9",
        "private",
        "http://192.168.7.9:8080",
    ] {
        assert!(denied.message.contains(part), "{}", denied.message);
    }
    assert!(!denied.message.contains("secret") && !denied.message.contains("token"));
}

#[test]
fn allowed_networks_and_hosts_open_what_they_name() {
    let guard = |allow: &[&str]| {
        Guard::new(GuardOptions {
            allow: allow
                .iter()
                .map(|net| net.parse::<AllowNet>().unwrap())
                .collect(),
            ..GuardOptions::default()
        })
    };
    let lan = guard(&["192.168.1.0/24", "127.0.0.1"]);
    assert_eq!(rule(&lan, "http://192.168.1.77:9000/"), None);
    assert_eq!(
        rule(&lan, "http://192.168.2.77:9000/"),
        Some(Rule::Address(Private))
    );
    assert_eq!(rule(&lan, "http://127.0.0.1:9000/"), None);
    assert_eq!(rule(&lan, "http://localhost:9000/"), None);
    assert_eq!(
        rule(&lan, "http://[::1]:9000/"),
        Some(Rule::Address(Loopback))
    );
    assert_eq!(
        rule(&lan, "http://[::ffff:127.0.0.1]:9000/"),
        Some(Rule::Address(Mapped))
    );
    assert_eq!(rule(&lan, "http://192.168.1.77:22/"), Some(Rule::Port));
    let host = guard(&["localhost"]);
    assert_eq!(rule(&host, "http://localhost.:9000/"), None);
    assert_eq!(
        rule(&host, "http://127.0.0.1:9000/"),
        Some(Rule::Address(Loopback))
    );
}

#[test]
fn the_server_does_not_call_itself() {
    let guard = |own: &str| {
        Guard::new(GuardOptions {
            allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            own_addresses: vec![own.parse::<SocketAddr>().unwrap()],
            ..GuardOptions::default()
        })
    };
    for own in ["0.0.0.0:8080", "[::]:8080", "127.0.0.1:8080"] {
        let guard = guard(own);
        for url in ["http://127.0.0.1:8080/", "http://[::ffff:127.0.0.1]:8080/"] {
            assert_eq!(rule(&guard, url), Some(Rule::Own), "{own}: {url}");
        }
        assert_eq!(rule(&guard, "http://127.0.0.1:8081/"), None, "{own}");
        // An address for documents is no machine's own.
        assert_eq!(rule(&guard, "http://192.0.2.1:8080/"), None, "{own}");
    }
}

#[test]
fn names_are_refused_when_one_address_of_theirs_is() {
    let counted = Arc::new(Mutex::new(Vec::new()));
    let told = counted.clone();
    let guard = Guard::new(GuardOptions {
        names: Names::Given(Arc::new(|host| {
            let text: &[&str] = match host {
                "public.example" => &["93.184.216.34", "2606:2800:21f::1"],
                "mixed.example" => &["93.184.216.34", "127.0.0.1"],
                "metadata.example." => &["169.254.169.254"],
                "mapped.example" => &["::ffff:10.0.0.1"],
                _ => return Err(std::io::Error::other("no such name")),
            };
            Ok(text
                .iter()
                .map(|ip| ip.parse::<IpAddr>().unwrap())
                .collect())
        })),
        on_denied: Some(Arc::new(move |denied| {
            told.lock().unwrap().push(denied.rule.name());
        })),
        ..GuardOptions::default()
    });
    let check = |url: &str| {
        let url = guard.check_url(url, Purpose::Media).unwrap();
        guard
            .check_addresses(&url, Purpose::Media)
            .err()
            .map(|d| d.rule)
    };
    assert_eq!(check("https://public.example/"), None);
    assert_eq!(check("https://unknown.example/"), None);
    assert_eq!(
        check("https://mixed.example/"),
        Some(Rule::Address(Loopback))
    );
    assert_eq!(
        check("https://metadata.example./"),
        Some(Rule::Address(LinkLocal))
    );
    assert_eq!(
        check("https://mapped.example/"),
        Some(Rule::Address(Mapped))
    );
    assert_eq!(
        *counted.lock().unwrap(),
        ["loopback", "link-local", "ipv4-mapped"]
    );
}

#[test]
fn a_name_that_moves_between_check_and_use_is_refused_at_the_connection() {
    let server =
        super::http::Server::start(|_, stream| super::http::answer(stream, "200 OK", "", b"x"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let guard = Guard::new(GuardOptions {
        names: Names::Given(Arc::new(move |_| {
            let ip = match count.fetch_add(1, Ordering::SeqCst) {
                0 => "93.184.216.34",
                _ => "127.0.0.1",
            };
            Ok(vec![ip.parse().unwrap()])
        })),
        ..GuardOptions::default()
    });
    let text = format!("http://rebinding.example:{}/a.wav", server.address.port());
    let url = guard.check_url(&text, Purpose::Media).unwrap();
    guard.check_addresses(&url, Purpose::Media).unwrap();
    let error = super::fetching::fetch(&guard, &text).unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "one question for each connection"
    );
    assert_eq!(server.connections(), 0);
}
