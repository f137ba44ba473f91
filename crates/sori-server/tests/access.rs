//! Who may ask: keys, scopes, rates, and what requests may not name.

mod support;

use serde_json::json;
use sori_server::admin::Admin;
use sori_server::config::ServerConfig;
use sori_server::keys::Scope;
use support::Server;

fn admin(folder: &tempfile::TempDir) -> Admin {
    let data = folder.path().display().to_string();
    let config = ServerConfig::load(None, std::iter::empty(), &[("server.data", data)]);
    Admin::open(&config.expect("settings")).expect("a database")
}

#[test]
fn a_server_for_others_asks_for_keys_and_makes_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("access.keys", "always")]);
    let key = server.key.clone().expect("a first key");
    for path in ["/v1/jobs", "/metrics", "/v1/installed"] {
        let refused = server.get(path);
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.headers.contains_key("www-authenticate"));
    }
    for path in ["/livez", "/health", "/readyz", "/openapi.json"] {
        assert_ne!(server.get(path).status, 401, "{path}");
    }
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("Token {key}")),
        ("x-api-key", key.clone()),
    ] {
        let answer = server.ask("GET", "/v1/jobs", &[(name, &value)], b"");
        assert_eq!(answer.status, 200, "{name}");
    }
    let wrong = format!("Bearer {}x", &key[..key.len() - 1]);
    assert_eq!(
        server
            .ask("GET", "/v1/jobs", &[("authorization", &wrong)], b"")
            .status,
        401
    );
    server.stop();
    let again = Server::start(folder.path(), &[("access.keys", "always")]);
    assert_eq!(again.key, None);
}

#[test]
fn a_key_opens_its_scopes_and_its_own_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("access.keys", "always")]);
    let admin = admin(&folder);
    let key = |name: &str, scopes: &[Scope], end| {
        let key = admin.add_key(name, scopes, (0, end)).expect("a key");
        format!("Bearer {key}")
    };
    let both = [Scope::JobsRead, Scope::JobsWrite];
    let (a, b) = (key("a", &both, None), key("b", &both, None));
    let reader = key("reader", &[Scope::JobsRead], None);
    let ended = key("ended", &both, Some(1));
    let multipart = "multipart/form-data; boundary=b";
    let body = b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nsay x\r\n--b--\r\n";
    let post = |key: &str| {
        let headers = [("authorization", key), ("content-type", multipart)];
        server.ask("POST", "/v1/jobs", &headers, body)
    };
    assert_eq!(post(&reader).status, 403);
    assert_eq!(post(&ended).status, 401);
    let job = post(&a).json()["id"].as_str().expect("a job").to_owned();
    let path = format!("/v1/jobs/{job}");
    let get = |key: &str, path: &str| server.ask("GET", path, &[("authorization", key)], b"");
    assert_eq!(get(&a, &path).status, 200);
    assert_eq!(get(&b, &path).status, 404);
    assert_eq!(get(&b, "/v1/jobs").json()["jobs"], json!([]));
    // Numbers of others are nobody's business but an operator's.
    let counted = |key: &str| get(key, "/v1/stats").json()["by_state"]["done"].clone();
    while counted(&a) == json!(0) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(counted(&b), json!(0));
    let stats = get(&b, "/v1/stats").json();
    assert_eq!(
        (&stats["deliveries_waiting"], &stats["oldest_seconds"]),
        (&json!(null), &json!(null))
    );
    let scraper = key("scraper", &[Scope::Metrics], None);
    assert_eq!(get(&scraper, "/metrics").status, 200);
    assert_eq!(get(&scraper, "/v1/jobs").status, 403);
    assert_eq!(get(&a, "/metrics").status, 403);
    assert_eq!(
        server
            .ask("DELETE", &path, &[("authorization", &b)], b"")
            .status,
        404
    );
    admin.revoke_key("a").expect("revoked");
    assert_eq!(get(&a, &path).status, 401);
}

#[test]
fn a_key_has_so_many_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("access.keys", "always"),
        ("access.requests_per_minute", "3"),
    ];
    let server = Server::start(folder.path(), &settings);
    let key = format!("Bearer {}", server.key.clone().expect("a key"));
    let ask = || server.ask("GET", "/v1/jobs", &[("authorization", &key)], b"");
    let last = (0..3).map(|_| ask()).fold(ask(), |_, answer| answer);
    assert_eq!(last.status, 429);
    assert!(last.headers.contains_key("retry-after"));
    assert_eq!(last.headers["ratelimit-limit"], "3");
}

#[test]
fn a_full_queue_refuses_before_work_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("limits.queued_jobs", "1")]);
    let running = server.job("slow 30");
    server.until(&running, |job| job["state"] == "running");
    let body = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"talk.txt\"\r\n\r\nsay waits\r\n--b--\r\n";
    // Who was accepted before is told so, however full it is now.
    let known = |server: &Server, key: &str| {
        let multipart = ("content-type", "multipart/form-data; boundary=b");
        let headers = [("idempotency-key", key), multipart];
        server
            .ask("POST", "/v1/jobs", &headers, body.as_bytes())
            .status
    };
    assert_eq!(known(&server, "mine"), 202);
    let refused = server.upload("say no", &[]);
    assert_eq!(refused.status, 429, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    // After a restart the queue is looked at anew.
    server.stop();
    let server = Server::start(folder.path(), &[("limits.queued_jobs", "1")]);
    assert_eq!(known(&server, "mine"), 200);
    assert_eq!(known(&server, "other"), 429);
    let other = tempfile::tempdir().expect("a folder");
    let large = Server::start(other.path(), &[("limits.media_bytes", "10")]);
    assert_eq!(large.upload("say more than ten bytes", &[]).status, 413);
    large.stop();
    let full = Server::start(
        other.path(),
        &[("limits.free_bytes", "9000000000000000000")],
    );
    assert_eq!(full.upload("say x", &[]).status, 507);
    full.stop();
    let full = Server::start(other.path(), &[("limits.free_memory_mb", "900000000")]);
    let refused = full.upload("say x", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    let ready = full.get("/readyz");
    assert_eq!((ready.status, &ready.json()["room"]), (503, &json!(false)));
    let numbers = full.get("/metrics").text;
    assert!(
        numbers.contains("sori_jobs_refused_total{reason=\"unavailable\"} 1"),
        "{numbers}"
    );
}

#[test]
fn files_are_read_below_open_folders_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let media = tempfile::tempdir().expect("a folder");
    let inside = media.path().join("talk.txt");
    std::fs::write(&inside, "say inside").expect("written");
    std::os::unix::fs::symlink("/etc/passwd", media.path().join("link")).expect("linked");
    let root = media.path().display().to_string();
    let server = Server::start(folder.path(), &[("sources.media_roots", &root)]);
    let ask = |path: &str| server.post("/v1/jobs", &json!({ "path": path }));
    let good = ask(&inside.display().to_string());
    assert_eq!(good.status, 202, "{}", good.text);
    assert_eq!(
        server.end_of(good.json()["id"].as_str().expect("an id")),
        "done"
    );
    for path in ["link", "../x", "none"] {
        let refused = ask(&media.path().join(path).display().to_string());
        assert!(
            [403, 422].contains(&refused.status),
            "{path}: {}",
            refused.text
        );
    }
    assert_eq!(ask("/etc/passwd").status, 403);
}

#[test]
fn answers_carry_the_headers_that_protect_browsers() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(
        folder.path(),
        &[("server.cors_origins", "https://ok.example")],
    );
    let answer = server.get("/livez");
    for name in [
        "x-content-type-options",
        "content-security-policy",
        "x-frame-options",
        "referrer-policy",
    ] {
        assert!(answer.headers.contains_key(name), "{name}");
    }
    let from = |origin: &str| server.ask("GET", "/health", &[("origin", origin)], b"");
    let allowed = |origin: &str| {
        from(origin)
            .headers
            .get("access-control-allow-origin")
            .cloned()
    };
    assert_eq!(allowed("https://evil.example"), None);
    assert_eq!(
        allowed("https://ok.example").expect("allowed"),
        "https://ok.example"
    );
}

#[test]
fn numbers_are_told_in_openmetrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("workers.retry_seconds", "0,0,0")]);
    // It loses every worker that has it, and only those.
    let poison = server.job("crash 99");
    let id = server.job("say x");
    assert_eq!(server.end_of(&id), "done");
    assert_eq!(server.end_of(&poison), "failed");
    let error = &server.get(&format!("/v1/jobs/{poison}")).json()["error"];
    assert_eq!(error["kind"], "lost", "{error}");
    let again = server.job("say ready");
    server.end_of(&again);
    server.ask("DELETE", &format!("/v1/jobs/{again}?purge=true"), &[], b"");
    server.post("/v1/jobs", &json!({"url": "http://169.254.169.254/latest"}));
    let text = server.get("/metrics").text;
    let resident = text
        .lines()
        .find_map(|l| l.strip_prefix("sori_worker_resident_bytes "));
    let resident = resident.and_then(|n| n.parse::<u64>().ok());
    assert!(resident.is_some_and(|n| n > 1 << 20), "{text}");
    for line in [
        "sori_jobs_total{task=\"analyze\",state=\"done\"} 2",
        "sori_jobs_total{task=\"analyze\",state=\"failed\"} 1",
        "sori_dead_letters_total 1",
        "sori_job_attempts_total{reason=\"lost_worker\"} 5",
        "sori_queue_depth{queue=\"normal\"} 0",
        "sori_queue_oldest_seconds{queue=\"high\"} 0",
        "sori_workers_ready 1",
        "sori_model_load_seconds_count 6",
        "sori_webhook_delay_seconds_count 0",
        "sori_rtf_ratio_sum{stage=\"vad\",model=\"\"} 0.1",
        "sori_netguard_denied_total{rule=\"",
        "sori_http_requests_total{route=\"/v1/jobs\",status=\"202\"} 3",
        "sori_audio_seconds_total{stage=\"vad\",model=\"\"} 4",
        "sori_job_duration_seconds_count{task=\"analyze\"} 3",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn who_says_nothing_holds_no_place_for_long() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("limits.header_seconds", "1"),
        ("limits.idle_seconds", "1"),
        ("limits.connections", "12"),
    ];
    let server = Server::start(folder.path(), &settings);
    let address = server.url.trim_start_matches("http://").to_owned();
    let connect = |head: &str| {
        let mut stream = std::net::TcpStream::connect(&address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("written");
        stream
    };
    let heads = [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "GET /livez HT",
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
        "POST /v1/jobs HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100\r\n\r\n--b\r\n",
    ];
    let mut held: Vec<_> = (0..12).map(|i| connect(heads[i % 6])).collect();
    for (i, stream) in held.iter_mut().enumerate() {
        let mut answer = Vec::new();
        // It ends: closed, or answered and closed, and that by the server.
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .expect("set");
        let end = stream.read_to_end(&mut answer);
        assert!(end.is_ok(), "{:?}: {end:?}", heads[i % 6]);
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    // The clients still hold their ends.
    assert_eq!(server.get("/livez").status, 200);
    drop(held);
}

#[test]
fn pages_of_other_sites_do_not_use_a_server_without_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("server.cors_origins", "https://ok.example"),
        ("server.names", "box.lan"),
    ];
    let server = Server::start(folder.path(), &settings);
    let own = server.url.clone();
    let ask = |headers: &[(&str, &str)]| server.ask("GET", "/v1/jobs", headers, b"").status;
    assert_eq!(ask(&[("origin", "https://evil.example")]), 403);
    assert_eq!(ask(&[("origin", "null")]), 403);
    assert_eq!(ask(&[("host", "evil.example")]), 403);
    let invented = format!("Bearer sk-sori-{}", "A".repeat(43));
    let both = [
        ("host", "evil.example"),
        ("authorization", invented.as_str()),
    ];
    assert_eq!(ask(&both), 403);
    assert_eq!(ask(&[("origin", "https://ok.example")]), 200);
    assert_eq!(ask(&[("origin", &own)]), 200);
    assert_eq!(ask(&[("host", "box.lan:8080")]), 200);
    assert_eq!(ask(&[("host", "localhost")]), 200);
}
