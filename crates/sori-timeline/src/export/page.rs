//! One HTML page to look at and listen to a document: player, timeline, transcript, who spoke how much.
//!
//! The page is one file that needs nothing else: style and script are inlined, sound is embedded or lies beside it, and
//! its Content-Security-Policy forbids any connection. `template.html` is the frame; `{{name}}` in it stands for a string
//! of `wording`, `{{#name}}` for a part made here. The transcript and the tables are plain HTML, so that the page can be
//! read and printed without its script. What only the script needs (times of words, turns, curves) is one block of JSON
//! with columns of integers: the n-th entry belongs to the n-th `<span>` of the transcript.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD, write::EncoderWriter};
use sha2::{Digest, Sha256};

use crate::{Document, ErrorKind, TimelineError};

mod about;
mod cast;
mod data;
mod markup;
mod transcript;
mod wording;

use cast::Cast;
use markup::{Html, clock};
use wording::Wording;

const TEMPLATE: &str = include_str!("page/template.html");
const STYLE: &str = include_str!("page/page.css");
/// One script of three files, in this order.
const SCRIPT: &str = concat!(
    include_str!("page/reading.js"),
    include_str!("page/timeline.js"),
    include_str!("page/controls.js"),
);

/// What a page shows and plays beside the document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PageMedia {
    /// Heading of the page, such as the name of the recording.
    pub title: String,
    /// The sound it plays.
    pub audio: AudioSource,
    /// What it draws along time; without them it draws turns only.
    pub curves: Option<Curves>,
}

/// Where a page takes its sound from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AudioSource {
    /// Nowhere: the page is for reading.
    #[default]
    None,
    /// From a file beside the page.
    Linked {
        /// Path relative to the page, with `/` between its parts and nothing escaped.
        path: String,
    },
    /// From the page itself, which grows by four bytes for every three.
    Embedded {
        /// Media type, such as `audio/mpeg`.
        mime: String,
        /// The whole file.
        bytes: Vec<u8>,
    },
}

/// Measurements along time. Entry `i` stands for the time from `i * hop_seconds` to the next; an empty curve is not drawn.
///
/// The page keeps at most 36 000 entries (ten a second of one hour), a byte each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// Seconds from one entry to the next, above 0.
    pub hop_seconds: f64,
    /// Largest absolute sample of each hop, for the waveform; scaled to the largest of all.
    pub peaks: Vec<f32>,
    /// Level in dB relative to full scale; `None` in digital silence.
    pub loudness_db: Vec<Option<f32>>,
    /// Fundamental frequency in Hz; `None` where nothing is voiced.
    pub pitch_hz: Vec<Option<f32>>,
}

/// Writes the document as one self-contained HTML page, in Korean for a Korean document and in English otherwise.
///
/// Works from `file://` and without a network. Nothing in the document or the title can become markup or script.
///
/// # Errors
/// [`ErrorKind::Option`] when `hop_seconds` is not above 0, [`ErrorKind::Write`] when the output fails.
///
/// ```
/// use sori_timeline::{Document, export::{self, PageMedia}};
/// let media = PageMedia { title: "Monday's meeting".into(), ..PageMedia::default() };
/// let mut html = Vec::new();
/// export::page(&Document::default(), &media, &mut html)?;
/// assert!(html.starts_with(b"<!doctype html>"));
/// # Ok::<(), sori_timeline::TimelineError>(())
/// ```
pub fn page(
    document: &Document,
    media: &PageMedia,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    if let Some(curves) = &media.curves
        && !(curves.hop_seconds.is_finite() && curves.hop_seconds > 0.0)
    {
        return Err(TimelineError::new(
            ErrorKind::Option,
            "hop_seconds".into(),
            "a curve needs a number of seconds above 0 between its entries".into(),
        ));
    }
    let wording = Wording::of(&document.language);
    let cast = Cast::of(document, wording);
    let paragraphs = transcript::paragraphs(document, &cast);
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after
            .split_once("}}")
            .expect("the template closes what it opens, as a test checks");
        out.write_all(before.as_bytes())?;
        match name {
            "#style" => out.write_all(STYLE.as_bytes())?,
            "#script" => out.write_all(SCRIPT.as_bytes())?,
            "#policy" => out.write_all(policy(&media.audio).as_bytes())?,
            "#lang" => out.write_all(wording.lang().as_bytes())?,
            "#language" => write!(out, "{}", Html(&document.language))?,
            "#generator" => write!(out, "{}", Html(&document.metadata.generator))?,
            "#title" => write!(out, "{}", Html(&media.title))?,
            "#facts" => about::facts(document, &cast, out)?,
            "#notice" => about::notice(document, wording, out)?,
            "#speakers" => about::speakers(document, &cast, out)?,
            "#marks" => transcript::marks(&paragraphs, wording, out)?,
            "#transcript" => transcript::write(&paragraphs, &cast, out)?,
            "#about" => about::making(document, wording, out)?,
            "#data" => data::write(document, media, (&cast, &paragraphs), out)?,
            "#audio" => sound(&media.audio, out)?,
            string => out.write_all(wording.get(string).as_bytes())?,
        }
        rest = after;
    }
    Ok(out.write_all(rest.as_bytes())?)
}

/// The page's Content-Security-Policy: its own style and script by their hashes, its sound, and nothing else.
fn policy(audio: &AudioSource) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let media = match audio {
        AudioSource::None => "'none'",
        AudioSource::Linked { .. } => "'self' file:",
        AudioSource::Embedded { .. } => "blob:",
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; media-src {media}; img-src data:; \
         base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT),
    )
}

/// Embedded sound as base64, which the script turns into a blob: browsers seek in blobs but not all of them in `data:`.
fn sound(audio: &AudioSource, out: &mut dyn Write) -> Result<(), TimelineError> {
    if let AudioSource::Embedded { bytes, .. } = audio {
        let mut encoder = EncoderWriter::new(out, &STANDARD);
        encoder.write_all(bytes)?;
        encoder.finish()?;
    }
    Ok(())
}
