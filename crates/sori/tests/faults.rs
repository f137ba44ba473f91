//! The server as a real process that is killed, filled and stopped: what it accepted reaches its end, once.

#[path = "../../sori-server/tests/support/receiver.rs"]
#[allow(dead_code, reason = "a part is used")]
mod receiver;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use receiver::Receiver;
use service::{Service, recording};

/// Numbers that look random and are the same each time (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % most
    }
}

/// Speech of this many repetitions of the sample.
fn long(times: usize) -> Vec<u8> {
    let one = recording();
    let data = one
        .windows(4)
        .position(|name| name == b"data")
        .expect("a WAV file");
    let (head, pcm) = one.split_at(data + 8);
    let mut wav = head.to_vec();
    for _ in 0..times {
        wav.extend(pcm);
    }
    let whole = wav.len() as u32 - 8;
    wav[4..8].copy_from_slice(&whole.to_le_bytes());
    let bytes = (pcm.len() * times) as u32;
    wav[data + 4..data + 8].copy_from_slice(&bytes.to_le_bytes());
    wav
}

#[test]
fn a_hundred_jobs_survive_a_server_that_is_killed_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::answering(Vec::new());
    let allow = ["--allow-net", "127.0.0.1"];
    let mut dice = Dice(7);
    let mut server = Service::start(folder.path(), &allow);
    let mut accepted = BTreeSet::new();
    let recording = recording();
    let mut next_kill = Instant::now() + Duration::from_millis(300 + dice.below(900));
    let (mut number, mut kills) = (0, 0);
    while number < 100 {
        if Instant::now() >= next_kill && kills < 12 {
            // The one who sends notes what was accepted, not the one who is tested.
            server.kill();
            kills += 1;
            server = Service::start(folder.path(), &allow);
            next_kill = Instant::now() + Duration::from_millis(300 + dice.below(900));
        }
        let id = format!("job-{number}");
        let fields = [
            ("job_id", id.as_str()),
            ("callback_url", receiver.url.as_str()),
        ];
        if let Some((status, job)) = server.upload(&recording, &fields) {
            assert!([200, 202].contains(&status), "{job}");
            accepted.insert(id);
            number += 1;
        }
    }
    while kills < 12 {
        std::thread::sleep(Duration::from_millis(200 + dice.below(700)));
        server.kill();
        kills += 1;
        server = Service::start(folder.path(), &allow);
    }
    for id in &accepted {
        assert_eq!(server.end_of(id), "done", "{id}");
        let document = server
            .get(&format!("/v1/jobs/{id}/result"))
            .expect("a document");
        assert_eq!(
            document["text"],
            "i am very happy with the result of this interview"
        );
    }
    // Each end is told under one id, however often.
    let mut ends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while ends.len() < accepted.len() {
        let got = receiver.next();
        let body = got.json();
        if body["status"] == "completed" {
            let job = body["job_id"].as_str().expect("an id").to_owned();
            ends.entry(job)
                .or_default()
                .insert(got.header("webhook-id").to_owned());
        }
    }
    assert!(ends.values().all(|ids| ids.len() == 1), "{ends:?}");
    assert_eq!(ends.keys().cloned().collect::<BTreeSet<_>>(), accepted);
}

#[test]
fn a_callback_that_was_owed_comes_after_a_kill_under_the_same_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::answering(vec![500]);
    let allow = ["--allow-net", "127.0.0.1"];
    let server = Service::start(folder.path(), &allow);
    let fields = [
        ("callback_url", receiver.url.as_str()),
        ("diarize", "false"),
    ];
    let (_, job) = server
        .upload(b"this is no recording", &fields)
        .expect("accepted");
    let first = receiver.next();
    assert_eq!(first.json()["status"], "failed", "{job}");
    server.kill();
    let _again = Service::start(folder.path(), &allow);
    let second = receiver.next();
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(first.body, second.body);
}

#[test]
fn a_worker_that_is_killed_costs_a_window_and_not_the_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    let (status, job) = server.upload(&long(80), &[]).expect("accepted");
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().expect("an id");
    server.until(id, |job| job["progress"].as_u64() > Some(20));
    for pid in server.workers() {
        Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .expect("kill runs");
    }
    let neighbour = server.upload(&recording(), &[]).expect("accepted").1;
    assert_eq!(
        server.end_of(neighbour["id"].as_str().expect("an id")),
        "done"
    );
    assert_eq!(server.end_of(id), "done");
    let job = server.get(&format!("/v1/jobs/{id}")).expect("a job");
    assert_eq!(job["attempts"], 2);
}

#[test]
fn a_job_that_kills_its_workers_ends_and_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let quick = [("SORI_WORKERS_RETRY_SECONDS", "0,0,1")];
    let server = Service::with(folder.path(), &[], &quick);
    let accept = |sound: &[u8]| {
        let (status, job) = server.upload(sound, &[]).expect("accepted");
        assert_eq!(status, 202, "{job}");
        job["id"].as_str().expect("an id").to_owned()
    };
    let poison = accept(&long(600));
    let neighbours: Vec<String> = (0..3).map(|_| accept(&recording())).collect();
    // A worker that is killed while it loads is a failure of the models, which counts for itself.
    let ready = || {
        let numbers = server.ask("GET", "/metrics", ("", b""));
        numbers.is_some_and(|(_, text)| text.contains("sori_workers_ready 1"))
    };
    let job = server.until(&poison, |job| {
        if job["state"] == "running" && ready() {
            for pid in server.workers() {
                Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status()
                    .expect("kill runs");
            }
        }
        job["state"] == "failed"
    });
    assert_eq!(job["error"]["kind"], "lost", "{job}");
    assert!(job["attempts"].as_u64() >= Some(5), "{job}");
    for id in &neighbours {
        assert_eq!(server.end_of(id), "done");
    }
}

#[test]
fn a_server_that_is_asked_to_stop_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("sori.toml"),
        "[server]\ndrain_seconds = 1\n",
    )
    .expect("written");
    let file = folder.path().join("sori.toml").display().to_string();
    let server = Service::start(folder.path(), &["--config", &file]);
    let (large, small) = (long(150), recording());
    let ids: Vec<String> = (0..3)
        .map(|number| {
            let sound = if number == 0 { &large } else { &small };
            let (status, job) = server.upload(sound, &[]).expect("accepted");
            assert_eq!(status, 202);
            job["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    server.until(&ids[0], |job| job["state"] == "running");
    let (status, took) = server.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let again = Service::start(folder.path(), &[]);
    for id in &ids {
        assert_eq!(again.end_of(id), "done");
        let job = again.get(&format!("/v1/jobs/{id}")).expect("a job");
        assert!(job["error"].is_null(), "{job}");
    }
}

#[test]
fn a_job_at_work_is_cancelled_within_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    let (_, job) = server.upload(&long(600), &[]).expect("accepted");
    let id = job["id"].as_str().expect("an id");
    server.until(id, |job| job["progress"].as_u64() > Some(2));
    let path = format!("/v1/jobs/{id}?purge=true");
    let (status, removed) = server.ask("DELETE", &path, ("", b"")).expect("an answer");
    assert_eq!(status, 200, "{removed}");
    let removed: serde_json::Value = serde_json::from_str(&removed).expect("JSON");
    assert_eq!(removed["left"], 0);
    assert!(removed["blobs"].as_u64() >= Some(1));
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("made");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(&disk)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small disk cannot be mounted here (it takes root)");
        return;
    }
    struct Unmount(std::path::PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _unmount = Unmount(disk.clone());
    let file = folder.path().join("sori.toml");
    std::fs::write(&file, "[limits]\nfree_bytes = 0\n").expect("written");
    let models = folder.path().join("models").display().to_string();
    let arguments = [
        "--config",
        &file.display().to_string(),
        "--models-dir",
        &models,
    ]
    .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Service::start(&disk, &arguments);
    let small = recording();
    let (_, first) = server.upload(&small, &[]).expect("accepted");
    assert_eq!(server.end_of(first["id"].as_str().expect("an id")), "done");
    // Larger than what is left: refused, and nothing of it stays.
    let (status, refused) = server.upload(&vec![0; 40 << 20], &[]).expect("an answer");
    assert_eq!(status, 507, "{refused}");
    assert_eq!(
        server.get("/v1/jobs").expect("a list")["jobs"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    std::fs::write(disk.join("ballast"), vec![0; 64 << 20]).expect_err("it is full");
    let refused = server.upload(&small, &[]);
    assert!(
        refused.is_none_or(|(status, _)| status >= 500),
        "nothing is accepted that is not kept"
    );
    std::fs::remove_file(disk.join("ballast")).expect("removed");
    let (status, job) = server.upload(&small, &[]).expect("accepted");
    assert_eq!(status, 202, "{job}");
    assert_eq!(server.end_of(job["id"].as_str().expect("an id")), "done");
}

#[test]
fn commands_see_and_manage_the_jobs_of_a_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    let (_, bad) = server.upload(b"no sound", &[]).expect("accepted");
    let bad = bad["id"].as_str().expect("an id").to_owned();
    assert_eq!(server.end_of(&bad), "failed");
    let sori = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sori"))
            .args(arguments)
            .arg("--data")
            .arg(folder.path())
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        (
            output.status.code(),
            text,
            String::from_utf8(output.stderr).expect("UTF-8"),
        )
    };
    let (code, list, _) = sori(&["jobs", "list", "--state", "failed"]);
    assert_eq!(code, Some(0));
    assert!(list.contains(&bad), "{list}");
    let (_, shown, _) = sori(&["jobs", "show", &bad]);
    assert!(
        shown.contains("\"kind\": \"input\"") && shown.contains("failed"),
        "{shown}"
    );
    let (code, _, error) = sori(&["jobs", "cancel", "none"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no job none"), "{error}");
    let (code, retried, _) = sori(&["jobs", "retry", "--failed"]);
    assert_eq!((code, retried.contains("queued")), (Some(0), true));
    assert_eq!(server.end_of(&bad), "failed");
    let (_, key, _) = sori(&["keys", "add", "phone"]);
    assert!(key.starts_with("sk-sori-"), "{key}");
    assert!(sori(&["keys", "list"]).1.contains("phone"));
    assert_eq!(sori(&["keys", "revoke", "phone"]).0, Some(0));
    assert_eq!(sori(&["keys", "revoke", "phone"]).0, Some(1));
}

#[test]
fn a_collector_that_the_environment_names_gets_the_spans_of_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let collector = Receiver::answering(Vec::new());
    let endpoint = collector.url.trim_end_matches("/hook").to_owned();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let server = Service::with(folder.path(), &["--log-level", "info"], &variables);
    let (_, job) = server.upload(&recording(), &[]).expect("accepted");
    let id = job["id"].as_str().expect("an id");
    assert_eq!(server.end_of(id), "done");
    server.terminate();
    let got = collector.next();
    assert_eq!(got.header("content-type"), "application/x-protobuf");
    let body = String::from_utf8_lossy(&got.body).into_owned();
    assert!(body.contains(id) && body.contains("transcribe"), "{body}");
    assert!(!body.contains("happy"), "no text goes out");
}

/// Makes or removes a database of a server.
fn sql(server: &str, statement: &str) {
    use sqlx::{Connection, Executor};
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::AnyConnection::connect(server)
            .await
            .expect("it answers");
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        connection.execute(statement).await.expect("done");
    });
}

/// A job of a server that keeps jobs in `variable`'s database, and is killed while it works.
fn is_killed_with_its_jobs_in(variable: &str, drop: &str) {
    let Ok(database) = std::env::var(variable) else {
        eprintln!("SKIPPED: {variable} is not set; see scripts/services");
        return;
    };
    let name = format!(
        "sori_{}",
        std::time::UNIX_EPOCH
            .elapsed()
            .expect("after 1970")
            .as_nanos()
    );
    sql(&database, &format!("CREATE DATABASE {name}"));
    let (place, _) = database.rsplit_once('/').expect("a URL");
    let folder = tempfile::tempdir().expect("a folder");
    let place = format!("{place}/{name}");
    let environment = [("SORI_STORAGE_DATABASE", place.as_str())];
    let server = Service::with(folder.path(), &[], &environment);
    let (status, job) = server.upload(&long(60), &[]).expect("accepted");
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().expect("an id");
    server.until(id, |job| job["progress"].as_u64() > Some(10));
    server.kill();
    let again = Service::with(folder.path(), &[], &environment);
    assert_eq!(again.end_of(id), "done");
    let job = again.get(&format!("/v1/jobs/{id}")).expect("a job");
    assert_eq!(job["attempts"], 2);
    let path = format!("/v1/jobs/{id}?purge=true");
    let (status, removed) = again.ask("DELETE", &path, ("", b"")).expect("an answer");
    assert_eq!(status, 200, "{removed}");
    again.kill();
    assert!(
        !folder.path().join("sori.db").exists(),
        "jobs are elsewhere"
    );
    sql(&database, &format!("DROP DATABASE {name}{drop}"));
}

#[test]
fn a_server_with_postgresql_is_killed_and_goes_on() {
    is_killed_with_its_jobs_in("SORI_TEST_POSTGRES", " WITH (FORCE)");
}

#[test]
fn a_server_with_mariadb_is_killed_and_goes_on() {
    is_killed_with_its_jobs_in("SORI_TEST_MARIADB", "");
}
