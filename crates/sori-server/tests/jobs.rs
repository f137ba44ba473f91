//! Jobs over a real socket, with workers that crash, hang and fail when the recording says so.

mod support;

use serde_json::json;
use support::Server;

fn server() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    (folder, server)
}

#[test]
fn an_upload_becomes_a_document_in_every_format() {
    let (_folder, server) = server();
    let id = server.job("say hello world");
    assert_eq!(server.end_of(&id), "done");
    let document = server.get(&format!("/v1/jobs/{id}/result")).json();
    assert_eq!(document["text"], "hello world");
    for (format, part) in [
        ("srt", "00:00:00,000 --> "),
        ("vtt", "WEBVTT"),
        ("txt", "hello"),
        ("tsv", "start\tend"),
        ("csv", "hello"),
        ("rttm", ""),
        ("ctm", "talk"),
        ("textgrid", "ooTextFile"),
        ("whisperx", "segments"),
        ("html", "<!doctype html>"),
    ] {
        let answer = server.get(&format!("/v1/jobs/{id}/result?format={format}"));
        assert_eq!(answer.status, 200, "{format}");
        assert!(answer.text.contains(part), "{format}: {}", answer.text);
    }
    let wrong = server.get(&format!("/v1/jobs/{id}/result?format=pdf"));
    assert_eq!(
        (wrong.status, wrong.json()["error"]["param"].as_str()),
        (400, Some("format"))
    );
    let job = server.get(&format!("/v1/jobs/{id}")).json();
    assert_eq!(
        (job["progress"].as_u64(), job["name"].as_str()),
        (Some(100), Some("talk.txt"))
    );
}

#[test]
fn failures_of_the_recording_end_at_once_and_others_do_not_matter() {
    let (_folder, server) = server();
    let bad = server.job("fail input");
    let good = server.job("say fine");
    assert_eq!(server.end_of(&bad), "failed");
    assert_eq!(server.end_of(&good), "done");
    let job = server.get(&format!("/v1/jobs/{bad}")).json();
    assert_eq!(job["error"]["kind"], "input");
    assert_eq!(job["attempts"], 1);
    assert_eq!(server.get(&format!("/v1/jobs/{bad}/result")).status, 409);
}

#[test]
fn a_worker_that_dies_is_replaced_and_its_job_goes_on() {
    let (_folder, server) = server();
    let id = server.job("crash 1");
    assert_eq!(server.end_of(&id), "done");
    let job = server.get(&format!("/v1/jobs/{id}")).json();
    assert_eq!(job["attempts"], 2);
}

#[test]
fn a_job_is_cancelled_whether_it_listens_or_not() {
    let (_folder, server) = server();
    for recording in ["slow 30", "hang"] {
        let id = server.job(recording);
        server.until(&id, |job| job["progress"].as_u64() > Some(3));
        let answer = server.ask("DELETE", &format!("/v1/jobs/{id}"), &[], b"");
        assert!([200, 202].contains(&answer.status), "{}", answer.text);
        assert_eq!(server.end_of(&id), "cancelled");
    }
    let waiting = server.job("slow 30");
    let second = server.job("say x");
    server.ask("DELETE", &format!("/v1/jobs/{second}"), &[], b"");
    assert_eq!(server.end_of(&second), "cancelled");
    let purged = server.ask(
        "DELETE",
        &format!("/v1/jobs/{waiting}?purge=true"),
        &[],
        b"",
    );
    assert_eq!(purged.status, 200, "{}", purged.text);
    assert_eq!(purged.json()["left"], 0);
    assert_eq!(server.get(&format!("/v1/jobs/{waiting}")).status, 404);
}

#[test]
fn one_id_is_one_job() {
    let (_folder, server) = server();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| server.upload("say once", &[("job_id", "task-123")])))
            .collect();
        posts
            .into_iter()
            .map(|p| p.join().expect("an answer"))
            .collect()
    });
    let new = answers.iter().filter(|a| a.status == 202).count();
    let known = answers.iter().filter(|a| a.status == 200).count();
    assert_eq!((new, known), (1, 9));
    let other = server.upload("say twice", &[("job_id", "task-123")]);
    assert_eq!(other.status, 409, "{}", other.text);
    assert_eq!(server.end_of("task-123"), "done");
    let list = server.get("/v1/jobs").json();
    assert_eq!(list["jobs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_upload_outlives_refused_jobs_and_becomes_one() {
    let (_folder, server) = server();
    let recording = "say resumed";
    let tus = ("tus-resumable", "1.0.0");
    let length = recording.len().to_string();
    let begun = server.ask(
        "POST",
        "/v1/uploads",
        &[tus, ("upload-length", &length)],
        b"",
    );
    let location = begun.headers["location"].to_str().expect("text");
    let path = location.strip_prefix(&server.url).unwrap_or(location);
    let upload = path.rsplit('/').next().expect("an id");
    let bytes = ("content-type", "application/offset+octet-stream");
    let headers = [tus, bytes, ("upload-offset", "0")];
    assert_eq!(
        server
            .ask("PATCH", path, &headers, recording.as_bytes())
            .status,
        204
    );
    server.upload("say other", &[("job_id", "taken")]);
    for (wrong, status) in [
        (json!({"upload": upload, "options": {"beam_size": 0}}), 400),
        (json!({"upload": upload, "job_id": "a b"}), 400),
        (
            json!({"upload": upload, "callback_url": "http://10.0.0.1/"}),
            403,
        ),
        (json!({"upload": upload, "job_id": "taken"}), 409),
    ] {
        let refused = server.post("/v1/jobs", &wrong);
        assert_eq!(refused.status, status, "{wrong}: {}", refused.text);
    }
    let asked = json!({"upload": upload, "job_id": "resumed"});
    for status in [202, 200] {
        let answer = server.post("/v1/jobs", &asked);
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["id"], "resumed");
    }
    assert_eq!(server.end_of("resumed"), "done");
    assert_eq!(server.ask("HEAD", path, &[tus], b"").status, 404);
    let other = json!({"upload": upload, "job_id": "resumed", "options": {"speakers": 2}});
    for (body, status) in [
        (asked, 200),
        (other, 409),
        (json!({"upload": upload}), 404),
        (json!({"upload": upload, "job_id": "unknown"}), 404),
    ] {
        let answer = server.post("/v1/jobs", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let text = server.get("/v1/jobs/resumed/result").json();
    assert_eq!(text["text"], "resumed");
}

#[test]
fn what_was_accepted_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Server::start(folder.path(), &[]);
    let ids: Vec<_> = (0..5).map(|i| first.job(&format!("say {i}"))).collect();
    let slow = first.job("slow 60");
    first.stop();
    let second = Server::start(folder.path(), &[]);
    for id in &ids {
        assert_eq!(second.end_of(id), "done");
    }
    second.until(&slow, |job| job["state"] == "running");
    second.ask("DELETE", &format!("/v1/jobs/{slow}"), &[], b"");
    assert_eq!(second.end_of(&slow), "cancelled");
}

/// Names in a folder; none where it is not there.
fn names(folder: std::path::PathBuf) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .collect()
}

#[test]
fn nothing_is_left_of_a_job_that_ends_while_it_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("storage.keep_media", "false")]);
    let (work, media) = (
        folder.path().join("work"),
        folder.path().join("blobs/media"),
    );
    let retried = server.job("fail internal");
    server.until(&retried, |job| job["state"] == "retrying");
    assert_eq!(names(work.clone()).len(), 1);
    server.ask("DELETE", &format!("/v1/jobs/{retried}"), &[], b"");
    assert_eq!(names(work.clone()), [""; 0]);
    let hanging = server.job("hang");
    server.until(&hanging, |job| job["state"] == "running");
    let waiting = server.job("say again");
    server.ask("DELETE", &format!("/v1/jobs/{waiting}"), &[], b"");
    // What was cancelled may be tried again, so that its recording stays until it is done.
    assert_eq!(names(media.clone()).len(), 3);
    server.post(&format!("/v1/jobs/{waiting}/retry"), &json!({}));
    server.ask("DELETE", &format!("/v1/jobs/{hanging}"), &[], b"");
    assert_eq!(server.end_of(&waiting), "done");
    server.stop();
    assert_eq!(names(media).len(), 2);
    assert_eq!(names(work), [""; 0]);
}

#[test]
fn what_a_killed_server_left_is_removed_and_what_jobs_need_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, media) = (
        folder.path().join("work"),
        folder.path().join("blobs/media"),
    );
    let server = Server::start(folder.path(), &[]);
    let id = server.job("say kept");
    assert_eq!(server.end_of(&id), "done");
    server.stop();
    let kept = names(media.clone());
    // The one was made in 2024, the other in 2255.
    let (old, young) = (
        "0190163d-8694-739b-aea5-966c26f8ad91",
        "0830163d-8694-739b-aea5-966c26f8ad91",
    );
    for name in [old, young] {
        std::fs::create_dir_all(media.join(name)).expect("made");
        std::fs::write(media.join(name).join("recording"), "say x").expect("written");
        std::fs::create_dir_all(work.join(name)).expect("made");
    }
    let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let folder_of_old = std::fs::File::open(work.join(old)).expect("opened");
    folder_of_old.set_times(times).expect("set");
    let server = Server::start(folder.path(), &[]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while media.join(old).exists() || work.join(old).exists() {
        assert!(std::time::Instant::now() < end, "still there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.stop();
    assert_eq!(names(work), [young]);
    let left = names(media);
    assert_eq!(left.len(), 2);
    assert!(left.contains(&kept[0]) && left.contains(&young.to_owned()));
}

#[test]
fn events_can_be_taken_up_again() {
    let (_folder, server) = server();
    let id = server.job("slow 0.3");
    let all = server.get(&format!("/v1/jobs/{id}/events")).text;
    assert!(
        all.contains("event: queued") && all.contains("event: progress"),
        "{all}"
    );
    assert!(all.contains("event: done"), "{all}");
    let ids: Vec<i64> = all
        .lines()
        .filter_map(|l| l.strip_prefix("id: ")?.trim().parse().ok())
        .collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let last = ids[ids.len() - 2].to_string();
    let path = format!("/v1/jobs/{id}/events");
    let rest = server
        .ask("GET", &path, &[("last-event-id", &last)], b"")
        .text;
    assert_eq!(rest.matches("event: ").count(), 1, "{rest}");
}

#[test]
fn speakers_are_decided_anew_and_failures_tried_again() {
    let (folder, server) = server();
    let id = server.job("say a b");
    server.end_of(&id);
    let again = server.post(
        &format!("/v1/jobs/{id}/rerun"),
        &json!({"stage": "speakers", "speakers": 2}),
    );
    assert_eq!(again.status, 202, "{}", again.text);
    assert_eq!(server.end_of(&id), "done");
    let document = server.get(&format!("/v1/jobs/{id}/result")).json();
    assert_eq!(document["rerun"], true);
    // Each attempt has a folder of its own, and only that of the newest result is left.
    let results = folder.path().join("blobs/jobs").join(&id);
    while names(results.clone()) != ["2"] {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let bad = server.job("fail options");
    server.end_of(&bad);
    assert_eq!(
        server
            .post(&format!("/v1/jobs/{bad}/rerun"), &json!({}))
            .status,
        409
    );
    assert_eq!(
        server
            .post(&format!("/v1/jobs/{bad}/retry"), &json!({}))
            .status,
        202
    );
    assert_eq!(server.end_of(&bad), "failed");
}

#[test]
fn a_rerun_that_is_cancelled_leaves_the_result() {
    let (_folder, server) = server();
    let form = "--b\r\ncontent-disposition: form-data; name=\"job_id\"\r\n\r\nmine\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nsay a b\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let transcribe = || server.ask("POST", "/transcribe", &headers, form.as_bytes());
    let first = transcribe();
    assert_eq!(first.status, 200, "{}", first.text);
    let before = server.job("slow 60");
    server.until(&before, |job| job["state"] == "running");
    let again = server.post("/v1/jobs/mine/rerun", &json!({}));
    assert_eq!(again.status, 202, "{}", again.text);
    for state in ["queued", "cancelled"] {
        let job = server.get("/v1/jobs/mine").json();
        assert_eq!(job["state"], state);
        assert_eq!(job["result_url"], "/v1/jobs/mine/result");
        let result = server.get("/v1/jobs/mine/result");
        assert_eq!((result.status, result.text), (200, first.text.clone()));
        let text = server.get("/v1/jobs/mine/result?format=txt");
        assert_eq!(text.status, 200, "{}", text.text);
        server.ask("DELETE", "/v1/jobs/mine", &[], b"");
    }
    let again = server.post("/v1/jobs/mine/rerun", &json!({}));
    assert_eq!(again.status, 202, "it still has a result: {}", again.text);
    server.ask("DELETE", "/v1/jobs/mine", &[], b"");
    let shown = server.get("/jobs/mine").json();
    assert_eq!(shown["status"], "failed");
    assert_eq!(shown["result"]["text"], "a b");
    let asked_again = transcribe();
    assert_eq!((asked_again.status, asked_again.text), (200, first.text));
}

#[test]
fn a_named_job_goes_on_when_its_client_hangs_up() {
    use std::io::Write;
    let (_folder, server) = server();
    let form = "--b\r\ncontent-disposition: form-data; name=\"job_id\"\r\n\r\nmine\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nslow 1\r\n--b--\r\n";
    let address = server.url.trim_start_matches("http://");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    let head = format!(
        "POST /transcribe HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\r\n",
        form.len()
    );
    client.write_all(head.as_bytes()).expect("it reads");
    client.write_all(form.as_bytes()).expect("it reads");
    let there = || server.get("/v1/jobs/mine").status == 200;
    while !there() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(client);
    assert_eq!(server.end_of("mine"), "done");
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let again = server.ask("POST", "/transcribe", &headers, form.as_bytes());
    assert_eq!(
        (again.status, again.json()["text"].as_str()),
        (200, Some("done"))
    );
}

#[test]
fn who_waits_for_a_job_that_is_not_begun_hears_that_the_server_stops() {
    use std::io::{Read, Write};
    let (_folder, server) = server();
    let running = server.job("slow 60");
    server.until(&running, |job| job["state"] == "running");
    let mut client = std::net::TcpStream::connect(server.url.trim_start_matches("http://"))
        .expect("a connection");
    let head = "POST /v1/listen HTTP/1.1\r\nhost: localhost\r\ncontent-type: audio/wav\r\ncontent-length: 5\r\n\r\nsay a";
    client.write_all(head.as_bytes()).expect("it reads");
    let waits =
        |page: &serde_json::Value| page["jobs"].as_array().is_some_and(|jobs| jobs.len() == 2);
    while !waits(&server.get("/v1/jobs").json()) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    server.stop();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 30"), "{answer}");
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let (_folder, server) = server();
    for (body, status, part) in [
        (json!({}), 400, "give the recording once"),
        (json!({"url": "http://127.0.0.1/x.wav"}), 403, "--allow-net"),
        (json!({"url": "http://x/a", "path": "/b"}), 400, "once"),
        (json!({"path": "/etc/passwd"}), 403, "--media-root"),
        (json!({"url": "s3://bucket/key"}), 403, "--allow-bucket"),
        (
            json!({"url": "http://example.com/a.wav", "options": {"beam_size": 0}}),
            400,
            "beam_size",
        ),
        (
            json!({"url": "http://example.com/a.wav", "job_id": "a b"}),
            400,
            "job",
        ),
        (
            json!({"url": "http://example.com/a.wav", "speakers": 2}),
            400,
            "speakers",
        ),
        (
            json!({"url": "http://example.com/a.wav", "callback_url": "http://10.0.0.1/"}),
            403,
            "--allow-net",
        ),
    ] {
        let answer = server.post("/v1/jobs", &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.text.contains(part), "{body}: {}", answer.text);
    }
    let file = |name: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"x\"\r\n\r\nsay x\r\n"
        )
    };
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    for (second, status) in [
        ("file", 400),
        ("cover", 400),
        ("known_speaker_references[]", 202),
    ] {
        let body = file("file") + &file(second) + "--b--\r\n";
        let answer = server.ask("POST", "/v1/jobs", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{second}: {}", answer.text);
    }
    assert_eq!(server.get("/v1/jobs/none").status, 404);
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.ask("PUT", "/v1/jobs", &[], b"").status, 405);
    assert_eq!(
        server.post("/v1/jobs", &json!("x".repeat(2 << 20))).status,
        413
    );
}
