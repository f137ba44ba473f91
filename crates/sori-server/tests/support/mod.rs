//! A server on a free port with workers that do what their recordings say, and a client for it.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod receiver;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use sori_server::config::ServerConfig;
use sori_server::{ServeError, Started, Wiring, WorkerCommand, serve};

/// A server that runs until it is dropped.
pub struct Server {
    /// Its address.
    pub url: String,
    /// The first key, where keys are asked for.
    pub key: Option<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

/// An answer.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: ureq::http::HeaderMap,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

impl Server {
    /// A server on the data folder with these settings (`section.key`, value).
    pub fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut flags = vec![
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("server.data", data.display().to_string()),
            ("server.drain_seconds", "2".to_owned()),
            ("limits.free_bytes", "0".to_owned()),
        ];
        flags.extend(settings.iter().map(|(k, v)| (*k, (*v).to_owned())));
        let config = ServerConfig::load(None, std::iter::empty(), &flags).expect("settings");
        let stop = Arc::new(AtomicBool::new(false));
        let (told, started) = mpsc::sync_channel(1);
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/worker.py");
            let wiring = Wiring {
                worker: WorkerCommand {
                    program: PathBuf::from("python3"),
                    arguments: vec![script.display().to_string()],
                },
                models: Vec::new(),
                stop: &asked,
                started: &move |server: Started<'_>| {
                    let key = server.key.map(str::to_owned);
                    told.send((server.url.to_owned(), key))
                        .expect("the test waits");
                },
            };
            serve(config, wiring)
        });
        match started.recv_timeout(Duration::from_secs(30)) {
            Ok((url, key)) => Self {
                url,
                key,
                stop,
                thread: Some(thread),
            },
            Err(_) => panic!("no start: {:?}", thread.join().expect("no panic")),
        }
    }

    /// Asks; any status is an answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = agent
            .run(request.body(body).expect("a request"))
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.body_mut().read_to_string().expect("text"),
        }
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Uploads a recording with these fields.
    pub fn upload(&self, recording: &str, fields: &[(&str, &str)]) -> Answer {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!(
                "--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        body += &format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"talk.txt\"\r\n\r\n{recording}\r\n--b--\r\n"
        );
        let headers = [("content-type", "multipart/form-data; boundary=b")];
        self.ask("POST", "/v1/jobs", &headers, body.as_bytes())
    }

    /// Uploads and returns the job's id.
    pub fn job(&self, recording: &str) -> String {
        let answer = self.upload(recording, &[]);
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the job is as `is` says.
    pub fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).json();
            if is(&job) {
                return job;
            }
            assert!(Instant::now() < end, "still {job}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the job has ended, and returns its state.
    pub fn end_of(&self, id: &str) -> String {
        let ended = ["done", "partial", "failed", "cancelled"];
        let job = self.until(id, |job| {
            ended.contains(&job["state"].as_str().expect("a state"))
        });
        job["state"].as_str().expect("a state").to_owned()
    }

    /// Stops it as SIGTERM does.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic").expect("a clean end");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.halt();
        }
    }
}
