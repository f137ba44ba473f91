//! The page of a document: its sound and its curves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use sori_engine::{CURVE_RATE, Heard};
use sori_timeline::export::{AudioSource, Curves, PageMedia};

/// Largest recording that a page carries in itself, in bytes; a larger one is played from its own file.
const MAX_EMBEDDED: u64 = 16 << 20;
/// Endings of files that browsers play, with their media types.
const PLAYED: [(&str, &str); 11] = [
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("mp4", "video/mp4"),
    ("aac", "audio/aac"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("webm", "audio/webm"),
    ("mka", "audio/webm"),
];

/// What the page of a recording, which will stand at `page`, plays and draws; `name` is the recording's title and says by its
/// ending what it is.
///
/// # Errors
/// When the recording cannot be read again.
pub fn media((file, name): (&str, &str), page: &Path, heard: &Heard) -> Result<PageMedia> {
    let name = Path::new(name);
    let curves = &heard.curves;
    let finite = |values: &[f32]| {
        values
            .iter()
            .map(|&v| v.is_finite().then_some(v))
            .collect::<Vec<_>>()
    };
    let title = name.file_name().map(|name| name.to_string_lossy());
    Ok(PageMedia {
        title: title.map_or_else(|| file.to_owned(), |name| name.into_owned()),
        audio: audio(Path::new(file), name.extension(), page)?,
        curves: (!curves.peaks.is_empty()).then(|| Curves {
            hop_seconds: 1.0 / CURVE_RATE as f64,
            peaks: curves.peaks.clone(),
            loudness_db: finite(&curves.level_db),
            pitch_hz: finite(&curves.pitch_hz),
        }),
    })
}

/// Where the page takes its sound from: itself, or the recording's own file; nowhere if browsers cannot play that.
fn audio(path: &Path, ending: Option<&OsStr>, page: &Path) -> Result<AudioSource> {
    let ending = ending.unwrap_or_default().to_string_lossy();
    let played = PLAYED
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&ending));
    let (Some((_, mime)), true) = (played, path.is_file()) else {
        return Ok(AudioSource::None);
    };
    let failed = || format!("cannot read {} again for its page", path.display());
    if fs::metadata(path).with_context(failed)?.len() > MAX_EMBEDDED {
        return Ok(
            relative(path, page).map_or(AudioSource::None, |path| AudioSource::Linked { path })
        );
    }
    Ok(AudioSource::Embedded {
        mime: (*mime).to_owned(),
        bytes: fs::read(path).with_context(failed)?,
    })
}

/// The path of the recording as seen from the page's folder, with `/` between its parts.
fn relative(path: &Path, page: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let folder = fs::canonicalize(
        page.parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )
    .ok()?;
    let common = path
        .components()
        .zip(folder.components())
        .take_while(|(a, b)| a == b)
        .count();
    let mut way: PathBuf = folder
        .components()
        .skip(common)
        .map(|_| Component::ParentDir)
        .collect();
    way.extend(path.components().skip(common));
    let parts: Vec<_> = way
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_recordings_are_linked_and_small_ones_carried() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("out/pages")).expect("a folder");
        let page = at("out/pages/talk.html");
        fs::write(at("talk.WAV"), b"RIFF").expect("a file");
        fs::File::create(at("긴 회의.mp3"))
            .and_then(|f| f.set_len(MAX_EMBEDDED + 1))
            .expect("a file");
        fs::write(at("talk.xyz"), b"?").expect("a file");
        let embedded = AudioSource::Embedded {
            mime: "audio/wav".to_owned(),
            bytes: b"RIFF".to_vec(),
        };
        let linked = AudioSource::Linked {
            path: "../../긴 회의.mp3".to_owned(),
        };
        for (name, expected) in [
            ("talk.WAV", embedded),
            ("긴 회의.mp3", linked),
            ("talk.xyz", AudioSource::None),
            ("absent.wav", AudioSource::None),
        ] {
            assert_eq!(
                audio(&at(name), at(name).extension(), &page).expect("readable"),
                expected,
                "{name}"
            );
        }
    }
}
