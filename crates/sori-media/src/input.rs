//! An input before a decoder is chosen: its first bytes, its path, its temporary file.

use std::path::PathBuf;

use symphonia::core::io::MediaSource;
use tempfile::NamedTempFile;

use crate::error::{MediaError, MediaErrorKind};
use crate::options::AudioOptions;
use crate::source::Source;

/// An input in all the forms that a decoder may need.
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) path: Option<PathBuf>,
    pub(crate) spooled: Option<NamedTempFile>,
}

/// First bytes of formats that the built-in decoders do not read: asked before them, because they would find an MP3 frame
/// somewhere inside. Offset, bytes, name.
const FOREIGN: [(usize, &[u8], &str); 14] = [
    (8, b"AVI ", "an AVI file"),
    (0, b"RF64", "an RF64 file"),
    (0, b"riff\x2e\x91\xcf\x11", "a Wave64 file"),
    (
        0,
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "a Windows Media file",
    ),
    (0, b"#!AMR", "an AMR file"),
    (0, b"FLV\x01", "a Flash video"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream"),
    (188, b"\x47", "an MPEG transport stream"),
    (0, b"\x0b\x77", "an AC-3 stream"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b".RMF", "a RealMedia file"),
    (0, b"PK\x03\x04", "a ZIP archive or office document"),
    (0, b"%PDF", "a PDF document"),
];

/// Name of a known format that only ffmpeg may read.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let found = FOREIGN.iter().find(|(at, magic, _)| {
        let there = head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
        there && (*at != 188 || head[0] == 0x47)
    });
    found.map(|(_, _, name)| *name)
}

impl Input {
    /// Looks at the first bytes: nothing there, formats that need seeking, unfinished WAV headers. Gives the error of formats
    /// that only ffmpeg may read.
    pub(crate) fn prepare(
        &mut self,
        options: &AudioOptions,
    ) -> Result<Option<MediaError>, MediaError> {
        let head = self
            .source
            .head(4096)
            .map_err(|error| MediaError::io(&self.name, error))?;
        if head.is_empty() {
            return Err(MediaError::new(
                MediaErrorKind::Empty,
                &self.name,
                "the file is empty",
            ));
        }
        let needs_seeking = head.get(4..8) == Some(b"ftyp") || head.starts_with(b"caff");
        if needs_seeking && !self.source.is_seekable() {
            self.path_for_ffmpeg(options)?;
        }
        if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE") {
            self.mend_wave(&head);
        }
        Ok(foreign(&head).map(|format| {
            let message = format!("it is {format}, which the built-in decoders do not read");
            MediaError::new(MediaErrorKind::Unsupported, &self.name, message).at(0)
        }))
    }

    /// Makes a Matroska or WebM file one that is read straight on; false for other files and when it already is.
    pub(crate) fn cut_matroska(&mut self) -> bool {
        if !self.source.is_seekable() {
            return false;
        }
        match (self.source.head(4), self.source.linear()) {
            (Ok(head), Ok(linear)) if head == b"\x1a\x45\xdf\xa3" => {
                self.source = linear;
                true
            }
            _ => false,
        }
    }

    /// A recorder that died leaves sizes of 0 in its WAV header; they then mean "up to the end".
    pub(crate) fn mend_wave(&self, head: &[u8]) {
        let word = |at: usize| {
            head.get(at..at + 4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        };
        let Some(riff_len) = word(4) else { return };
        if u64::from(riff_len) + 8 == self.source.size() {
            return;
        }
        let mut at = 12;
        while let (Some(tag), Some(size)) = (head.get(at..at + 4), word(at + 4)) {
            if tag == b"data" {
                for (field, value) in [(4, riff_len), (at + 4, size)] {
                    if value == 0 {
                        self.source.patch(field as u64, [0xff; 4]);
                    }
                }
                return;
            }
            at = at
                .saturating_add(8)
                .saturating_add(size as usize + (size & 1) as usize);
        }
    }

    /// A path to the bytes; streams and buffers are put into a temporary file, which then is the source.
    pub(crate) fn path_for_ffmpeg(
        &mut self,
        options: &AudioOptions,
    ) -> Result<PathBuf, MediaError> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let file = self
            .source
            .spool(&self.name, options.limits.max_spool_bytes)?;
        let path = file.path().to_path_buf();
        let again = file
            .reopen()
            .and_then(|file| Source::seekable(Box::new(file)));
        self.source = again.map_err(|error| MediaError::io(&self.name, error))?;
        self.spooled = Some(file);
        self.path = Some(path.clone());
        Ok(path)
    }
}
