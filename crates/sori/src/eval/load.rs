//! From paths to pairs of transcripts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sori_timeline::Transcript;
use sori_timeline::read::{self, Kind, MAX_BYTES};

/// Endings of files that are read in a folder; others, such as sound, are passed over.
const ENDINGS: [&str; 5] = ["json", "stm", "ctm", "rttm", "txt"];

/// What is known of each recording, by name.
///
/// The name is that of the file without its ending, or the one in the file where it holds several. Files about the same
/// recording complete each other; where several tell the same, the richer kind counts.
pub fn recordings(paths: &[PathBuf], complaints: &mut Vec<String>) -> BTreeMap<String, Transcript> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        match path.is_dir().then(|| folder(path)).transpose() {
            Ok(Some(inside)) => files.extend(inside),
            Ok(None) => files.push(path.clone()),
            Err(error) => complaints.push(format!("{error:#}")),
        }
    }
    let mut pieces: Vec<(Kind, String, Transcript)> = Vec::new();
    for file in &files {
        match transcripts(file) {
            Ok(found) => pieces.extend(found),
            Err(error) => complaints.push(format!("{error:#}")),
        }
    }
    // RTTM last: who spoke when is its one subject, others only imply it by when something was said.
    pieces.sort_by_key(|(kind, ..)| (*kind == Kind::Rttm, *kind));
    let mut recordings: BTreeMap<String, Transcript> = BTreeMap::new();
    for (kind, name, piece) in pieces {
        complete(recordings.entry(name).or_default(), kind, piece);
    }
    recordings
}

/// Adds what a transcript lacks. An RTTM without turns beside a text is what Sori writes when nobody looked for speakers.
fn complete(transcript: &mut Transcript, kind: Kind, more: Transcript) {
    if transcript.recording.is_empty() {
        transcript.recording = more.recording;
    }
    let silent = more.turns.as_ref().is_none_or(Vec::is_empty);
    let newer = match kind {
        Kind::Rttm => !silent || transcript.utterances.is_none(),
        _ => transcript.turns.is_none(),
    };
    if newer {
        transcript.turns = more.turns;
    }
    if transcript.utterances.is_none() {
        transcript.utterances = more.utterances;
        transcript.words = more.words;
        transcript.timed = more.timed;
    }
}

fn folder(path: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read the folder {}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(context)? {
        let file = entry.with_context(context)?.path();
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        if ENDINGS.contains(&ending.to_ascii_lowercase().as_str()) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    anyhow::ensure!(
        !files.is_empty(),
        "{} holds no file that ends in {}",
        path.display(),
        ENDINGS.join(", ")
    );
    Ok(files)
}

/// The bytes of a file, one more than may be read at most.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

fn transcripts(path: &Path) -> Result<Vec<(Kind, String, Transcript)>> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = bytes(path)?;
    let kind = Kind::of(&file, &bytes);
    let found = read::read(kind, &bytes).with_context(|| path.display().to_string())?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    // talk.whisperx.json and talk.seglst.json are about `talk`.
    let stem = [".whisperx", ".seglst"]
        .iter()
        .find_map(|end| stem.strip_suffix(end))
        .unwrap_or(&stem);
    let several = found.len() > 1;
    let named = found.into_iter().map(|transcript| {
        let name = match several {
            true => transcript.recording.clone(),
            false => stem.to_owned(),
        };
        (kind, name, transcript)
    });
    Ok(named.collect())
}

/// The recordings that both sides have, with the names of the references: by name, by the name within the file, or because
/// each side has one alone.
pub fn pairs(
    reference: BTreeMap<String, Transcript>,
    mut hypothesis: BTreeMap<String, Transcript>,
    complaints: &mut Vec<String>,
) -> Vec<(String, Transcript, Transcript)> {
    let alone = reference.len() == 1 && hypothesis.len() == 1;
    let mut pairs = Vec::new();
    for (name, spoken) in reference {
        let same = |key: &&String, heard: &Transcript| {
            let inner = |name: &str| !name.is_empty() && (**key == name || heard.recording == name);
            inner(&name) || inner(&spoken.recording)
        };
        let found = hypothesis
            .iter()
            .find(|(key, heard)| alone || same(key, heard));
        let Some(key) = found.map(|(key, _)| key.clone()) else {
            complaints.push(format!("{name}: no result has this name"));
            continue;
        };
        let heard = hypothesis.remove(&key).unwrap_or_default();
        pairs.push((name, spoken, heard));
    }
    for name in hypothesis.keys() {
        complaints.push(format!("{name}: no reference has this name"));
    }
    pairs
}
