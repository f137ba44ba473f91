//! The reader: opens an input, falls back to ffmpeg, mixes, resamples and cuts into blocks.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use sori_dsp::Resampler;
use tempfile::NamedTempFile;

use crate::block::{AudioBlock, AudioInfo, OUTPUT_RATE_HZ};
use crate::child::{self, INSTALL};
use crate::error::{MediaError, MediaErrorKind, Warning, WarningKind};
use crate::input::Input;
use crate::native::{Native, Piece, Step};
use crate::options::{AudioOptions, Channels, Ffmpeg};
use crate::output::Output;
use crate::source::Source;
use crate::timeline::Timeline;

/// Samples of a full block.
const BLOCK: usize = OUTPUT_RATE_HZ as usize;
/// Sound that any file may hold whatever its size, in seconds; beyond it a second needs a byte. The densest honest codec
/// (FLAC silence in its largest blocks at 8 kHz) needs more.
const FREE_SECONDS: f64 = 3600.0;

enum Decoder {
    Native(Box<Native>),
    Child(Box<child::Ffmpeg>),
}

/// A recording being read. Memory stays bounded for any length; reading blocks on the input and computes on this thread.
pub struct AudioReader {
    name: String,
    options: AudioOptions,
    info: AudioInfo,
    // Before the spooled file, so that the child ends before its input is deleted.
    decoder: Decoder,
    source: Source,
    _spooled: Option<NamedTempFile>,
    timeline: Timeline,
    output: Output,
    piece: Piece,
    /// Silence to give out before the piece at hand, in source frames.
    silence_left: u64,
    /// First frame of the piece at hand that is still to come, if any is.
    piece_from: Option<usize>,
    good_pieces: u64,
    lost_pieces: u64,
    ended: bool,
    emitted: u64,
    warnings: Vec<Warning>,
}

impl AudioReader {
    /// Opens the file at `path` and decodes its first second, so that a file without sound is an error here.
    ///
    /// # Errors
    /// Every kind of [`MediaErrorKind`]; see there.
    pub fn open(path: &Path, options: &AudioOptions) -> Result<Self, MediaError> {
        let name = path.display().to_string();
        let fail = |error| MediaError::io(&name, error);
        let file = File::open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if meta.is_dir() {
            return Err(MediaError::new(
                MediaErrorKind::Unsupported,
                &name,
                "is a folder: give a file",
            ));
        }
        let (source, path) = if meta.is_file() {
            (
                Source::seekable(Box::new(file)).map_err(fail)?,
                Some(path.to_path_buf()),
            )
        } else {
            (Source::stream(Box::new(file)), None)
        };
        Self::begin(
            Input {
                name,
                source,
                path,
                spooled: None,
            },
            options,
        )
    }

    /// Reads standard input, as [`from_stream`](Self::from_stream) with the name `stdin`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn stdin(options: &AudioOptions) -> Result<Self, MediaError> {
        Self::from_stream(io::stdin(), "stdin", options)
    }

    /// Reads a source that can seek; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_source(
        source: impl Read + Seek + Send + 'static,
        name: &str,
        options: &AudioOptions,
    ) -> Result<Self, MediaError> {
        let source =
            Source::seekable(Box::new(source)).map_err(|error| MediaError::io(name, error))?;
        Self::begin(
            Input {
                name: name.into(),
                source,
                path: None,
                spooled: None,
            },
            options,
        )
    }

    /// Reads a source that cannot seek. Formats that need it (MP4, CAF, whatever ffmpeg reads) are put into a temporary file
    /// first; others are read as they come.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_stream(
        stream: impl Read + Send + 'static,
        name: &str,
        options: &AudioOptions,
    ) -> Result<Self, MediaError> {
        let source = Source::stream(Box::new(stream));
        Self::begin(
            Input {
                name: name.into(),
                source,
                path: None,
                spooled: None,
            },
            options,
        )
    }

    /// What the recording says about itself.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// What was wrong so far and did not stop the reader; complete when [`next_block`](Self::next_block) has given `None`.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The next block of at most one second, or `None` at the end.
    ///
    /// # Errors
    /// [`MediaErrorKind::Io`] when the input fails, [`MediaErrorKind::TooLarge`] at a limit. Damage is a warning, not an error.
    pub fn next_block(&mut self) -> Result<Option<AudioBlock>, MediaError> {
        while !self.ended && self.output.len() < BLOCK {
            self.advance()?;
        }
        let count = self.output.len().min(BLOCK);
        if count == 0 {
            return Ok(None);
        }
        let channels = self
            .output
            .ready
            .iter_mut()
            .map(|pcm| pcm.drain(..count).collect())
            .collect();
        let block = AudioBlock {
            start: self.emitted,
            channels,
        };
        self.emitted += count as u64;
        Ok(Some(block))
    }

    fn begin(mut input: Input, options: &AudioOptions) -> Result<Self, MediaError> {
        let refused = match input.prepare(options)? {
            Some(foreign) => foreign,
            None => match Self::by_native(&mut input, options) {
                Ok(reader) => return Ok(reader),
                Err(error) => error,
            },
        };
        use MediaErrorKind::{Corrupt, Decoder as Panic, Empty, Unsupported};
        if !matches!(refused.kind(), Corrupt | Panic | Empty | Unsupported) {
            return Err(refused);
        }
        match Self::by_ffmpeg(&mut input, options, &refused) {
            Err(_) if refused.kind() == Empty => Err(refused),
            other => other,
        }
    }

    fn by_native(input: &mut Input, options: &AudioOptions) -> Result<Self, MediaError> {
        let (native, info) = match Native::open(&input.source, &input.name) {
            // A Matroska file that is shorter than it says is refused, unless its length is unknown.
            Err(_) if input.cut_matroska() => Native::open(&input.source, &input.name)?,
            other => other?,
        };
        Self::with_decoder(input, options, Decoder::Native(Box::new(native)), info)
    }

    fn by_ffmpeg(
        input: &mut Input,
        options: &AudioOptions,
        refused: &MediaError,
    ) -> Result<Self, MediaError> {
        let why = refused.message();
        let fail = |kind, what: &str| {
            let message = format!("{why}; {what}; or convert the file to WAV where it plays");
            let error = MediaError::new(kind, refused.path(), message);
            refused.offset().into_iter().fold(error, MediaError::at)
        };
        let program = match &options.ffmpeg {
            Ffmpeg::Auto => Path::new("ffmpeg"),
            Ffmpeg::Path(program) => program,
            Ffmpeg::Off => {
                let what =
                    format!("ffmpeg may read it but is switched off: allow it and {INSTALL}");
                return Err(fail(MediaErrorKind::FfmpegMissing, &what));
            }
        };
        let path = input.path_for_ffmpeg(options)?;
        let limits = &options.limits;
        let ffmpeg =
            child::Ffmpeg::open(program, &path, &input.name, limits).map_err(
                |error| match error.kind() {
                    kind @ (MediaErrorKind::FfmpegMissing | MediaErrorKind::FfmpegFailed) => {
                        fail(kind, error.message())
                    }
                    _ => error,
                },
            )?;
        let info = AudioInfo {
            container: "ffmpeg".into(),
            codec: "unknown".into(),
            source_rate: ffmpeg.rate_hz,
            channels: ffmpeg.channels,
            duration: None,
        };
        let decoder = Decoder::Child(Box::new(ffmpeg));
        let mut reader = Self::with_decoder(input, options, decoder, info)?;
        reader.warn(
            WarningKind::Fallback,
            0.0,
            format!("read by ffmpeg, because {why}"),
        );
        Ok(reader)
    }

    /// A reader that has decoded its first second.
    fn with_decoder(
        input: &mut Input,
        options: &AudioOptions,
        decoder: Decoder,
        info: AudioInfo,
    ) -> Result<Self, MediaError> {
        let mut reader = Self {
            name: input.name.clone(),
            options: options.clone(),
            info,
            decoder,
            source: input.source.clone(),
            _spooled: None,
            timeline: Timeline::default(),
            output: Output::default(),
            piece: Piece::default(),
            silence_left: 0,
            piece_from: None,
            good_pieces: 0,
            lost_pieces: 0,
            ended: false,
            emitted: 0,
            warnings: Vec::new(),
        };
        if let (Some(limit), Some(seconds)) = (options.limits.max_seconds, reader.info.duration)
            && seconds > limit + 1.0
        {
            return Err(reader.too_long(limit));
        }
        while !reader.ended && reader.output.len() < BLOCK {
            reader.advance()?;
        }
        if reader.lost_pieces > 3 * reader.good_pieces {
            let why = reader
                .warnings
                .first()
                .map_or("", |warning| &warning.message);
            return Err(reader.error(
                MediaErrorKind::Corrupt,
                format!("almost nothing of it can be decoded ({why})"),
            ));
        }
        if reader.output.len() == 0 {
            return Err(reader.error(MediaErrorKind::Empty, "there is no sound in it".into()));
        }
        input.source.commit();
        reader._spooled = input.spooled.take();
        Ok(reader)
    }

    /// One step: some silence, the piece at hand, or the next piece.
    fn advance(&mut self) -> Result<(), MediaError> {
        if self.silence_left > 0 {
            let count = self.silence_left.min(u64::from(self.output.rate_hz));
            self.silence_left -= count;
            self.output.push_silence(count as usize);
            return Ok(());
        }
        if let Some(from) = self.piece_from.take() {
            if self
                .output
                .push(&self.piece.planes, from, self.options.channels)
            {
                self.warn(
                    WarningKind::NotFinite,
                    self.timeline.seconds(),
                    "samples that are not numbers are silent".into(),
                );
            }
            return Ok(());
        }
        let step = match &mut self.decoder {
            Decoder::Native(native) => native.next(&mut self.piece),
            Decoder::Child(child) => child.next(&mut self.piece)?,
        };
        let now = self.timeline.seconds();
        match step {
            Step::Piece => return self.take_piece(),
            Step::Lost { frames, why } => {
                self.lost_pieces += 1;
                self.silence_left = self.timeline.lose(frames);
                self.warn(
                    WarningKind::LostPackets,
                    now,
                    format!("a packet is silent, because it could not be decoded: {why}"),
                );
                return self.check_length();
            }
            Step::Cut => self.warn(
                WarningKind::Truncated,
                now,
                "the file ends in the middle: it was cut off or never finished".into(),
            ),
            Step::Unreadable { why } if self.good_pieces == 0 => {
                return Err(self.error(
                    MediaErrorKind::Corrupt,
                    format!("nothing of it can be decoded: {why}"),
                ));
            }
            Step::Unreadable { why } => {
                self.warn(
                    WarningKind::Unreadable,
                    now,
                    format!("the rest of the file cannot be read: {why}"),
                );
            }
            Step::End => {}
        }
        self.ended = true;
        self.output.finish();
        Ok(())
    }

    fn take_piece(&mut self) -> Result<(), MediaError> {
        self.fit_output()?;
        let before = self.timeline.seconds();
        let placement = self.timeline.place(self.piece.stamp, self.piece.frames());
        self.good_pieces += 1;
        self.silence_left = placement.silence;
        self.piece_from = Some(placement.skip);
        let seconds = |frames: f64| frames / f64::from(self.piece.rate_hz);
        if placement.ignored != 0 {
            let jump = seconds(placement.ignored as f64);
            self.warn(
                WarningKind::Gap,
                before,
                format!("time stamps jump by {jump:.1} s, which is closed up"),
            );
        } else if placement.silence > 0 && before > 0.0 {
            let gap = seconds(placement.silence as f64);
            self.warn(
                WarningKind::Gap,
                before,
                format!("{gap:.2} s are missing and silent"),
            );
        }
        self.check_length()
    }

    /// Makes the output ready for the rate and channels of the piece at hand.
    fn fit_output(&mut self) -> Result<(), MediaError> {
        let (rate_hz, channels) = (self.piece.rate_hz, self.piece.planes.len());
        let limits = &self.options.limits;
        if channels > limits.max_channels {
            let message = format!(
                "it has {channels} channels, more than the limit of {}",
                limits.max_channels
            );
            return Err(self.error(MediaErrorKind::TooLarge, message));
        }
        if rate_hz == self.output.rate_hz && self.good_pieces > 0 {
            return Ok(());
        }
        if rate_hz > limits.max_rate_hz {
            let message = format!(
                "its sample rate of {rate_hz} Hz is above the limit of {}",
                limits.max_rate_hz
            );
            return Err(self.error(MediaErrorKind::TooLarge, message));
        }
        let outputs = match self.options.channels {
            Channels::Each if self.output.ready.is_empty() => channels,
            Channels::Each => self.output.ready.len(),
            _ => 1,
        };
        let resamplers: Result<Vec<_>, _> = (0..outputs)
            .map(|_| Resampler::new(rate_hz, OUTPUT_RATE_HZ))
            .collect();
        let resamplers = resamplers
            .map_err(|error| self.error(MediaErrorKind::TooLarge, format!("its {error}")))?;
        self.output.finish();
        self.output.ready.resize_with(outputs, Vec::new);
        self.output.resamplers = resamplers;
        self.output.rate_hz = rate_hz;
        self.timeline.set_rate(rate_hz);
        if self.info.source_rate == 0 || self.good_pieces == 0 {
            self.info.source_rate = rate_hz;
            self.info.channels = channels;
        }
        Ok(())
    }

    fn check_length(&mut self) -> Result<(), MediaError> {
        let seconds = self.timeline.seconds();
        if let Some(limit) = self.options.limits.max_seconds
            && seconds > limit
        {
            return Err(self.too_long(limit));
        }
        let size = self.source.size();
        if seconds > FREE_SECONDS + size as f64 {
            let message = format!("{seconds:.0} s of sound cannot come from {size} bytes");
            return Err(self.error(MediaErrorKind::TooLarge, message));
        }
        Ok(())
    }

    fn too_long(&self, limit: f64) -> MediaError {
        self.error(
            MediaErrorKind::TooLarge,
            format!("it is longer than the limit of {limit} s"),
        )
    }

    fn error(&self, kind: MediaErrorKind, message: String) -> MediaError {
        MediaError::new(kind, &self.name, message).at(self.source.position())
    }

    fn warn(&mut self, kind: WarningKind, at_seconds: f64, message: String) {
        if let Some(known) = self
            .warnings
            .iter_mut()
            .find(|warning| warning.kind == kind)
        {
            known.count += 1;
            return;
        }
        let offset = matches!(self.decoder, Decoder::Native(_)).then(|| self.source.position());
        self.warnings.push(Warning {
            kind,
            at_seconds,
            offset,
            count: 1,
            message,
        });
    }
}
