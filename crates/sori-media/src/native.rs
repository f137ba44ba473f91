//! The pure Rust way: symphonia's demuxers and decoders, with Opus beside them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::{Hint, Probe, ProbeOptions};
use symphonia::core::formats::well_known::FORMAT_ID_ISOMP4;
use symphonia::core::formats::{FormatId, FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use crate::block::AudioInfo;
use crate::edit_list::{self, MovieStarts};
use crate::error::{MediaError, MediaErrorKind};
use crate::opus::{self, OpusStream};
use crate::source::Source;
use crate::start::Start;

/// Bytes of junk before the first marker that are searched.
const PROBE_BYTES: u32 = 64 << 10;
/// Demuxer errors in a row after which the rest of the file is given up.
const MAX_ERRORS: u32 = 64;
/// Packets in a row that give no sound, after which the rest of the file is given up.
const MAX_SILENT_PACKETS: u32 = 100_000;
/// A decoded packet.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// Frame on the recording's time line at which it starts, if the container tells.
    pub(crate) stamp: Option<i64>,
    pub(crate) rate_hz: u32,
    /// One plane per channel, all of one length.
    pub(crate) planes: Vec<Vec<f32>>,
}

impl Piece {
    pub(crate) fn frames(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }
}

/// What a decoder came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The piece is filled.
    Piece,
    /// A packet could not be decoded; about this many frames are missing.
    Lost {
        frames: usize,
        why: String,
    },
    /// The file ends in the middle of something.
    Cut,
    /// There is more, but it cannot be read.
    Unreadable {
        why: String,
    },
    End,
}

enum PacketDecoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<OpusStream>),
}

/// An open demuxer with the decoder of its audio track.
pub(crate) struct Native {
    format: Box<dyn FormatReader>,
    decoder: PacketDecoder,
    container: FormatId,
    track: Track,
    /// These decoders cut encoder delay and padding themselves.
    trims_itself: bool,
    start: Start,
    /// Frames that the time stamps are ahead of the time line; known from the first decoded packet on.
    shift: Option<i64>,
    /// Stamp of the first packet.
    first_pts: Option<i64>,
    usual_frames: usize,
    errors: u32,
    silent_packets: u32,
    panics: u32,
}

/// Runs third-party code on outside bytes; a panic in it becomes `None`. The objects it worked on are dropped by the caller,
/// so that a broken invariant is not seen again (`AssertUnwindSafe`).
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

impl Native {
    pub(crate) fn open(source: &Source, name: &str) -> Result<(Self, AudioInfo), MediaError> {
        let starts = mp4_starts(source, name)?;
        let opened = guarded(|| {
            let mut probe = Probe::new_with_options(&ProbeOptions {
                max_probe_depth: PROBE_BYTES,
                ..Default::default()
            });
            symphonia::default::register_enabled_formats(&mut probe);
            let stream = MediaSourceStream::new(Box::new(source.clone()), Default::default());
            let (format, meta) = (FormatOptions::default(), MetadataOptions::default());
            probe.probe(&Hint::new(), stream, format, meta)
        });
        let refuse =
            |kind, message: String| MediaError::new(kind, name, message).at(source.position());
        let format = match opened {
            None => {
                return Err(refuse(
                    MediaErrorKind::Decoder,
                    "the demuxer panicked".into(),
                ));
            }
            Some(Err(error)) => return Err(probe_error(error, source, name)),
            Some(Ok(format)) => format,
        };
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| {
                refuse(
                    MediaErrorKind::Unsupported,
                    "there is no audio track in it".into(),
                )
            })?
            .clone();
        let container = format.format_info().format;
        let info = describe(format.as_ref(), &track);
        let mut native = Self {
            container,
            decoder: make_decoder(&track, container)
                .map_err(|why| refuse(MediaErrorKind::Unsupported, why))?,
            trims_itself: false,
            start: Start::Stamps,
            shift: None,
            first_pts: None,
            usual_frames: 0,
            errors: 0,
            silent_packets: 0,
            panics: 0,
            format,
            track,
        };
        native.settle(&starts);
        Ok((native, info))
    }

    /// Sets what depends on container and codec together.
    fn settle(&mut self, starts: &MovieStarts) {
        let Some(params) = audio_params(&self.track) else {
            return;
        };
        self.trims_itself =
            [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_VORBIS].contains(&params.codec);
        let pre_skip = opus_head(params, self.container).map(|head| head.pre_skip);
        let edit = starts
            .tracks
            .iter()
            .find(|start| start.track_id == self.track.id);
        let edit = edit.copied().unwrap_or_default();
        let itunes = starts.itunes_priming;
        self.start = Start::of(self.container, params.codec, pre_skip, edit, itunes);
    }

    /// Decodes the next packet into `piece`.
    pub(crate) fn next(&mut self, piece: &mut Piece) -> Step {
        loop {
            let Some(result) = guarded(|| self.format.next_packet()) else {
                return Step::Unreadable {
                    why: "the demuxer panicked".into(),
                };
            };
            let packet = match result {
                Ok(None) => return Step::End,
                Ok(Some(packet)) => packet,
                Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Step::Cut;
                }
                Err(Error::ResetRequired) => match self.restart() {
                    Ok(()) => continue,
                    Err(why) => return Step::Unreadable { why },
                },
                Err(Error::IoError(error)) => {
                    return Step::Unreadable {
                        why: error.to_string(),
                    };
                }
                Err(error) => {
                    self.errors += 1;
                    if self.errors >= MAX_ERRORS {
                        return Step::Unreadable {
                            why: error.to_string(),
                        };
                    }
                    continue;
                }
            };
            self.errors = 0;
            self.silent_packets += 1;
            if self.silent_packets > MAX_SILENT_PACKETS {
                return Step::Unreadable {
                    why: "too many packets without sound".into(),
                };
            }
            if packet.track_id != self.track.id {
                continue;
            }
            self.first_pts.get_or_insert(packet.pts.get());
            match self.decode(&packet, piece) {
                Ok(()) if piece.frames() == 0 => continue,
                Ok(()) => {
                    self.silent_packets = 0;
                    return Step::Piece;
                }
                Err(step) => return step,
            }
        }
    }

    /// A chained stream begins anew, maybe with another codec.
    fn restart(&mut self) -> Result<(), String> {
        let track = self
            .format
            .default_track(TrackType::Audio)
            .ok_or("the next chained part has no audio")?;
        let track = track.clone();
        self.decoder = make_decoder(&track, self.container)?;
        self.track = track;
        self.settle(&MovieStarts::default());
        Ok(())
    }

    fn decode(&mut self, packet: &Packet, piece: &mut Piece) -> Result<(), Step> {
        let decoder = &mut self.decoder;
        let decoded = guarded(|| match decoder {
            PacketDecoder::Opus(stream) => {
                piece.rate_hz = opus::RATE_HZ;
                stream
                    .decode(&packet.data, &mut piece.planes)
                    .map_err(str::to_string)
            }
            PacketDecoder::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(buffer) => {
                    piece.rate_hz = buffer.spec().rate();
                    buffer.copy_to_vecs_planar(&mut piece.planes);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            },
        });
        match decoded {
            None => return Err(self.replace_decoder()),
            Some(Err(why)) => {
                return Err(Step::Lost {
                    frames: self.usual_frames,
                    why,
                });
            }
            Some(Ok(())) => {}
        }
        self.usual_frames = piece.frames();
        if piece.rate_hz > 0 {
            self.trim_and_stamp(packet, piece);
        }
        Ok(())
    }

    /// After a panic the decoder's state cannot be trusted: a new one goes on with the next packet.
    fn replace_decoder(&mut self) -> Step {
        self.panics += 1;
        let why = "the decoder panicked".to_string();
        match make_decoder(&self.track, self.container) {
            Ok(decoder) if self.panics < MAX_ERRORS => {
                self.decoder = decoder;
                Step::Lost {
                    frames: self.usual_frames,
                    why,
                }
            }
            _ => Step::Unreadable { why },
        }
    }

    fn trim_and_stamp(&mut self, packet: &Packet, piece: &mut Piece) {
        let rate_hz = piece.rate_hz;
        let Some(time_base) = self.track.time_base else {
            piece.stamp = None;
            return;
        };
        let to_frames = |ticks: i64| {
            let seconds_num =
                i128::from(ticks) * i128::from(time_base.numer.get()) * i128::from(rate_hz);
            let denom = i128::from(time_base.denom.get());
            ((2 * seconds_num + denom).div_euclid(2 * denom)) as i64
        };
        let trim =
            |duration: u64| to_frames(duration.min(i64::MAX as u64 >> 1) as i64).max(0) as usize;
        let head = trim(packet.trim_start.get());
        if !self.trims_itself {
            let tail = trim(packet.trim_end.get());
            for plane in &mut piece.planes {
                plane.truncate(plane.len().saturating_sub(tail));
                plane.drain(..head.min(plane.len()));
            }
        }
        if piece.frames() == 0 {
            return;
        }
        let stamp = to_frames(packet.pts.get()).saturating_add(head as i64);
        let first = to_frames(self.first_pts.unwrap_or(0));
        let start = &self.start;
        let shift = *self
            .shift
            .get_or_insert_with(|| start.shift(stamp, first, rate_hz));
        piece.stamp = Some(stamp.saturating_sub(shift));
    }
}

fn audio_params(track: &Track) -> Option<&AudioCodecParameters> {
    match &track.codec_params {
        Some(CodecParameters::Audio(params)) => Some(params),
        _ => None,
    }
}

fn opus_head(params: &AudioCodecParameters, container: FormatId) -> Option<opus::Head> {
    let bytes = params
        .extra_data
        .as_deref()
        .filter(|_| params.codec == CODEC_ID_OPUS)?;
    opus::Head::parse(bytes, container == FORMAT_ID_ISOMP4)
}

fn make_decoder(track: &Track, container: FormatId) -> Result<PacketDecoder, String> {
    let params = audio_params(track).ok_or("its audio codec is unknown")?;
    if params.codec == CODEC_ID_OPUS {
        let stream = opus_head(params, container).and_then(OpusStream::new);
        let stream = stream.ok_or("its Opus channel layout is not supported")?;
        return Ok(PacketDecoder::Opus(Box::new(stream)));
    }
    let options = AudioDecoderOptions::default();
    match guarded(|| symphonia::default::get_codecs().make_audio_decoder(params, &options)) {
        None => Err("the decoder panicked".into()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(decoder)) => Ok(PacketDecoder::Symphonia(decoder)),
    }
}

/// The starts of an MP4, if it is one and can seek.
fn mp4_starts(source: &Source, name: &str) -> Result<MovieStarts, MediaError> {
    let fail = |error| MediaError::io(name, error);
    let mut source = source.clone();
    let head = source.head(12).map_err(fail)?;
    if !source.is_seekable() || head.get(4..8) != Some(b"ftyp".as_slice()) {
        return Ok(MovieStarts::default());
    }
    let starts = edit_list::read_starts(&mut source).map_err(fail)?;
    source.rewind_to_start().map_err(fail)?;
    Ok(starts)
}

fn probe_error(error: Error, source: &Source, name: &str) -> MediaError {
    use std::io::ErrorKind::UnexpectedEof;
    let kind = match &error {
        Error::IoError(io) if io.kind() != UnexpectedEof => {
            let io = std::io::Error::new(io.kind(), io.to_string());
            return MediaError::io(name, io).at(source.position());
        }
        Error::IoError(_) | Error::DecodeError(_) | Error::LimitError(_) => MediaErrorKind::Corrupt,
        _ => MediaErrorKind::Unsupported,
    };
    let message = match error {
        Error::IoError(_) => "it ends within its header".to_string(),
        Error::Unsupported("core (probe): no suitable format reader found") => {
            "it is in no audio or video format that the built-in decoders know".to_string()
        }
        other => other.to_string(),
    };
    MediaError::new(kind, name, message).at(source.position())
}

fn describe(format: &dyn FormatReader, track: &Track) -> AudioInfo {
    let params = audio_params(track);
    let codec = match params.map(|params| params.codec) {
        Some(CODEC_ID_OPUS) => "opus",
        Some(id) => {
            let known = symphonia::default::get_codecs().get_audio_decoder(id);
            known.map_or("unknown", |known| known.codec.info.short_name)
        }
        None => "unknown",
    };
    let seconds = |base: Option<TimeBase>, ticks: u64| {
        base.map(|base| ticks as f64 * f64::from(base.numer.get()) / f64::from(base.denom.get()))
    };
    let media = format.media_info();
    let duration = track
        .duration
        .and_then(|ticks| seconds(track.time_base, ticks.get()))
        .or_else(|| {
            media
                .duration
                .and_then(|ticks| seconds(media.time_base, ticks.get()))
        });
    AudioInfo {
        container: format.format_info().short_name.to_string(),
        codec: codec.to_string(),
        source_rate: params.and_then(|params| params.sample_rate).unwrap_or(0),
        channels: params
            .and_then(|params| params.channels.as_ref())
            .map_or(0, |c| c.count()),
        duration: duration.filter(|&seconds| seconds > 0.0),
    }
}
