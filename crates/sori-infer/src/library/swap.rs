//! How a model appears in the library and goes away: by one rename.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{MANIFEST, Manifest, files};
use crate::catalogue::{ModelError, ModelErrorKind, names};

/// Held while a model is changed; given back when dropped, also by a crash. A file lock, so that several programs can
/// share a library; a second one is told to wait instead of waiting here.
pub(crate) struct Lock {
    _file: File,
}

/// Locks the model `name` for a change.
pub(crate) fn lock(root: &Path, name: &str) -> Result<Lock, ModelError> {
    let folder = root.join(".locks");
    files::create_folder(&folder)?;
    let path = folder.join(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|e| ModelError::io(&path, "open", e))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message =
                format!("another program is changing the model `{name}`: wait until it is done");
            Err(ModelError::new(ModelErrorKind::Busy, message))
        }
        // Some network file systems cannot lock; going on is better than never installing there.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Lock { _file: file }),
    }
}

/// An empty folder `.new-NAME` to put a model together in; the caller holds the lock.
pub(crate) fn fresh(root: &Path, name: &str) -> Result<PathBuf, ModelError> {
    let folder = root.join(format!(".new-{name}"));
    delete(&folder)?;
    files::create_folder(&folder)?;
    Ok(folder)
}

/// Writes the manifest into `staged` and makes that folder the model `manifest.name`, replacing an older one; the caller
/// holds the lock. What is in the folder and not in the manifest is removed first.
pub(crate) fn install(
    root: &Path,
    staged: &Path,
    manifest: &Manifest,
) -> Result<PathBuf, ModelError> {
    let read = |e| ModelError::io(staged, "read", e);
    for item in fs::read_dir(staged).map_err(read)? {
        let item = item.map_err(read)?;
        if !manifest
            .files
            .iter()
            .any(|file| *file.name == *item.file_name())
        {
            delete(&item.path())?;
        }
    }
    let path = staged.join(MANIFEST);
    let text =
        serde_json::to_vec_pretty(manifest).expect("a manifest is plain data with text keys");
    let written = File::create(&path)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
    written.map_err(|e| ModelError::io(&path, "write", e))?;

    let target = root.join(&manifest.name);
    let old = root.join(format!(".old-{}", manifest.name));
    delete(&old)?;
    if target.exists() {
        rename(&target, &old)?;
    }
    if let Err(error) = rename(staged, &target) {
        // Best effort: what was there is better than nothing; `clean` does the same after a crash.
        let _ = fs::rename(&old, &target);
        return Err(error);
    }
    // The new model is in place; a leftover is removed at the next open.
    let _ = delete(&old);
    Ok(target)
}

/// Makes the model `name` go away; the caller holds the lock.
pub(crate) fn remove(root: &Path, name: &str) -> Result<(), ModelError> {
    let folder = root.join(name);
    if !folder.exists() {
        return Ok(());
    }
    let gone = fresh(root, name)?.join("removed");
    rename(&folder, &gone)?;
    delete(&root.join(format!(".new-{name}")))
}

/// Finishes or undoes what a crash left in the library. What another program holds stays; a library that cannot be written
/// stays as it is.
pub(crate) fn clean(root: &Path) -> Result<(), ModelError> {
    for item in fs::read_dir(root).map_err(|e| ModelError::io(root, "read", e))? {
        let item = item.map_err(|e| ModelError::io(root, "read", e))?;
        let file_name = item.file_name();
        let Some(file_name) = file_name.to_str() else {
            continue;
        };
        let (name, old) = match (
            file_name.strip_prefix(".new-"),
            file_name.strip_prefix(".old-"),
        ) {
            (Some(name), _) => (name, false),
            (_, Some(name)) => (name, true),
            _ => continue,
        };
        if !names::is_model_name(name) {
            continue;
        }
        let Ok(_lock) = lock(root, name) else {
            continue;
        };
        let target = root.join(name);
        // Errors are left to the operation that meets the leftover again.
        if old && !target.exists() {
            let _ = fs::rename(item.path(), &target);
        } else {
            let _ = delete(&item.path());
        }
    }
    Ok(())
}

/// Deletes a file or folder that may not exist. A link is deleted, not followed.
pub(crate) fn delete(path: &Path) -> Result<(), ModelError> {
    let deleted = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match deleted {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(ModelError::io(path, "delete", e)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), ModelError> {
    fs::rename(from, to)
        .map_err(|e| ModelError::io(from, &format!("rename to {}", to.display()), e))
}
