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
use std::time::Duration;

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use sori_kernels::{Buffer, Image, LINE, Plain};
use tempfile::NamedTempFile;

/// The format's name; its last number changes with the layout of any section.
const MAGIC: [u8; 8] = *b"sori\0pk1";
const TRAILER: usize = 32;
/// How the name of a file begins that is being written, or that a killed program left.
const HALF: &str = ".half-";
/// Age after which nobody writes such a file any more.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize, Deserialize)]
struct Directory {
    /// The checkpoint, a file or a folder.
    origin: PathBuf,
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
        let (directory, body, crc) = parse(image.bytes())?;
        let same =
            directory.key == key && directory.little_endian == cfg!(target_endian = "little");
        if !same || crc != u64::from(crc32fast::hash(body)) {
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

/// The directory, everything before the trailer, and its checksum, which is not checked here.
fn parse(bytes: &[u8]) -> Option<(Directory, &[u8], u64)> {
    let (body, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER)?)?;
    let number = |at: usize| Some(u64::from_le_bytes(*trailer.get(at..)?.first_chunk()?));
    let (from, len) = (number(0)? as usize, number(8)? as usize);
    if trailer[24..] != MAGIC || from.checked_add(len)? != body.len() {
        return None;
    }
    let directory = serde_json::from_slice(&body[from..]).ok()?;
    Some((directory, body, number(16)?))
}

/// Deletes the packed files of a folder whose checkpoints are gone, and what killed programs left there; a folder that is not there has none.
///
/// # Errors
/// When one cannot be deleted.
pub fn sweep(folder: &Path) -> io::Result<()> {
    let Ok(found) = fs::read_dir(folder) else {
        return Ok(());
    };
    for path in found.filter_map(|item| Some(item.ok()?.path())) {
        let image = File::open(&path).and_then(|file| Image::map(&file));
        let directory = image.ok().and_then(|image| Some(parse(image.bytes())?.0));
        let half = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(HALF));
        let age = fs::metadata(&path)
            .and_then(|about| about.modified())
            .map(|time| time.elapsed());
        let left = half && age.is_ok_and(|age| age.is_ok_and(|age| age > DAY));
        if left || directory.is_some_and(|directory| !directory.origin.exists()) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A file of packed weights that is being written; dropped before [`PackedWriter::finish`] it leaves nothing.
pub struct PackedWriter {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    crc: Hasher,
    at: usize,
    directory: Directory,
}

impl PackedWriter {
    /// Begins the file that will stand at `path`, made from the checkpoint at `origin` as `key` says; makes its folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(path: &Path, origin: &Path, key: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let half = tempfile::Builder::new().prefix(HALF).tempfile_in(folder)?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(half),
            crc: Hasher::new(),
            at: 0,
            directory: Directory {
                origin: origin.to_owned(),
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
        let half = self.file.into_inner().map_err(|e| e.into_error())?;
        half.persist(&self.path)?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.at += bytes.len();
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        let origin = path.with_extension("model");
        let mut writer =
            PackedWriter::create(path, &origin, "made from this").expect("the folder is writable");
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
    fn only_files_whose_checkpoints_are_gone_are_swept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [gone, there, other] =
            ["gone.pack", "there.pack", "note.txt"].map(|n| folder.path().join(n));
        write(&gone);
        write(&there);
        fs::write(there.with_extension("model"), "").expect("it is writable");
        fs::write(&other, "no pack").expect("it is writable");
        sweep(folder.path()).expect("it is writable");
        assert!(!gone.exists() && there.exists() && other.exists());
        sweep(&folder.path().join("none")).expect("nothing to do");
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
        drop(
            PackedWriter::create(&folder.path().join("one.pack"), folder.path(), "")
                .expect("writable"),
        );
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
