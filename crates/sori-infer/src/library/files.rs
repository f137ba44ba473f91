//! Reading, hashing and writing model files, with limits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use crate::catalogue::{ModelError, ModelErrorKind};

/// Bytes moved between two looks at the cancel flag.
pub(crate) const BLOCK: usize = 256 << 10;

/// Left free on the disk by an installation, so that filling the last byte does not stop other programs.
const RESERVE: u64 = 64 << 20;

/// How much room there is on the disk of a path that exists.
pub(crate) type FreeSpace<'a> = &'a dyn Fn(&Path) -> io::Result<u64>;

/// Returns an error if `cancel` is set.
pub(crate) fn check(cancel: &AtomicBool) -> Result<(), ModelError> {
    if cancel.load(Ordering::Relaxed) {
        Err(ModelError::cancelled())
    } else {
        Ok(())
    }
}

/// Returns a file of at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Returns the SHA-256 of a file in lower-case hexadecimal; `on_block` is told each number of bytes read.
pub(crate) fn sha256(
    path: &Path,
    cancel: &AtomicBool,
    on_block: &mut dyn FnMut(u64),
) -> Result<String, ModelError> {
    let failed = |e| ModelError::io(path, "read", e);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        check(cancel)?;
        match file.read(&mut block) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => {
                hash.update(&block[..n]);
                on_block(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes `source` to the new file `path` and returns its size and SHA-256.
///
/// # Errors
/// [`ModelErrorKind::Size`] if more than `limit` bytes come; reading, writing and cancellation.
pub(crate) fn write_new(
    path: &Path,
    source: &mut dyn Read,
    limit: u64,
    cancel: &AtomicBool,
) -> Result<(u64, String), ModelError> {
    let failed = |e| ModelError::io(path, "write", e);
    let mut file = File::create(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        check(cancel)?;
        let n = match source.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(ModelError::io(path, "read what belongs into", e)),
        };
        size += n as u64;
        if size > limit {
            let message = format!(
                "{} would be longer than the {limit} bytes it says it has",
                path.display()
            );
            return Err(ModelError::new(ModelErrorKind::Size, message));
        }
        hash.update(&block[..n]);
        file.write_all(&block[..n]).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    Ok((size, hex(&hash.finalize())))
}

/// Returns an error if the disk of `folder` has no room for `needed` more bytes. A disk that does not say how full it is
/// passes: the write itself will tell.
pub(crate) fn check_room(folder: &Path, needed: u64, free: FreeSpace) -> Result<(), ModelError> {
    match free(folder) {
        Ok(free) if needed > 0 && free < needed.saturating_add(RESERVE) => {
            let message = format!(
                "not enough room in {}: {} needed, {} free; free some space or set SORI_MODELS to another disk",
                folder.display(),
                human_size(needed.saturating_add(RESERVE)),
                human_size(free),
            );
            Err(ModelError::new(ModelErrorKind::Full, message))
        }
        _ => Ok(()),
    }
}

/// Returns bytes for people, in decimal units: `1.6 GB`.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would print as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Creates a folder and its parents.
pub(crate) fn create_folder(path: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(path).map_err(|e| ModelError::io(path, "create", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_960, "1.0 MB"),
            (2_327_524, "2.3 MB"),
            (1_617_824_864, "1.6 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn never_more_than_the_limit_is_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x");
        let cancel = AtomicBool::new(false);
        let written = write_new(&path, &mut &b"abc"[..], 3, &cancel).expect("fits");
        assert_eq!(
            written,
            (
                3,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()
            )
        );
        assert_eq!(
            sha256(&path, &cancel, &mut |_| ()).expect("readable"),
            written.1
        );
        let error = write_new(&path, &mut &b"abcd"[..], 3, &cancel).expect_err("too long");
        assert_eq!(error.kind(), ModelErrorKind::Size);
        assert_eq!(fs::metadata(&path).expect("there").len(), 0);
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(
            sha256(&path, &cancel, &mut |_| ())
                .expect_err("cancelled")
                .kind(),
            ModelErrorKind::Cancelled
        );
    }

    #[test]
    fn room_is_checked_with_a_reserve() {
        let here = Path::new(".");
        assert!(check_room(here, 10, &|_| Ok(RESERVE + 10)).is_ok());
        let error = check_room(here, 11, &|_| Ok(RESERVE + 10)).expect_err("too little");
        assert_eq!(error.kind(), ModelErrorKind::Full);
        assert!(check_room(here, u64::MAX, &|_| Err(io::Error::other("unknown"))).is_ok());
        assert!(check_room(here, 0, &|_| Ok(0)).is_ok());
    }
}
