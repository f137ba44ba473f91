//! Remembered voices over a real socket: enrolling, naming, renaming, merging, forgetting, and whose they are.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use sori_server::admin::Admin;
use sori_server::config::ServerConfig;
use sori_server::keys::Scope;
use support::{Answer, Server};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

/// A form with this name, these recordings and these other fields.
fn form(name: &str, recordings: &[&str], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (field, value) in fields.iter().copied().chain([("name", name)]) {
        body +=
            &format!("--b\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
    }
    for recording in recordings {
        body += &format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"v.wav\"\r\n\r\n{recording}\r\n"
        );
    }
    (body + "--b--\r\n").into_bytes()
}

/// One who asks, with a key or without.
struct Client<'a>(&'a Server, Option<String>);

impl Client<'_> {
    fn ask(&self, method: &str, path: &str, kind: (&str, &str), body: &[u8]) -> Answer {
        let key = self.1.as_deref().map(|key| ("authorization", key));
        let headers: Vec<_> = key.into_iter().chain([kind]).collect();
        self.0.ask(method, path, &headers, body)
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let kind = ("content-type", "application/json");
        self.ask(method, path, kind, body.to_string().as_bytes())
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, ("accept", "*/*"), b"")
    }

    fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, ("accept", "*/*"), b"")
    }

    fn enroll(&self, name: &str, recordings: &[&str]) -> Answer {
        self.ask("POST", "/v1/speakers", FORM, &form(name, recordings, &[]))
    }

    fn names(&self) -> Vec<String> {
        let list = self.get("/v1/speakers").json();
        let speakers = list["speakers"].as_array().expect("a list");
        let names = speakers.iter().map(|s| s["name"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    }

    /// The voices that a job of this client was given.
    fn known(&self) -> Value {
        let body = form("talk", &["say hello"], &[]);
        let job = self.ask("POST", "/v1/jobs", FORM, &body);
        let id = job.json()["id"].as_str().expect("an id").to_owned();
        for _ in 0..3000 {
            let result = self.get(&format!("/v1/jobs/{id}/result"));
            if result.status == 200 {
                return result.json()["voices"].clone();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("the job does not end")
    }
}

fn files_in(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let entries = entries.map(|entry| entry.expect("listed").path());
    entries
        .map(|path| if path.is_dir() { files_in(&path) } else { 1 })
        .sum()
}

#[test]
fn a_voice_is_remembered_renamed_merged_and_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let client = Client(&server, None);
    assert_eq!(client.get("/v1/speakers").json(), json!({"speakers": []}));
    let made = client.enroll("김민아", &["say one", "say two"]);
    assert_eq!(made.status, 201, "{}", made.text);
    let facts = made.json();
    for (field, value) in [
        ("name", json!("김민아")),
        ("embedder", json!("fake")),
        ("seconds", json!(20.0)),
        ("recordings", json!(2)),
        ("owner", json!(null)),
    ] {
        assert_eq!(facts[field], value, "{field}");
    }
    assert!(facts["created_at"].as_str().expect("a time").contains('T'));
    let listed = client.get("/v1/speakers");
    assert_eq!(listed.json()["speakers"], json!([facts]));
    for answer in [&made, &listed] {
        assert!(!answer.text.contains("centroid"));
    }
    // The recordings are gone; the job that learned the voice has no document.
    assert_eq!(files_in(&folder.path().join("blobs")), 0);
    let jobs = client.get("/v1/jobs").json();
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["work"], &job["state"], &job["result_url"]),
        (&json!("enroll"), &json!("done"), &json!(null))
    );
    let id = job["id"].as_str().expect("an id");
    let rerun = client.json("POST", &format!("/v1/jobs/{id}/rerun"), &json!({}));
    assert_eq!(rerun.status, 409);
    let result = client.get(&format!("/v1/jobs/{id}/result"));
    assert_eq!(result.status, 404, "{}", result.text);
    // A name that is taken.
    assert_eq!(client.enroll("김민아", &["say x"]).status, 409);
    let body = form("김민아", &["say x"], &[("replace", "true")]);
    let replaced = client.ask("POST", "/v1/speakers", FORM, &body);
    assert_eq!(
        (replaced.status, replaced.json()["recordings"].as_u64()),
        (201, Some(1))
    );
    assert_eq!(client.known(), json!(["김민아"]));
    // Another name, with what paths are made of.
    let korean = "/v1/speakers/%EA%B9%80%EB%AF%BC%EC%95%84";
    let slashes = json!({"name": "민아/영업 50%?"});
    let renamed = client.json("PATCH", korean, &slashes);
    assert_eq!(
        (renamed.status, &renamed.json()["name"]),
        (200, &slashes["name"])
    );
    assert_eq!(client.delete(korean).status, 404);
    assert_eq!(client.known(), json!(["민아/영업 50%?"]));
    let encoded = "/v1/speakers/%EB%AF%BC%EC%95%84%2F%EC%98%81%EC%97%85%2050%25%3F";
    // Two become one.
    assert_eq!(client.enroll("Mina", &["say a", "say b"]).status, 201);
    let taken = client.json("PATCH", encoded, &json!({"name": "Mina"}));
    assert_eq!(taken.status, 409);
    let path = format!("{encoded}/merge");
    for (into, status) in [("nobody", 404), ("민아/영업 50%?", 409), ("Mina", 200)] {
        let merged = client.json("POST", &path, &json!({"into": into}));
        assert_eq!(merged.status, status, "{into}: {}", merged.text);
    }
    assert_eq!(client.names(), ["Mina"]);
    let merged = &client.get("/v1/speakers").json()["speakers"][0];
    assert_eq!(
        (&merged["seconds"], &merged["recordings"]),
        (&json!(30.0), &json!(3))
    );
    // Gone is gone.
    let gone = client.delete("/v1/speakers/Mina");
    assert_eq!(
        (gone.status, gone.json()),
        (200, json!({"name": "Mina", "left": 0}))
    );
    for answer in [
        client.delete("/v1/speakers/Mina"),
        client.json("PATCH", "/v1/speakers/Mina", &json!({"name": "M"})),
        client.json("POST", "/v1/speakers/Mina/merge", &json!({"into": "M"})),
    ] {
        assert_eq!(answer.status, 404);
    }
    assert_eq!(client.known(), json!([]));
}

#[test]
fn what_is_not_good_enough_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[]);
    let client = Client(&server, None);
    let refused = client.enroll("Mina", &["say a", "fail input"]);
    assert_eq!(refused.status, 422, "{}", refused.text);
    let message = refused.json()["error"]["message"].to_string();
    assert!(
        message.contains("sample 1: as the recording says")
            && !message.contains(&folder.path().display().to_string()),
        "{message}"
    );
    assert_eq!(files_in(&folder.path().join("blobs")), 0);
    let long = "x".repeat(201);
    for name in [
        "",
        " ",
        ".",
        "..",
        "a\u{202e}b",
        "a\u{7}b",
        "SPEAKER_00",
        &long,
    ] {
        let answer = client.enroll(name, &["say a"]);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!("name")),
            "{name:?}"
        );
    }
    for recordings in [&[][..], &["say a"; 21]] {
        let answer = client.enroll("Mina", recordings);
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    assert_eq!(client.enroll("Mina", &["say a"]).status, 201);
    let hostile = client.json("PATCH", "/v1/speakers/Mina", &json!({"name": "\u{0}"}));
    assert_eq!(hostile.status, 400);
    // A worker that dies costs a try, not the voice.
    assert_eq!(client.enroll("Ann", &["crash 1"]).status, 201);
    assert_eq!(client.names(), ["Ann", "Mina"]);
}

#[test]
fn an_enrolment_that_takes_long_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("limits.wait_seconds", "1")]);
    let client = Client(&server, None);
    let answer = client.enroll("Mina", &["slow 3"]);
    assert_eq!(answer.status, 202, "{}", answer.text);
    let place = answer.headers["location"].to_str().expect("text");
    let id = place.strip_prefix("/v1/jobs/").expect("a job");
    assert_eq!(server.end_of(id), "done");
    assert_eq!(client.names(), ["Mina"]);
}

#[test]
fn a_voice_belongs_to_the_key_that_enrolled_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), &[("access.keys", "always")]);
    let data = folder.path().display().to_string();
    let config = ServerConfig::load(None, std::iter::empty(), &[("server.data", data)]);
    let keys = Admin::open(&config.expect("settings")).expect("a database");
    let key = |name: &str, scopes: &[Scope]| {
        let key = keys.add_key(name, scopes, (0, None)).expect("a key");
        Client(&server, Some(format!("Bearer {key}")))
    };
    let both = [Scope::JobsRead, Scope::JobsWrite];
    let (a, b) = (key("a", &both), key("b", &both));
    let (reader, admin) = (key("r", &[Scope::JobsRead]), key("admin", &[Scope::Admin]));
    let nobody = Client(&server, None);
    assert_eq!(nobody.get("/v1/speakers").status, 401);
    assert_eq!(nobody.enroll("Mina", &["say a"]).status, 401);
    assert_eq!(reader.enroll("Mina", &["say a"]).status, 403);
    let mine = a.enroll("Mina", &["say a"]);
    assert_eq!(mine.status, 201, "{}", mine.text);
    let owner = mine.json()["owner"].as_str().expect("a key").to_owned();
    // The name is free for another key; that key's voices are its own.
    assert!(b.names().is_empty());
    for answer in [
        b.delete("/v1/speakers/Mina"),
        b.delete(&format!("/v1/speakers/Mina?owner={owner}")),
        b.get(&format!("/v1/speakers?owner={owner}")),
        b.json("PATCH", "/v1/speakers/Mina", &json!({"name": "M"})),
        b.json("POST", "/v1/speakers/Mina/merge", &json!({"into": "M"})),
    ] {
        assert_eq!(answer.status, 404, "{}", answer.text);
    }
    assert_eq!(b.enroll("Mina", &["say a", "say b"]).status, 201);
    assert_eq!(b.enroll("Bo", &["say a"]).status, 201);
    assert_eq!(
        (a.known(), b.known()),
        (json!(["Mina"]), json!(["Bo", "Mina"]))
    );
    assert_eq!(reader.delete("/v1/speakers/Mina").status, 403);
    // An admin sees all, and says whose voice is meant.
    assert_eq!(admin.names(), ["Bo", "Mina", "Mina"]);
    assert_eq!(admin.known(), json!([]));
    assert_eq!(admin.delete("/v1/speakers/Mina").status, 404);
    let path = format!("/v1/speakers/Mina?owner={owner}");
    assert_eq!(admin.delete(&path).status, 200);
    assert_eq!((a.names().len(), b.names().len()), (0, 2));
}
