//! Measurements of one stretch of sound, every 10 ms.

use std::borrow::Cow;

use sori_dsp::voice::{Cycle, cycles};
use sori_dsp::{
    LogMelOptions, Mfcc, PitchOptions, PitchTracker, Stft, level, slopes, spectral_shape,
};

use super::{Features, HOP, SAMPLE_RATE};

/// Number of cepstral coefficients of a frame.
pub const MFCC: usize = 13;
/// Samples of a frame.
const N_FFT: usize = 512;
/// Mel bands behind the coefficients. librosa's 128 belong to its frames of 2048 samples; in ours every sixth would be empty.
const MELS: usize = 40;

/// A measurement of frames: which, and by what name it is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Root mean square level in dB relative to full scale, at least -200; feature `volume`.
    RmsDb,
    /// Fundamental frequency in Hz, `NaN` where not voiced; feature `pitch`, and so for the next.
    PitchHz,
    /// How alike neighbouring periods are, 0 to 1: the normalised autocorrelation at the best candidate.
    Periodicity,
    /// Spectral centroid in Hz; feature `spectrum`, and so for the next four. 0 in digital silence.
    Centroid,
    /// Frequency in Hz below which 85 % of the magnitude lies.
    Rolloff,
    /// Standard deviation of the spectrum around its centroid in Hz.
    Bandwidth,
    /// Spectral flatness, 0 to 1.
    Flatness,
    /// Sign changes over samples, 0 to 1.
    ZeroCrossings,
    /// Cepstral coefficients, [`MFCC`] a frame; feature `mfcc`.
    Mfcc,
    /// Their slopes per frame, [`MFCC`] a frame; feature `mfcc_delta`.
    MfccDelta,
}

impl Column {
    /// Every column, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::RmsDb,
        Self::PitchHz,
        Self::Periodicity,
        Self::Centroid,
        Self::Rolloff,
        Self::Bandwidth,
        Self::Flatness,
        Self::ZeroCrossings,
        Self::Mfcc,
        Self::MfccDelta,
    ];
    /// The columns of the feature `spectrum`.
    pub(super) const SPECTRUM: [Self; 5] = [
        Self::Centroid,
        Self::Rolloff,
        Self::Bandwidth,
        Self::Flatness,
        Self::ZeroCrossings,
    ];

    /// Name of the column's array in an exported file.
    pub fn name(self) -> &'static str {
        match self {
            Self::RmsDb => "rms_db",
            Self::PitchHz => "f0_hz",
            Self::Periodicity => "periodicity",
            Self::Centroid => "centroid",
            Self::Rolloff => "rolloff",
            Self::Bandwidth => "bandwidth",
            Self::Flatness => "flatness",
            Self::ZeroCrossings => "zcr",
            Self::Mfcc => "mfcc",
            Self::MfccDelta => "mfcc_delta",
        }
    }

    /// Values a frame: [`MFCC`] for the cepstral columns, else 1.
    pub fn width(self) -> usize {
        match self {
            Self::Mfcc | Self::MfccDelta => MFCC,
            _ => 1,
        }
    }

    /// Whether it is exported when these features are wanted.
    pub fn wanted(self, features: &Features) -> bool {
        match self {
            Self::RmsDb => features.volume,
            Self::PitchHz | Self::Periodicity => features.pitch,
            Self::Mfcc => features.mfcc,
            Self::MfccDelta => features.mfcc_delta,
            _ => features.spectrum,
        }
    }
}

/// Measurements of one stretch of sound, every 10 ms, in columns.
#[derive(Debug, Clone)]
pub struct Frames {
    start: f64,
    len: usize,
    features: Features,
    /// In the order of [`Column::ALL`]. Level and pitch are there also when only other features need them.
    columns: [Vec<f32>; Column::ALL.len()],
    /// Mean square of each frame's samples.
    pub(super) power: Vec<f32>,
    /// Marks of the voice's periods; empty unless the feature `voice` is wanted.
    pub(super) cycles: Vec<Cycle>,
}

/// What measuring a stretch needs beside its samples.
struct Plans {
    stft: Stft,
    mfcc: Mfcc,
    pitch: PitchTracker,
}

impl Plans {
    /// Takes about 0.3 ms, as much as 15 frames: too little to make every caller carry it about.
    fn new() -> Self {
        let mel = LogMelOptions {
            mels: MELS,
            hop: HOP,
            n_fft: N_FFT,
            sample_rate: SAMPLE_RATE,
        };
        let in_range = "these constants are within the ranges of the options";
        Self {
            stft: Stft::new(N_FFT, HOP).expect(in_range),
            mfcc: Mfcc::new(&mel, MFCC).expect(in_range),
            pitch: PitchTracker::new(&PitchOptions::default()).expect(in_range),
        }
    }
}

impl Frames {
    /// Measures `pcm`, 16 kHz sound that starts `start_seconds` into the recording.
    ///
    /// The centre of frame `i` lies `i × 10 ms` after the start; as many frames as have their centre in the sound. The result
    /// depends on this sound alone, and as a whole: the pitch is a path through all of it, so give a window of speech
    /// (seconds) and not a word. Samples that are not finite count as zero. Takes about 20 µs a frame for all features and
    /// about 120 bytes; no allocation per frame.
    pub fn of(pcm: &[f32], start_seconds: f64, features: &Features) -> Self {
        let pcm = &*sound(pcm);
        let len = pcm.len().div_ceil(HOP);
        let plans = Plans::new();
        let mut frames = Self {
            start: start_seconds,
            len,
            features: *features,
            columns: Default::default(),
            power: Vec::with_capacity(len),
            cycles: Vec::new(),
        };
        frames.measure_levels(pcm);
        frames.measure_spectra(pcm, &plans);
        if features.pitch || features.voice {
            let track = plans.pitch.track(pcm, len);
            if features.voice {
                frames.cycles = cycles(pcm, &track, plans.pitch.options());
            }
            frames.columns[Column::PitchHz as usize] = track.hz;
            frames.columns[Column::Periodicity as usize] = track.periodicity;
        }
        frames
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The centre of frame `index` in seconds from the start of the recording.
    pub fn time(&self, index: usize) -> f64 {
        self.start + (index * HOP) as f64 / f64::from(SAMPLE_RATE)
    }

    /// The features that were wanted.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Values of a column, [`Column::width`] a frame, frame by frame; empty when its feature was not wanted.
    pub fn column(&self, column: Column) -> &[f32] {
        if column.wanted(&self.features) {
            self.measured(column)
        } else {
            &[]
        }
    }

    /// Values of a column, wanted or only needed.
    pub(super) fn measured(&self, column: Column) -> &[f32] {
        &self.columns[column as usize]
    }

    /// Number of the first frame whose centre lies at `seconds` or later; [`Self::len`] when there is none.
    pub(super) fn index_from(&self, seconds: f64) -> usize {
        let frames = (seconds - self.start) * f64::from(SAMPLE_RATE) / HOP as f64;
        // Times are rounded to 1 ms where they are written: a hair more is the same frame.
        ((frames - 1e-6).ceil().max(0.0) as usize).min(self.len)
    }

    /// Seconds of `at` in the stretch.
    pub(super) fn within(&self, seconds: f64) -> f64 {
        seconds - self.start
    }

    fn measure_levels(&mut self, pcm: &[f32]) {
        let Features {
            volume, spectrum, ..
        } = self.features;
        for index in 0..self.len {
            let level = level(pcm, index * HOP, N_FFT);
            self.power.push(level.power);
            if volume {
                // 1e-20 is far below the step of 24 bits.
                let rms_db = 10.0 * level.power.max(1e-20).log10();
                self.columns[Column::RmsDb as usize].push(rms_db);
            }
            if spectrum {
                self.columns[Column::ZeroCrossings as usize].push(level.zero_crossing_rate);
            }
        }
    }

    fn measure_spectra(&mut self, pcm: &[f32], plans: &Plans) {
        let Features {
            spectrum,
            mfcc,
            mfcc_delta,
            ..
        } = self.features;
        let cepstrum = mfcc || mfcc_delta;
        if !(spectrum || cepstrum) {
            return;
        }
        let bin_hz = SAMPLE_RATE as f32 / N_FFT as f32;
        for column in Column::SPECTRUM {
            self.columns[column as usize].reserve(if spectrum { self.len } else { 0 });
        }
        let columns = &mut self.columns;
        columns[Column::Mfcc as usize] = vec![0.0; if cepstrum { self.len * MFCC } else { 0 }];
        plans.stft.power(pcm, self.len, |index, power| {
            if spectrum {
                let shape = spectral_shape(power, bin_hz);
                columns[Column::Centroid as usize].push(shape.centroid_hz);
                columns[Column::Rolloff as usize].push(shape.rolloff_hz);
                columns[Column::Bandwidth as usize].push(shape.bandwidth_hz);
                columns[Column::Flatness as usize].push(shape.flatness);
            }
            if cepstrum {
                let out = &mut columns[Column::Mfcc as usize][index * MFCC..][..MFCC];
                plans.mfcc.coefficients(power, out);
            }
        });
        if mfcc_delta {
            columns[Column::MfccDelta as usize] = slopes(&columns[Column::Mfcc as usize], MFCC);
        }
    }
}

/// The samples, with zeros for what is not a number and bounds for what no sound is.
fn sound(pcm: &[f32]) -> Cow<'_, [f32]> {
    const BOUND: f32 = 100.0;
    if pcm.iter().all(|sample| sample.abs() <= BOUND) {
        return Cow::Borrowed(pcm);
    }
    let bounded = |&sample: &f32| {
        if sample.is_finite() {
            sample.clamp(-BOUND, BOUND)
        } else {
            0.0
        }
    };
    Cow::Owned(pcm.iter().map(bounded).collect())
}
