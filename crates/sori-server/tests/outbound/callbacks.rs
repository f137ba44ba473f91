//! Callbacks, posted to good and to bad receivers.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sori_server::callback::{
    CallbackTarget, JobOutcome, Message, News, Next, Outcome, Reply, Secret, Verdict, deliver,
    next_try, seed_body, sign, standard_body,
};
use sori_server::netguard::{Guard, GuardOptions};

use super::http::{Server, answer, guard};

/// 2024-11-14T22:13:20Z.
const NOW_MS: i64 = 1_731_622_400_900;
const MESSAGE: Message<'_> = Message {
    id: "msg_1",
    body: br#"{"job_id":"a"}"#,
};

fn post(server: &Server, path: &str, secrets: Vec<Secret>) -> Outcome {
    let target = CallbackTarget::new(server.url(path), secrets);
    deliver(&guard(), &target, &MESSAGE, NOW_MS)
}

#[test]
fn a_message_is_posted_with_its_headers() {
    let server = Server::start(|_, stream| answer(stream, "204 No Content", "", b""));
    let secrets = vec![Secret::fresh(), Secret::fresh()];
    let outcome = post(&server, "/hook?a=b", secrets.clone());
    assert_eq!(
        (outcome.verdict, outcome.status),
        (Verdict::Delivered, Some(204))
    );
    assert_eq!(outcome.error, None);
    let request = &server.seen()[0];
    assert_eq!(
        (request.path.as_str(), request.body.as_slice()),
        ("/hook?a=b", MESSAGE.body)
    );
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("webhook-id"), "msg_1");
    assert_eq!(request.header("webhook-timestamp"), "1731622400");
    let signature = sign(&secrets, "msg_1", 1_731_622_400, MESSAGE.body);
    assert_eq!(request.header("webhook-signature"), signature);
    assert_eq!(signature.split(' ').count(), 2);
    post(&server, "/", Vec::new());
    assert_eq!(server.seen()[1].header("webhook-signature"), "");
}

#[test]
fn each_status_has_its_verdict() {
    let server = Server::start(|request, stream| {
        let (status, wait) = request.path[1..].split_once('/').unwrap();
        let wait = match wait.replace('_', " ") {
            wait if wait.is_empty() => wait,
            wait => format!("retry-after: {wait}\r\n"),
        };
        let headers = format!("{wait}location: /elsewhere\r\n");
        answer(stream, &format!("{status} X"), &headers, b"internal secret");
    });
    use Verdict::*;
    for (path, verdict, retry_after_ms) in [
        ("/200/", Delivered, None),
        ("/299/", Delivered, None),
        ("/301/", Failed, None),
        ("/307/", Failed, None),
        ("/400/", Failed, None),
        ("/410/", Disabled, None),
        ("/429/7", Throttled, Some(7000)),
        ("/502/", Throttled, None),
        ("/503/120", Failed, Some(120_000)),
        ("/503/Thu,_14_Nov_2024_22:14:20_GMT", Failed, Some(59_100)),
        ("/503/Thu,_14_Nov_2024_22:00:00_GMT", Failed, Some(0)),
        ("/503/soon", Failed, None),
        ("/503/-5", Failed, None),
        ("/504/", Throttled, None),
        ("/500/", Failed, None),
    ] {
        let outcome = post(&server, path, Vec::new());
        assert_eq!(
            (outcome.verdict, outcome.retry_after_ms),
            (verdict, retry_after_ms),
            "{path}"
        );
        let status = path[1..4].parse().unwrap();
        assert_eq!(outcome.status, Some(status));
        let error = outcome.error.unwrap_or_default();
        assert!(!error.contains("secret"));
        assert_eq!(error.contains(&path[1..4]), verdict != Delivered, "{error}");
    }
    assert!(
        server
            .seen()
            .iter()
            .all(|request| request.path != "/elsewhere")
    );
    let next = |path| next_try("msg_1", 1, post(&server, path, Vec::new()).reply(), NOW_MS);
    assert_eq!(next("/200/"), Next::Done);
    assert_eq!(next("/410/"), Next::Disabled);
    assert_eq!(next("/429/7"), Next::At(NOW_MS + 60_000));
    assert_eq!(next("/503/120"), Next::At(NOW_MS + 120_000));
}

#[test]
fn answers_that_do_not_end_or_never_come_take_no_longer_than_allowed() {
    let server = Server::start(|request, stream| {
        if request.path == "/endless" {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
        }
        drop(stream.read(&mut [0]));
    });
    assert_eq!(
        post(&server, "/endless", Vec::new()).verdict,
        Verdict::Delivered
    );
    let mut target = CallbackTarget::new(server.url("/silent"), Vec::new());
    target.timeout = Duration::from_millis(200);
    let outcome = deliver(&guard(), &target, &MESSAGE, NOW_MS);
    assert_eq!((outcome.verdict, outcome.status), (Verdict::Failed, None));
    assert!(outcome.error.unwrap().contains("no answer in time"));
}

#[test]
fn forbidden_receivers_are_not_connected_to() {
    let server = Server::start(|_, stream| answer(stream, "200 OK", "", b""));
    let wary = Guard::new(GuardOptions::default());
    for host in ["127.0.0.1", "localhost", "0x7f000001", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/hooks/secret", server.address.port());
        let outcome = deliver(
            &wary,
            &CallbackTarget::new(url, Vec::new()),
            &MESSAGE,
            NOW_MS,
        );
        assert_eq!(outcome.verdict, Verdict::Denied, "{host}");
        assert_eq!(outcome.reply(), Reply::Failed(None));
        let error = outcome.error.unwrap();
        assert!(
            error.contains("--allow-net") && !error.contains("secret"),
            "{error}"
        );
    }
    assert_eq!(server.connections(), 0);
}

/// The receiver in `docs/callbacks.md`, run with the package that it names.
struct Receiver {
    child: Child,
    port: u16,
}

impl Receiver {
    fn start(python: &str, secret: &Secret) -> Self {
        let page = include_str!("../../../../docs/callbacks.md");
        let code = page
            .split("```python\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(python)
            .args(["-c", code.expect("the page has a receiver in Python")])
            .env("SORI_CALLBACK_SECRET", secret.reveal())
            .env("PORT", port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the receiver does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }

    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        let mut printed = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut printed)
            .unwrap();
        self.child.wait().unwrap();
        printed
    }
}

#[test]
fn the_published_package_verifies_our_signatures() {
    let Ok(python) = std::env::var("SORI_PYTHON") else {
        eprintln!("SKIPPED: set SORI_PYTHON to a Python with the package standardwebhooks");
        return;
    };
    let secret = Secret::fresh();
    let receiver = Receiver::start(&python, &secret);
    let news = News::Ended {
        outcome: JobOutcome::Done,
        percent: 100,
        result: Some(&serde_json::json!({"text": "안녕하세요, 반갑습니다."})),
    };
    let now_ms = Timestamp::now().as_millisecond();
    let send = |secrets: Vec<Secret>, body: &[u8], at_ms: i64| {
        let target = CallbackTarget::new(format!("http://media.test:{}/", receiver.port), secrets);
        let message = Message { id: "msg_1", body };
        deliver(&guard(), &target, &message, at_ms).status
    };
    let seed = seed_body("task-123", &news);
    let standard = standard_body("task-123", &news, now_ms);
    assert_eq!(send(vec![secret.clone()], &seed, now_ms), Some(204));
    assert_eq!(
        send(vec![Secret::fresh(), secret.clone()], &standard, now_ms),
        Some(204)
    );
    assert_eq!(send(vec![Secret::fresh()], &seed, now_ms), Some(401));
    assert_eq!(send(Vec::new(), &seed, now_ms), Some(401));
    assert_eq!(
        send(vec![secret], &seed, now_ms - 3_600_000),
        Some(401),
        "an old message"
    );
    let printed = receiver.stop();
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(
        printed.contains("분석 완료") && printed.contains("job.completed"),
        "{printed}"
    );
}
