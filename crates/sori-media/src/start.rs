//! Where time 0 of the recording lies in the time stamps of its sound track.
//!
//! Every lossy codec gives some sound before the first real sample (priming, pre-skip). Containers tell it in different ways,
//! and symphonia passes some on, rounds some, and ignores the edit lists of MP4.

use symphonia::core::codecs::audio::AudioCodecId;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_AAC, CODEC_ID_VORBIS};
use symphonia::core::formats::FormatId;
use symphonia::core::formats::well_known::{
    FORMAT_ID_ADTS, FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_OGG,
};

use crate::edit_list::TrackStart;

/// Priming of an AAC stream that does not state it, in frames: the least that an AAC encoder can have.
const AAC_PRIMING: u32 = 1024;

/// How the time stamps are to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// As they are: priming has negative stamps.
    Stamps,
    /// The first packet gives no sound but has a length; the sound of the second starts where the first is stamped.
    FirstPacket,
    /// Ogg: this many frames of priming after stamp 0; a broadcast that was captured midway starts over at 0.
    Granules(u32),
    /// Stamps are rounded to milliseconds and some muxers add a few; the codec has this many frames of priming.
    Near(u32),
    /// If the first sound is stamped 0, a muxer that allows no stamp before 0 moved this many frames of priming there.
    AtZero(u32),
    /// Time 0 is this many seconds after stamp 0.
    Seconds(f64),
    /// Time 0 is this many frames after stamp 0.
    Frames(u32),
}

impl Start {
    /// The start of a track with this container and codec, Opus pre-skip, MP4 edit list, and iTunes priming.
    pub(crate) fn of(
        container: FormatId,
        codec: AudioCodecId,
        pre_skip: Option<u32>,
        edit: TrackStart,
        itunes_priming: Option<u32>,
    ) -> Self {
        let aac = codec == CODEC_ID_AAC;
        match container {
            FORMAT_ID_ISOMP4 => match (edit.media_seconds, itunes_priming, pre_skip) {
                (None | Some(0.0), Some(priming), _) if aac => Self::Frames(priming),
                (Some(seconds), _, _) => Self::Seconds(seconds - edit.empty_seconds),
                (None, _, Some(frames)) => Self::Frames(frames),
                (None, _, None) if aac => Self::Frames(AAC_PRIMING),
                (None, _, None) => Self::Stamps,
            },
            FORMAT_ID_ADTS => Self::Frames(AAC_PRIMING),
            FORMAT_ID_OGG => Self::Granules(pre_skip.unwrap_or(0)),
            FORMAT_ID_MKV if codec == CODEC_ID_VORBIS => Self::FirstPacket,
            FORMAT_ID_MKV if aac => Self::AtZero(AAC_PRIMING),
            FORMAT_ID_MKV => pre_skip.map_or(Self::Stamps, Self::Near),
            _ => Self::Stamps,
        }
    }

    /// Frames that stamps are ahead of the time line, when the first sound is stamped `stamp` and the first packet
    /// `first_packet`, all in frames at `rate_hz`.
    pub(crate) fn shift(self, stamp: i64, first_packet: i64, rate_hz: u32) -> i64 {
        match self {
            Self::Stamps => 0,
            Self::FirstPacket => stamp.saturating_sub(first_packet),
            Self::Granules(_) if stamp > i64::from(rate_hz) => stamp,
            Self::Granules(frames) | Self::Frames(frames) => frames.into(),
            Self::AtZero(frames) => {
                if stamp == 0 {
                    frames.into()
                } else {
                    0
                }
            }
            Self::Near(frames) => {
                let off = stamp.saturating_add(i64::from(frames));
                if off.unsigned_abs() <= u64::from(rate_hz) / 100 {
                    off
                } else {
                    0
                }
            }
            Self::Seconds(seconds) => (seconds * f64::from(rate_hz)).round() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphonia::core::codecs::audio::well_known::{CODEC_ID_ALAC, CODEC_ID_OPUS};

    #[test]
    fn mp4_prefers_what_it_is_told() {
        let of = |codec, pre_skip, media_seconds, itunes| {
            let edit = TrackStart {
                track_id: 1,
                media_seconds,
                empty_seconds: 0.5,
            };
            Start::of(FORMAT_ID_ISOMP4, codec, pre_skip, edit, itunes)
        };
        for (codec, pre_skip, media, itunes, expected) in [
            (
                CODEC_ID_AAC,
                None,
                Some(0.75),
                Some(2112),
                Start::Seconds(0.25),
            ),
            (
                CODEC_ID_AAC,
                None,
                Some(0.0),
                Some(2112),
                Start::Frames(2112),
            ),
            (CODEC_ID_AAC, None, None, None, Start::Frames(1024)),
            (
                CODEC_ID_OPUS,
                Some(312),
                None,
                Some(2112),
                Start::Frames(312),
            ),
            (
                CODEC_ID_OPUS,
                Some(312),
                Some(0.0),
                None,
                Start::Seconds(-0.5),
            ),
            (CODEC_ID_ALAC, None, None, None, Start::Stamps),
        ] {
            assert_eq!(of(codec, pre_skip, media, itunes), expected);
        }
    }

    #[test]
    fn stamps_become_frames_of_the_time_line() {
        for (start, stamp, first, expected) in [
            (Start::Stamps, -1105, -1105, 0),
            (Start::FirstPacket, 768, 0, 768),
            (Start::Granules(312), 0, 0, 312),
            (Start::Granules(312), 9_000_000, 9_000_000, 9_000_000),
            (Start::Near(312), -288, -288, 24),
            (Start::Near(312), 4_800, 4_800, 0),
            (Start::Near(312), i64::MIN, 0, 0),
            (Start::AtZero(1024), 0, 0, 1024),
            (Start::AtZero(1024), 72_000, 0, 0),
            (Start::AtZero(1024), -1008, 0, 0),
            (Start::Seconds(0.0065), 0, 0, 312),
        ] {
            assert_eq!(
                start.shift(stamp, first, 48_000),
                expected,
                "{start:?} at {stamp}"
            );
        }
    }
}
