//! The transcript: paragraphs of one speaker's words.

use std::io::Write;

use super::{Cast, Html, Wording, clock};
use crate::{
    Document, Segment, TimeSource, TimelineError, Word,
    export::lines::{Atom, atoms, from_words},
};

/// A pause in seconds after which a new paragraph begins, though nobody else spoke.
const LONG_PAUSE: f64 = 2.5;
/// Words after which a paragraph ends at the next end of a sentence, and in any case.
const LONG: usize = 70;
const TOO_LONG: usize = 200;
/// Confidence below which a word is marked.
const UNSURE: f32 = 0.5;

/// What one speaker says before somebody else does, or before a pause.
pub(super) struct Paragraph<'a> {
    pub speaker: Option<usize>,
    pub said: Vec<Said<'a>>,
}

/// A word as it stands in the text.
pub(super) struct Said<'a> {
    atom: Atom<'a>,
    /// What is known about it; `None` where the document holds no words and times are shared out.
    pub word: Option<&'a Word>,
}

impl Said<'_> {
    pub fn start(&self) -> f64 {
        self.atom.start
    }

    pub fn end(&self) -> f64 {
        self.atom.end
    }
}

/// The document's text in paragraphs.
pub(super) fn paragraphs<'a>(document: &'a Document, cast: &Cast) -> Vec<Paragraph<'a>> {
    let mut paragraphs: Vec<Paragraph<'a>> = Vec::new();
    for segment in &document.segments {
        for mut said in said(segment) {
            let speaker = cast.speaker(segment, said.word);
            match paragraphs.last_mut() {
                Some(open) if open.speaker == speaker && !ends(open, &said) => open.said.push(said),
                _ => {
                    said.atom.spaced = false;
                    paragraphs.push(Paragraph {
                        speaker,
                        said: vec![said],
                    });
                }
            }
        }
    }
    paragraphs
}

/// Whether a paragraph of the same speaker ends in front of the next word.
fn ends(open: &Paragraph, next: &Said) -> bool {
    let last = open.said.last().expect("a paragraph begins with a word");
    let sentence = last.atom.weight_of_break() == 3;
    next.start() - last.end() >= LONG_PAUSE
        || sentence && open.said.len() >= LONG
        || open.said.len() >= TOO_LONG
}

fn said<'a>(segment: &'a Segment) -> Vec<Said<'a>> {
    let mut said: Vec<Said<'a>> = if segment.words.is_empty() {
        let bare = |atom| Said { atom, word: None };
        atoms(segment).into_iter().map(bare).collect()
    } else {
        // A text that does not hold its words is not shown: what is heard at a time is what the words say.
        let atoms = from_words(segment).unwrap_or_else(|| {
            let plain = |word: &'a Word| Atom {
                text: &word.word,
                spaced: true,
                start: word.start,
                end: word.end,
            };
            segment.words.iter().map(plain).collect()
        });
        let known = |(atom, word)| Said {
            atom,
            word: Some(word),
        };
        atoms.into_iter().zip(&segment.words).map(known).collect()
    };
    if let Some(first) = said.first_mut() {
        first.atom.spaced = true;
    }
    said
}

/// Writes the paragraphs. A word is a `<span>`, with a class where something about it is out of the ordinary.
pub(super) fn write(
    paragraphs: &[Paragraph],
    cast: &Cast,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    if paragraphs.is_empty() {
        write!(out, "<p>{}</p>", cast.wording.get("silent"))?;
    }
    let estimates = marks_estimates(paragraphs);
    let mut before = None;
    for paragraph in paragraphs {
        let again = if before == Some(paragraph.speaker) {
            " again"
        } else {
            ""
        };
        before = Some(paragraph.speaker);
        let start = clock(paragraph.said.first().map_or(0.0, Said::start));
        match paragraph.speaker {
            Some(number) => {
                let (class, name) = (Cast::class(number), cast.name(number));
                write!(
                    out,
                    "<article class=\"turn {class}{again}\" data-s=\"{number}\"><h3 class=\"who\">{}</h3>",
                    Html(&name)
                )?;
            }
            None => write!(out, "<article class=\"turn nobody{again}\">")?,
        }
        write!(
            out,
            "<button class=\"at\" type=\"button\">{start}</button><p dir=\"auto\">"
        )?;
        for said in &paragraph.said {
            word(said, estimates, cast, out)?;
        }
        out.write_all(b"</p></article>\n")?;
    }
    Ok(())
}

/// Writes what the marks on words mean, of those that there are.
pub(super) fn marks(
    paragraphs: &[Paragraph],
    say: Wording,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let said = || paragraphs.iter().flat_map(|p| &p.said);
    let overlaps = |said: &Said| said.word.is_some_and(|word| word.other_speaker.is_some());
    let kinds = [
        ("unsure", "key_unsure", said().any(is_unsure)),
        (
            "estimate",
            "key_estimate",
            marks_estimates(paragraphs) && said().any(is_estimate),
        ),
        ("over", "key_over", said().any(overlaps)),
    ];
    if kinds.iter().all(|(.., there)| !there) {
        return Ok(());
    }
    out.write_all(b"<p class=\"key\">")?;
    for (class, name, _) in kinds.iter().filter(|(.., there)| *there) {
        write!(out, "<span class=\"{class}\">{}</span>", say.get(name))?;
    }
    Ok(out.write_all(b"</p>")?)
}

/// Whether words with estimated times are marked: where most are, a mark on each would only be noise.
fn marks_estimates(paragraphs: &[Paragraph]) -> bool {
    let said = || paragraphs.iter().flat_map(|p| &p.said);
    said().filter(|said| is_estimate(said)).count() * 2 < said().count()
}

fn is_estimate(said: &Said) -> bool {
    said.word
        .is_none_or(|word| word.time_source == TimeSource::Interpolated)
}

fn is_unsure(said: &Said) -> bool {
    said.word.is_some_and(|word| word.score < UNSURE)
}

fn word(
    said: &Said,
    estimates: bool,
    cast: &Cast,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let other = said
        .word
        .and_then(|word| cast.number(word.other_speaker.as_deref()?));
    let classes = [
        is_unsure(said).then(|| "unsure".to_owned()),
        (estimates && is_estimate(said)).then(|| "estimate".to_owned()),
        other.map(|number| format!("over o{}", number % 10)),
    ];
    let classes: Vec<String> = classes.into_iter().flatten().collect();
    if said.atom.spaced {
        out.write_all(b" ")?;
    }
    out.write_all(b"<span")?;
    if !classes.is_empty() {
        write!(out, " class=\"{}\"", classes.join(" "))?;
    }
    if let Some(number) = other {
        write!(out, " data-o=\"{number}\"")?;
    }
    Ok(write!(out, ">{}</span>", Html(said.atom.text))?)
}
