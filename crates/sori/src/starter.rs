//! The small recogniser inside the program, for first runs and tests where no model is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// What is said each time the starter is used.
pub const NOTICE: &str = "note: using the built-in starter model, which knows synthetic voices only; for real recordings: sori models pull base";

macro_rules! files {
    ($($name:literal),*) => { [$(($name, include_bytes!(concat!("../../../models/starter/", $name)).as_slice())),*] };
}

/// The model's files, with their contents.
const FILES: [(&str, &[u8]); 5] = files![
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "model.safetensors"
];

/// SHA-256 of the weights, in lower-case hexadecimal.
pub fn checksum() -> String {
    let weights = FILES[FILES.len() - 1].1;
    Sha256::digest(weights)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Writes the model's files into a folder below `root`, unless they are there, and returns the folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn unpack(root: &Path) -> Result<PathBuf> {
    let folder = root.join(format!(".starter-{}", &checksum()[..12]));
    if folder.is_dir() {
        return Ok(folder);
    }
    let remedy = || {
        format!(
            "cannot write the starter model below {}: make room there or set SORI_MODELS",
            root.display()
        )
    };
    fs::create_dir_all(root).with_context(remedy)?;
    let half = tempfile::Builder::new()
        .prefix(".starter-")
        .tempdir_in(root)
        .with_context(remedy)?;
    for (name, bytes) in FILES {
        fs::write(half.path().join(name), bytes).with_context(remedy)?;
    }
    match fs::rename(half.path(), &folder) {
        Ok(()) => {
            // The folder has its new name: nothing is left to delete.
            let _ = half.keep();
        }
        // Another process was faster.
        Err(_) if folder.is_dir() => {}
        Err(e) => return Err(e).with_context(remedy),
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_unpacks_once_and_leaves_nothing_else() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folder = unpack(root.path()).expect("it unpacks");
        assert_eq!(unpack(root.path()).expect("it is there"), folder);
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
        assert_eq!(fs::read_dir(folder).expect("readable").count(), FILES.len());
    }
}
