//! whisper.cpp's GGML files (layout: whisper.cpp `whisper_model_load` and models/convert-pt-to-ggml.py).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::block::Format;
use super::{MAX_TENSOR_VALUES, Tensor};
use crate::error::{InferError, InferErrorKind};

/// The four bytes that a GGML file starts with.
pub const MAGIC: [u8; 4] = *b"lmgg";

/// The network's sizes, as the file's head gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GgmlSizes {
    pub vocabulary: usize,
    pub audio_context: usize,
    pub audio_state: usize,
    pub audio_heads: usize,
    pub audio_layers: usize,
    pub text_context: usize,
    pub text_state: usize,
    pub text_heads: usize,
    pub text_layers: usize,
    pub mels: usize,
}

/// A GGML file: its sizes, its vocabulary, and its tensors, read on demand.
#[derive(Debug)]
pub struct GgmlFile {
    path: PathBuf,
    /// The network's sizes.
    pub sizes: GgmlSizes,
    /// The bytes of each text token, by id; special tokens are not in the file.
    pub tokens: Vec<Vec<u8>>,
    tensors: HashMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    format: Format,
    shape: Vec<usize>,
    start: u64,
    bytes: u64,
}

impl GgmlFile {
    /// Opens a file and reads its head; the tensors stay on disk.
    ///
    /// # Errors
    /// When it is no GGML Whisper file, or its lengths do not fit its size.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        let io = |e| InferError::io(path, e);
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut reader = Head {
            path,
            at: 0,
            size,
            inner: BufReader::new(file),
        };
        if reader.bytes(4)? != MAGIC {
            let message =
                "not a GGML Whisper file: give a whisper.cpp ggml-*.bin or a Hugging Face folder";
            return Err(InferError::new(InferErrorKind::Foreign, path, message));
        }
        let sizes = reader.sizes()?;
        let (mels, bins) = (reader.length(4096)?, reader.length(65536)?);
        reader.skip(4 * mels as u64 * bins as u64)?;
        let count = reader.length(1 << 20)?;
        let mut tokens = Vec::new();
        for _ in 0..count {
            let length = reader.length(4096)?;
            tokens.push(reader.bytes(length)?);
        }
        let mut tensors = HashMap::new();
        while reader.at < size {
            let (name, entry) = reader.tensor()?;
            tensors.insert(name, entry);
        }
        Ok(Self {
            path: path.to_owned(),
            sizes,
            tokens,
            tensors,
        })
    }

    /// Whether a tensor of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The path the file was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a tensor and widens it to f32.
    ///
    /// # Errors
    /// When it is absent or cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor, InferError> {
        let entry = self.tensors.get(name).ok_or_else(|| {
            InferError::new(
                InferErrorKind::Missing,
                &self.path,
                format!("no tensor named {name}: is this a Whisper model?"),
            )
        })?;
        let io = |e| InferError::io(&self.path, e);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(entry.start)).map_err(io)?;
        let mut raw = vec![0; entry.bytes as usize];
        file.read_exact(&mut raw).map_err(io)?;
        Ok(Tensor {
            shape: entry.shape.clone(),
            data: entry.format.widen(&raw),
        })
    }
}

/// Reads the head of a file, never past its size.
struct Head<'a> {
    path: &'a Path,
    inner: BufReader<File>,
    at: u64,
    size: u64,
}

impl Head<'_> {
    fn damaged(&self, what: &str) -> InferError {
        let message = format!(
            "{what} at byte {}: the file is damaged, download it again",
            self.at
        );
        InferError::new(InferErrorKind::Damaged, self.path, message)
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, InferError> {
        if count as u64 > self.size - self.at {
            return Err(self.damaged("a length beyond the file's end"));
        }
        let mut raw = vec![0; count];
        self.inner
            .read_exact(&mut raw)
            .map_err(|e| InferError::io(self.path, e))?;
        self.at += count as u64;
        Ok(raw)
    }

    fn number(&mut self) -> Result<i32, InferError> {
        let raw = self.bytes(4)?;
        Ok(i32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    }

    fn length(&mut self, most: i32) -> Result<usize, InferError> {
        let n = self.number()?;
        if !(0..=most).contains(&n) {
            return Err(self.damaged(&format!(
                "a length of {n}, where at most {most} makes sense,"
            )));
        }
        Ok(n as usize)
    }

    fn skip(&mut self, count: u64) -> Result<(), InferError> {
        if count > self.size - self.at {
            return Err(self.damaged("data beyond the file's end"));
        }
        self.inner
            .seek_relative(count as i64)
            .map_err(|e| InferError::io(self.path, e))?;
        self.at += count;
        Ok(())
    }

    fn sizes(&mut self) -> Result<GgmlSizes, InferError> {
        let sizes = GgmlSizes {
            vocabulary: self.length(1 << 20)?,
            audio_context: self.length(1 << 16)?,
            audio_state: self.length(1 << 14)?,
            audio_heads: self.length(256)?,
            audio_layers: self.length(256)?,
            text_context: self.length(1 << 16)?,
            text_state: self.length(1 << 14)?,
            text_heads: self.length(256)?,
            text_layers: self.length(256)?,
            mels: self.length(256)?,
        };
        self.number()?; // the file's main format: every tensor says its own
        Ok(sizes)
    }

    fn tensor(&mut self) -> Result<(String, Entry), InferError> {
        let dimensions = self.length(4)?;
        let name_length = self.length(256)?;
        let format = self.number()?;
        let format = Format::from_id(format).ok_or_else(|| {
            let message = format!("tensor format {format} at byte {}: f32, f16, q4_0, q4_1, q5_0, q5_1 and q8_0 are read", self.at);
            InferError::new(InferErrorKind::Unsupported, self.path, message)
        })?;
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.insert(0, self.length(1 << 24)?);
        }
        let name = String::from_utf8(self.bytes(name_length)?)
            .map_err(|_| self.damaged("a tensor name that is not text"))?;
        let count = shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
            .filter(|&n| n <= MAX_TENSOR_VALUES);
        let (values, bytes) = format.block();
        let count = count
            .filter(|n| n % values == 0)
            .ok_or_else(|| self.damaged("a tensor of impossible shape"))?;
        let entry = Entry {
            format,
            shape,
            start: self.at,
            bytes: count / values * bytes,
        };
        self.skip(entry.bytes)?;
        Ok((name, entry))
    }
}
