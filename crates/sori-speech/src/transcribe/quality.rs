//! Whether a text is plausible (openai/whisper transcribe.py, `decode_with_fallback`).

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sori_timeline::DropReason;

use super::options::TranscribeOptions;

/// Measures of one decoded window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quality {
    pub avg_logprob: f32,
    pub compression_ratio: f32,
    pub no_speech_prob: f32,
}

impl Quality {
    /// Whether the window is silent by the model's own judgement.
    fn silent(&self, options: &TranscribeOptions) -> bool {
        self.no_speech_prob > options.no_speech_threshold
            && self.avg_logprob <= options.logprob_threshold
    }

    /// Whether another temperature should be tried.
    pub(super) fn wants_retry(&self, options: &TranscribeOptions) -> bool {
        let bad = self.compression_ratio > options.compression_ratio_threshold
            || self.avg_logprob < options.logprob_threshold;
        bad && !self.silent(options)
    }

    /// Why a text is not kept, when it is not.
    pub(super) fn refusal(&self, text: &str, options: &TranscribeOptions) -> Option<DropReason> {
        if self.silent(options) {
            Some(DropReason::NoSpeech)
        } else if self.compression_ratio > options.compression_ratio_threshold {
            Some(DropReason::Repetition)
        } else if !text.is_empty() && !text.chars().any(char::is_alphanumeric) {
            Some(DropReason::PunctuationOnly)
        } else {
            None
        }
    }
}

/// Bytes of a text over its bytes compressed by zlib.
pub(super) fn compression_ratio(text: &str) -> f32 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(text.as_bytes())
        .expect("writing to memory cannot fail");
    text.len() as f32
        / encoder
            .finish()
            .expect("writing to memory cannot fail")
            .len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_compresses_and_speech_does_not() {
        assert!(compression_ratio(&"thank you ".repeat(20)) > 2.4);
        assert!(
            compression_ratio("ask not what your country can do for you, ask what you can do")
                < 2.4
        );
        assert!(compression_ratio("") < 1.0);
    }

    #[test]
    fn a_window_is_silent_only_when_both_signs_agree() {
        let options = TranscribeOptions::default();
        let quality = |avg_logprob, no_speech_prob| Quality {
            avg_logprob,
            compression_ratio: 1.0,
            no_speech_prob,
        };
        assert_eq!(
            quality(-1.5, 0.9).refusal("a", &options),
            Some(DropReason::NoSpeech)
        );
        assert!(!quality(-1.5, 0.9).wants_retry(&options));
        assert!(quality(-1.5, 0.1).wants_retry(&options));
        assert_eq!(quality(-0.2, 0.9).refusal("a", &options), None);
        assert_eq!(
            quality(-0.2, 0.0).refusal(" ...", &options),
            Some(DropReason::PunctuationOnly)
        );
    }
}
