//! The models that `sori transcribe` runs on.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use sori_engine::Models;
use sori_infer::catalogue::ModelKind;
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
    version: ModelVersion,
    vad: Option<VadModel>,
    vad_version: Option<ModelVersion>,
}

impl Loaded {
    /// The models for one session.
    pub fn models(&self) -> Models<'_> {
        Models {
            whisper: &self.whisper,
            whisper_version: self.version.clone(),
            vad: self.vad.clone(),
            vad_version: self.vad_version.clone(),
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
        // Plain loops are slower than rten-gemm's f32, which knows NEON.
        ComputeArgument::Auto if instructions()?.name() == "portable" => Compute::F32,
        ComputeArgument::Auto | ComputeArgument::Int8 => Compute::Int8,
    };
    let root = command
        .models_dir
        .clone()
        .unwrap_or_else(|| Library::default_root(&|name| std::env::var(name).ok()));
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
    Ok(Loaded {
        whisper,
        version,
        vad,
        vad_version,
    })
}

/// The path and the version of the model that `--model` names.
fn find(root: &Path, name: &str, language: Option<&str>) -> Result<(PathBuf, ModelVersion)> {
    let path = Path::new(name);
    if path.is_dir() || path.is_file() {
        return Ok((
            path.to_owned(),
            ModelVersion {
                name: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                sha256: None,
            },
        ));
    }
    let starter = || -> Result<_> {
        eprintln!("{}", starter::NOTICE);
        Ok((
            starter::unpack(root)?,
            ModelVersion {
                name: "starter".to_owned(),
                sha256: Some(starter::checksum()),
            },
        ))
    };
    if name == "starter" || (name == "auto" && !root.exists()) {
        return starter();
    }
    let library = Library::open(root.to_owned())?;
    let installed = match name {
        "auto" => library.best(ModelKind::Whisper, language)?,
        _ => Some(library.get(name)?),
    };
    let Some(installed) = installed else {
        return starter();
    };
    if installed.manifest.kind != ModelKind::Whisper {
        bail!("{name} is no recogniser: choose one of `sori models list --kind whisper`");
    }
    let largest = installed
        .manifest
        .files
        .iter()
        .max_by_key(|f| f.size)
        .map(|f| f.sha256.clone());
    Ok((
        installed.load_path(),
        ModelVersion {
            name: installed.manifest.name.clone(),
            sha256: largest,
        },
    ))
}
