//! The filter bank against torchaudio's `compliance.kaldi.fbank`, over 10 s of telephone speech.

use sori_dsp::{Fbank, FbankOptions};
use sori_testing::{golden, shared, wav};

#[test]
fn equals_torchaudio() {
    let pcm = wav::read(&shared("media/diar/pyannote_sample.wav")).samples;
    let bank = Fbank::new(&FbankOptions::default()).expect("valid options");
    let found = bank.compute(&pcm[..160_000]);
    let expected = golden::npz(&shared("research/speakers/gold/fbank.npz"));
    assert_eq!(found.len(), 998 * 80);
    let head = &expected["raw_head"].values;
    let off = golden::max_abs_diff(&found[..head.len()], head);
    assert!(off <= 1e-3, "{off}");
    // Every eighth frame of the whole, without the mean.
    let mean = &expected["mean"].values;
    let centred: Vec<f32> = found
        .chunks_exact(80)
        .step_by(8)
        .flat_map(|row| row.iter().zip(mean).map(|(value, mean)| value - mean))
        .collect();
    let off = golden::max_abs_diff(&centred, &expected["centred"].values);
    assert!(off <= 1e-3, "{off}");
    eprintln!("largest difference {off}");
}
