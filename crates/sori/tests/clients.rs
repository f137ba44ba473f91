//! A real server and those that others wrote to ask it: official clients of the APIs that it speaks, an S3 server, and a tester
//! that asks whatever the OpenAPI document allows.
//!
//! `SORI_PYTHON` names a Python with `tests/clients/requirements.txt` (`scripts/python` makes one), `SORI_TEST_S3` an S3 server
//! (`scripts/services`); without them these tests say that they are skipped.

#[allow(dead_code, reason = "a part is used")]
mod service;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use service::{Service, recording};

/// A Python that has the clients, or nothing and the word that the test is skipped.
fn python() -> Option<PathBuf> {
    let path = std::env::var_os("SORI_PYTHON").map(PathBuf::from);
    if path.is_none() {
        eprintln!("SKIPPED: SORI_PYTHON is not set; see scripts/python");
    }
    path
}

fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    path.join(name).display().to_string()
}

/// Runs a command to its end; what it said.
fn run(command: &mut Command) -> String {
    // A proxy of the machine is not asked for loopback.
    command.env("NO_PROXY", "127.0.0.1");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{error}");
    said
}

/// Runs a script of `tests/clients`, which checks by itself; what it said.
fn client(python: &Path, script: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let said = run(Command::new(python)
        .arg(folder.join(script))
        .args(arguments));
    assert!(said.contains(": ok"), "{script}: {said}");
    said
}

/// A server in a folder with these settings.
fn configured(folder: &Path, settings: &str, environment: &[(&str, &str)]) -> Service {
    let file = folder.join("sori.toml");
    std::fs::write(&file, settings).expect("written");
    let file = file.display().to_string();
    Service::with(&folder.join("data"), &["--config", &file], environment)
}

#[test]
fn openais_client_is_content() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    for (name, speakers) in [
        ("english.wav", "speakers A\n"),
        ("conversation.wav", "speakers A B\n"),
    ] {
        let said = client(&python, "openai_client.py", &[&server.url, &sample(name)]);
        assert!(said.ends_with(speakers), "{name}: {said}");
    }
}

#[test]
fn clients_with_a_key_are_served_and_others_are_told() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "[access]\nkeys = \"always\"\n", &[]);
    let made = run(Command::new(env!("CARGO_BIN_EXE_sori"))
        .args(["keys", "add", "clients", "--data"])
        .arg(folder.path().join("data")));
    let key = made.trim();
    let given = [server.url.as_str(), &sample("english.wav"), key];
    for script in ["openai_client.py", "deepgram_client.py", "tus_client.py"] {
        client(&python, script, &given);
    }
    let (status, refused) = server.ask("GET", "/v1/jobs", ("", b"")).expect("an answer");
    assert_eq!(status, 401, "{refused}");
}

#[test]
fn deepgrams_client_is_content() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    let given = [server.url.as_str(), &sample("conversation.wav")];
    client(&python, "deepgram_client.py", &given);
}

#[test]
fn an_upload_that_breaks_off_is_taken_up_by_the_client_of_tus() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Service::start(folder.path(), &[]);
    let given = [server.url.as_str(), &sample("conversation.wav")];
    client(&python, "tus_client.py", &given);
}

#[test]
fn callbacks_are_verified_by_the_library_of_standard_webhooks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // Two secrets, as while one is replaced by the other; each alone has to do.
    let secrets = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    ];
    let settings =
        format!("[sources]\nallow_net = [\"127.0.0.1\"]\n[callbacks]\nsecrets = {secrets:?}\n");
    let server = configured(folder.path(), &settings, &[]);
    let path = sample("english.wav");
    let given = [server.url.as_str(), &path, secrets[0], secrets[1]];
    client(&python, "callback_client.py", &given);
}

/// An S3 server with a bucket of its own; requests of this test need no signature that holds, those of `sori` have one.
struct Bucket {
    endpoint: String,
    name: String,
}

impl Bucket {
    /// A new bucket of the server that the environment names.
    fn new(what: &str) -> Option<Self> {
        let Ok(endpoint) = std::env::var("SORI_TEST_S3") else {
            eprintln!("SKIPPED: SORI_TEST_S3 is not set; see scripts/services");
            return None;
        };
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let name = format!("sori-{what}-{}", since.as_nanos());
        let bucket = Self { endpoint, name };
        bucket.ask("PUT", "", Vec::new());
        Some(bucket)
    }

    fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> String {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/{}{path}", self.endpoint, self.name))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0");
        let mut answer = ureq::run(request.body(body).expect("a request")).expect("S3 answers");
        answer.body_mut().read_to_string().expect("text")
    }

    /// How many objects there are.
    fn count(&self) -> usize {
        let list = self.ask("GET", "?list-type=2", Vec::new());
        assert!(list.contains("<ListBucketResult"), "{list}");
        list.matches("<Key>").count()
    }
}

#[test]
fn a_bucket_keeps_results_and_gives_recordings() {
    let (Some(kept), Some(given)) = (Bucket::new("kept"), Bucket::new("given")) else {
        return;
    };
    given.ask("PUT", "/talks/english.wav", recording());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "[storage]\nblobs = \"s3://{}/deep/er\"\ns3_endpoint = \"{}\"\n[sources]\ns3_buckets = [\"{}\"]\n[limits]\nmedia_bytes = 200000\n",
        kept.name, kept.endpoint, given.name
    );
    let environment = [
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_REGION", "us-east-1"),
    ];
    let server = configured(folder.path(), &settings, &environment);
    let ask = |method: &str, path: &str, body: Value| {
        let body = body.to_string();
        let answer = server.ask(method, path, ("application/json", body.as_bytes()));
        let (status, text) = answer.expect("an answer");
        let json = serde_json::from_str::<Value>(&text).expect("JSON");
        (status, json)
    };
    let id = |job: &Value| job["id"].as_str().expect("an id").to_owned();
    let said = "i am very happy with the result of this interview";

    let (status, sent) = server.upload(&recording(), &[]).expect("an answer");
    assert_eq!(status, 202, "{sent}");
    let sent = id(&sent);
    assert_eq!(server.end_of(&sent), "done");
    let place = format!("s3://{}/talks/english.wav", given.name);
    let (status, named) = ask("POST", "/v1/jobs", serde_json::json!({"url": place}));
    assert_eq!(status, 202, "{named}");
    let named = id(&named);
    assert_eq!(server.end_of(&named), "done");
    for job in [&sent, &named] {
        let (_, rerun) = ask(
            "POST",
            &format!("/v1/jobs/{job}/rerun"),
            serde_json::json!({}),
        );
        assert_eq!(rerun["id"], job.as_str(), "{rerun}");
        assert_eq!(server.end_of(job), "done");
        let result = server.get(&format!("/v1/jobs/{job}/result"));
        assert_eq!(result.expect("a document")["text"], said);
        let page = format!("/v1/jobs/{job}/result?format=html");
        let (status, page) = server.ask("GET", &page, ("", b"")).expect("a page");
        assert!(status == 200 && page.contains(said.split(' ').next().expect("a word")));
    }

    // The recording of the one that was sent, and three results of each.
    assert_eq!(kept.count(), 7);
    for (job, files) in [(&sent, 4), (&named, 3)] {
        let (status, removed) = ask("DELETE", &format!("/v1/jobs/{job}?purge=true"), Value::Null);
        assert_eq!(
            (status, removed["left"].as_u64()),
            (200, Some(0)),
            "{removed}"
        );
        assert_eq!(removed["blobs"], files, "{removed}");
    }
    assert_eq!((kept.count(), given.count()), (0, 1));

    let (status, denied) = ask(
        "POST",
        "/v1/jobs",
        serde_json::json!({"url": format!("s3://{}/x", kept.name)}),
    );
    assert_eq!(status, 403, "{denied}");
    given.ask("PUT", "/large", vec![0; 200_001]);
    for (key, why) in [("none", "there is no"), ("large", "200000 bytes")] {
        let place = format!("s3://{}/{key}", given.name);
        let (_, job) = ask("POST", "/v1/jobs", serde_json::json!({"url": place}));
        let ended = server.until(&id(&job), |job| {
            job["state"] != "queued" && job["state"] != "running"
        });
        assert_eq!(ended["state"], "failed", "{ended}");
        assert_eq!(ended["attempts"], 1, "{ended}");
        assert!(
            ended["error"]["message"]
                .as_str()
                .expect("why")
                .contains(why),
            "{ended}"
        );
    }
}

#[test]
fn the_server_does_as_its_description_says_and_nothing_breaks_it() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = configured(folder.path(), "", &[]);
    let program = python.with_file_name("schemathesis");
    let description = format!("{}/openapi.json", server.url);
    // Every operation is asked, also those that wait for their jobs: what it sends is no recording and fails at once. A fixed
    // seed, and a new folder for what it remembers: the same questions in each run.
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/openapi_hooks.py");
    run(Command::new(program)
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", hooks)
        .args(["run", &description, "--seed", "5", "--max-examples", "20"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,unsupported_method"])
        .args(["--request-timeout", "60", "--continue-on-failure"]));
    assert!(server.get("/health").is_some());
}
