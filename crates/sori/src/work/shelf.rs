//! Models that stay loaded between jobs.

use std::collections::BTreeMap;
use std::mem::replace;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sori_engine::Models;
use sori_infer::catalogue::ModelKind;
use sori_server::JobOptions;

use super::arguments;
use crate::analyze::{AnalyzeCommand, Ears};
use crate::networks::VoiceNetworks;
use crate::transcribe::{Loaded, installed, load};

/// The recogniser and the networks of the last job, each with all that its choice depended on.
pub struct Shelf {
    root: PathBuf,
    recogniser: Option<(String, Loaded)>,
    ears: Option<(String, Ears)>,
}

impl Shelf {
    /// An empty one, for models below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            recogniser: None,
            ears: None,
        }
    }

    /// Where models are kept.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Loads what a job without options needs; names by stage, none where that fails.
    pub fn warm(&mut self) -> BTreeMap<String, String> {
        let mut names = || -> Result<_> {
            let (mut command, _) = arguments::command(&JobOptions::default(), &self.root)?;
            self.fetch(&mut command)?;
            let versions = self.models(&command).map(|models| models.versions);
            Ok(versions.unwrap_or_default())
        };
        let versions = names().unwrap_or_else(|e| {
            eprintln!("error: no models: {e:#}");
            BTreeMap::new()
        });
        let names = versions.into_iter().map(|(stage, v)| (stage, v.name));
        names.collect()
    }

    /// Loads what a command needs and is not at hand; what was at hand instead is let go of first.
    ///
    /// # Errors
    /// When a model is absent or cannot be read.
    pub fn fetch(&mut self, command: &mut AnalyzeCommand) -> Result<()> {
        let transcribe = &command.transcribe;
        let language = transcribe.language.first().map(String::as_str);
        let best = |kind, name: &str, language| installed(&self.root, kind, name, language);
        let recogniser = format!(
            "{:?} {:?} {:?}",
            best(ModelKind::Whisper, &transcribe.model, language)?,
            best(ModelKind::Vad, "auto", None)?,
            transcribe.vad,
        );
        if self
            .recogniser
            .as_ref()
            .is_none_or(|(key, _)| *key != recogniser)
        {
            self.recogniser = None;
            self.recogniser = Some((recogniser, load(&command.transcribe)?));
        }
        self.fetch_ears(command)
    }

    /// Loads what a command needs to tell voices apart and to align words, in the same way.
    ///
    /// # Errors
    /// As [`Shelf::fetch`].
    pub fn fetch_ears(&mut self, command: &mut AnalyzeCommand) -> Result<()> {
        let language = command.transcribe.language.first().map(String::as_str);
        let best = |kind, name: &str, language| installed(&self.root, kind, name, language);
        let aligner = match command.align.as_str() {
            "off" => None,
            name => best(ModelKind::Aligner, name, language)?,
        };
        let ears = format!(
            "{:?} {:?} {aligner:?}",
            best(ModelKind::Segmentation, "auto", None)?,
            best(ModelKind::Embedding, "auto", None)?,
        );
        if self.ears.as_ref().is_none_or(|(key, _)| *key != ears) {
            self.ears = None;
            // The next job may want speakers.
            let without = replace(&mut command.no_speakers, false);
            let loaded = Ears::load(command);
            command.no_speakers = without;
            self.ears = Some((ears, loaded?));
        }
        Ok(())
    }

    /// The networks that tell voices apart; none before [`Shelf::fetch_ears`] found them.
    pub fn voices(&self) -> Option<&VoiceNetworks> {
        self.ears.as_ref().and_then(|(_, ears)| ears.voices())
    }

    /// The models of a session that does what a command asks for; none before [`Shelf::fetch`] found them.
    pub fn models(&self, command: &AnalyzeCommand) -> Option<Models<'_>> {
        let (_, recogniser) = self.recogniser.as_ref()?;
        let (_, ears) = self.ears.as_ref()?;
        Some(ears.add(recogniser.models(), command))
    }
}
