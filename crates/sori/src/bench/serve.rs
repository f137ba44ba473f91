//! `sori bench serve`: what the service adds to the work: time to accept, memory of a long queue, many uploads at once, and a
//! job beside the bare command.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use sori_media::{AudioOptions, AudioReader};
use sori_testing::wav;

use super::best;

/// Runs of the job and of the command; the best of each counts.
const RUNS: usize = 3;

/// The arguments of `sori bench serve`.
#[derive(Args)]
pub(super) struct ServeArguments {
    /// A recording to work on
    #[arg(long, default_value = "samples/conversation.wav", value_name = "FILE")]
    recording: PathBuf,
    /// Minutes that it is repeated to
    #[arg(long, default_value_t = 10)]
    minutes: usize,
    /// Jobs that are queued
    #[arg(long, default_value_t = 10_000)]
    jobs: usize,
    /// Uploads at once
    #[arg(long, default_value_t = 50)]
    uploads: usize,
    /// Folder for the server's data; its disk is what is measured
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// Measures a server of this program.
pub(super) fn run(arguments: &ServeArguments, cancel: &AtomicBool) -> Result<()> {
    let folder = match &arguments.data {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let long = repeated(&arguments.recording, arguments.minutes, folder.path())?;
    let stop = || match cancel.load(Ordering::SeqCst) {
        true => bail!("interrupted"),
        false => Ok(()),
    };
    beside_the_command(&long, folder.path())?;
    stop()?;
    let server = Server::start(folder.path())?;
    // The worker has something to do, so that the rest waits.
    let hour = repeated(&arguments.recording, 180, folder.path())?;
    server.submit(&hour)?;
    let before = server.memory_mb();
    let mut times = Vec::with_capacity(arguments.jobs);
    for number in 0..arguments.jobs {
        let begun = Instant::now();
        server.submit(&arguments.recording.canonicalize()?)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        if number % 1000 == 0 {
            stop()?;
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "enqueue, {} jobs: p50 {:.2} ms, p99 {:.2} ms",
        arguments.jobs,
        at(0.5),
        at(0.99)
    );
    let list = best(20, || {
        let _ = server.get("/v1/jobs?limit=50");
    });
    println!("list of 50 of them: {:.2} ms", list * 1e3);
    println!(
        "memory of the server: {before} MB before, {} MB with the queue",
        server.memory_mb()
    );
    let begun = Instant::now();
    let bytes = std::fs::read(&long)?;
    let failed: usize = thread::scope(|scope| {
        let uploads: Vec<_> = (0..arguments.uploads)
            .map(|_| scope.spawn(|| server.upload(&bytes)))
            .collect();
        uploads
            .into_iter()
            .map(|upload| usize::from(!matches!(upload.join(), Ok(Ok(_)))))
            .sum()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let megabytes = (bytes.len() * arguments.uploads) as f64 / 1e6;
    println!(
        "{} uploads at once of {:.1} MB: {failed} failed, {:.0} MB/s, memory {} MB",
        arguments.uploads,
        bytes.len() as f64 / 1e6,
        megabytes / seconds,
        server.memory_mb()
    );
    Ok(())
}

/// A job through a warm server against `sori analyze`, in turns.
fn beside_the_command(long: &Path, folder: &Path) -> Result<()> {
    let program = std::env::current_exe()?;
    let server = Server::start(&folder.join("beside"))?;
    let (mut job, mut command) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..RUNS {
        let begun = Instant::now();
        let id = server.submit(long)?;
        server.end_of(&id)?;
        job = job.min(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let status = Command::new(&program)
            .args(["analyze", "--progress", "none", "--output-dir"])
            .arg(folder)
            .arg(long)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("sori analyze: {status}");
        }
        command = command.min(begun.elapsed().as_secs_f64());
    }
    println!(
        "a job {job:.2} s, the command {command:.2} s: {:+.1} % (the command loads its models each time)",
        (job / command - 1.0) * 100.0
    );
    Ok(())
}

/// The recording repeated to so many minutes, as a file in the folder.
fn repeated(recording: &Path, minutes: usize, folder: &Path) -> Result<PathBuf> {
    let mut reader = AudioReader::open(recording, &AudioOptions::default())?;
    let mut sound = Vec::new();
    while let Some(block) = reader.next_block()? {
        sound.extend_from_slice(&block.channels[0]);
    }
    let samples = minutes * 60 * 16_000;
    let pcm: Vec<f32> = sound.iter().copied().cycle().take(samples).collect();
    let path = folder.join(format!("{minutes}.wav"));
    wav::write(&path, &pcm, 16_000)?;
    Ok(path)
}

/// A server of this program, killed when it is dropped.
struct Server {
    child: Child,
    url: String,
    agent: ureq::Agent,
}

impl Server {
    fn start(data: &Path) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "serve",
                "--port",
                "0",
                "--log-level",
                "warn",
                "--media-root",
                "/",
                "--data",
            ])
            .arg(data)
            .env("SORI_LIMITS_QUEUED_JOBS", "1000000")
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("it is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let url = loop {
            let line = lines.next().context("the server ended")??;
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(600)))
            .build()
            .into();
        let server = Self { child, url, agent };
        while server.get("/readyz")?["ready"] != true {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        Ok(serde_json::from_reader(response.body_mut().as_reader())?)
    }

    /// Asks for a file of this machine; the job's id.
    fn submit(&self, path: &Path) -> Result<String> {
        let asked = json!({ "path": path }).to_string();
        let request = self.agent.post(format!("{}/v1/jobs", self.url));
        let mut response = request
            .header("content-type", "application/json")
            .send(asked)?;
        let job: Value = serde_json::from_reader(response.body_mut().as_reader())?;
        let id = job["id"]
            .as_str()
            .with_context(|| format!("refused: {job}"))?;
        Ok(id.to_owned())
    }

    fn upload(&self, recording: &[u8]) -> Result<()> {
        let mut body =
            b"--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"
                .to_vec();
        body.extend(recording);
        body.extend(b"\r\n--b--\r\n");
        let request = self.agent.post(format!("{}/v1/jobs", self.url));
        let response = request
            .header("content-type", "multipart/form-data; boundary=b")
            .send(&body[..])?;
        match response.status().as_u16() {
            202 => Ok(()),
            status => bail!("answered {status}"),
        }
    }

    fn end_of(&self, id: &str) -> Result<()> {
        loop {
            let job = self.get(&format!("/v1/jobs/{id}"))?;
            match job["state"].as_str() {
                Some("done") => return Ok(()),
                Some("failed" | "cancelled" | "partial") => bail!("the job: {job}"),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Memory of the server without its workers.
    fn memory_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kb = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kb.unwrap_or(0) / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
