//! The file of a session's journal.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};
use sori_engine::{Fingerprint, Journal};

/// Bytes at the beginning and at the end of a recording by which it is known.
const KNOWN_BY: u64 = 1 << 20;

/// A journal that is being written; once that fails, it stays as it is.
pub struct JournalFile(Option<File>);

impl JournalFile {
    /// Opens the journal at `path`, or begins one; gives back what stands in it. Where that fails the work goes on without.
    pub fn open(path: &Path, fingerprint: &Fingerprint) -> (Self, Journal) {
        Self::begin(path, fingerprint).unwrap_or_else(|e| {
            eprintln!("warning: no journal is kept: {}: {e}", path.display());
            (Self(None), Journal::default())
        })
    }

    fn begin(path: &Path, fingerprint: &Fingerprint) -> std::io::Result<(Self, Journal)> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let journal = Journal::read(BufReader::new(&file), fingerprint);
        file.set_len(journal.length())?;
        file.seek(SeekFrom::End(0))?;
        if journal.length() == 0 {
            file.write_all(&Journal::header(fingerprint))?;
        }
        Ok((Self(Some(file)), journal))
    }

    /// Puts a record at its end; the system has it then, whatever becomes of this process.
    pub fn append(&mut self, record: &[u8]) {
        if let Some(file) = &mut self.0
            && let Err(e) = file.write_all(record)
        {
            eprintln!("warning: the journal ends here: {e}");
            self.0 = None;
        }
    }
}

/// The checksum of all that results depend on: this program, `options` (which name the models as well), and the recording by its
/// length, beginning and end.
///
/// # Errors
/// When the recording cannot be read.
pub fn fingerprint(media: &Path, options: &str) -> Result<Fingerprint> {
    let mut file = File::open(media)?;
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update((options.len() as u64).to_le_bytes());
    hash.update(options);
    hash.update(length.to_le_bytes());
    for from in [0, length.saturating_sub(KNOWN_BY)] {
        let mut part = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        Read::take(&file, KNOWN_BY).read_to_end(&mut part)?;
        hash.update(part);
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn recordings_and_options_are_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("media");
        let mut bytes = vec![1; 3 << 20];
        let mut found = Vec::new();
        let mut note = |bytes: &[u8], options: &str| {
            fs::write(&path, bytes).expect("writable");
            found.push(fingerprint(&path, options).expect("readable"));
        };
        note(&bytes, "a");
        note(&bytes, "b");
        note(&bytes[1..], "a");
        bytes[0] = 2;
        note(&bytes, "a");
        bytes[0] = 1;
        *bytes.last_mut().expect("it is not empty") = 2;
        note(&bytes, "a");
        for (i, one) in found.iter().enumerate() {
            assert!(found[i + 1..].iter().all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn a_torn_journal_is_cut_off_and_a_foreign_one_begun_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("journal");
        let (one, other) = ([1; 32], [2; 32]);
        let header = Journal::header(&one);
        let (mut file, journal) = JournalFile::open(&path, &one);
        assert_eq!(journal.texts(), 0);
        file.append(b"torn");
        assert_eq!(
            fs::read(&path).expect("readable"),
            [&header[..], b"torn"].concat()
        );
        drop(JournalFile::open(&path, &one));
        assert_eq!(fs::read(&path).expect("readable"), header);
        drop(JournalFile::open(&path, &other));
        assert_eq!(fs::read(&path).expect("readable"), Journal::header(&other));
        // Where there can be none, the work goes on.
        JournalFile::open(&folder.path().join("no/folder"), &one)
            .0
            .append(b"x");
    }
}
