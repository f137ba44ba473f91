//! The pages as a browser sees them, the description of the API, and what the dashboard asks for.

mod support;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sori_testing::golden::assert_text;
use support::Server;

/// A name that would run as a script wherever it is taken for HTML.
const HOSTILE: &str = "<img src=x onerror=document.title='owned'></script>\"'.wav";

#[test]
fn the_published_description_is_current() {
    let mut found = serde_json::to_string_pretty(&sori_server::openapi()).expect("plain data");
    found.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    assert_text(&found, &path);
}

/// Every operation as (method, path, description).
fn operations(api: &Value) -> Vec<(&String, &String, &Value)> {
    let paths = api["paths"].as_object().expect("paths");
    let methods = |path| api["paths"][path].as_object().expect("operations");
    let all = paths.keys().flat_map(|path| {
        methods(path)
            .iter()
            .map(move |(method, operation)| (method, path, operation))
    });
    all.collect()
}

#[test]
fn the_description_is_whole() {
    let api = sori_server::openapi();
    let tags = api["tags"].as_array().expect("tags");
    let tags: BTreeSet<_> = tags.iter().filter_map(|tag| tag["name"].as_str()).collect();
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&api) {
        let place = format!("{method} {path}");
        let tag = operation["tags"][0].as_str().expect("a tag");
        assert!(
            tags.contains(tag),
            "{place}: describe the tag {tag} in api/description.rs"
        );
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{place}: {id} is there twice");
        assert!(
            operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
            "{place}"
        );
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|s| s.starts_with('2')), "{place}");
        let open = operation["security"] == json!([{}]);
        assert_eq!(open, !responses.contains_key("401"), "{place}");
        assert!(responses.contains_key("500"), "{place}");
        for (status, response) in responses {
            let failed = status.starts_with(['4', '5']) && method != "head";
            assert!(
                !failed || response.get("content").is_some(),
                "{place}: {status}"
            );
        }
    }
    let result = &api["paths"]["/v1/jobs/{id}/result"]["get"]["responses"]["200"]["content"];
    let document = "#/components/schemas/Document";
    assert_eq!(
        result["application/json"]["schema"]["$ref"].as_str(),
        Some(document)
    );
    let text = api.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let target = reference.split('"').next().expect("the end of a text");
        assert!(
            api.pointer(&target[1..]).is_some_and(|v| !v.is_null()),
            "{target}"
        );
    }
    assert!(!text.contains("$defs"));
}

#[test]
fn pages_load_nothing_from_elsewhere_and_run_nothing_inline() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("access.keys", "always")]);
    for page in ["/", "/dashboard", "/docs", "/redoc"] {
        let answer = server.get(page);
        assert_eq!(answer.status, 200, "{page}");
        let policy = answer.headers["content-security-policy"]
            .to_str()
            .expect("text");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        for part in ["://", "<style", "style=", " onclick", " onload", "<script>"] {
            assert!(!answer.text.contains(part), "{page}: {part}");
        }
        let links = answer.text.split("=\"/web/").skip(1);
        let mut found = 0;
        for link in links.filter_map(|rest| rest.split('"').next()) {
            let file = server.get(&format!("/web/{link}"));
            assert_eq!(file.status, 200, "{link}");
            for part in [
                "innerHTML",
                "outerHTML",
                "insertAdjacent",
                "eval(",
                "document.write",
            ] {
                assert!(!file.text.contains(part), "{link}: {part}");
            }
            found += 1;
        }
        assert!(found >= 2, "{page}");
    }
    assert_eq!(server.get("/openapi.json").json(), sori_server::openapi());
    for locked in ["/v1/stats", "/v1/jobs/x/deliveries"] {
        assert_eq!(server.get(locked).status, 401, "{locked}");
    }
    let key = format!("Bearer {}", server.key.as_deref().expect("a first key"));
    let open = server.ask("GET", "/v1/stats", &[("authorization", &key)], b"");
    assert_eq!(open.status, 200, "{}", open.text);
    let lock = browse(&server, "/");
    assert!(lock.is_none_or(|page| page.contains("<form id=\"lock\" class=\"card narrow\">")));
}

#[test]
fn the_numbers_follow_the_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let before = server.get("/v1/stats").json();
    assert_eq!(before["times_real_time"], Value::Null);
    assert_eq!(before["oldest_seconds"], Value::Null);
    let done = server.job("say a");
    let failed = server.job("fail input");
    server.end_of(&done);
    server.end_of(&failed);
    let slow = server.job("hang");
    server.until(&slow, |job| job["state"] == "running");
    server.job("say b");
    let stats = server.get("/v1/stats").json();
    assert_eq!(
        (&stats["queued"], &stats["running"]),
        (&json!(1), &json!(1))
    );
    let states = json!({"queued": 1, "running": 1, "retrying": 0, "done": 1, "partial": 0, "failed": 1, "cancelled": 0});
    assert_eq!(stats["by_state"], states);
    assert!(
        stats["oldest_seconds"]
            .as_f64()
            .is_some_and(|age| age >= 0.0)
    );
    assert!(
        stats["times_real_time"]
            .as_f64()
            .is_some_and(|speed| speed > 0.0)
    );
    assert_eq!(stats["models"], json!({"transcribe": "fake"}));
    assert_eq!(stats["workers_ready"], 1);
    server.ask("DELETE", &format!("/v1/jobs/{slow}"), &[], b"");
    server.end_of(&slow);
}

/// A receiver that answers 200, and the ids it was told.
fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let told = Arc::new(Mutex::new(Vec::new()));
    let ids = Arc::clone(&told);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let text = request(&mut stream);
            let id = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("webhook-id")
                    .then(|| value.to_owned())
            });
            ids.lock().expect("no panic").extend(id);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).expect("answered");
        }
    });
    (format!("http://{address}/hook?token=secret"), told)
}

/// A whole request with its body.
fn request(stream: &mut impl Read) -> String {
    let whole = |text: &str| {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1)?;
        let length: usize = length.lines().next()?.trim().parse().ok()?;
        (body.len() >= length).then_some(())
    };
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while whole(&text).is_none() {
        let n = stream.read(&mut buffer).expect("bytes");
        assert!(n > 0, "the request ended early: {text}");
        text += &String::from_utf8_lossy(&buffer[..n]);
    }
    text
}

#[test]
fn deliveries_are_listed_and_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("sources.allow_net", "127.0.0.0/8")]);
    let (url, told) = receiver();
    let answer = server.upload("say a", &[("callback_url", &url)]);
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    server.end_of(&id);
    let path = format!("/v1/jobs/{id}/deliveries");
    let delivered = |tries: usize| {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let list = server.get(&path).json();
            let attempts = list[0]["attempts"].as_array().map_or(0, Vec::len);
            if attempts == tries && list[0]["state"] == "done" {
                return list;
            }
            assert!(std::time::Instant::now() < end, "still {list}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let first = delivered(1);
    assert_eq!(first[0]["attempts"][0]["status"], 200);
    assert!(!first.to_string().contains("secret"), "{first}");
    let name = first[0]["id"].as_str().expect("a name");
    let again = server.post(&format!("/v1/deliveries/{name}/replay"), &json!({}));
    assert_eq!(again.status, 202, "{}", again.text);
    delivered(2);
    let told = told.lock().expect("no panic");
    assert_eq!(told.iter().filter(|id| *id == name).count(), 2, "{told:?}");
    assert_eq!(
        server.post("/v1/deliveries/none/replay", &json!({})).status,
        404
    );
    assert_eq!(server.get("/v1/jobs/none/deliveries").status, 404);
}

/// What a browser makes of a page, without any other host; `None`, and a loud word, where there is no browser.
fn browse(server: &Server, page: &str) -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::var("PATH").unwrap_or_default();
    let found = std::env::split_paths(&found)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    let Some(browser) = found else {
        eprintln!("SKIPPED: no chromium here, {page} was not looked at; scripts/setup installs it");
        return None;
    };
    let profile = tempfile::tempdir().expect("a folder");
    let run = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--enable-logging=stderr",
            "--lang=en-US",
            "--virtual-time-budget=4000",
        ])
        // Whatever asks another host fails, and says so on the console.
        .args([
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("{}{page}", server.url))
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    let said = String::from_utf8_lossy(&run.stderr);
    let console: Vec<_> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
    let harmless = |line: &&&str| line.contains("status of 401");
    let console: Vec<_> = console.iter().filter(|line| !harmless(line)).collect();
    assert!(console.is_empty(), "{page}: {console:#?}");
    assert!(run.status.success(), "{page}: {said}");
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

#[test]
fn a_browser_shows_jobs_and_the_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let named = |recording, name| {
        let answer = server.upload(recording, &[("name", name)]);
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let done = named("say hello", HOSTILE);
    let failed = named("fail input", "broken.wav");
    server.end_of(&done);
    server.end_of(&failed);
    let slow = named("hang", "long talk.wav");
    server.until(&slow, |job| job["progress"].as_u64() > Some(3));
    if let Some(page) = browse(&server, "/") {
        assert!(page.contains("&lt;img src=x onerror"), "{page}");
        assert!(!page.contains("<img") && !page.contains("<title>owned"));
        for part in [
            "broken.wav",
            "input: as the recording says",
            "long talk.wav",
            "<progress max=\"100\"",
            "aria-label=\"Retry: broken.wav\"",
            "aria-label=\"Cancel: long talk.wav\"",
            &format!("href=\"/v1/jobs/{done}/result?format=docx\""),
            "transcribe: fake",
            "<form id=\"lock\" class=\"card narrow\" hidden=\"\">",
        ] {
            assert!(page.contains(part), "{part} is missing: {page}");
        }
    }
    for page in ["/docs", "/redoc"] {
        if let Some(html) = browse(&server, page) {
            for (_, path, operation) in operations(&sori_server::openapi()) {
                let id = operation["operationId"].as_str().expect("an id");
                assert!(html.contains(&format!("id=\"{id}\"")), "{page}: {path}");
            }
            assert_eq!(html.contains("class=\"try\""), page == "/docs");
        }
    }
    server.ask("DELETE", &format!("/v1/jobs/{slow}"), &[], b"");
    server.end_of(&slow);
}

#[test]
fn result_pages_have_an_origin_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let id = server.job("say hello");
    server.end_of(&id);
    let page = server.get(&format!("/v1/jobs/{id}/result?format=html"));
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(
        policy.contains("sandbox") && !policy.contains("allow-same-origin"),
        "{policy}"
    );
}
