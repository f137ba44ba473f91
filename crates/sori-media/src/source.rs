//! Bytes with a position: files, buffers and streams behind one seekable or rewindable reader.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use symphonia::core::io::MediaSource;
use tempfile::NamedTempFile;

use crate::error::{MediaError, MediaErrorKind};

/// How much of a stream is kept so that a second decoder can start over. Enough for a tag with a large picture.
const KEPT_BYTES: usize = 16 << 20;

/// A seekable reader that may move between threads.
pub(crate) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

enum Bytes {
    Seekable(Box<dyn ReadSeek>),
    /// A stream and what was read of it so far, as long as that fits.
    Stream {
        stream: Box<dyn Read + Send>,
        kept: Option<Vec<u8>>,
    },
}

struct State {
    bytes: Bytes,
    position: u64,
    furthest: u64,
    len: Option<u64>,
    /// Header fields that an unfinished recording left open, with what they should say.
    patches: Vec<(u64, [u8; 4])>,
}

/// A shared handle on the input. Decoders own one clone and the reader keeps another, to know the position and to start over.
///
/// The mutex is only for the `Sync` that symphonia asks of its sources: one thread reads at a time, so it is never contended.
#[derive(Clone)]
pub(crate) struct Source {
    state: Arc<Mutex<State>>,
    /// Told to decoders as one that cannot seek and has no known length.
    linear: bool,
}

impl Source {
    pub(crate) fn seekable(mut bytes: Box<dyn ReadSeek>) -> io::Result<Self> {
        let len = bytes.seek(SeekFrom::End(0))?;
        bytes.seek(SeekFrom::Start(0))?;
        Ok(Self::new(Bytes::Seekable(bytes), Some(len)))
    }

    pub(crate) fn stream(stream: Box<dyn Read + Send>) -> Self {
        Self::new(
            Bytes::Stream {
                stream,
                kept: Some(Vec::new()),
            },
            None,
        )
    }

    fn new(bytes: Bytes, len: Option<u64>) -> Self {
        let state = State {
            bytes,
            position: 0,
            furthest: 0,
            len,
            patches: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            linear: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside a caught decoder call may have poisoned the lock; the position is set anew before any further use.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The same bytes from the start, for decoders that are to read straight on.
    pub(crate) fn linear(&self) -> io::Result<Self> {
        let mut linear = Self {
            linear: true,
            ..self.clone()
        };
        linear.rewind_to_start()?;
        Ok(linear)
    }

    /// Length in bytes, or how far a stream was read.
    pub(crate) fn size(&self) -> u64 {
        let state = self.state();
        state.len.unwrap_or(state.furthest)
    }

    /// Where the next byte comes from.
    pub(crate) fn position(&self) -> u64 {
        self.state().position
    }

    /// Up to `len` first bytes, with the position back at the start.
    pub(crate) fn head(&mut self, len: usize) -> io::Result<Vec<u8>> {
        self.rewind_to_start()?;
        let mut head = Vec::new();
        self.by_ref().take(len as u64).read_to_end(&mut head)?;
        self.rewind_to_start()?;
        Ok(head)
    }

    /// Goes back to the first byte; an error when too much of a stream was read.
    pub(crate) fn rewind_to_start(&mut self) -> io::Result<()> {
        let state = &mut *self.state();
        match &mut state.bytes {
            Bytes::Seekable(bytes) => bytes.rewind()?,
            Bytes::Stream { kept: Some(_), .. } => {}
            Bytes::Stream { kept: None, .. } => {
                return Err(io::Error::other("a stream cannot be read twice"));
            }
        }
        state.position = 0;
        Ok(())
    }

    /// Ends the keeping of a stream's bytes: the chosen decoder works.
    pub(crate) fn commit(&self) {
        let state = &mut *self.state();
        if let Bytes::Stream { kept, .. } = &mut state.bytes
            && kept
                .as_ref()
                .is_some_and(|kept| kept.len() as u64 <= state.position)
        {
            *kept = None;
        }
    }

    /// Makes the four bytes at `offset` read as `value`.
    pub(crate) fn patch(&self, offset: u64, value: [u8; 4]) {
        self.state().patches.push((offset, value));
    }

    /// All bytes in a temporary file, which is deleted with the handle.
    pub(crate) fn spool(
        &mut self,
        name: &str,
        max_bytes: u64,
    ) -> Result<NamedTempFile, MediaError> {
        let fail = |error| MediaError::io(name, error);
        self.rewind_to_start().map_err(fail)?;
        let mut file = NamedTempFile::new().map_err(fail)?;
        let copied = io::copy(&mut self.by_ref().take(max_bytes + 1), &mut file).map_err(fail)?;
        if copied > max_bytes {
            return Err(MediaError::new(
                MediaErrorKind::TooLarge,
                name,
                format!(
                    "more than {max_bytes} bytes must be put into a temporary file: give a path"
                ),
            ));
        }
        file.flush().map_err(fail)?;
        Ok(file)
    }
}

impl State {
    fn read_plain(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.bytes {
            Bytes::Seekable(bytes) => bytes.read(out),
            Bytes::Stream { stream, kept } => {
                if let Some(kept) = kept
                    && self.position < kept.len() as u64
                {
                    let from = &kept[self.position as usize..];
                    let count = from.len().min(out.len());
                    out[..count].copy_from_slice(&from[..count]);
                    return Ok(count);
                }
                let count = stream.read(out)?;
                if let Some(bytes) = kept {
                    bytes.extend_from_slice(&out[..count]);
                    if bytes.len() > KEPT_BYTES {
                        *kept = None;
                    }
                }
                Ok(count)
            }
        }
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.state();
        let count = loop {
            match state.read_plain(out) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => break other?,
            }
        };
        for (offset, value) in &state.patches {
            for (index, byte) in value.iter().enumerate() {
                if let Some(at) = (offset + index as u64).checked_sub(state.position)
                    && at < count as u64
                {
                    out[at as usize] = *byte;
                }
            }
        }
        state.position += count as u64;
        state.furthest = state.furthest.max(state.position);
        Ok(count)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let state = &mut *self.state();
        match &mut state.bytes {
            Bytes::Seekable(bytes) => {
                state.position = bytes.seek(to)?;
                Ok(state.position)
            }
            Bytes::Stream { .. } => Err(io::Error::other("a stream cannot seek")),
        }
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        !self.linear && matches!(self.state().bytes, Bytes::Seekable(_))
    }

    fn byte_len(&self) -> Option<u64> {
        self.state().len.filter(|_| !self.linear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_can_start_over_until_it_is_committed() {
        let mut source = Source::stream(Box::new(io::Cursor::new(b"0123456789".to_vec())));
        assert_eq!(source.head(4).expect("readable"), b"0123");
        let mut all = Vec::new();
        source.read_to_end(&mut all).expect("readable");
        assert_eq!(all, b"0123456789");
        assert!(source.rewind_to_start().is_ok());
        assert_eq!(source.head(2).expect("readable"), b"01");
        source.read_to_end(&mut all).expect("readable");
        source.commit();
        assert!(source.rewind_to_start().is_err());
        assert_eq!(source.size(), 10);
    }

    #[test]
    fn patches_show_in_every_reading() {
        let mut source =
            Source::seekable(Box::new(io::Cursor::new(vec![0u8; 12]))).expect("seekable");
        source.patch(3, [1, 2, 3, 4]);
        for step in 1..=12 {
            source.rewind_to_start().expect("seekable");
            let mut all = Vec::new();
            let mut part = vec![9u8; step];
            while let Ok(count @ 1..) = source.read(&mut part) {
                all.extend_from_slice(&part[..count]);
            }
            assert_eq!(all, [0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0], "step {step}");
        }
    }

    #[test]
    fn spooling_is_bounded() {
        let mut source = Source::stream(Box::new(io::Cursor::new(vec![7u8; 1000])));
        let error = source.spool("stdin", 999).expect_err("over the limit");
        assert_eq!(error.kind(), MediaErrorKind::TooLarge);
        let file = source.spool("stdin", 1000).expect("within the limit");
        assert_eq!(
            std::fs::read(file.path()).expect("readable"),
            vec![7u8; 1000]
        );
    }
}
