//! The invariants of a document.

use crate::{Document, ErrorKind, Segment, TimelineError};

/// Slack in seconds: times are written with 1 ms resolution, so a document that was read back may be off by half of that
/// at each end.
const SLACK: f64 = 0.0011;

impl Document {
    /// Checks that the document holds together: times are finite, in order and within the recording, words lie within
    /// their segment and do not overlap, ids rise, probabilities are 0 to 1.
    ///
    /// # Errors
    /// [`ErrorKind::Invariant`] for the first thing that is wrong, with its place.
    pub fn check(&self) -> Result<(), TimelineError> {
        span("duration", 0.0, self.duration, f64::INFINITY)?;
        if let Some(probability) = self.language_probability {
            unit("language_probability", probability)?;
        }
        let mut previous: Option<&Segment> = None;
        for (index, segment) in self.segments.iter().enumerate() {
            let place = format!("segments[{index}]");
            span(&place, segment.start, segment.end, self.duration)?;
            unit(&format!("{place}.no_speech_prob"), segment.no_speech_prob)?;
            if let Some(previous) = previous {
                rule(previous.id < segment.id, &place, "its id does not rise")?;
                rule(
                    previous.start <= segment.start + SLACK,
                    &place,
                    "it starts before the segment in front of it",
                )?;
            }
            words(&place, segment)?;
            previous = Some(segment);
        }
        for (index, dropped) in self.metadata.audit.iter().enumerate() {
            let place = format!("metadata.audit[{index}]");
            span(&place, dropped.start, dropped.end, self.duration)?;
        }
        Ok(())
    }
}

fn words(place: &str, segment: &Segment) -> Result<(), TimelineError> {
    let mut end = segment.start;
    for (index, word) in segment.words.iter().enumerate() {
        let place = format!("{place}.words[{index}]");
        rule(!word.word.trim().is_empty(), &place, "it has no text")?;
        span(&place, word.start, word.end, segment.end)?;
        unit(&format!("{place}.score"), word.score)?;
        rule(
            word.start + SLACK >= end,
            &place,
            "it starts before its segment, or before the word in front of it ends",
        )?;
        end = word.end;
    }
    Ok(())
}

fn span(place: &str, start: f64, end: f64, limit: f64) -> Result<(), TimelineError> {
    rule(
        start.is_finite() && end.is_finite(),
        place,
        "a time is not finite",
    )?;
    rule(start >= 0.0, place, "it starts before the recording")?;
    rule(end >= start, place, "it ends before it starts")?;
    rule(end <= limit + SLACK, place, "it ends after what holds it")
}

fn unit(place: &str, probability: f32) -> Result<(), TimelineError> {
    rule(
        (0.0..=1.0).contains(&probability),
        place,
        "it is not between 0 and 1",
    )
}

fn rule(holds: bool, place: &str, problem: &str) -> Result<(), TimelineError> {
    if holds {
        return Ok(());
    }
    Err(TimelineError::new(
        ErrorKind::Invariant,
        place.to_owned(),
        problem.to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use crate::{Document, ErrorKind, Segment, Word};

    fn document() -> Document {
        let word = |word: &str, start, end| Word {
            word: word.into(),
            start,
            end,
            score: 0.9,
            ..Word::default()
        };
        Document {
            duration: 10.0,
            segments: vec![
                Segment {
                    start: 1.0,
                    end: 2.0,
                    words: vec![word("a", 1.0, 1.5), word("b", 1.5, 2.0)],
                    ..Segment::default()
                },
                Segment {
                    id: 1,
                    start: 2.0,
                    end: 10.0,
                    ..Segment::default()
                },
            ],
            ..Document::default()
        }
    }

    #[test]
    fn a_sound_document_passes() {
        document().check().unwrap();
        Document::default().check().unwrap();
    }

    #[test]
    fn each_broken_invariant_is_named() {
        type Break = fn(&mut Document);
        let cases: &[(&str, Break)] = &[
            ("duration", |d| d.duration = f64::NAN),
            ("duration", |d| d.duration = -1.0),
            ("language_probability", |d| {
                d.language_probability = Some(1.5)
            }),
            ("segments[1]", |d| d.segments[1].end = 10.1),
            ("segments[1]", |d| d.segments[1].id = 0),
            ("segments[1]", |d| d.segments[1].start = 0.5),
            ("segments[0]", |d| d.segments[0].start = -0.5),
            ("segments[0].no_speech_prob", |d| {
                d.segments[0].no_speech_prob = f32::NAN
            }),
            ("segments[0].words[0]", |d| {
                d.segments[0].words[0].start = 0.9
            }),
            ("segments[0].words[0]", |d| {
                d.segments[0].words[0].word = " ".into()
            }),
            ("segments[0].words[1]", |d| {
                d.segments[0].words[1].start = 1.4
            }),
            ("segments[0].words[1]", |d| d.segments[0].words[1].end = 2.1),
            ("segments[0].words[1].score", |d| {
                d.segments[0].words[1].score = -0.1
            }),
        ];
        for (place, damage) in cases {
            let mut broken = document();
            damage(&mut broken);
            let error = broken.check().unwrap_err();
            assert_eq!(
                (error.kind(), error.place()),
                (ErrorKind::Invariant, *place),
                "{error}"
            );
        }
    }
}
