//! Packed weights on disk: what takes seconds to quantise and reorder is kept in one file and mapped the next time.
//!
//! The file is this machine's own, made from a checkpoint and made again when the checkpoint, the layout or a byte changed:
//! sections, each on a 64-byte line; a JSON directory; and a trailer of 32 bytes: the directory's place and length, the
//! CRC-32 of everything before the trailer, and eight bytes that name the format. It is written under another name and put in
//! place by renaming, so that a reader sees all of it or nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use sori_kernels::{Buffer, Image, LINE, Plain};

/// The format's name; its last number changes with the layout of any section.
const MAGIC: [u8; 8] = *b"sori\0pk1";
const TRAILER: usize = 32;

#[derive(Serialize, Deserialize)]
struct Directory {
    /// What the weights were made from.
    key: String,
    /// The byte order of the machine that wrote it.
    little_endian: bool,
    sections: BTreeMap<String, Range<usize>>,
}

/// A file of packed weights that is mapped.
pub struct PackedFile {
    image: Arc<Image>,
    sections: BTreeMap<String, Range<usize>>,
}

impl PackedFile {
    /// Maps the file at `path` if it is whole and was made from what `key` says; none when it has to be made (again).
    pub fn open(path: &Path, key: &str) -> Option<Self> {
        let image = Image::map(&File::open(path).ok()?).ok()?;
        let bytes = image.bytes();
        let (body, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER)?)?;
        let number = |at: usize| Some(u64::from_le_bytes(*trailer.get(at..)?.first_chunk()?));
        let (from, len) = (number(0)? as usize, number(8)? as usize);
        if trailer[24..] != MAGIC || from.checked_add(len)? != body.len() {
            return None;
        }
        let directory: Directory = serde_json::from_slice(&body[from..]).ok()?;
        let same =
            directory.key == key && directory.little_endian == cfg!(target_endian = "little");
        let mut crc = Hasher::new();
        if !same
            || number(16)?
                != u64::from({
                    crc.update(body);
                    crc.finalize()
                })
        {
            return None;
        }
        let sections = directory.sections;
        Some(Self { image, sections })
    }

    /// The section of a name; none when there is no such section, or it is not of whole numbers.
    pub fn section<T: Plain>(&self, name: &str) -> Option<Buffer<T>> {
        Buffer::part(&self.image, self.sections.get(name)?.clone())
    }
}

/// A file of packed weights that is being written; dropped before [`PackedWriter::finish`] it leaves nothing.
pub struct PackedWriter {
    path: PathBuf,
    half: PathBuf,
    file: BufWriter<File>,
    crc: Hasher,
    at: usize,
    directory: Directory,
}

impl PackedWriter {
    /// Begins the file that will stand at `path`; makes its folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(path: &Path, key: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let half = path.with_extension(format!("half-{}", std::process::id()));
        let file = BufWriter::new(File::create(&half)?);
        Ok(Self {
            path: path.to_owned(),
            half,
            file,
            crc: Hasher::new(),
            at: 0,
            directory: Directory {
                key: key.to_owned(),
                little_endian: cfg!(target_endian = "little"),
                sections: BTreeMap::new(),
            },
        })
    }

    /// Appends a section.
    ///
    /// # Errors
    /// When the disk is full, or the file cannot be written for another reason.
    pub fn add<T: Plain>(&mut self, name: &str, buffer: &Buffer<T>) -> io::Result<()> {
        let pad = self.at.next_multiple_of(LINE) - self.at;
        self.write(&[0; LINE][..pad])?;
        let from = self.at;
        self.write(buffer.bytes())?;
        self.directory
            .sections
            .insert(name.to_owned(), from..self.at);
        Ok(())
    }

    /// Completes the file and puts it in place.
    ///
    /// # Errors
    /// As [`PackedWriter::add`].
    pub fn finish(mut self) -> io::Result<()> {
        let directory = serde_json::to_vec(&self.directory)?;
        let from = self.at;
        self.write(&directory)?;
        let mut trailer = Vec::with_capacity(TRAILER);
        for number in [
            from as u64,
            directory.len() as u64,
            u64::from(self.crc.clone().finalize()),
        ] {
            trailer.extend(number.to_le_bytes());
        }
        trailer.extend(MAGIC);
        self.file.write_all(&trailer)?;
        self.file.flush()?;
        fs::rename(&self.half, &self.path)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.at += bytes.len();
        self.file.write_all(bytes)
    }
}

impl Drop for PackedWriter {
    fn drop(&mut self) {
        // Absent after `finish`; otherwise what is left of an attempt.
        let _ = fs::remove_file(&self.half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        let mut writer =
            PackedWriter::create(path, "made from this").expect("the folder is writable");
        let floats = Buffer::<f32>::build(5, |all| all[4] = 1.5);
        let bytes = Buffer::<u8>::build(3, |all| all.copy_from_slice(&[1, 2, 3]));
        writer.add("bytes", &bytes).expect("there is room");
        writer.add("floats", &floats).expect("there is room");
        writer.finish().expect("there is room");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/one.pack");
        write(&path);
        let file = PackedFile::open(&path, "made from this").expect("it is whole");
        assert_eq!(
            file.section::<u8>("bytes").expect("it is there")[..],
            [1, 2, 3]
        );
        assert_eq!(file.section::<f32>("floats").expect("it is there")[4], 1.5);
        assert!(file.section::<f32>("bytes").is_none() && file.section::<u8>("none").is_none());
        assert!(PackedFile::open(&path, "made from that").is_none(), "stale");
        assert!(
            PackedFile::open(&folder.path().join("none"), "").is_none(),
            "absent"
        );
        assert_eq!(
            fs::read_dir(folder.path().join("deep"))
                .expect("it is there")
                .count(),
            1
        );
    }

    #[test]
    fn every_damage_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("one.pack");
        write(&path);
        let whole = fs::read(&path).expect("it was written");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, &damaged).expect("it is writable");
            assert!(
                PackedFile::open(&path, "made from this").is_none(),
                "bit {at} flipped"
            );
            fs::write(&path, &whole[..at]).expect("it is writable");
            assert!(
                PackedFile::open(&path, "made from this").is_none(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn an_attempt_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        drop(PackedWriter::create(&folder.path().join("one.pack"), "").expect("writable"));
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
