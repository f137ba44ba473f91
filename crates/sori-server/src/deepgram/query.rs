//! What a client of Deepgram's `POST /v1/listen` asks for.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::openai::language;
use crate::{JobAlign, JobOptions};

/// Seconds without a word that end an utterance, unless told otherwise (Deepgram's default).
const UTTERANCE_SPLIT: f64 = 0.8;
/// Most tags and most pairs of `extra`.
const MAX_LABELS: usize = 100;
/// Most characters of a tag, or of a pair of `extra`: Deepgram's limit for `extra`.
const MAX_LABEL: usize = 2048;

/// A parameter that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {message}")]
pub struct QueryError {
    /// Its name.
    pub parameter: &'static str,
    /// What to give instead.
    pub message: String,
}

/// What is wanted back.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Whether words bear speakers.
    pub speakers: bool,
    /// Whether text has punctuation and capitals.
    pub punctuated: bool,
    /// Whether the text is also told in paragraphs.
    pub paragraphs: bool,
    /// Whether the text is also told in utterances.
    pub utterances: bool,
    /// Seconds without a word that end an utterance.
    pub utterance_split: f64,
    /// Whether the language was to be detected.
    pub detect_language: bool,
    /// Labels of the request, given back.
    pub tags: Vec<String>,
    /// Pairs of the request, given back.
    pub extra: BTreeMap<String, String>,
    /// What was asked for and is not done.
    pub warnings: Vec<Warning>,
}

/// What was asked for and is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Warning {
    /// The parameter.
    pub parameter: &'static str,
    /// `unsupported_parameter`.
    pub r#type: &'static str,
    /// What happens instead.
    pub message: &'static str,
}

/// What was asked for, but for the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenRequest {
    /// How the recording is analyzed.
    pub options: JobOptions,
    /// What is wanted back.
    pub shape: Shape,
    /// Where the answer is sent once it is there; the client does not wait then.
    pub callback: Option<String>,
}

/// Parameters whose results Sori has not; the answer says so and lacks them.
const UNSUPPORTED: [&str; 13] = [
    "sentiment",
    "topics",
    "intents",
    "summarize",
    "detect_entities",
    "search",
    "replace",
    "profanity_filter",
    "numerals",
    "measurements",
    "dictation",
    "multichannel",
    "encoding",
];

impl ListenRequest {
    /// Reads the query as (name, value) in order; unknown names and models are tolerated.
    ///
    /// # Errors
    /// Naming the first parameter that cannot be followed. `redact` is one: text that was to be redacted must not be given as
    /// it is.
    pub fn parse(query: &[(String, String)]) -> Result<Self, QueryError> {
        let query = Query(query);
        if query.is_on("redact") {
            return refuse("redact", "leave it out; nothing is redacted here");
        }
        if query
            .last("callback_method")
            .is_some_and(|method| !method.eq_ignore_ascii_case("post"))
        {
            return refuse("callback_method", "give POST or leave it out");
        }
        let speakers = query.switch("diarize")?
            || query
                .last("diarize_model")
                .is_some_and(|model| model != "false");
        let paragraphs = query.switch("paragraphs")?;
        let (language, detect_language) = languages(&query)?;
        let shape = Shape {
            speakers,
            // The last two mean nothing without sentences.
            punctuated: query.switch("punctuate")? | query.switch("smart_format")? | paragraphs,
            paragraphs: paragraphs || query.switch("smart_format")?,
            utterances: query.switch("utterances")?,
            utterance_split: query.number("utt_split", UTTERANCE_SPLIT, 60.0)?,
            detect_language,
            tags: labels(&query, "tag")?,
            extra: labels(&query, "extra")?
                .iter()
                .filter_map(|pair| pair.split_once(':'))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            warnings: warnings(&query),
        };
        let options = JobOptions {
            model: query.last("model").map(str::to_owned),
            language,
            hotwords: terms(&query),
            diarize: speakers,
            // No answer of this API has acoustic features, and they take their time.
            features: Some(Vec::new()),
            align: query.is_off("words").then_some(JobAlign::Off),
            ..JobOptions::default()
        };
        options.validate().map_err(|error| QueryError {
            parameter: error.option,
            message: error.message,
        })?;
        let callback = query.last("callback").map(str::to_owned);
        Ok(Self {
            options,
            shape,
            callback,
        })
    }
}

fn refuse<T>(parameter: &'static str, message: impl Into<String>) -> Result<T, QueryError> {
    let message = message.into();
    Err(QueryError { parameter, message })
}

/// The language or those that may be detected, and whether it is to be told which was. Without either it is detected, too,
/// where Deepgram takes English.
fn languages(query: &Query) -> Result<(Option<String>, bool), QueryError> {
    let codes = |name: &'static str, given: Vec<&str>| {
        let codes: Option<Vec<_>> = given.into_iter().map(language::code).collect();
        match codes {
            None => refuse(name, "give a language tag such as en or ko"),
            Some(codes) => Ok((!codes.is_empty()).then(|| codes.join(","))),
        }
    };
    let detect = query.all("detect_language");
    if !detect.is_empty() && !query.is_off("detect_language") {
        let limits = detect
            .into_iter()
            .filter(|one| !one.eq_ignore_ascii_case("true"));
        return Ok((codes("detect_language", limits.collect())?, true));
    }
    match query.last("language") {
        None => Ok((None, false)),
        Some("multi") => Ok((codes("language_hint", query.all("language_hint"))?, false)),
        Some(one) => Ok((codes("language", vec![one])?, false)),
    }
}

/// `keyterm` and `keywords`; the latter may have a weight, `word:2`, which has no meaning here.
fn terms(query: &Query) -> Option<String> {
    let mut terms = query.all("keyterm");
    let is_weight = |weight: &str| weight.parse::<f64>().is_ok();
    terms.extend(
        query
            .all("keywords")
            .into_iter()
            .map(|word| match word.rsplit_once(':') {
                Some((word, weight)) if is_weight(weight) => word,
                _ => word,
            }),
    );
    (!terms.is_empty()).then(|| terms.join(", "))
}

fn labels(query: &Query, name: &'static str) -> Result<Vec<String>, QueryError> {
    let labels = query.all(name);
    if labels.len() > MAX_LABELS || labels.iter().any(|label| label.chars().count() > MAX_LABEL) {
        let message = format!("give at most {MAX_LABELS} of at most {MAX_LABEL} characters");
        return refuse(name, message);
    }
    Ok(labels.into_iter().map(str::to_owned).collect())
}

fn warnings(query: &Query) -> Vec<Warning> {
    let asked = UNSUPPORTED.into_iter().filter(|name| query.is_on(name));
    asked
        .map(|parameter| Warning {
            parameter,
            r#type: "unsupported_parameter",
            message: match parameter {
                "multichannel" => "all channels are heard as one",
                "encoding" => "the format is told from the recording itself",
                _ => "it was ignored",
            },
        })
        .collect()
}

/// The pairs of a query.
struct Query<'a>(&'a [(String, String)]);

impl<'a> Query<'a> {
    /// The values of a parameter that are not blank, in order.
    fn all(&self, name: &str) -> Vec<&'a str> {
        let values = self.0.iter().filter(|(given, _)| given == name);
        values
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
            .collect()
    }

    fn last(&self, name: &str) -> Option<&'a str> {
        self.all(name).pop()
    }

    fn is_off(&self, name: &str) -> bool {
        self.last(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("false"))
    }

    fn is_on(&self, name: &str) -> bool {
        self.last(name).is_some() && !self.is_off(name)
    }

    fn switch(&self, name: &'static str) -> Result<bool, QueryError> {
        match self.last(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => refuse(name, "give true or false"),
        }
    }

    fn number(&self, name: &'static str, default: f64, most: f64) -> Result<f64, QueryError> {
        match self.last(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if (0.0..=most).contains(&number) => Ok(number),
            Some(_) => refuse(name, format!("give seconds from 0 to {most}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<ListenRequest, QueryError> {
        let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        ListenRequest::parse(&pairs)
    }

    #[test]
    fn a_bare_query_is_the_least_work() {
        let request = parse("model=nova-3&unknown=1").expect("nothing is wrong");
        assert_eq!(request.options.model.as_deref(), Some("nova-3"));
        assert!(!request.options.diarize && !request.shape.punctuated && !request.shape.paragraphs);
        assert_eq!(
            (request.shape.utterance_split, request.callback),
            (0.8, None)
        );
        assert_eq!(request.options.features, Some(Vec::new()));
    }

    #[test]
    fn parameters_are_followed() {
        let request = parse(
            "diarize=true&utterances=true&utt_split=1.5&paragraphs=true&keyterm=Sori&keyterm=hello%20world&keywords=cat:2\
             &keywords=a:b&tag=x&tag=y&extra=k:v:w&callback=https%3A%2F%2Fme%2Fdone&search=cat&sentiment=false",
        )
        .expect("nothing is wrong");
        assert_eq!(
            request.options.hotwords.as_deref(),
            Some("Sori, hello world, cat, a:b")
        );
        assert_eq!(request.callback.as_deref(), Some("https://me/done"));
        let shape = request.shape;
        assert!(shape.speakers && shape.utterances && shape.paragraphs && shape.punctuated);
        assert_eq!(
            (shape.utterance_split, shape.tags),
            (1.5, vec!["x".to_owned(), "y".to_owned()])
        );
        assert_eq!(
            shape.extra,
            BTreeMap::from([("k".to_owned(), "v:w".to_owned())])
        );
        let ignored: Vec<_> = shape
            .warnings
            .iter()
            .map(|warning| warning.parameter)
            .collect();
        assert_eq!(ignored, ["search"]);
    }

    #[test]
    fn languages_are_given_or_detected() {
        for (query, language, detect) in [
            ("", None, false),
            ("language=en-US", Some("en"), false),
            ("language=multi", None, false),
            (
                "language=multi&language_hint=en&language_hint=ko",
                Some("en,ko"),
                false,
            ),
            ("detect_language=true", None, true),
            ("detect_language=en&detect_language=ko", Some("en,ko"), true),
            ("detect_language=false&language=ko", Some("ko"), false),
        ] {
            let request = parse(query).expect(query);
            let found = (
                request.options.language.as_deref(),
                request.shape.detect_language,
            );
            assert_eq!(found, (language, detect), "{query}");
        }
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (query, parameter) in [
            ("diarize=maybe", "diarize"),
            ("utt_split=-1", "utt_split"),
            ("utt_split=NaN", "utt_split"),
            ("language=klingon", "language"),
            ("redact=pci", "redact"),
            ("callback_method=PUT", "callback_method"),
        ] {
            assert_eq!(parse(query).expect_err(query).parameter, parameter);
        }
        let many = "tag=x&".repeat(MAX_LABELS + 1);
        assert_eq!(parse(&many).expect_err("too many").parameter, "tag");
    }
}
