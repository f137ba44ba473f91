//! The log-mel transform against openai-whisper's own, over real speech.

use sori_dsp::{LogMel, LogMelOptions};

/// PCM of a 16-bit mono WAV whose header is the canonical 44 bytes plus ffmpeg's 34-byte LIST chunk.
fn pcm_of(path: &str) -> Vec<f32> {
    let bytes = std::fs::read(sori_testing::shared(path)).expect("readable test file");
    let data = bytes
        .windows(4)
        .position(|tag| tag == b"data")
        .expect("a data chunk")
        + 8;
    let samples = bytes[data..].chunks_exact(2);
    samples
        .map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32768.0)
        .collect()
}

/// Values of a little-endian f32 `.npy` file of format version 1.
fn npy(name: &str) -> Vec<f32> {
    let path = format!("{}/tests/golden/{name}.npy", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("golden file");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(
        String::from_utf8_lossy(&bytes[..header])
            .contains("'descr': '<f4', 'fortran_order': False")
    );
    let values = bytes[header..].chunks_exact(4);
    values
        .map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]]))
        .collect()
}

#[test]
fn equals_openai_whisper() {
    let pcm = pcm_of("media/codecs/jfk_16k_s16.wav");
    assert_eq!(pcm.len(), 176_000);
    // Name, mel bands, hop, frames, and the golden's stride over the frames.
    for (name, mels, hop, frames, stride) in [
        ("whole_80", 80, 160, 1100, 13),
        ("whole_128", 128, 160, 1100, 13),
        ("padded_80", 80, 160, 3000, 37),
        ("padded_128", 128, 160, 3000, 37),
        ("cut_80", 80, 160, 101, 7),
        ("hop240_80", 80, 240, 500, 29),
    ] {
        let options = LogMelOptions {
            mels,
            hop,
            ..Default::default()
        };
        let mel = LogMel::new(&options)
            .expect("valid options")
            .window(&pcm, frames);
        let golden = npy(name);
        let columns = frames.div_ceil(stride);
        assert_eq!(golden.len(), mels * columns, "{name}");
        let worst = golden
            .iter()
            .enumerate()
            .map(|(at, expected)| {
                let (band, column) = (at / columns, at % columns);
                (mel[band * frames + column * stride] - expected).abs()
            })
            .fold(0.0, f32::max);
        println!("{name}: worst difference {worst:.1e}");
        assert!(worst <= 1e-4, "{name}: worst difference {worst}");
    }
}
