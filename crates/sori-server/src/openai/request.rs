//! What a client of OpenAI's audio API asks for.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::language;
use crate::{JobAlign, JobOptions, JobTask};

/// Most speakers whose voice a request may bring along, as OpenAI has it.
const MAX_KNOWN_SPEAKERS: usize = 4;
/// Largest sample of a voice in bytes: 10 s of 96 kHz stereo in 32 bits are 7.7 MB.
const MAX_REFERENCE_BYTES: usize = 8 << 20;
/// Longest name of a speaker, in characters.
const MAX_NAME: usize = 64;

/// A field that cannot be followed: its name, and what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{param}: {message}")]
pub struct FieldError {
    /// The name of the field, without brackets.
    pub param: &'static str,
    /// What to give instead.
    pub message: String,
}

/// The shape that is wanted back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFormat {
    /// The text in an object.
    #[default]
    Json,
    /// The text.
    Text,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// Segments, and words where asked.
    VerboseJson,
    /// Segments with who said them.
    DiarizedJson,
}

/// What is wanted back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The shape.
    pub format: ResponseFormat,
    /// Whether the text was translated into English.
    pub translated: bool,
    /// Whether `verbose_json` lists words.
    pub words: bool,
    /// Whether `verbose_json` lists segments.
    pub segments: bool,
    /// Whether `json` tells how sure each word is.
    pub logprobs: bool,
    /// Whether the text comes as server-sent events while it is heard.
    pub stream: bool,
    /// Whether `text`, `srt` and `vtt` tell who speaks.
    pub speakers: bool,
}

/// A voice with its name, to be told from the others.
#[derive(Clone, PartialEq, Eq)]
pub struct KnownSpeaker {
    /// The name that segments are to bear.
    pub name: String,
    /// A sample of the voice, 2 to 10 s in any format that recordings may have.
    pub sample: Vec<u8>,
}

impl std::fmt::Debug for KnownSpeaker {
    /// Without the name and the voice, which are personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KnownSpeaker({} bytes)", self.sample.len())
    }
}

/// What was asked for, but for the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TranscriptionRequest {
    /// How the recording is analyzed.
    pub options: JobOptions,
    /// Voices that the request brings along.
    pub known_speakers: Vec<KnownSpeaker>,
    /// What is wanted back.
    pub wanted: Wanted,
}

impl TranscriptionRequest {
    /// Reads the text fields of the form (name, value) of `/audio/transcriptions` or, for [`JobTask::Translate`],
    /// `/audio/translations`, as OpenAI's API reference has them. Lists are read as `x`, `x[]` and `x[0]`; unknown fields and
    /// models are tolerated, for clients send what other services know. `hotwords`, `diarize`, `speakers`, `min_speakers` and
    /// `max_speakers` are additions.
    ///
    /// `chunking_strategy` is checked and has no effect: recordings are always cut where nobody speaks.
    ///
    /// # Errors
    /// Naming the first field that cannot be followed.
    pub fn parse(task: JobTask, fields: &[(String, String)]) -> Result<Self, FieldError> {
        let fields = Fields(fields);
        let translated = task == JobTask::Translate;
        let format = format(&fields, translated)?;
        chunking(&fields)?;
        let known_speakers = known_speakers(&fields)?;
        let diarized = format == ResponseFormat::DiarizedJson || !known_speakers.is_empty();
        let asked = fields.switch("diarize")?;
        let diarize = asked.unwrap_or(diarized);
        if diarized && !diarize {
            let message = "leave it out where speakers are asked for";
            return refuse("diarize", message);
        }
        let granularities = granularities(&fields)?;
        let wanted = Wanted {
            format,
            translated,
            words: granularities.contains(&Granularity::Word),
            segments: granularities.is_empty() || granularities.contains(&Granularity::Segment),
            logprobs: logprobs(&fields)?,
            stream: fields.switch("stream")?.unwrap_or(false) && !translated,
            speakers: diarize,
        };
        let mut options = JobOptions {
            model: fields.text("model"),
            language: if translated {
                None
            } else {
                languages(&fields)?
            },
            task: translated.then_some(JobTask::Translate),
            prompt: fields.text("prompt"),
            hotwords: hotwords(&fields),
            temperature: fields.number("temperature", 0.0, 1.0)?.map(|t| t as f32),
            diarize,
            // No shape of this API has acoustic features, and they take their time.
            features: Some(Vec::new()),
            // Exact times of words are shown by no other shape either.
            align: (!shows_word_times(&wanted)).then_some(JobAlign::Off),
            ..JobOptions::default()
        };
        for (name, number) in [
            ("speakers", &mut options.speakers),
            ("min_speakers", &mut options.min_speakers),
            ("max_speakers", &mut options.max_speakers),
        ] {
            *number = fields.number(name, 1.0, 100.0)?.map(|n| n as u32);
        }
        options.validate().map_err(|error| FieldError {
            param: error.option,
            message: error.message,
        })?;
        Ok(Self {
            options,
            known_speakers,
            wanted,
        })
    }
}

/// Whether anything depends on when exactly a word was said.
fn shows_word_times(wanted: &Wanted) -> bool {
    match wanted.format {
        ResponseFormat::Json | ResponseFormat::Text => wanted.speakers,
        ResponseFormat::VerboseJson => wanted.words || wanted.speakers,
        ResponseFormat::Srt | ResponseFormat::Vtt | ResponseFormat::DiarizedJson => true,
    }
}

fn refuse<T>(param: &'static str, message: impl Into<String>) -> Result<T, FieldError> {
    let message = message.into();
    Err(FieldError { param, message })
}

fn format(fields: &Fields, translated: bool) -> Result<ResponseFormat, FieldError> {
    use ResponseFormat::*;
    let known = [
        ("json", Json),
        ("text", Text),
        ("srt", Srt),
        ("vtt", Vtt),
        ("verbose_json", VerboseJson),
        ("diarized_json", DiarizedJson),
    ];
    // A translation has no speakers.
    let known = &known[..known.len() - usize::from(translated)];
    let Some(name) = fields.text("response_format") else {
        return Ok(Json);
    };
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, format)| *format).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        FieldError {
            param: "response_format",
            message: format!("give one of {}", names.join(", ")),
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Granularity {
    Word,
    Segment,
}

fn granularities(fields: &Fields) -> Result<Vec<Granularity>, FieldError> {
    fields
        .list("timestamp_granularities")
        .iter()
        .map(|name| match name.as_str() {
            "word" => Ok(Granularity::Word),
            "segment" => Ok(Granularity::Segment),
            _ => refuse("timestamp_granularities", "give word, segment or both"),
        })
        .collect()
}

fn logprobs(fields: &Fields) -> Result<bool, FieldError> {
    let include = fields.list("include");
    if include.iter().any(|name| name != "logprobs") {
        return refuse("include", "give logprobs or leave it out");
    }
    Ok(!include.is_empty())
}

/// The language, else those that may be detected; `None` for any.
fn languages(fields: &Fields) -> Result<Option<String>, FieldError> {
    if let Some(one) = fields.text("language").filter(|one| one != "auto") {
        return match language::code(&one) {
            Some(code) => Ok(Some(code.to_owned())),
            None => refuse("language", "give a code of ISO 639-1 such as en or ko"),
        };
    }
    let several = fields.list("languages");
    let codes: Option<Vec<_>> = several.iter().map(|one| language::code(one)).collect();
    match codes {
        None => refuse("languages", "give codes of ISO 639-1 such as en or ko"),
        Some(codes) => Ok((!codes.is_empty()).then(|| codes.join(","))),
    }
}

fn hotwords(fields: &Fields) -> Option<String> {
    let mut words = fields.list("keywords");
    words.extend(fields.text("hotwords"));
    (!words.is_empty()).then(|| words.join(", "))
}

/// `auto`, or an object as JSON or in brackets; both are checked only.
fn chunking(fields: &Fields) -> Result<(), FieldError> {
    const PARAM: &str = "chunking_strategy";
    let wrong = || refuse(PARAM, "give auto or an object with the type server_vad");
    let mut given: Vec<(String, Value)> = fields.members(PARAM);
    if let Some(text) = fields.text(PARAM) {
        match serde_json::from_str(&text) {
            _ if text == "auto" => return Ok(()),
            Ok(Value::Null) => return Ok(()),
            Ok(Value::Object(object)) => given.extend(object),
            _ => return wrong(),
        }
    }
    if given.is_empty() {
        return Ok(());
    }
    for (member, value) in &given {
        let number = value.as_f64();
        let fits = match member.as_str() {
            "type" => value == "server_vad",
            "threshold" => number.is_some_and(|n| (0.0..=1.0).contains(&n)),
            "prefix_padding_ms" | "silence_duration_ms" => {
                number.is_some_and(|n| (0.0..=60_000.0).contains(&n))
            }
            _ => true,
        };
        if !fits {
            return refuse(PARAM, format!("its {member} is out of range"));
        }
    }
    if given.iter().any(|(member, _)| member == "type") {
        Ok(())
    } else {
        wrong()
    }
}

fn known_speakers(fields: &Fields) -> Result<Vec<KnownSpeaker>, FieldError> {
    const NAMES: &str = "known_speaker_names";
    const REFERENCES: &str = "known_speaker_references";
    let (names, references) = (fields.list(NAMES), fields.list(REFERENCES));
    if names.len() != references.len() {
        return refuse(REFERENCES, "give one sample for each name");
    }
    if names.len() > MAX_KNOWN_SPEAKERS {
        return refuse(NAMES, format!("give at most {MAX_KNOWN_SPEAKERS}"));
    }
    let mut known: Vec<KnownSpeaker> = Vec::new();
    for (name, reference) in names.into_iter().zip(&references) {
        let unfit = name.chars().count() > MAX_NAME || name.chars().any(char::is_control);
        if unfit || known.iter().any(|other| other.name == name) {
            return refuse(
                NAMES,
                format!("give different names of at most {MAX_NAME} characters"),
            );
        }
        let Some(sample) = data_url(reference) else {
            let limit = MAX_REFERENCE_BYTES >> 20;
            let message =
                format!("give data URLs (data:audio/wav;base64,…) of at most {limit} MiB");
            return refuse(REFERENCES, message);
        };
        known.push(KnownSpeaker { name, sample });
    }
    Ok(known)
}

/// What a data URL in base64 holds (RFC 2397), unless that is nothing or too much.
fn data_url(url: &str) -> Option<Vec<u8>> {
    let (head, body) = url.strip_prefix("data:")?.split_once(',')?;
    if !head.ends_with(";base64") || body.len() / 4 * 3 > MAX_REFERENCE_BYTES {
        return None;
    }
    STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

/// The text fields of a form.
struct Fields<'a>(&'a [(String, String)]);

impl Fields<'_> {
    /// The values of a field, whatever stands in brackets behind its name.
    fn values<'b>(&'b self, name: &'b str) -> impl Iterator<Item = (&'b str, &'b str)> {
        self.0.iter().filter_map(move |(given, value)| {
            let rest = given.strip_prefix(name)?;
            let index = if rest.is_empty() {
                ""
            } else {
                rest.strip_prefix('[')?.strip_suffix(']')?
            };
            Some((index, value.as_str()))
        })
    }

    /// The last value of a field that is no list; `None` where it is blank.
    fn text(&self, name: &str) -> Option<String> {
        let (_, last) = self
            .values(name)
            .filter(|(index, _)| index.is_empty())
            .last()?;
        let last = last.trim();
        (!last.is_empty()).then(|| last.to_owned())
    }

    /// The values of a list, which may also be one JSON array; blank ones are left out.
    fn list(&self, name: &str) -> Vec<String> {
        let mut all = Vec::new();
        for (index, value) in self.values(name) {
            if !index.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            match serde_json::from_str::<Vec<String>>(value) {
                Ok(several) => all.extend(several),
                Err(_) => all.push(value.to_owned()),
            }
        }
        all.retain_mut(|value| {
            *value = value.trim().to_owned();
            !value.is_empty()
        });
        all
    }

    /// The members of an object that is written in brackets: `x[member]`.
    fn members(&self, name: &str) -> Vec<(String, Value)> {
        self.values(name)
            .filter(|(index, _)| index.starts_with(|c: char| c.is_ascii_alphabetic()))
            .map(|(index, text)| {
                let value = serde_json::from_str(text);
                (index.to_owned(), value.unwrap_or_else(|_| text.into()))
            })
            .collect()
    }

    fn switch(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        match self.text(name).map(|text| text.to_ascii_lowercase()) {
            None => Ok(None),
            Some(text) => match text.as_str() {
                "true" | "1" | "on" | "yes" => Ok(Some(true)),
                "false" | "0" | "off" | "no" | "null" => Ok(Some(false)),
                _ => refuse(name, "give true or false"),
            },
        }
    }

    fn number(&self, name: &'static str, least: f64, most: f64) -> Result<Option<f64>, FieldError> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => refuse(name, format!("give a number from {least} to {most}")),
        }
    }
}

#[cfg(test)]
mod tests;
