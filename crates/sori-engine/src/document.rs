//! From what was heard to the document: voices of the whole recording, who said which words, totals.

use std::collections::BTreeMap;

use sori_dsp::loudness::{integrated, integrated_within};
use sori_speech::acoustics::Tally;
use sori_speech::delivery::{delivery, delivery_over};
use sori_speech::diarize::{ClusterOptions, Diarization, DiarizeError, cluster};
use sori_speech::profile::{
    Calibration, Decision, EmbedderId, Probe, Profile, ProfileError, identify,
};
use sori_timeline::{AcousticFeatures, Document, Identity, Segment, Turn, Word};

use crate::heard::{Heard, HeardSegment, StageResult};
use crate::people::{Names, attribute_segments, totals};
use crate::session::Clock;
use crate::stage::{Ledger, Stage};

/// Voices that have names.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The network that heard the recording.
    pub model: &'a EmbedderId,
    /// Who is enrolled by it.
    pub profiles: &'a [Profile],
    /// What a similarity is worth with that network.
    pub calibration: Calibration,
}

/// How a document is made of what was heard.
pub struct DocumentOptions<'a> {
    /// How voices are brought together; `None` leaves speakers out.
    pub speakers: Option<ClusterOptions<'a>>,
    /// Who may be recognised.
    pub known: Option<Known<'a>>,
    /// A clock for the times of stages.
    pub clock: Clock<'a>,
}

impl Heard {
    /// The document: speakers are found anew, all else is as it was heard.
    pub fn document(
        &self,
        options: &DocumentOptions<'_>,
        hook: &mut dyn FnMut(StageResult<'_>),
    ) -> Document {
        let mut ledger = self.ledger.clone();
        let started = (options.clock)();
        let people = self.people(options, &mut ledger).unwrap_or_else(|| People {
            parts: self.segments.clone(),
            ..People::default()
        });
        if !people.turns.is_empty() {
            ledger.spend(Stage::Speakers, (options.clock)() - started);
            hook(StageResult::Speakers(&people.turns));
        }
        let mut document = self.frame(&ledger);
        let measured = ledger.ran(Stage::Acoustics) && !ledger.failed(Stage::Acoustics);
        document.segments = people
            .parts
            .iter()
            .map(|part| finished(part, &document.language, measured))
            .collect();
        document.speakers = totals(&people.turns, &document.segments);
        for (name, identity) in &people.identities {
            if let Some(speaker) = document.speakers.get_mut(name) {
                speaker.identity = Some(identity.clone());
            }
        }
        if measured {
            self.measure(&mut document, &people);
        }
        document.turns = people.turns;
        document.text = document
            .segments
            .iter()
            .map(|s| s.text.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        document
    }

    /// A document with everything but segments and speakers.
    fn frame(&self, ledger: &Ledger) -> Document {
        let main = self.languages.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        let mut metadata = self.metadata.clone();
        metadata.stages = ledger.times();
        metadata.processing_time = ledger.total();
        metadata.failures = ledger.failures();
        Document {
            language: main.map_or_else(|| "en".to_owned(), |(code, _)| code.clone()),
            language_probability: main
                .map(|(_, (seconds, chance))| (chance / (*seconds).max(1e-3) as f32).min(1.0)),
            duration: self.duration,
            partial: !metadata.failures.is_empty(),
            metadata,
            ..Document::default()
        }
    }

    fn people(&self, options: &DocumentOptions<'_>, ledger: &mut Ledger) -> Option<People> {
        let (voices, how) = (self.voices.as_ref()?, options.speakers.as_ref()?);
        ledger.forget(Stage::Speakers);
        ledger.attempt(Stage::Speakers, || {
            let diarization = cluster(voices, how)?;
            let (given, identities) = recognise(&diarization, options.known)?;
            let names = Names::new(&diarization, &given);
            Ok::<_, PeopleError>(People {
                parts: attribute_segments(&self.segments, &diarization, &names),
                turns: names.turns(&diarization.turns),
                exclusive: names.turns(&diarization.exclusive),
                identities: identities
                    .into_iter()
                    .map(|(voice, identity)| (names.of(voice), identity))
                    .collect(),
            })
        })
    }

    /// Adds how speakers and the recording sound.
    fn measure(&self, document: &mut Document, people: &People) {
        let mut all = Tally::default();
        let mut each: BTreeMap<&str, Tally> = BTreeMap::new();
        let mut runs: BTreeMap<&str, Vec<&[Word]>> = BTreeMap::new();
        for (part, segment) in people.parts.iter().zip(&document.segments) {
            for (word, tally) in segment.words.iter().zip(&part.tallies) {
                all.add(tally);
                if let Some(name) = &word.speaker {
                    each.entry(name).or_default().add(tally);
                }
            }
            if let Some(speaker) = &segment.speaker {
                runs.entry(&speaker.speaker_id)
                    .or_default()
                    .push(&segment.words);
            }
        }
        let lufs = |loudness: Option<f64>| loudness.map(|l| l as f32);
        document.acoustic_features = Some(AcousticFeatures {
            loudness_lufs: lufs(integrated(&self.loudness)),
            ..all.features()
        });
        for (name, speaker) in &mut document.speakers {
            let spans: Vec<_> = people
                .exclusive
                .iter()
                .filter(|t| t.speaker == *name)
                .map(|t| t.start..t.end)
                .collect();
            let tally = each.remove(name.as_str()).unwrap_or_default();
            speaker.acoustic_features = Some(AcousticFeatures {
                loudness_lufs: lufs(integrated_within(&self.loudness, &spans)),
                ..tally.features()
            });
            let runs = runs.remove(name.as_str()).unwrap_or_default();
            speaker.delivery = Some(delivery_over(&runs, &document.language));
        }
    }
}

/// What the voices of a recording gave.
#[derive(Default)]
struct People {
    parts: Vec<HeardSegment>,
    turns: Vec<Turn>,
    exclusive: Vec<Turn>,
    identities: Vec<(String, Identity)>,
}

/// What kept a recording from getting its speakers.
#[derive(Debug, thiserror::Error)]
enum PeopleError {
    #[error(transparent)]
    Diarize(#[from] DiarizeError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// A segment with what its words sound like.
fn finished(part: &HeardSegment, language: &str, measured: bool) -> Segment {
    let mut segment = part.segment.clone();
    if !measured {
        return segment;
    }
    let mut sum = Tally::default();
    for (word, tally) in segment.words.iter_mut().zip(&part.tallies) {
        word.acoustic_features = Some(Box::new(tally.word_features()));
        sum.add(tally);
    }
    if !part.tallies.is_empty() {
        segment.acoustic_features = Some(Box::new(sum.features()));
        let language = segment.language.as_deref().unwrap_or(language);
        segment.delivery = Some(delivery(&segment.words, language));
    }
    segment
}

/// Enrolled names by voice.
type Given = BTreeMap<usize, String>;

/// Compares the voices of a recording with enrolled ones: names by voice, and what was found of each voice. A name goes to
/// one voice only, the likeliest.
fn recognise(
    diarization: &Diarization,
    known: Option<Known<'_>>,
) -> Result<(Given, Vec<(usize, Identity)>), ProfileError> {
    let Some(known) = known.filter(|k| !k.profiles.is_empty()) else {
        return Ok(Default::default());
    };
    let mut found: Vec<(usize, Identity)> = Vec::new();
    for (voice, centroid) in diarization.centroids.iter().enumerate() {
        let turns = diarization.exclusive.iter().filter(|t| t.speaker == voice);
        let probe = Probe {
            embedding: centroid,
            seconds: turns.map(|t| t.end - t.start).sum(),
            model: known.model,
        };
        // A voice too short to be embedded is nobody's.
        if centroid.iter().all(|&value| value == 0.0) {
            continue;
        }
        let (candidate, accepted) = match identify(&probe, known.profiles, &known.calibration)? {
            Decision::Accept(candidate) => (candidate, true),
            Decision::Ambiguous { first, .. } => (first, false),
            Decision::Unknown { .. } => continue,
        };
        let identity = Identity {
            name: candidate.name,
            probability: candidate.probability,
            accepted,
        };
        found.push((voice, identity));
    }
    found.sort_by(|a, b| b.1.probability.total_cmp(&a.1.probability));
    let mut given = Given::new();
    for (voice, identity) in &mut found {
        identity.accepted &= !given.values().any(|name| *name == identity.name);
        if identity.accepted {
            given.insert(*voice, identity.name.clone());
        }
    }
    Ok((given, found))
}
