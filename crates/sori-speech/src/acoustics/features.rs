//! Which measurements are wanted.

use std::fmt;
use std::str::FromStr;

/// Which measurements are wanted. The default is all but [`mfcc_delta`](Self::mfcc_delta).
///
/// Read from and written as names with commas between, in any order:
///
/// ```
/// use sori_speech::acoustics::Features;
/// let features: Features = "pitch,volume".parse().unwrap();
/// assert!(features.pitch && !features.mfcc);
/// assert_eq!(features.to_string(), "volume,pitch");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Root mean square level.
    pub volume: bool,
    /// Fundamental frequency.
    pub pitch: bool,
    /// Centroid, roll-off, bandwidth, flatness and zero crossings.
    pub spectrum: bool,
    /// 13 mel-frequency cepstral coefficients.
    pub mfcc: bool,
    /// The slopes of those.
    pub mfcc_delta: bool,
    /// Jitter, shimmer and harmonics-to-noise ratio; finds the pitch for itself where that is not wanted.
    pub voice: bool,
    /// Integrated loudness in LUFS. Measured beside the frames, by [`sori_dsp::loudness::Meter`].
    pub loudness: bool,
}

/// Names of the features, in the order of the fields.
const NAMES: [&str; 7] = [
    "volume",
    "pitch",
    "spectrum",
    "mfcc",
    "mfcc_delta",
    "voice",
    "loudness",
];

impl Default for Features {
    fn default() -> Self {
        let mut features = Self::all();
        features.mfcc_delta = false;
        features
    }
}

impl Features {
    /// Every measurement there is.
    pub fn all() -> Self {
        Self::from_switches([true; 7])
    }

    /// No measurement at all.
    pub fn none() -> Self {
        Self::from_switches([false; 7])
    }

    /// Switches in the order of [`NAMES`].
    fn switches(&self) -> [bool; 7] {
        [
            self.volume,
            self.pitch,
            self.spectrum,
            self.mfcc,
            self.mfcc_delta,
            self.voice,
            self.loudness,
        ]
    }

    fn from_switches(switches: [bool; 7]) -> Self {
        let [volume, pitch, spectrum, mfcc, mfcc_delta, voice, loudness] = switches;
        Self {
            volume,
            pitch,
            spectrum,
            mfcc,
            mfcc_delta,
            voice,
            loudness,
        }
    }
}

impl FromStr for Features {
    type Err = UnknownFeature;

    /// Features from their names with commas between; spaces around a name do no harm. `all` and `none` stand alone.
    fn from_str(text: &str) -> Result<Self, UnknownFeature> {
        match text.trim() {
            "all" => return Ok(Self::all()),
            "none" => return Ok(Self::none()),
            _ => {}
        }
        let mut switches = [false; 7];
        for name in text.split(',').map(str::trim) {
            let at = NAMES.iter().position(|known| *known == name);
            switches[at.ok_or_else(|| UnknownFeature(name.to_owned()))?] = true;
        }
        Ok(Self::from_switches(switches))
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = NAMES.iter().zip(self.switches());
        let names: Vec<&str> = chosen
            .filter(|(_, on)| *on)
            .map(|(name, _)| *name)
            .collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// A name that no acoustic feature has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("acoustic feature {0:?}: not known, use some of {known} with commas between, or all, or none", known = NAMES.join(","))]
pub struct UnknownFeature(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let check = |text: &str, written: &str| {
            let features: Features = text.parse().expect(text);
            assert_eq!(features.to_string(), written);
            assert_eq!(written.parse(), Ok(features));
        };
        check(
            "all",
            "volume,pitch,spectrum,mfcc,mfcc_delta,voice,loudness",
        );
        check(" mfcc , volume,mfcc", "volume,mfcc");
        check("none", "none");
        check(
            &Features::default().to_string(),
            "volume,pitch,spectrum,mfcc,voice,loudness",
        );
        for bad in ["", "pich", "volume,", "all,volume", "Volume"] {
            let error = bad.parse::<Features>().expect_err(bad);
            assert!(error.to_string().contains("mfcc_delta,voice"), "{error}");
        }
    }
}
