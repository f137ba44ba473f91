//! The models that `sori analyze` adds to those of `sori transcribe`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use sori_engine::Models;
use sori_infer::catalogue::ModelKind;
use sori_speech::align::Aligner;
use sori_speech::diarize::embedding::Embedding;
use sori_speech::diarize::segmentation::Segmentation;
use sori_speech::diarize::{Method, Networks, Plda};
use sori_speech::profile::{Calibration, EmbedderId, KnownEmbedder};
use sori_timeline::ModelVersion;

use super::arguments::{AnalyzeCommand, ClusteringArgument};
use crate::starter;
use crate::transcribe::installed;

/// The networks that tell voices apart, and the aligner.
pub struct Ears {
    voices: Option<(Segmentation, Embedding)>,
    aligner: Option<Aligner>,
    versions: BTreeMap<String, ModelVersion>,
    /// How voices are brought together; `None` where speakers are left out.
    pub plan: Option<Plan>,
}

/// The embedding network of a recording, and how its voices are brought together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    embedder: EmbedderId,
    /// Numbers in an embedding.
    dimensions: usize,
}

impl Ears {
    /// Loads what the arguments ask for.
    ///
    /// # Errors
    /// When a model is absent or cannot be read.
    pub fn load(command: &AnalyzeCommand) -> Result<Self> {
        let root = command.transcribe.models_root();
        let mut versions = BTreeMap::new();
        let mut plan = None;
        let mut voices = None;
        if !command.no_speakers {
            let (path, version) =
                voice_network(&root, ModelKind::Segmentation, &command.segmentation)?;
            let segmentation = Segmentation::open(&path)?;
            versions.insert("segmentation".to_owned(), version);
            let (path, version) = voice_network(&root, ModelKind::Embedding, &command.embedding)?;
            let embedding = Embedding::open(&path)?;
            plan = Some(Plan::new(&embedding, &version));
            versions.insert("embedding".to_owned(), version);
            voices = Some((segmentation, embedding));
        }
        let mut aligner = None;
        let language = command.transcribe.language.first().map(String::as_str);
        if command.align != "off" {
            match installed(&root, ModelKind::Aligner, &command.align, language)? {
                Some((path, version)) => {
                    aligner = Some(Aligner::open(&path)?);
                    versions.insert("align".to_owned(), version);
                }
                None if command.align == "auto" => {}
                None => bail!(
                    "{} is no aligner: see `sori models list --kind aligner`",
                    command.align
                ),
            }
        }
        Ok(Self {
            voices,
            aligner,
            versions,
            plan,
        })
    }

    /// The models of a session with these among them.
    pub fn add<'a>(&'a self, models: Models<'a>) -> Models<'a> {
        let mut versions = models.versions;
        versions.extend(self.versions.clone());
        Models {
            voices: self
                .voices
                .as_ref()
                .map(|(segmentation, embedding)| Networks {
                    segmentation,
                    embedding,
                }),
            aligner: self.aligner.as_ref(),
            versions,
            ..models
        }
    }
}

/// A network that tells voices apart: the one that is named, the best installed one, or the one that is built in.
pub fn voice_network(
    root: &Path,
    kind: ModelKind,
    name: &str,
) -> Result<(std::path::PathBuf, ModelVersion)> {
    if let Some(found) = installed(root, kind, name, None)? {
        return Ok(found);
    }
    starter::voices(root, kind)
}

/// The PLDA of community-1, where it is wanted and installed.
///
/// # Errors
/// When it is asked for and absent, or cannot be read.
pub fn plda(command: &AnalyzeCommand) -> Result<Option<Plda>> {
    if command.clustering == ClusteringArgument::Ahc || command.no_speakers {
        return Ok(None);
    }
    let root = command.transcribe.models_root();
    match installed(&root, ModelKind::Plda, "auto", None)? {
        Some((path, _)) => Ok(Some(Plda::open(&path)?)),
        None if command.clustering == ClusteringArgument::Vbx => {
            bail!("--clustering vbx needs a PLDA: see `sori models list --kind plda`")
        }
        None => Ok(None),
    }
}

impl Plan {
    /// The plan for voices that this network heard.
    pub fn new(embedding: &Embedding, version: &ModelVersion) -> Self {
        Self {
            embedder: EmbedderId {
                name: embedding.spec().name.to_owned(),
                checksum: version.sha256.clone().unwrap_or_default(),
            },
            dimensions: embedding.spec().dimensions,
        }
    }

    /// The embedding network.
    pub fn embedder(&self) -> &EmbedderId {
        &self.embedder
    }

    /// The way of clustering: the one that is asked for, or what suits the network: community-1's where this is its PLDA.
    ///
    /// # Errors
    /// When a PLDA is asked for that is absent or another network's.
    pub fn method<'a>(
        &self,
        way: ClusteringArgument,
        plda: Option<&'a Plda>,
    ) -> Result<Method<'a>> {
        let fits =
            |plda: &&Plda| plda.dimension() == self.dimensions && self.embedder.name == "resnet34";
        let plda = plda.filter(fits);
        Ok(match (way, plda) {
            (ClusteringArgument::Ahc, _) => Method::AHC,
            (_, Some(plda)) => Method::community_1(plda),
            (ClusteringArgument::Vbx, None) => bail!(
                "--clustering vbx needs the PLDA of the embedding network: sori models pull wespeaker-resnet34 community-1-plda"
            ),
            (ClusteringArgument::Auto, None) => Method::suited(&self.embedder.name),
        })
    }

    /// What a similarity is worth with the network.
    pub fn calibration(&self) -> Calibration {
        Calibration::of(self.known())
    }

    fn known(&self) -> KnownEmbedder {
        match self.embedder.name.as_str() {
            "ge2e" => KnownEmbedder::Resemblyzer,
            "resnet" => KnownEmbedder::Starter,
            _ => KnownEmbedder::ResNet34Lm,
        }
    }
}
