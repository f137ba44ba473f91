//! The models that `sori transcribe` runs on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use sori_engine::Models;
use sori_infer::catalogue::{ModelErrorKind, ModelKind};
use sori_infer::library::Library;
use sori_infer::linear::Compute;
use sori_infer::runtime::OnnxModel;
use sori_speech::transcribe::{LoadOptions, Whisper};
use sori_speech::vad::VadModel;
use sori_timeline::ModelVersion;

use super::arguments::{ComputeArgument, TranscribeCommand, VadArgument};
use crate::{PACKED, instructions, starter};

/// Everything that is loaded once for all files.
pub struct Loaded {
    /// The recogniser.
    pub whisper: Whisper,
    vad: Option<VadModel>,
    versions: BTreeMap<String, ModelVersion>,
}

impl Loaded {
    /// The models for one session.
    pub fn models(&self) -> Models<'_> {
        Models {
            whisper: &self.whisper,
            vad: self.vad.clone(),
            voices: None,
            aligner: None,
            versions: self.versions.clone(),
        }
    }
}

/// Loads what the arguments ask for; runs in the caller's rayon pool.
///
/// # Errors
/// When a model is absent or cannot be read.
pub fn load(command: &TranscribeCommand) -> Result<Loaded> {
    let compute = match command.compute {
        ComputeArgument::F32 => Compute::F32,
        // Slower than rten-gemm's f32, which knows NEON.
        ComputeArgument::Auto if !instructions()?.prefers_int8() => Compute::F32,
        ComputeArgument::Auto | ComputeArgument::Int8 => Compute::Int8,
        ComputeArgument::Int4 => Compute::Int4,
    };
    let root = command.models.root();
    let (path, version) = find(
        &root,
        &command.model,
        command.language.first().map(String::as_str),
    )?;
    let options = LoadOptions {
        isa: instructions()?,
        cache: Some(root.join(PACKED)),
        ..compute.into()
    };
    let whisper = Whisper::open(&path, options)?;
    let library = Library::open(root)?;
    let silero = || -> Result<(VadModel, ModelVersion)> {
        let best = library.best(ModelKind::Vad, None)?.ok_or_else(|| {
            anyhow!("no voice activity model is installed: sori models pull silero-vad")
        })?;
        let sha256 = best.manifest.files.first().map(|f| f.sha256.clone());
        Ok((
            VadModel::Silero(OnnxModel::load(&best.load_path(), 1)?),
            ModelVersion {
                name: best.manifest.name,
                sha256,
            },
        ))
    };
    let builtin = || {
        (
            VadModel::Builtin,
            ModelVersion {
                name: "earshot with a gate".to_owned(),
                sha256: None,
            },
        )
    };
    let vad = match command.vad {
        VadArgument::Off => None,
        VadArgument::Builtin => Some(builtin()),
        VadArgument::Silero => Some(silero()?),
        VadArgument::Auto if library.best(ModelKind::Vad, None)?.is_some() => Some(silero()?),
        VadArgument::Auto => Some(builtin()),
    };
    let (vad, vad_version) = vad.unzip();
    let mut versions = BTreeMap::from([("transcribe".to_owned(), version)]);
    versions.extend(vad_version.map(|v| ("vad".to_owned(), v)));
    Ok(Loaded {
        whisper,
        vad,
        versions,
    })
}

/// The path and the version of the recogniser that `--model` names.
fn find(root: &Path, name: &str, language: Option<&str>) -> Result<(PathBuf, ModelVersion)> {
    if let Some(found) = installed(root, ModelKind::Whisper, name, language)? {
        return Ok(found);
    }
    eprintln!("{}", starter::NOTICE);
    starter::recogniser(root)
}

/// The path and the version of the model that an argument names: an installed model, else a path, or with `auto` the best
/// installed one of its kind for a language. Nothing where only what is built in is left, which `starter` asks for.
///
/// # Errors
/// When the model is not installed, of another kind, or cannot be read.
pub fn installed(
    root: &Path,
    kind: ModelKind,
    name: &str,
    language: Option<&str>,
) -> Result<Option<(PathBuf, ModelVersion)>> {
    let path = Path::new(name);
    // Whatever lies in the working folder, a model's name is the model, also where its files are damaged; a folder of that
    // name is ./NAME.
    let known = || match Library::open(root.to_owned())?.get(name) {
        Err(error) => Ok(error.kind() == ModelErrorKind::Damaged),
        Ok(_) => anyhow::Ok(true),
    };
    let named = ["auto", "starter"].contains(&name) || root.exists() && known()?;
    if !named && (path.is_dir() || path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let version = ModelVersion {
            name: name.into_owned(),
            sha256: None,
        };
        return Ok(Some((path.to_owned(), version)));
    }
    if name == "starter" || (name == "auto" && !root.exists()) {
        return Ok(None);
    }
    let library = Library::open(root.to_owned())?;
    let installed = match name {
        "auto" => library.best(kind, language)?,
        _ => Some(library.get(name)?),
    };
    let Some(installed) = installed else {
        return Ok(None);
    };
    if installed.manifest.kind != kind {
        bail!(
            "{name} is of another kind: choose one of `sori models list --kind {}`",
            kind.as_str()
        );
    }
    let largest = installed.manifest.files.iter().max_by_key(|f| f.size);
    let version = ModelVersion {
        sha256: largest.map(|f| f.sha256.clone()),
        name: installed.manifest.name.clone(),
    };
    Ok(Some((installed.load_path(), version)))
}
