//! ffmpeg as a child process: confined, watched, and killed with its reader.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{MediaError, MediaErrorKind};
use crate::native::{Piece, Step};
use crate::options::Limits;

/// Container formats that ffmpeg may take an input for. Playlists and manifests (hls, concat, dash, sdp …) are not among them:
/// these name other files and addresses, which a hostile input would use to read them.
const FORMATS: &str = "aa,aac,aax,ac3,ac4,aea,aiff,alaw,amr,amrnb,amrwb,ape,apc,asf,au,avi,avr,bfi,caf,dcstr,dsf,dss,dts,dtshd,dv,\
eac3,f4v,flac,flv,gsm,gxf,ircam,iff,ivf,kux,loas,matroska,webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,\
mtv,mulaw,mxf,nistsphere,nut,oga,ogg,oma,paf,pvf,qcp,rm,rso,sbc,sds,sol,sox,swf,tak,truehd,tta,tty,vivo,voc,vqf,w64,wav,wsd,wtv,\
wv,wve,xa,xwma,yop";
/// Largest single allocation of the child, in bytes.
const MAX_ALLOC: &str = "268435456";
/// How much of what ffmpeg complains is kept for the error.
const COMPLAINT_BYTES: usize = 2048;
/// How to get ffmpeg, for messages.
pub(crate) const INSTALL: &str =
    "install it (`apt-get install ffmpeg`, `brew install ffmpeg` or `winget install ffmpeg`)";

/// A running ffmpeg that writes `f32` sound to its standard output.
pub(crate) struct Ffmpeg {
    child: Child,
    /// Chunks of its output. Bounded: a slow reader makes ffmpeg wait. The thread closes it at the end of the output; dropping
    /// the receiver ends the thread.
    chunks: Receiver<io::Result<Vec<u8>>>,
    complaints: Option<JoinHandle<Vec<u8>>>,
    pending: Vec<u8>,
    silence: Duration,
    name: String,
    pub(crate) rate_hz: u32,
    pub(crate) channels: usize,
    ended: bool,
}

impl Ffmpeg {
    /// Starts `program` on the file at `path` and waits for the sound to begin.
    pub(crate) fn open(
        program: &Path,
        path: &Path,
        name: &str,
        limits: &Limits,
    ) -> Result<Self, MediaError> {
        let mut child = spawn(program, path, limits).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MediaError::new(
                MediaErrorKind::FfmpegMissing,
                name,
                format!(
                    "only ffmpeg can read this, and {} was not found: {INSTALL}",
                    program.display()
                ),
            ),
            _ => MediaError::io(name, error),
        })?;
        let (sender, chunks) = sync_channel(8);
        let output = child.stdout.take().expect("stdout was asked to be piped");
        let errors = child.stderr.take().expect("stderr was asked to be piped");
        std::thread::spawn(move || forward(output, &sender));
        let complaints = std::thread::spawn(move || tail(errors));
        let mut ffmpeg = Self {
            child,
            chunks,
            complaints: Some(complaints),
            pending: Vec::new(),
            silence: limits.ffmpeg_silence,
            name: name.into(),
            rate_hz: 0,
            channels: 0,
            ended: false,
        };
        ffmpeg.read_header()?;
        Ok(ffmpeg)
    }

    /// The header of an AU file: magic, offset of the data, its size, encoding (6: `f32`, big-endian), rate, channels.
    fn read_header(&mut self) -> Result<(), MediaError> {
        while self.pending.len() < 24 || self.pending.len() < self.word(1) {
            if self.pending.get(..4).is_some_and(|magic| magic != b".snd")
                || self.word(1) > 4096
                || !self.more()?
            {
                return Err(self.failure("gave no sound"));
            }
        }
        self.rate_hz = self.word(4) as u32;
        self.channels = self.word(5);
        let encoding = self.word(3);
        self.pending.drain(..self.word(1));
        if encoding != 6 || self.channels == 0 {
            return Err(self.failure("gave sound of another kind than asked for"));
        }
        Ok(())
    }

    /// Big-endian word `index` of the header, 0 where it has not arrived yet.
    fn word(&self, index: usize) -> usize {
        let bytes = self.pending.get(4 * index..4 * index + 4);
        bytes.map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)
    }

    /// Takes another chunk in; false at the end of the output.
    fn more(&mut self) -> Result<bool, MediaError> {
        match self.chunks.recv_timeout(self.silence) {
            Ok(Ok(chunk)) => {
                self.pending.extend_from_slice(&chunk);
                Ok(true)
            }
            Ok(Err(error)) => Err(MediaError::io(&self.name, error)),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.silence.as_secs_f64();
                Err(self.failure(&format!("gave nothing for {seconds} s and was stopped")))
            }
        }
    }

    /// The next piece of sound.
    pub(crate) fn next(&mut self, piece: &mut Piece) -> Result<Step, MediaError> {
        let frame_bytes = 4 * self.channels;
        while self.pending.len() < frame_bytes {
            if self.ended || !self.more()? {
                return Ok(self.end());
            }
        }
        let whole = self.pending.len() / frame_bytes * frame_bytes;
        piece.stamp = None;
        piece.rate_hz = self.rate_hz;
        piece.planes.resize_with(self.channels, Vec::new);
        for (channel, plane) in piece.planes.iter_mut().enumerate() {
            plane.clear();
            let frames = self.pending[..whole].chunks_exact(frame_bytes);
            plane.extend(frames.map(|frame| {
                let bytes = &frame[4 * channel..4 * channel + 4];
                f32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            }));
        }
        self.pending.drain(..whole);
        Ok(Step::Piece)
    }

    fn end(&mut self) -> Step {
        if std::mem::replace(&mut self.ended, true) {
            return Step::End;
        }
        match self.child.wait() {
            Ok(status) if status.success() => Step::End,
            _ => Step::Unreadable {
                why: format!("ffmpeg: {}", self.complaint()),
            },
        }
    }

    fn failure(&mut self, what: &str) -> MediaError {
        let complaint = self.complaint();
        MediaError::new(
            MediaErrorKind::FfmpegFailed,
            &self.name,
            format!("ffmpeg {what}: {complaint}"),
        )
    }

    /// The last lines that ffmpeg wrote, after it was made to end.
    fn complaint(&mut self) -> String {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let tail = self
            .complaints
            .take()
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            // It goes on with the whole list; that the format cannot be read stands in the next line.
            .filter(|line| !line.contains("not on whitelist"))
            .collect();
        if lines.is_empty() {
            "no reason given".into()
        } else {
            lines.join("; ")
        }
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // Errors mean that it has ended already; waiting leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, path: &Path, limits: &Limits) -> io::Result<Child> {
    // The prefix keeps a path that looks like an option or an address from being one.
    let mut input = OsString::from("file:");
    input.push(path);
    Command::new(program)
        .args([
            "-nostdin",
            "-hide_banner",
            "-loglevel",
            "error",
            "-max_alloc",
            MAX_ALLOC,
        ])
        // A limit of the kernel (RLIMIT_CPU), which ffmpeg sets for itself.
        .arg("-timelimit")
        .arg(limits.ffmpeg_cpu.as_secs().max(1).to_string())
        .arg("-max_pixels")
        // Its numbers end at 2^31 - 1.
        .arg(limits.max_pixels.min(i32::MAX as u64).to_string())
        .args([
            "-protocol_whitelist",
            "file,pipe",
            "-format_whitelist",
            FORMATS,
            "-i",
        ])
        .arg(input)
        .args(["-map", "0:a:0", "-vn", "-sn", "-dn"])
        // Gaps become silence and the sound starts at time 0, as with the built-in decoders.
        .args([
            "-af",
            "aresample=async=1:first_pts=0",
            "-c:a",
            "pcm_f32be",
            "-f",
            "au",
            "pipe:1",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

fn forward(mut output: ChildStdout, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; 64 << 10];
        let message = match output.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => {
                chunk.truncate(count);
                Ok(chunk)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}

/// The last bytes of a stream, read to its end.
fn tail(mut stream: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..count]);
        let surplus = kept.len().saturating_sub(COMPLAINT_BYTES);
        kept.drain(..surplus);
    }
    kept
}
