//! Where an MP4 says that its sound starts: edit lists and iTunes gapless tags, which the demuxer does not read.
//!
//! Sources: ISO/IEC 14496-12 (boxes, `edts`), and the `iTunSMPB` comment of Apple's encoders.

use std::io::{self, Read, Seek, SeekFrom};

/// Largest `moov` that is looked at; that of a ten-hour recording has about 10 MB.
const MAX_MOOV: u64 = 64 << 20;
/// Most top-level boxes that are looked at; a fragmented file has two per fragment after the `moov`.
const MAX_BOXES: usize = 4096;

/// The start of one track.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct TrackStart {
    pub(crate) track_id: u32,
    /// Seconds of media that come before time 0, if there is an edit list.
    pub(crate) media_seconds: Option<f64>,
    /// Seconds of nothing before the media.
    pub(crate) empty_seconds: f64,
}

/// What the movie box says about starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MovieStarts {
    pub(crate) tracks: Vec<TrackStart>,
    /// Samples of encoder priming by the `iTunSMPB` tag.
    pub(crate) itunes_priming: Option<u32>,
}

/// Reads the starts from a whole file. Files without a sane `moov` give the default; only reading errors are errors.
pub(crate) fn read_starts(file: &mut (impl Read + Seek)) -> io::Result<MovieStarts> {
    let mut position = 0;
    for _ in 0..MAX_BOXES {
        file.seek(SeekFrom::Start(position))?;
        let mut head = Vec::new();
        file.by_ref().take(16).read_to_end(&mut head)?;
        let Some((kind, head_len, size)) = box_head(&head) else {
            break;
        };
        // Size 0 means up to the end, which only the last box may say.
        if kind == *b"moov" && size.is_none_or(|size| size <= MAX_MOOV) {
            file.seek(SeekFrom::Start(position + head_len))?;
            let mut body = Vec::new();
            let len = size.map_or(MAX_MOOV, |size| size - head_len);
            file.by_ref().take(len).read_to_end(&mut body)?;
            return Ok(movie_starts(&body));
        }
        match size.and_then(|size| position.checked_add(size)) {
            Some(next) => position = next,
            None => break,
        }
    }
    Ok(MovieStarts::default())
}

/// Kind, length of the head, and size with the head (`None`: up to the end) of the box that `bytes` starts with.
fn box_head(bytes: &[u8]) -> Option<([u8; 4], u64, Option<u64>)> {
    let kind = bytes.get(4..8)?.try_into().ok()?;
    match u64::from(be_u32(bytes, 0)?) {
        0 => Some((kind, 8, None)),
        1 => {
            let size = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
            (size >= 16).then_some((kind, 16, Some(size)))
        }
        size => (size >= 8).then_some((kind, 8, Some(size))),
    }
}

/// The boxes within `bytes`; ends at the first that is damaged.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, head_len, size) = box_head(bytes)?;
        let size = usize::try_from(size.unwrap_or(bytes.len() as u64)).ok()?;
        let body = bytes.get(head_len as usize..size)?;
        bytes = &bytes[size..];
        Some((kind, body))
    })
}

fn child<'a>(bytes: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes)
        .find(|(kind, _)| kind == wanted)
        .map(|(_, body)| body)
}

fn movie_starts(moov: &[u8]) -> MovieStarts {
    let movie_scale = child(moov, b"mvhd").and_then(timescale);
    let tracks = boxes(moov)
        .filter(|(kind, _)| kind == b"trak")
        .filter_map(|(_, trak)| track_start(trak, movie_scale))
        .collect();
    MovieStarts {
        tracks,
        itunes_priming: itunes_priming(moov),
    }
}

fn track_start(trak: &[u8], movie_scale: Option<f64>) -> Option<TrackStart> {
    let tkhd = child(trak, b"tkhd")?;
    let track_id = be_u32(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 })?;
    let mut start = TrackStart {
        track_id,
        ..Default::default()
    };
    let media_scale = child(trak, b"mdia")
        .and_then(|mdia| child(mdia, b"mdhd"))
        .and_then(timescale);
    let list = child(trak, b"edts").and_then(|edts| child(edts, b"elst"));
    let (Some(list), Some(media_scale)) = (list, media_scale) else {
        return Some(start);
    };
    let wide = list.first() == Some(&1);
    let entries = list
        .get(8..)
        .unwrap_or_default()
        .chunks_exact(if wide { 20 } else { 12 });
    // Empty edits, then the first that plays: anything beyond is a cut-up movie, whose sound we take as it lies.
    for entry in entries {
        let (duration, media_time) = if wide {
            (be_u64(entry, 0)? as f64, be_u64(entry, 8)? as i64)
        } else {
            (
                f64::from(be_u32(entry, 0)?),
                i64::from(be_u32(entry, 4)? as i32),
            )
        };
        if media_time < 0 {
            start.empty_seconds += movie_scale.map_or(0.0, |scale| duration / scale);
        } else {
            start.media_seconds = Some(media_time as f64 / media_scale);
            break;
        }
    }
    Some(start)
}

/// Ticks per second in an `mvhd` or `mdhd`.
fn timescale(body: &[u8]) -> Option<f64> {
    let scale = be_u32(body, if body.first() == Some(&1) { 20 } else { 12 })?;
    (scale > 0).then_some(scale.into())
}

/// Second number of the tag ` 00000000 00000840 000001CA …`: samples before the sound starts.
fn itunes_priming(moov: &[u8]) -> Option<u32> {
    let meta = child(child(moov, b"udta")?, b"meta")?;
    let list = child(meta.get(4..)?, b"ilst")?;
    boxes(list)
        .filter(|(kind, _)| kind == b"----")
        .find_map(|(_, item)| {
            let named = child(item, b"name")?.get(4..)? == b"iTunSMPB";
            let text = std::str::from_utf8(child(item, b"data")?.get(8..)?).ok()?;
            let priming = text.split_ascii_whitespace().nth(1).filter(|_| named)?;
            u32::from_str_radix(priming, 16).ok()
        })
}

fn be_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn movie() -> Vec<u8> {
        let edits = words(&[0, 2, 500, u32::MAX, 0x1_0000, 9000, 2112, 0x1_0000]);
        let trak = [
            boxed(b"tkhd", &words(&[0, 0, 0, 7])),
            boxed(b"edts", &boxed(b"elst", &edits)),
            boxed(b"mdia", &boxed(b"mdhd", &words(&[0, 0, 0, 44_100, 9]))),
        ]
        .concat();
        let tag = [
            boxed(b"mean", b"\0\0\0\0com.apple.iTunes"),
            boxed(b"name", b"\0\0\0\0iTunSMPB"),
            boxed(
                b"data",
                b"\0\0\0\x01\0\0\0\0 00000000 00000840 000001CA 00000000003F31F6",
            ),
        ]
        .concat();
        let meta = [words(&[0]), boxed(b"ilst", &boxed(b"----", &tag))].concat();
        let moov = [
            boxed(b"mvhd", &words(&[0, 0, 0, 1000, 9])),
            boxed(b"trak", &trak),
            boxed(b"udta", &boxed(b"meta", &meta)),
        ]
        .concat();
        [
            boxed(b"ftyp", b"M4A "),
            boxed(b"mdat", &[0; 99]),
            boxed(b"moov", &moov),
        ]
        .concat()
    }

    #[test]
    fn edits_and_itunes_tag_are_read() {
        let starts = read_starts(&mut io::Cursor::new(movie())).expect("readable");
        let expected = TrackStart {
            track_id: 7,
            media_seconds: Some(2112.0 / 44_100.0),
            empty_seconds: 0.5,
        };
        assert_eq!(
            starts,
            MovieStarts {
                tracks: vec![expected],
                itunes_priming: Some(2112)
            }
        );
    }

    proptest! {
        #[test]
        fn damaged_movies_do_not_panic(
            at in 0usize..400, value: u8, cut in 0usize..500,
        ) {
            let mut bytes = movie();
            let len = bytes.len();
            bytes[at % len] = value;
            bytes.truncate(cut.max(1));
            let starts = read_starts(&mut io::Cursor::new(bytes)).expect("a buffer is readable");
            prop_assert!(starts.tracks.len() <= 1);
        }
    }
}
