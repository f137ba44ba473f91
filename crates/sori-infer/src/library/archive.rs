//! The files of a tar, tar.gz or zip archive, each path checked before a byte is read.
//!
//! Nothing is unpacked here: the caller gets plain relative paths, sizes and readers, and decides. Links, devices, absolute
//! paths and `..` refuse the whole archive, because no archive of a model has them and every attack has.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use crate::catalogue::{ModelError, ModelErrorKind};

/// More entries than any package with a model has.
const MAX_ENTRIES: usize = 10_000;

/// The archive formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Tar,
    TarGz,
    Zip,
}

/// Whether to go on to the next file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

/// Is called with the path, the declared size and the content of each regular file.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<Next, ModelError>;

/// The format of a file by its first bytes; `None` if it is no archive.
pub(crate) fn format_of(path: &Path) -> Result<Option<Format>, ModelError> {
    let mut start = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    opened.map_err(|e| ModelError::io(path, "read", e))?;
    Ok(match start.as_slice() {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Format::Zip),
        [0x1f, 0x8b, ..] => Some(Format::TarGz),
        // POSIX.1-1988 ustar: the magic is at byte 257 of a header block.
        tar if tar.get(257..262) == Some(b"ustar") => Some(Format::Tar),
        _ => None,
    })
}

/// Visits every regular file of an archive.
///
/// # Errors
/// [`ModelErrorKind::Archive`] naming the entry that is refused or damaged, and what `visit` returns.
pub(crate) fn for_each_file(path: &Path, format: Format, visit: Visit) -> Result<(), ModelError> {
    let file = BufReader::new(File::open(path).map_err(|e| ModelError::io(path, "read", e))?);
    match format {
        Format::Tar => each_of_tar(path, file, visit),
        Format::TarGz => each_of_tar(path, flate2::read::MultiGzDecoder::new(file), visit),
        Format::Zip => each_of_zip(path, file, visit),
    }
}

/// Reads raw entries: the extension entries (long names, pax) are passed over instead of read into memory, which a hostile
/// archive could make as large as it likes; what they would say is in the plain header for every name below 100 bytes.
fn each_of_tar(path: &Path, reader: impl Read, visit: Visit) -> Result<(), ModelError> {
    let damaged = |e: io::Error| refused(path, "is damaged").caused_by(e);
    let mut archive = tar::Archive::new(reader);
    for (count, entry) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        check_count(path, count)?;
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            continue;
        }
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            return Err(refused(path, "has names longer than 100 bytes"));
        }
        let name = clean_path(path, &entry.path_bytes())?;
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(refused(
                path,
                &format!("has `{name}`, which is a link or a device"),
            ));
        }
        let size = entry.header().entry_size().map_err(damaged)?;
        if visit(&name, size, &mut entry)? == Next::Stop {
            break;
        }
    }
    Ok(())
}

fn each_of_zip(path: &Path, reader: impl Read + Seek, visit: Visit) -> Result<(), ModelError> {
    let damaged = |e: zip::result::ZipError| refused(path, "is damaged").caused_by(e);
    let mut archive = zip::ZipArchive::new(reader).map_err(damaged)?;
    check_count(path, archive.len())?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = clean_path(path, entry.name_raw())?;
        if entry.is_dir() {
            continue;
        }
        if entry.is_symlink() {
            return Err(refused(path, &format!("has `{name}`, which is a link")));
        }
        let size = entry.size();
        if visit(&name, size, &mut entry)? == Next::Stop {
            break;
        }
    }
    Ok(())
}

fn check_count(path: &Path, count: usize) -> Result<(), ModelError> {
    if count > MAX_ENTRIES {
        return Err(refused(
            path,
            &format!("has more than {MAX_ENTRIES} entries"),
        ));
    }
    Ok(())
}

/// Returns the path as plain parts joined by `/`, without `.` and empty parts.
fn clean_path(archive: &Path, raw: &[u8]) -> Result<String, ModelError> {
    let shown = String::from_utf8_lossy(&raw[..raw.len().min(200)])
        .escape_debug()
        .to_string();
    let text = std::str::from_utf8(raw).ok().filter(|text| {
        !text.starts_with('/')
            && !text
                .bytes()
                .any(|b| b < 0x20 || matches!(b, b'\\' | b':' | 0x7f))
            && !text.split('/').any(|part| part == "..")
    });
    match text {
        Some(text) => {
            let parts: Vec<&str> = text
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect();
            Ok(parts.join("/"))
        }
        None => Err(refused(
            archive,
            &format!("has the path `{shown}`, which could leave its folder"),
        )),
    }
}

fn refused(path: &Path, what: &str) -> ModelError {
    let message = format!(
        "the archive {} {what}: unpack it yourself and import the folder",
        path.display()
    );
    ModelError::new(ModelErrorKind::Archive, message)
}
