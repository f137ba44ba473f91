//! Downloads, by good and by bad servers.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use sori_server::fetch::{
    FetchError, FetchErrorKind, FetchLimits, FetchOrder, FetchProgress, Fetched, fetch_to,
};
use sori_server::netguard::{Guard, GuardOptions, Names};
use sori_server::tls::{Tls, TlsSource};

use super::http::{Request, Server, Stream, answer, guard, options};

const SOUND: &[u8] = b"RIFF....WAVE";

fn fetch_with(
    guard: &Guard,
    url: &str,
    limits: FetchLimits,
    to: &Path,
) -> Result<Fetched, FetchError> {
    let order = FetchOrder { url, to, limits };
    fetch_to(guard, &order, &AtomicBool::new(false), &mut |_| ())
}

pub fn fetch(guard: &Guard, url: &str) -> Result<Fetched, FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("media");
    let result = fetch_with(guard, url, FetchLimits::default(), &to);
    assert_eq!(
        to.exists(),
        result.is_ok(),
        "the file is there if it is whole"
    );
    assert!(
        fs::read_dir(&folder).unwrap().count() <= 1,
        "nothing else is left"
    );
    result
}

fn kind(url: &str) -> FetchErrorKind {
    fetch(&guard(), url).unwrap_err().kind()
}

#[test]
fn a_recording_comes_whole() {
    let server =
        Server::start(|_, stream| answer(stream, "200 OK", "content-type: audio/wav\r\n", SOUND));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new").join("media");
    let mut told = Vec::new();
    let url = server.url("/a.wav?token=1#t");
    let order = FetchOrder {
        url: &url,
        to: &to,
        limits: FetchLimits::default(),
    };
    let cancel = AtomicBool::new(false);
    let fetched = fetch_to(&guard(), &order, &cancel, &mut |progress| {
        told.push(progress)
    })
    .unwrap();
    let bytes = SOUND.len() as u64;
    assert_eq!(
        fetched,
        Fetched {
            bytes,
            content_type: Some("audio/wav".into())
        }
    );
    assert_eq!(fs::read(&to).unwrap(), SOUND);
    assert_eq!(
        told.last(),
        Some(&FetchProgress {
            bytes,
            total: Some(bytes)
        })
    );
    let request = &server.seen()[0];
    assert_eq!(request.path, "/a.wav?token=1");
    assert_eq!(
        request.header("host"),
        format!("media.test:{}", server.address.port())
    );
    assert_eq!(request.header("accept-encoding"), "identity");
    for absent in ["cookie", "authorization", "referer"] {
        assert_eq!(request.header(absent), "");
    }
}

#[test]
fn redirects_are_checked_each_and_counted() {
    let server = Server::start(|request, stream| {
        let port = request.header("host").split(':').nth(1).unwrap().to_owned();
        let to = match request.path.as_str() {
            "/sound" => return answer(stream, "200 OK", "", SOUND),
            "/loop" => "/loop".to_owned(),
            "/one" => format!("http://MEDIA.test:{port}/sound"),
            "/two" => "one".to_owned(),
            "/three" => "//media.test:".to_owned() + &port + "/two",
            "/four" => "/three".to_owned(),
            "/loopback" => format!("http://127.0.0.1:{port}/sound"),
            "/name" => format!("http://other.test:{port}/sound"),
            "/decimal" => format!("http://2130706433:{port}/sound"),
            "/metadata" => "http://169.254.169.254/latest/meta-data/".to_owned(),
            "/file" => "file:///etc/passwd".to_owned(),
            "/user" => format!("http://a:b@media.test:{port}/sound"),
            "/port" => "http://media.test:22/".to_owned(),
            "/nowhere" => return answer(stream, "302 Found", "", b""),
            other => panic!("{other}"),
        };
        answer(
            stream,
            "302 Found",
            &format!("location: {to}\r\n"),
            b"see there",
        );
    });
    for path in ["/sound", "/one", "/two", "/three"] {
        assert!(fetch(&guard(), &server.url(path)).is_ok(), "{path}");
    }
    let before = server.seen().len();
    let denied = [
        "/four",
        "/loop",
        "/loopback",
        "/name",
        "/decimal",
        "/metadata",
        "/file",
        "/user",
        "/port",
    ];
    for path in denied {
        assert_eq!(kind(&server.url(path)), FetchErrorKind::Denied, "{path}");
    }
    assert_eq!(kind(&server.url("/nowhere")), FetchErrorKind::Refused);
    let asked = server.seen().len() - before;
    assert_eq!(asked, 4 + 4 + 7 + 1, "a forbidden place is not asked");
    let error = fetch(&guard(), &server.url("/loopback"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--allow-net") && error.contains("loopback"),
        "{error}"
    );
}

/// A server with a certificate for `media.test`, and options that trust it.
fn tls_server(
    answer: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static,
) -> (Server, GuardOptions) {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let folder = tempfile::tempdir().unwrap();
    let source = TlsSource::Local {
        folder: folder.path().to_owned(),
        names: vec!["media.test".into()],
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let tls = Tls::open(&source, now).unwrap();
    let root = CertificateDer::from_pem_file(tls.authority.unwrap()).unwrap();
    let options = GuardOptions {
        roots: vec![root.to_vec()],
        ..options()
    };
    (Server::with_tls(Some(tls.config), answer), options)
}

#[test]
fn https_is_verified_and_does_not_lead_to_http() {
    let plain = Server::start(|_, stream| answer(stream, "200 OK", "", SOUND));
    let to = plain.url("/sound");
    let (server, options) = tls_server(move |request, stream| match request.path.as_str() {
        "/down" => answer(stream, "301 Moved", &format!("location: {to}\r\n"), b""),
        _ => answer(stream, "200 OK", "", SOUND),
    });
    let url = |path| server.url(path).replace("http:", "https:");
    let trusting = Guard::new(options.clone());
    assert!(fetch(&trusting, &url("/sound")).is_ok());
    let error = fetch(&trusting, &url("/down")).unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Denied);
    assert!(error.to_string().contains("https to http"), "{error}");
    assert_eq!(plain.connections(), 0);

    let wary = Guard::new(GuardOptions {
        roots: Vec::new(),
        ..options
    });
    let error = fetch(&wary, &url("/sound")).unwrap_err();
    assert!(error.to_string().contains("no trusted TLS"), "{error}");
}

#[test]
fn statuses_are_told_apart_and_bodies_not_repeated() {
    let server = Server::start(|request, stream| {
        answer(
            stream,
            &format!("{} X", &request.path[1..]),
            "",
            b"internal secret",
        );
    });
    for (status, expected) in [
        (401, FetchErrorKind::Refused),
        (403, FetchErrorKind::Refused),
        (404, FetchErrorKind::Refused),
        (206, FetchErrorKind::Refused),
        (304, FetchErrorKind::Refused),
        (408, FetchErrorKind::Network),
        (429, FetchErrorKind::Network),
        (500, FetchErrorKind::Network),
        (503, FetchErrorKind::Network),
    ] {
        let error = fetch(&guard(), &server.url(&format!("/{status}"))).unwrap_err();
        assert_eq!(error.kind(), expected, "{status}");
        let text = error.to_string();
        assert!(
            text.contains(&status.to_string()) && !text.contains("secret"),
            "{text}"
        );
    }
}

#[test]
fn too_much_is_refused_before_and_while_it_comes() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let server = Server::start(move |request, stream| {
        let length = match request.path.as_str() {
            "/said" => "content-length: 99999999999\r\n",
            _ => "",
        };
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{length}\r\n").as_bytes());
        while stream.write_all(&[0; 1 << 16]).is_ok() {
            count.fetch_add(1 << 16, Ordering::SeqCst);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let limits = FetchLimits {
        max_bytes: 1 << 20,
        ..FetchLimits::default()
    };
    for path in ["/said", "/unsaid"] {
        let error = fetch_with(
            &guard(),
            &server.url(path),
            limits,
            &folder.path().join("media"),
        )
        .unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::TooLarge, "{path}");
        assert!(error.to_string().contains("1048576"), "{error}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(
        sent.load(Ordering::SeqCst) < 64 << 20,
        "what the sockets buffered, and no more"
    );
}

#[test]
fn compressed_answers_are_not_unpacked() {
    // 64 KiB of zeros, many times over, would be the bomb; the header alone is refused.
    let server = Server::start(|request, stream| {
        let coding = match request.path.as_str() {
            "/coded" => "content-encoding: gzip\r\n",
            "/plain" => "content-encoding: identity\r\n",
            _ => "",
        };
        answer(stream, "200 OK", coding, b"\x1f\x8b\x08bomb");
    });
    assert_eq!(kind(&server.url("/coded")), FetchErrorKind::Refused);
    for path in ["/plain", "/file.gz"] {
        assert_eq!(
            fetch(&guard(), &server.url(path)).unwrap().bytes,
            7,
            "{path}"
        );
    }
}

#[test]
fn drips_pauses_and_broken_answers_end() {
    let server = Server::start(|request, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        match request.path.as_str() {
            "/drip" => {
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..1000 {
                    if stream
                        .write_all(b"x")
                        .and_then(|()| stream.flush())
                        .is_err()
                    {
                        return;
                    }
                    thread::park_timeout(Duration::from_millis(5));
                }
            }
            "/silent" => drop(stream.read(&mut [0])),
            "/pause" => {
                let _ = stream.write_all(head.as_bytes());
                drop(stream.read(&mut [0]));
            }
            "/short" => drop(stream.write_all(format!("{head}only this").as_bytes())),
            "/headers" => {
                let flood = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(40 << 10));
                let _ = stream.write_all(flood.as_bytes());
            }
            "/noise" => drop(stream.write_all(b"\0\xff\r\n\r\n")),
            other => panic!("{other}"),
        }
    });
    let limits = FetchLimits {
        idle: Duration::from_millis(300),
        min_speed: 100_000,
        window: Duration::from_millis(100),
        ..FetchLimits::default()
    };
    let folder = tempfile::tempdir().unwrap();
    for (path, kind, words) in [
        (
            "/drip",
            FetchErrorKind::Network,
            "less than 100000 bytes per second",
        ),
        ("/silent", FetchErrorKind::Network, "no answer in time"),
        ("/pause", FetchErrorKind::Network, "no answer in time"),
        ("/short", FetchErrorKind::Network, "broke off"),
        ("/headers", FetchErrorKind::Refused, "headers are too long"),
        ("/noise", FetchErrorKind::Refused, "HTTP properly"),
    ] {
        let to = folder.path().join("media");
        let error = fetch_with(&guard(), &server.url(path), limits, &to).unwrap_err();
        assert_eq!(error.kind(), kind, "{path}: {error}");
        assert!(error.to_string().contains(words), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let sound: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let whole = sound.clone();
    // Each connection brings 30,000 bytes and breaks off.
    let server = Server::start(move |request, stream| {
        let from = request
            .header("range")
            .trim_start_matches("bytes=")
            .trim_end_matches('-');
        let from: usize = from.parse().unwrap_or(0);
        let tag = match request.path.as_str() {
            "/strong" => "etag: \"v1\"\r\n".to_owned(),
            "/weak" => "etag: W/\"v1\"\r\n".to_owned(),
            "/changed" | "/other-part" => format!("etag: \"{from}\"\r\n"),
            _ => String::new(),
        };
        let (status, from) = match (request.path.as_str(), from) {
            (_, 0) => ("200 OK", 0),
            ("/strong", _) => ("206 Partial Content", from),
            ("/changed", _) => return answer(stream, "200 OK", &tag, b"another"),
            ("/other-part", _) => ("206 Partial Content", from - 1),
            (path, _) => panic!("{path}"),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\n{tag}content-length: {}\r\ncontent-range: bytes {from}-99999/100000\r\n\r\n",
            whole.len() - from
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&whole[from..whole.len().min(from + 30_000)]);
    });
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("media");
    let get = |path: &str| fetch_with(&guard(), &server.url(path), FetchLimits::default(), &to);
    assert_eq!(get("/strong").unwrap().bytes, 100_000);
    assert_eq!(fs::read(&to).unwrap(), sound);
    let seen = server.seen();
    let asked: Vec<_> = seen.iter().map(|request| request.header("range")).collect();
    assert_eq!(asked, ["", "bytes=30000-", "bytes=60000-", "bytes=90000-"]);
    assert_eq!(seen[3].header("if-range"), "\"v1\"");
    assert_eq!(get("/changed").unwrap().bytes, 7);
    assert_eq!(fs::read(&to).unwrap(), b"another");
    assert_eq!(get("/weak").unwrap_err().kind(), FetchErrorKind::Network);
    assert_eq!(get("/none").unwrap_err().kind(), FetchErrorKind::Network);
    assert_eq!(
        get("/other-part").unwrap_err().kind(),
        FetchErrorKind::Refused
    );
    assert_eq!(
        fs::read(&to).unwrap(),
        b"another",
        "a failed download leaves what was there"
    );
}

#[test]
fn a_cancel_interrupts_a_transfer_that_waits() {
    let server = Server::start(|_, stream| {
        // No length: to the client, a connection that is shut down looks like the end of the recording.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nRIFF");
        let _ = stream.flush();
        drop(stream.read(&mut [0]));
    });
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("/a.wav");
    let day = Duration::from_secs(86_400);
    let order = FetchOrder {
        url: &url,
        to: &folder.path().join("media"),
        limits: FetchLimits {
            idle: day,
            total: day,
            ..FetchLimits::default()
        },
    };
    let cancel = AtomicBool::new(false);
    let error = fetch_to(&guard(), &order, &cancel, &mut |_| {
        cancel.store(true, Ordering::Relaxed)
    })
    .unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Cancelled);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_reached_or_written_says_so() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://media.test:{}/secret?token=1", closed.port());
    let error = fetch(&guard(), &url).unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Network);
    assert!(
        !error.to_string().contains("secret") && !error.to_string().contains("token"),
        "{error}"
    );

    let nobody = Guard::new(GuardOptions {
        names: Names::Given(Arc::new(|_| Err(std::io::Error::other("no such name")))),
        ..options()
    });
    let error = fetch(&nobody, &url).unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Network);
    assert!(error.to_string().contains("host is not known"), "{error}");

    let server = Server::start(|_, stream| answer(stream, "200 OK", "", SOUND));
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = fetch_with(
        &guard(),
        &server.url("/a.wav"),
        FetchLimits::default(),
        &file.path().join("media"),
    )
    .unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Disk);
}
