//! The built program as a server, in a process of its own that tests may kill.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A server process; it is killed when this is dropped.
pub struct Service {
    /// Its address.
    pub url: String,
    child: Child,
}

/// A recording of 3.2 s that the built-in model knows.
pub fn recording() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/english.wav");
    std::fs::read(path).expect("a sample of the project")
}

impl Service {
    /// A server on the data folder, listening on a free port.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::with(data, arguments, &[])
    }

    /// The same with these variables in its environment.
    pub fn with(data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sori"))
            .args(["serve", "--port", "0", "--data"])
            .arg(data)
            .args(arguments)
            .env("SORI_LOG_LEVEL", "warn")
            .envs(variables.iter().copied())
            .env(
                "SORI_MODELS",
                std::env::temp_dir().join("sori-tests-models"),
            )
            .env("SORI_OFFLINE", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let url = loop {
            let line = lines
                .next()
                .expect("it says where it listens")
                .expect("text");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
            eprintln!("server: {line}");
        };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("server: {line}");
            }
        });
        Self { url, child }
    }

    /// Sends SIGKILL: what no program can see coming.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is gone");
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        (self.child.wait().expect("it ends"), begun.elapsed())
    }

    /// The process ids of its workers.
    pub fn workers(&self) -> Vec<u32> {
        let pid = self.child.id();
        let mut all: Vec<u32> = Vec::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .expect("it runs")
            .flatten()
        {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                text.split_whitespace()
                    .filter_map(|p| p.parse::<u32>().ok()),
            );
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Asks; `None` when nobody answers.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        (kind, body): (&str, &[u8]),
    ) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", kind);
        let mut response = agent.run(request.body(body).expect("a request")).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), text))
    }

    /// `GET` of JSON.
    pub fn get(&self, path: &str) -> Option<Value> {
        let (_, text) = self.ask("GET", path, ("", b""))?;
        serde_json::from_str(&text).ok()
    }

    /// Uploads a recording with fields; the status and the job.
    pub fn upload(&self, recording: &[u8], fields: &[(&str, &str)]) -> Option<(u16, Value)> {
        let mut body = Vec::new();
        for (name, value) in fields {
            let part = format!(
                "--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
            body.extend(part.as_bytes());
        }
        body.extend(
            b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"talk.wav\"\r\n\r\n",
        );
        body.extend(recording);
        body.extend(b"\r\n--b--\r\n");
        let kind = "multipart/form-data; boundary=b";
        let (status, text) = self.ask("POST", "/v1/jobs", (kind, &body))?;
        Some((status, serde_json::from_str(&text).ok()?))
    }

    /// Waits until the job is as `is` says.
    pub fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(180);
        loop {
            let job = self.get(&format!("/v1/jobs/{id}")).expect("it answers");
            if is(&job) {
                return job;
            }
            assert!(Instant::now() < end, "still {job}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits for the end of the job; its state.
    pub fn end_of(&self, id: &str) -> String {
        let ended = ["done", "partial", "failed", "cancelled"];
        let job = self.until(id, |job| {
            job["state"].as_str().is_some_and(|s| ended.contains(&s))
        });
        job["state"].as_str().expect("a state").to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
