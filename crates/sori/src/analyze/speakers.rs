//! Who spoke: the document made of what was heard.

use std::time::Instant;

use anyhow::Result;
use sori_engine::{DocumentOptions, Heard, Known, StageResult};
use sori_speech::diarize::{ClusterOptions, Plda};
use sori_speech::profile::{Calibration, Profile};
use sori_timeline::Document;

use super::AnalyzeCommand;
use super::load::{self, method};

/// What speakers are decided with.
pub struct Speakers<'a> {
    command: &'a AnalyzeCommand,
    voices: Vec<Profile>,
    plda: Option<Plda>,
}

impl<'a> Speakers<'a> {
    /// As the arguments have it, with these remembered voices.
    ///
    /// # Errors
    /// When a PLDA is asked for and absent, or cannot be read.
    pub fn new(command: &'a AnalyzeCommand, voices: Vec<Profile>) -> Result<Self> {
        let plda = match command.no_speakers {
            true => None,
            false => load::plda(&command.transcribe.models.root(), command.clustering)?,
        };
        Ok(Self {
            command,
            voices,
            plda,
        })
    }

    /// The document of what was heard; `hook` follows the stages.
    ///
    /// # Errors
    /// When voices cannot be brought together as the arguments ask for.
    pub fn document(
        &self,
        heard: &Heard,
        hook: &mut dyn FnMut(StageResult<'_>),
    ) -> Result<Document> {
        let started = Instant::now();
        let fit = |voice: &&Profile| Some(&voice.model) == heard.embedder();
        let profiles: Vec<Profile> = self.voices.iter().filter(fit).cloned().collect();
        let known = heard.embedder().map(|model| Known {
            model,
            profiles: &profiles,
            calibration: Calibration::of(model.known()),
        });
        let method = method(heard, self.command.clustering, self.plda.as_ref())?;
        let speakers = method.map(|method| ClusterOptions {
            speakers: self.command.speakers,
            min_speakers: self.command.min_speakers,
            max_speakers: self.command.max_speakers,
            ..ClusterOptions::new(method)
        });
        let options = DocumentOptions {
            speakers,
            known,
            clock: &|| started.elapsed().as_secs_f64(),
        };
        Ok(heard.document(&options, hook))
    }

    /// Names which remembered voices another network heard than the recording's, where there are any.
    pub fn note(&self, heard: &Heard) -> Option<String> {
        let embedder = heard.embedder()?;
        let other = self.voices.iter().filter(|v| v.model != *embedder);
        let names: Vec<_> = other.map(|v| v.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "{} cannot be recognised, for another network heard them: enroll them again",
                names.join(", ")
            )
        })
    }
}
