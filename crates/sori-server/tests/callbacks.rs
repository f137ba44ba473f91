//! Callbacks as a receiver sees them.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use support::Server;
use support::receiver::{Got, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

fn server(folder: &tempfile::TempDir) -> Server {
    let settings = [
        ("sources.allow_net", "127.0.0.1"),
        ("callbacks.secrets", SECRET),
    ];
    Server::start(folder.path(), &settings)
}

fn submit(server: &Server, recording: &str, hook: &str, form: &str) -> String {
    let fields = [("callback_url", hook), ("callback_form", form)];
    let answer = server.upload(recording, &fields);
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn is_signed(got: &Got) -> bool {
    let key = STANDARD.decode(&SECRET[6..]).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(
        format!(
            "{}.{}.",
            got.header("webhook-id"),
            got.header("webhook-timestamp")
        )
        .as_bytes(),
    );
    mac.update(&got.body);
    got.header("webhook-signature")
        == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[test]
fn progress_comes_in_order_and_the_end_comes_last_and_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let receiver = Receiver::answering(Vec::new());
    let id = submit(&server, "slow 0.8", &receiver.url, "plain");
    let mut before = 0;
    let last = loop {
        let got = receiver.next();
        assert!(is_signed(&got));
        let body = got.json();
        let keys: Vec<_> = body
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        let mut wanted = ["job_id", "status", "progress", "message", "result"];
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
        assert_eq!(body["job_id"], id.as_str());
        let progress = body["progress"].as_u64().expect("a number");
        assert!(progress >= before, "{progress} after {before}");
        before = progress;
        if body["status"] != "processing" {
            break body;
        }
        assert!(body["result"].is_null());
        assert_eq!(body["message"], "음성 인식 진행 중...");
    };
    assert_eq!(
        (last["status"].as_str(), last["progress"].as_u64()),
        (Some("completed"), Some(100))
    );
    assert_eq!(last["message"], "분석 완료");
    assert_eq!(last["result"]["text"], "done");
    assert!(receiver.is_quiet_for(Duration::from_secs(2)));
}

#[test]
fn what_is_not_taken_comes_again_under_the_same_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let receiver = Receiver::answering(vec![500]);
    submit(&server, "fail input", &receiver.url, "standard");
    let (first, second) = (receiver.next(), receiver.next());
    assert_eq!(first.json()["type"], "job.failed");
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert!(is_signed(&second));
}

#[test]
fn a_retry_tells_of_its_own_end_whatever_the_job_is_by_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let receiver = Receiver::answering(vec![500]);
    let id = submit(&server, "say a b", &receiver.url, "standard");
    let first = receiver.next();
    assert_eq!(first.json()["data"]["result"]["text"], "a b");
    let before = server.job("slow 60");
    server.until(&before, |job| job["state"] == "running");
    let again = server.post(&format!("/v1/jobs/{id}/rerun"), &json!({}));
    assert_eq!(again.status, 202, "{}", again.text);
    let second = receiver.next();
    let job = server.get(&format!("/v1/jobs/{id}")).json();
    assert_eq!(job["state"], "queued");
    assert_eq!(second.json()["type"], "job.completed");
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
}

#[test]
fn a_document_that_is_damaged_or_gone_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let receiver = Receiver::answering(Vec::new());
    let id = submit(&server, "say a", &receiver.url, "plain");
    assert_eq!(receiver.next().json()["result"]["text"], "a");
    let list = format!("/v1/jobs/{id}/deliveries");
    let attempts = |count: usize| loop {
        let delivery = server.get(&list).json()[0].clone();
        let attempts = delivery["attempts"].as_array().expect("a list");
        if attempts.len() == count {
            break delivery;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let message = attempts(1)["id"].as_str().expect("an id").to_owned();
    let replay = format!("/v1/deliveries/{message}/replay");
    let document = find(folder.path(), "document.json").expect("it is in a folder");
    std::fs::write(&document, "{").expect("a file");
    assert_eq!(server.post(&replay, &json!({})).status, 202);
    let tried = attempts(2);
    assert_eq!(tried["state"], "waiting");
    assert_eq!(
        tried["attempts"][1]["error"],
        "not sent: its body cannot be made; the server's log says why"
    );
    std::fs::remove_file(&document).expect("a file");
    assert_eq!(server.post(&replay, &json!({})).status, 202);
    let body = receiver.next().json();
    assert_eq!(body["status"], "completed");
    assert!(body["result"].is_null(), "{body}");
    assert_eq!(attempts(3)["state"], "done");
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path());
    entries.find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.ends_with(name).then_some(path),
    })
}

#[test]
fn a_long_document_is_named_with_its_checksum() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("sources.allow_net", "127.0.0.1"),
        ("callbacks.inline_bytes", "10"),
    ];
    let server = Server::start(folder.path(), &settings);
    let receiver = Receiver::answering(Vec::new());
    let id = submit(&server, "say a", &receiver.url, "plain");
    let result = receiver.next().json()["result"].clone();
    let path = format!("/v1/jobs/{id}/result");
    assert_eq!(result["result_url"], format!("{}{path}", server.url));
    let sum = Sha256::digest(server.get(&path).text);
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(result["sha256"], sum);
}

#[test]
fn who_is_gone_is_not_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(&folder);
    let receiver = Receiver::answering(vec![410]);
    submit(&server, "say x", &receiver.url, "plain");
    receiver.next();
    assert!(receiver.is_quiet_for(Duration::from_secs(7)));
}
