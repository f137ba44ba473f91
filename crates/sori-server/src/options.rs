//! What a client may choose for a job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Most characters of a prompt or of hot words; a model takes half its text context, 224 tokens (openai/whisper
/// `decoding.py`), so that more would be cut off anyway.
const MAX_TEXT: usize = 4_000;
/// Most characters of a model's name.
const MAX_NAME: usize = 200;
/// Most characters of the language codes.
const MAX_LANGUAGES: usize = 200;
/// Most people that a job may name as a number; clustering needs a place for each.
const MAX_SPEAKERS: u32 = 100;
/// Most sequences of beam search: each keeps keys and values of its own.
const MAX_BEAMS: u32 = 16;

/// How a recording is analyzed; what is left out is chosen as `sori analyze` chooses it. Names that are not here are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobOptions {
    /// An installed model by its name; `auto` is the best installed one for the language. A name that is not installed falls
    /// back to `auto` with a warning in the document, for clients of other services send names of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The language spoken, as a code such as `en` or `ko`; several with commas limit what is detected; absent or `auto` means
    /// any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Words as they were said, or in English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<JobTask>,
    /// A text that comes before, for spelling and style; at most 4,000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Names and terms to expect; at most 4,000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotwords: Option<String>,
    /// The first temperature, 0 to 2; a text that is not plausible is tried again at 0.2 more, up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Sequences of beam search, 1 (greedy) to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beam_size: Option<u32>,
    /// Whether it is told who speaks; true unless told.
    pub diarize: bool,
    /// How many people speak, where that is known; 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speakers: Option<u32>,
    /// At least so many people speak; 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_speakers: Option<u32>,
    /// At most so many people speak; 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_speakers: Option<u32>,
    /// Whether voices are told apart as the reference does, three times slower; false unless told.
    pub exact: bool,
    /// Whether an installed aligner finds the exact times of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<JobAlign>,
    /// What is measured of the sound; an empty list measures nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<JobFeature>>,
    /// The channel to hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<JobChannel>,
    /// What finds speech.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vad: Option<JobVad>,
    /// Whether remembered voices are named; true unless told.
    pub names: bool,
}

impl Default for JobOptions {
    /// As `sori analyze` without options.
    fn default() -> Self {
        Self {
            model: None,
            language: None,
            task: None,
            prompt: None,
            hotwords: None,
            temperature: None,
            beam_size: None,
            diarize: true,
            speakers: None,
            min_speakers: None,
            max_speakers: None,
            exact: false,
            align: None,
            features: None,
            channel: None,
            vad: None,
            names: true,
        }
    }
}

/// The words a job writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobTask {
    /// As they were said.
    Transcribe,
    /// In English.
    Translate,
}

/// Where times of words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobAlign {
    /// From the best installed aligner for the language, where there is one.
    Auto,
    /// From the recogniser.
    Off,
}

/// Something that is measured of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobFeature {
    /// How loud words are.
    Volume,
    /// How high voices are.
    Pitch,
    /// Shape of the spectrum.
    Spectrum,
    /// Mel-frequency cepstral coefficients.
    Mfcc,
    /// Their change in time.
    MfccDelta,
    /// Jitter, shimmer and harmonics.
    Voice,
    /// Loudness as listeners hear it (ITU-R BS.1770).
    Loudness,
}

/// A channel of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobChannel {
    /// The mean of all.
    Mix,
    /// The first.
    Left,
    /// The second, or the only one.
    Right,
}

/// A detector of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobVad {
    /// Silero where it is installed, else the one that is built in.
    Auto,
    /// The one that is built in.
    Builtin,
    /// Silero.
    Silero,
    /// None: everything is transcribed.
    Off,
}

/// An option that cannot be followed: its name, and what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {message}")]
pub struct OptionsError {
    /// The name of the option, as in JSON.
    pub option: &'static str,
    /// What to give instead.
    pub message: String,
}

impl JobOptions {
    /// Checks every option alone and against the others; whether models can follow them is known to the worker only.
    ///
    /// # Errors
    /// Naming the first that cannot be followed.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let refuse = |option, message: String| Err(OptionsError { option, message });
        let texts = [
            ("model", &self.model, MAX_NAME),
            ("language", &self.language, MAX_LANGUAGES),
            ("prompt", &self.prompt, MAX_TEXT),
            ("hotwords", &self.hotwords, MAX_TEXT),
        ];
        for (option, text, most) in texts {
            let Some(text) = text else { continue };
            if text.chars().count() > most {
                return refuse(option, format!("give at most {most} characters"));
            }
            if text.contains('\0') {
                return refuse(option, "give text without NUL".to_owned());
            }
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_, ".contains(c);
        if self
            .language
            .as_ref()
            .is_some_and(|l| !l.chars().all(letter))
        {
            let message = "give a code such as en, or several with commas";
            return refuse("language", message.to_owned());
        }
        if !self.temperature.is_none_or(|t| (0.0..=2.0).contains(&t)) {
            return refuse("temperature", "give a number from 0 to 2".to_owned());
        }
        let numbers = [
            ("beam_size", self.beam_size, MAX_BEAMS),
            ("speakers", self.speakers, MAX_SPEAKERS),
            ("min_speakers", self.min_speakers, MAX_SPEAKERS),
            ("max_speakers", self.max_speakers, MAX_SPEAKERS),
        ];
        for (option, number, most) in numbers {
            if !number.is_none_or(|n| (1..=most).contains(&n)) {
                return refuse(option, format!("give a number from 1 to {most}"));
            }
            if option != "beam_size" && number.is_some() && !self.diarize {
                return refuse(option, "leave it out where diarize is false".to_owned());
            }
        }
        if self.exact && !self.diarize {
            return refuse("exact", "leave it out where diarize is false".to_owned());
        }
        if let (Some(least), Some(most)) = (self.min_speakers, self.max_speakers)
            && least > most
        {
            return refuse(
                "min_speakers",
                format!("give at most max_speakers ({most})"),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> JobOptions {
        serde_json::from_str(json).expect("options of this module")
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        assert_eq!(options("{}"), JobOptions::default());
        let all = r#"{"model":"base","language":"en,ko","task":"translate","prompt":"p","hotwords":"h","temperature":0.4,
            "beam_size":5,"diarize":true,"min_speakers":2,"max_speakers":3,"exact":true,"align":"off",
            "features":["volume","mfcc_delta"],"channel":"left","vad":"silero","names":false}"#;
        let all = options(all);
        all.validate().expect("all is in range");
        let again = serde_json::to_string(&all).expect("it is JSON");
        assert_eq!(options(&again), all);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_by_name() {
        for (json, option) in [
            (r#"{"beam_size":0}"#, "beam_size"),
            (r#"{"beam_size":17}"#, "beam_size"),
            (r#"{"temperature":2.1}"#, "temperature"),
            (r#"{"speakers":0}"#, "speakers"),
            (r#"{"speakers":2,"diarize":false}"#, "speakers"),
            (r#"{"exact":true,"diarize":false}"#, "exact"),
            (r#"{"min_speakers":3,"max_speakers":2}"#, "min_speakers"),
            (r#"{"max_speakers":101}"#, "max_speakers"),
            (r#"{"language":"../en"}"#, "language"),
            (r#"{"prompt":"\u0000"}"#, "prompt"),
        ] {
            let error = options(json).validate().expect_err(json);
            assert_eq!(error.option, option, "{json}");
        }
        let long = JobOptions {
            hotwords: Some("한".repeat(MAX_TEXT + 1)),
            ..JobOptions::default()
        };
        assert_eq!(long.validate().expect_err("too long").option, "hotwords");
        for unknown in [
            r#"{"modle":"base"}"#,
            r#"{"vad":"webrtc"}"#,
            r#"{"beam_size":-1}"#,
        ] {
            assert!(
                serde_json::from_str::<JobOptions>(unknown).is_err(),
                "{unknown}"
            );
        }
    }
}
