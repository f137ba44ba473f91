//! Where models are kept, and the two networks that tell voices apart: the arguments and the loading, for every command that
//! has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use sori_engine::Voices;
use sori_infer::catalogue::ModelKind;
use sori_infer::library::Library;
use sori_speech::diarize::Networks;
use sori_speech::diarize::embedding::Embedding;
use sori_speech::diarize::segmentation::Segmentation;
use sori_speech::profile::EmbedderId;
use sori_timeline::ModelVersion;

use crate::starter;
use crate::transcribe::installed;

/// Where models are kept.
#[derive(Args, Clone, Debug, Default)]
pub struct ModelsFolder {
    /// Where models are kept
    #[arg(long, value_name = "FOLDER", env = "SORI_MODELS", global = true)]
    models_dir: Option<PathBuf>,
}

impl ModelsFolder {
    /// The folder that was given, or the user's; it need not be there.
    pub fn root(&self) -> PathBuf {
        let default = || Library::default_root(&|name| std::env::var(name).ok());
        self.models_dir.clone().unwrap_or_else(default)
    }
}

/// Which networks tell voices apart.
#[derive(Args, Clone, Debug)]
pub struct NetworkArguments {
    /// The network that finds voices in a window: an installed model or a file; `starter` is built in
    #[arg(long, default_value = "auto", value_name = "NAME|PATH")]
    pub segmentation: String,
    /// The network that tells voices apart: an installed model or a file; `starter` is built in
    #[arg(long, default_value = "auto", value_name = "NAME|PATH")]
    pub embedding: String,
}

impl NetworkArguments {
    /// Loads both: those that are named, the best that are installed below `root`, or those that are built in.
    ///
    /// # Errors
    /// When one is absent or cannot be read.
    pub fn load(&self, root: &Path) -> Result<VoiceNetworks> {
        let (path, segmentation_version) =
            network(root, ModelKind::Segmentation, &self.segmentation)?;
        let segmentation = Segmentation::open(&path)?;
        let (path, embedding_version) = network(root, ModelKind::Embedding, &self.embedding)?;
        let embedding = Embedding::open(&path)?;
        let embedder = EmbedderId {
            name: embedding.spec().name.to_owned(),
            checksum: embedding_version.sha256.clone().unwrap_or_default(),
        };
        Ok(VoiceNetworks {
            segmentation,
            embedding,
            embedder,
            versions: BTreeMap::from([
                ("segmentation".to_owned(), segmentation_version),
                ("embedding".to_owned(), embedding_version),
            ]),
        })
    }
}

/// The loaded networks that tell voices apart.
pub struct VoiceNetworks {
    segmentation: Segmentation,
    embedding: Embedding,
    embedder: EmbedderId,
    /// Names and checksums under `segmentation` and `embedding`, as documents have them.
    pub versions: BTreeMap<String, ModelVersion>,
}

impl VoiceNetworks {
    /// Both, for a listener.
    pub fn networks(&self) -> Networks<'_> {
        Networks {
            segmentation: &self.segmentation,
            embedding: &self.embedding,
        }
    }

    /// Both with the identity of the second, for a session.
    pub fn voices(&self) -> Voices<'_> {
        Voices {
            networks: self.networks(),
            embedder: self.embedder.clone(),
        }
    }

    /// Which embedding network it is; its checksum is never empty.
    pub fn embedder(&self) -> &EmbedderId {
        &self.embedder
    }

    /// The names of both for a reader.
    pub fn names(&self) -> String {
        let parts = ["segmentation", "embedding"];
        parts
            .map(|part| format!("{part} {}", self.versions[part].name))
            .join(", ")
    }
}

/// The path of a network and its version, with a checksum also where a path was given.
fn network(root: &Path, kind: ModelKind, name: &str) -> Result<(PathBuf, ModelVersion)> {
    let Some((path, mut version)) = installed(root, kind, name, None)? else {
        return starter::voices(root, kind);
    };
    if version.sha256.is_none() {
        let checksum = checksum(&path);
        version.sha256 = Some(checksum.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok((path, version))
}

/// SHA-256 of a file; of the largest in a folder, as the library has it of installed models.
fn checksum(path: &Path) -> std::io::Result<String> {
    let mut largest = path.to_owned();
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            files.push((fs::metadata(&path)?.len(), path));
        }
        files.retain(|(_, path)| path.is_file());
        largest = files.into_iter().max().map_or(largest, |(_, path)| path);
    }
    Ok(starter::checksum(&fs::read(largest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_by_its_path_is_known_by_its_checksum() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let load = |name: &str| {
            let arguments = NetworkArguments {
                segmentation: "starter".to_owned(),
                embedding: name.to_owned(),
            };
            arguments.load(root.path()).expect("it loads")
        };
        let built_in = load("starter");
        let (path, _) = starter::voices(root.path(), ModelKind::Embedding).expect("it unpacks");
        let folder = root.path().join("alone");
        fs::create_dir(&folder).expect("a folder");
        fs::copy(&path, folder.join("model.safetensors")).expect("a file");
        fs::write(folder.join("notes.txt"), b"smaller").expect("a file");
        for place in [path, folder] {
            let given = load(place.to_str().expect("test paths are UTF-8"));
            assert_eq!(given.embedder(), built_in.embedder(), "{}", place.display());
        }
        assert_eq!(built_in.embedder().checksum.len(), 64);
    }
}
