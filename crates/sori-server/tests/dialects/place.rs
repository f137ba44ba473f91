//! A server with a worker that needs no models, and a client for it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde_json::Value;
use sori_server::config::ServerConfig;
use sori_server::{ModelInfo, Started, Wiring, WorkerCommand, serve};
use sori_timeline::{Document, Segment, SegmentSpeaker, Word};
use tempfile::TempDir;
use ureq::http::{HeaderMap, Request};

/// What was recorded, says the worker.
pub const TEXT: &str = "Hello, world. Bye.";

/// A server on a free port; it is stopped when this is dropped.
pub struct Place {
    /// Its address, `http://…`.
    pub url: String,
    /// What it keeps, and `media`, where requests may name files.
    pub folder: TempDir,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.map_or("", |value| value.expect("headers are ASCII"))
    }
}

impl Place {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let media = folder.path().join("media");
        std::fs::create_dir(&media).expect("a new folder");
        std::fs::write(media.join("talk.wav"), "RIFF").expect("a new file");
        let document = serde_json::to_vec(&document()).expect("a document is JSON");
        std::fs::write(folder.path().join("document.json"), document).expect("a new file");
        let mut config = ServerConfig::default();
        config.server.listen = "127.0.0.1:0".into();
        config.server.data = folder.path().join("data");
        config.sources.media_roots = vec![media];
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/dialects/worker.sh");
        let arguments = [
            script.display().to_string(),
            folder.path().display().to_string(),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        // One message: where the server listens.
        let (tell, told) = mpsc::sync_channel(1);
        let server = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let wiring = Wiring {
                    worker: WorkerCommand {
                        program: "/bin/sh".into(),
                        arguments: arguments.into(),
                    },
                    models: ["whisper", "vad"].map(model).into(),
                    stop: &stop,
                    started: &|started: Started<'_>| {
                        tell.send(started.url.to_owned()).expect("the test waits")
                    },
                };
                serve(config, wiring).expect("the server starts and stops");
            }
        });
        let url = told.recv().expect("the server starts");
        Self {
            url,
            folder,
            stop,
            server: Some(server),
        }
    }

    /// Sends a request; a status of an error is an answer like others.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let bare = ["GET", "HEAD", "DELETE", "OPTIONS"].contains(&method);
        let sent = match bare {
            true => agent.run(request.body(()).expect("a request")),
            false => agent.run(request.body(body).expect("a request")),
        };
        let mut answer = sent.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body_mut().read_to_vec().expect("a body"),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Vec::new())
    }

    pub fn post_json(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.ask("POST", path, &headers, body.to_string().into_bytes())
    }

    /// Posts a form with a file of this content.
    pub fn post_form(&self, path: &str, file: &str, fields: &[(&str, &str)]) -> Answer {
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.ask("POST", path, &[("content-type", &kind)], form(file, fields))
    }

    /// A connection without a client.
    pub fn connect(&self) -> TcpStream {
        let address = self.url.strip_prefix("http://").expect("there is no TLS");
        TcpStream::connect(address).expect("the server listens")
    }

    /// The orders that workers were given.
    pub fn orders(&self) -> Vec<Value> {
        let orders = std::fs::read_to_string(self.folder.path().join("orders")).unwrap_or_default();
        orders
            .lines()
            .map(|line| serde_json::from_str(line).expect("orders are JSON"))
            .collect()
    }

    /// Asks until the answer is as expected; for what happens in another process.
    pub fn until(&self, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let answer = self.get(path).json();
            if expected(&answer) {
                return answer;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{path} stays {}", self.get(path).text());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let server = self.server.take().expect("it is dropped once");
        if let Err(panic) = server.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

pub const BOUNDARY: &str = "boundary-of-the-form";

/// A form with a file of this content, unless that is empty.
pub fn form(file: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    let mut part = |head: &str, content: &str| {
        body.push_str(&format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n"
        ));
    };
    for (name, value) in fields {
        part(&format!("name=\"{name}\""), value);
    }
    if !file.is_empty() {
        part("name=\"file\"; filename=\"talk.wav\"", file);
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body.into_bytes()
}

fn model(kind: &str) -> ModelInfo {
    ModelInfo {
        name: format!("{kind}-base"),
        kind: kind.into(),
        licence: "MIT".into(),
    }
}

fn document() -> Document {
    let said = |id: usize, speaker: &str, words: &[(&str, f64, f64)]| {
        let words = words.iter().map(|(word, start, end)| Word {
            word: (*word).into(),
            start: *start,
            end: *end,
            score: 0.5,
            speaker: Some(speaker.into()),
            ..Word::default()
        });
        let words: Vec<_> = words.collect();
        let texts: Vec<_> = words.iter().map(|word| word.word.as_str()).collect();
        Segment {
            id,
            start: words[0].start,
            end: words[words.len() - 1].end,
            text: texts.join(" "),
            speaker: Some(SegmentSpeaker {
                speaker_id: speaker.into(),
            }),
            words,
            ..Segment::default()
        }
    };
    Document {
        text: TEXT.into(),
        language: "en".into(),
        duration: 2.5,
        segments: vec![
            said(
                0,
                "SPEAKER_00",
                &[("Hello,", 0.0, 0.4), ("world.", 0.5, 1.0)],
            ),
            said(1, "SPEAKER_01", &[("Bye.", 1.2, 1.5)]),
        ],
        ..Document::default()
    }
}
