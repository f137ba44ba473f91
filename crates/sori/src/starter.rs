//! The small models inside the program, for first runs and tests where none is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use sori_infer::catalogue::ModelKind;
use sori_timeline::ModelVersion;

/// What is said each time the starter is used.
pub const NOTICE: &str = "note: using the built-in starter model, which knows synthetic voices only; for real recordings: sori models pull base";

/// Models inside the program that are unpacked together.
struct Bundle {
    name: &'static str,
    /// Names and contents; the last is what the bundle is known by.
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! bundle {
    ($folder:literal, $($name:literal),*) => {
        Bundle { name: $folder, files: &[$(($name, include_bytes!(concat!("../../../models/", $folder, "/", $name)))),*] }
    };
}

const RECOGNISER: Bundle = bundle!(
    "starter",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "model.safetensors"
);

const VOICES: Bundle = bundle!(
    "starter-speakers",
    "segmentation.safetensors",
    "embedding.safetensors"
);

/// The recogniser's folder below `root`, unpacked if need be, and its version.
///
/// # Errors
/// When the folder cannot be written.
pub fn recogniser(root: &Path) -> Result<(PathBuf, ModelVersion)> {
    Ok((unpack(&RECOGNISER, root)?, recogniser_version()))
}

/// The recogniser's version, with nothing unpacked.
pub fn recogniser_version() -> ModelVersion {
    let (_, weights) = RECOGNISER.files[RECOGNISER.files.len() - 1];
    version(weights)
}

/// The file of a network that tells voices apart below `root`, unpacked if need be, and its version.
///
/// # Errors
/// When there is none of that kind, or the folder cannot be written.
pub fn voices(root: &Path, kind: ModelKind) -> Result<(PathBuf, ModelVersion)> {
    let known = VOICES
        .files
        .iter()
        .find(|(name, _)| name.strip_suffix(".safetensors") == Some(kind.as_str()));
    let Some((name, weights)) = known else {
        bail!("no {} is built in", kind.as_str());
    };
    Ok((unpack(&VOICES, root)?.join(name), version(weights)))
}

fn version(weights: &[u8]) -> ModelVersion {
    ModelVersion {
        name: "starter".to_owned(),
        sha256: Some(checksum(weights)),
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Writes a bundle's files into a folder below `root`, unless they are there, and returns the folder.
fn unpack(bundle: &Bundle, root: &Path) -> Result<PathBuf> {
    let sums: String = bundle
        .files
        .iter()
        .map(|(_, bytes)| checksum(bytes))
        .collect();
    let folder = root.join(format!(
        ".{}-{}",
        bundle.name,
        &checksum(sums.as_bytes())[..12]
    ));
    if folder.is_dir() {
        return Ok(folder);
    }
    let remedy = || {
        format!(
            "cannot write the built-in models below {}: make room there or set SORI_MODELS",
            root.display()
        )
    };
    fs::create_dir_all(root).with_context(remedy)?;
    let half = tempfile::Builder::new()
        .prefix(".starter-")
        .tempdir_in(root)
        .with_context(remedy)?;
    for (name, bytes) in bundle.files {
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
    fn a_bundle_unpacks_once_and_leaves_nothing_else() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, _) = recogniser(root.path()).expect("it unpacks");
        assert_eq!(recogniser(root.path()).expect("it is there").0, folder);
        assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1);
        let files = fs::read_dir(folder).expect("readable").count();
        assert_eq!(files, RECOGNISER.files.len());
        for kind in [ModelKind::Segmentation, ModelKind::Embedding] {
            assert!(voices(root.path(), kind).expect("it unpacks").0.is_file());
        }
    }
}
