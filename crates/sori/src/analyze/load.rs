//! The models that `sori analyze` adds to those of `sori transcribe`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use sori_engine::{Heard, Models};
use sori_infer::catalogue::ModelKind;
use sori_speech::align::Aligner;
use sori_speech::diarize::{Method, Plda};
use sori_timeline::ModelVersion;

use super::arguments::{AnalyzeCommand, ClusteringArgument};
use crate::networks::VoiceNetworks;
use crate::transcribe::installed;

/// The networks that tell voices apart, and the aligner.
pub struct Ears {
    voices: Option<VoiceNetworks>,
    aligner: Option<(Aligner, ModelVersion)>,
}

impl Ears {
    /// Loads what the arguments ask for.
    ///
    /// # Errors
    /// When a model is absent or cannot be read.
    pub fn load(command: &AnalyzeCommand) -> Result<Self> {
        let root = command.transcribe.models.root();
        let voices = match command.no_speakers {
            true => None,
            false => Some(command.networks.load(&root)?),
        };
        let language = command.transcribe.language.first().map(String::as_str);
        Ok(Self {
            voices,
            aligner: aligner(&root, &command.align, language)?,
        })
    }

    /// The networks that tell voices apart, unless the command that they were loaded for wanted no speakers.
    pub fn voices(&self) -> Option<&VoiceNetworks> {
        self.voices.as_ref()
    }

    /// The models of a session with these among them, voices only where the command wants speakers.
    pub fn add<'a>(&'a self, models: Models<'a>, command: &AnalyzeCommand) -> Models<'a> {
        let mut versions: BTreeMap<_, _> = models.versions;
        let voices = self.voices.as_ref().filter(|_| !command.no_speakers);
        if let Some(voices) = voices {
            versions.extend(voices.versions.clone());
        }
        if let Some((_, version)) = &self.aligner {
            versions.insert("align".to_owned(), version.clone());
        }
        Models {
            voices: voices.map(VoiceNetworks::voices),
            aligner: self.aligner.as_ref().map(|(aligner, _)| aligner),
            versions,
            ..models
        }
    }
}

/// The aligner of that name, or the best installed one for a language; none where it is `off` or `auto` finds none.
///
/// # Errors
/// When the one that is named is absent or cannot be read.
pub fn aligner(
    root: &Path,
    name: &str,
    language: Option<&str>,
) -> Result<Option<(Aligner, ModelVersion)>> {
    if name == "off" {
        return Ok(None);
    }
    match installed(root, ModelKind::Aligner, name, language)? {
        Some((path, version)) => Ok(Some((Aligner::open(&path)?, version))),
        None if name == "auto" => Ok(None),
        None => bail!("{name} is no aligner: see `sori models list --kind aligner`"),
    }
}

/// The PLDA of community-1, where it is wanted and installed.
///
/// # Errors
/// When it is asked for and absent, or cannot be read.
pub fn plda(root: &Path, way: ClusteringArgument) -> Result<Option<Plda>> {
    if way == ClusteringArgument::Ahc {
        return Ok(None);
    }
    match installed(root, ModelKind::Plda, "auto", None)? {
        Some((path, _)) => Ok(Some(Plda::open(&path)?)),
        None if way == ClusteringArgument::Vbx => {
            bail!("--clustering vbx needs a PLDA: see `sori models list --kind plda`")
        }
        None => Ok(None),
    }
}

/// The way of clustering what was heard: the one that is asked for, or what suits the network that heard the voices:
/// community-1's where this is its PLDA. None where it was heard without voices.
///
/// # Errors
/// When a PLDA is asked for that is absent or another network's.
pub fn method<'a>(
    heard: &Heard,
    way: ClusteringArgument,
    plda: Option<&'a Plda>,
) -> Result<Option<Method<'a>>> {
    let Some(embedder) = heard.embedder() else {
        return Ok(None);
    };
    let dimension = heard.voices().map(|voices| voices.dimension());
    let fits = |plda: &&Plda| Some(plda.dimension()) == dimension && embedder.name == "resnet34";
    Ok(Some(match (way, plda.filter(fits)) {
        (ClusteringArgument::Ahc, _) => Method::AHC,
        (_, Some(plda)) => Method::community_1(plda),
        (ClusteringArgument::Vbx, None) => bail!(
            "--clustering vbx needs the PLDA of the embedding network: sori models pull wespeaker-resnet34 community-1-plda"
        ),
        (ClusteringArgument::Auto, None) => Method::suited(&embedder.name),
    }))
}
