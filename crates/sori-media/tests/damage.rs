//! Truncated, empty, mislabelled, corrupt and hostile input: an error or a warning, never a panic, a hang or a giant allocation.

mod hearing;

use hearing::*;
use proptest::prelude::*;
use sori_media::{AudioOptions, AudioReader, Ffmpeg, Limits, MediaErrorKind, WarningKind};

const FILES: [&str; 12] = [
    "jfk_16k_s16.wav",
    "jfk_8k_ulaw.wav",
    "jfk.mka",
    "jfk_alac.m4a",
    "jfk.mp3",
    "jfk_vorbis.ogg",
    "jfk_opus.ogg",
    "jfk_opus.webm",
    "jfk_aac.m4a",
    "jfk_aac.aac",
    "jfk_48k_s24_stereo.wav",
    "jfk_44k_f32.wav",
];

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(sori_testing::shared(&format!("media/codecs/{file}"))).expect("a shared file")
}

fn kind_of(bytes: Vec<u8>) -> MediaErrorKind {
    hear_bytes(bytes, &native())
        .err()
        .expect("nothing to hear")
        .kind()
}

/// A WAV with these fields in its format chunk.
fn wave(
    format: u16,
    channels: u16,
    rate_hz: u32,
    bits: u16,
    data_len: u32,
    data: &[u8],
) -> Vec<u8> {
    let align = (u32::from(channels) * u32::from(bits) / 8) as u16;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend_from_slice(&(36u32.saturating_add(data_len)).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0");
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&channels.to_le_bytes());
    bytes.extend_from_slice(&rate_hz.to_le_bytes());
    bytes.extend_from_slice(&rate_hz.wrapping_mul(align.into()).to_le_bytes());
    bytes.extend_from_slice(&align.to_le_bytes());
    bytes.extend_from_slice(&bits.to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&data_len.to_le_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn a_cut_file_gives_what_is_there() {
    for file in FILES {
        let bytes = bytes_of(file);
        let whole = hear_bytes(bytes.clone(), &native()).unwrap_or_else(|e| panic!("{e}"));
        for part in [0.999, 0.9, 0.5, 0.2] {
            let cut = bytes[..(bytes.len() as f64 * part) as usize].to_vec();
            match hear_bytes(cut, &native()) {
                Ok(heard) => {
                    let share = heard.pcm().len() as f64 / whole.pcm().len() as f64;
                    // Bit rates vary over a file, so the share is only roughly that of the bytes.
                    assert!(
                        (share - part).abs() < 0.25,
                        "{file} cut to {part}: {share:.3} of the sound"
                    );
                    let common = heard.pcm().len().saturating_sub(RATE / 4);
                    assert!(
                        snr(&whole.pcm()[..common], &heard.pcm()[..common]) > 60.0,
                        "{file} cut to {part}"
                    );
                }
                // The index of an MP4 lies at its end.
                Err(error) => assert!(file.ends_with("m4a"), "{error}"),
            }
        }
        for len in [0, 1, 3, 7, 12, 44] {
            match hear_bytes(bytes[..len].to_vec(), &native()) {
                Ok(heard) => assert!(heard.pcm().len() < RATE / 10, "{file}: {len} bytes"),
                Err(error) => assert!(error.to_string().starts_with("bytes: "), "{error}"),
            }
        }
    }
}

#[test]
fn a_cut_wave_and_a_cut_webm_say_so() {
    let mut wav = bytes_of("jfk_16k_s16.wav");
    wav.truncate(100_001);
    let heard = hear_bytes(wav, &native()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        heard.pcm().len(),
        (100_001 - 44 - 1) / 2,
        "{:?}",
        heard.warnings
    );
    let mut webm = bytes_of("jfk_opus.webm");
    webm.truncate(20_000);
    let heard = hear_bytes(webm, &native()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(heard.warnings[0].kind, WarningKind::Truncated);
    assert!(heard.warnings[0].at_seconds > 4.0 && heard.warnings[0].offset.is_some());
}

#[test]
fn nothing_is_an_error_of_its_own() {
    assert_eq!(kind_of(Vec::new()), MediaErrorKind::Empty);
    assert_eq!(
        kind_of(wave(1, 1, 16_000, 16, 0, &[])),
        MediaErrorKind::Empty
    );
    let silent = hear_bytes(wave(1, 1, 16_000, 16, 64_000, &[0; 64_000]), &native());
    assert_eq!(
        silent.unwrap_or_else(|e| panic!("{e}")).pcm(),
        vec![0.0; 32_000]
    );
    let missing = hear("/no/such/file.wav".as_ref(), &native())
        .err()
        .expect("missing");
    assert_eq!(missing.kind(), MediaErrorKind::NotFound);
    assert!(
        missing.to_string().starts_with("/no/such/file.wav: "),
        "{missing}"
    );
    let folder = hear(&std::env::temp_dir(), &native())
        .err()
        .expect("a folder");
    assert_eq!(folder.kind(), MediaErrorKind::Unsupported);
}

#[test]
fn an_unfinished_wave_is_read_to_its_end() {
    let mut bytes = bytes_of("jfk_16k_s16.wav");
    let data = bytes
        .windows(4)
        .position(|tag| tag == b"data")
        .expect("a data chunk");
    for (riff, size) in [(0u32, 0u32), (u32::MAX, u32::MAX), (0, u32::MAX)] {
        bytes[4..8].copy_from_slice(&riff.to_le_bytes());
        bytes[data + 4..data + 8].copy_from_slice(&size.to_le_bytes());
        let heard = hear_bytes(bytes.clone(), &native()).unwrap_or_else(|e| panic!("{riff}: {e}"));
        assert_eq!(heard.pcm(), reference(), "sizes of {riff} and {size}");
        let piped =
            AudioReader::from_stream(std::io::Cursor::new(bytes.clone()), "stdin", &native());
        assert_eq!(
            drain(piped.unwrap_or_else(|e| panic!("{e}")))
                .unwrap_or_else(|e| panic!("{e}"))
                .pcm(),
            reference()
        );
    }
}

#[test]
fn names_do_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    for (from, to) in [
        ("jfk.mp3", "a.wav"),
        ("jfk_opus.webm", "b.mp3"),
        ("jfk_16k_s16.wav", "c.ogg"),
        ("jfk_aac.m4a", "d"),
    ] {
        let path = folder.path().join(to);
        std::fs::copy(sori_testing::shared(&format!("media/codecs/{from}")), &path)
            .expect("a copy");
        let heard = hear(&path, &native()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(heard.pcm().len() / RATE, 11, "{from} as {to}");
    }
}

#[test]
fn what_is_no_media_is_refused_with_a_remedy() {
    let noise: Vec<u8> = (0..200_000u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8)
        .collect();
    let text = "The quick brown fox jumps over the lazy dog.\n"
        .repeat(3000)
        .into_bytes();
    for (name, bytes) in [
        ("noise", noise),
        ("text", text),
        ("zeros", vec![0; 100_000]),
        ("ones", vec![0xff; 100_000]),
    ] {
        let error = hear_bytes(bytes, &native())
            .err()
            .unwrap_or_else(|| panic!("{name} is no sound"));
        assert_eq!(
            error.kind(),
            MediaErrorKind::FfmpegMissing,
            "{name}: {error}"
        );
        assert!(
            error.to_string().contains("ffmpeg") && error.to_string().contains("apt-get install"),
            "{error}"
        );
        assert!(error.offset().is_some(), "{error}");
    }
}

#[test]
fn ffmpeg_failures_are_explained() {
    let amr = b"#!AMR\n".repeat(100);
    let absent = AudioOptions {
        ffmpeg: Ffmpeg::Path("/no/such/ffmpeg".into()),
        ..Default::default()
    };
    let error = hear_bytes(amr.clone(), &absent).err().expect("no ffmpeg");
    assert_eq!(error.kind(), MediaErrorKind::FfmpegMissing);
    assert!(
        error.to_string().contains("/no/such/ffmpeg") && error.to_string().contains("install it"),
        "{error}"
    );
    let text = b"no media at all, whatever is tried with it".repeat(50);
    let error = hear_bytes(text, &AudioOptions::default())
        .err()
        .expect("no media");
    assert_eq!(error.kind(), MediaErrorKind::FfmpegFailed, "{error}");
    // A playlist would make ffmpeg open the files that it names.
    let list = format!(
        "#EXTM3U\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n",
        reference_path().display()
    );
    let error = hear_bytes(list.into_bytes(), &AudioOptions::default())
        .err()
        .expect("not followed");
    assert_eq!(error.kind(), MediaErrorKind::FfmpegFailed, "{error}");
    assert!(!error.to_string().contains("whitelist"), "{error}");
    let list = format!(
        "ffconcat version 1.0\nfile {}\n",
        reference_path().display()
    );
    let error = hear_bytes(list.into_bytes(), &AudioOptions::default())
        .err()
        .expect("not followed");
    assert_eq!(error.kind(), MediaErrorKind::FfmpegFailed, "{error}");
}

/// What is said of a recording that goes to this shell script in ffmpeg's place.
#[cfg(unix)]
fn with_stand_in(script: &str, limits: Limits) -> sori_media::MediaError {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("ffmpeg");
    std::fs::write(&program, format!("#!/bin/sh\n{script}")).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let options = AudioOptions {
        ffmpeg: Ffmpeg::Path(program),
        limits,
        ..Default::default()
    };
    let error = hear_bytes(b"#!AMR\n".repeat(100), &options).err();
    let error = error.expect("no sound");
    assert_eq!(error.kind(), MediaErrorKind::FfmpegFailed);
    error
}

#[cfg(unix)]
#[test]
fn a_stuck_ffmpeg_is_stopped() {
    let limits = Limits {
        ffmpeg_silence: std::time::Duration::from_millis(200),
        ..Default::default()
    };
    let error = with_stand_in("exec sleep 600\n", limits);
    assert!(error.to_string().contains("was stopped"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_busy_ffmpeg_is_stopped() {
    // Sound that is long to compute, whatever ffmpeg is asked to read.
    let script = "for a; do [ \"$last\" = -timelimit ] && limit=$a; last=$a; done\n\
        [ -n \"$limit\" ] || exec sleep 600\n\
        exec ffmpeg -v error -timelimit $limit -f lavfi -i anoisesrc=d=100000000 -af afftdn,afftdn -f null -\n";
    let limits = Limits {
        ffmpeg_cpu: std::time::Duration::from_secs(1),
        ..Default::default()
    };
    let error = with_stand_in(script, limits);
    // It ended by itself, before it would be stopped for giving nothing.
    assert!(!error.to_string().contains("was stopped"), "{error}");
}

#[cfg(unix)]
#[test]
fn ffmpeg_is_told_how_large_pictures_may_be() {
    let limits = Limits {
        max_pixels: 1000,
        ..Default::default()
    };
    let error = with_stand_in("echo \"$@\" >&2\nexit 1\n", limits);
    assert!(error.to_string().contains("-max_pixels 1000 "), "{error}");
}

#[test]
fn pictures_that_are_too_large_do_not_cost_the_sound() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.avi");
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=s=640x480:d=1",
            "-f",
            "lavfi",
            "-i",
            "sine=d=1",
        ])
        .args(["-c:v", "mpeg4", "-c:a", "wmav2"])
        .arg(&path)
        .status()
        .expect("this test makes its file with ffmpeg: install it");
    assert!(made.success());
    let limits = Limits {
        max_pixels: 1000,
        ..Default::default()
    };
    let options = AudioOptions {
        limits,
        ..Default::default()
    };
    let bytes = std::fs::read(&path).expect("a file");
    let heard = hear_bytes(bytes, &options).expect("there is sound");
    let frames = heard.pcm().len();
    assert!(frames > 10_000, "{frames}");
}

#[test]
fn absurd_headers_are_refused() {
    for (channels, rate_hz, bits) in [
        (1, 0, 16),
        (1, 1, 16),
        (1, u32::MAX, 16),
        (0, 16_000, 16),
        (u16::MAX, 16_000, 8),
        (1, 16_000, 0),
        (1, 16_000, u16::MAX),
        (33, 16_000, 16),
    ] {
        let bytes = wave(1, channels, rate_hz, bits, 40_000, &[1; 40_000]);
        let error = hear_bytes(bytes, &native()).err();
        assert!(
            error.is_some(),
            "{channels} channels, {rate_hz} Hz, {bits} bits"
        );
    }
    let limits = Limits {
        max_seconds: Some(3.0),
        ..Default::default()
    };
    let options = AudioOptions { limits, ..native() };
    for file in ["jfk_16k_s16.wav", "jfk_opus.ogg", "jfk_aac.aac"] {
        let error = hear_bytes(bytes_of(file), &options)
            .err()
            .expect("longer than 3 s");
        assert_eq!(error.kind(), MediaErrorKind::TooLarge, "{error}");
    }
}

#[test]
fn samples_that_are_not_numbers_are_silent() {
    let mut data = Vec::new();
    for n in 0..16_000 {
        let sample = match n % 1000 {
            0 => f32::NAN,
            1 => f32::INFINITY,
            _ => 0.25,
        };
        data.extend_from_slice(&sample.to_le_bytes());
    }
    let heard = hear_bytes(wave(3, 1, 16_000, 32, data.len() as u32, &data), &native())
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(heard.warnings[0].kind, WarningKind::NotFinite);
    assert_eq!(
        (heard.pcm()[0], heard.pcm()[1], heard.pcm()[2]),
        (0.0, 0.0, 0.25)
    );
}

#[test]
fn damage_in_the_middle_keeps_the_time_of_what_follows() {
    for file in [
        "jfk_opus.ogg",
        "jfk_opus.webm",
        "jfk_aac.m4a",
        "jfk_vorbis.ogg",
        "jfk.mp3",
        "jfk_aac.aac",
        "jfk.mka",
    ] {
        let mut bytes = bytes_of(file);
        let whole = hear_bytes(bytes.clone(), &native()).unwrap_or_else(|e| panic!("{e}"));
        let at = bytes.len() * 2 / 5;
        for byte in &mut bytes[at..at + 300] {
            *byte = !*byte;
        }
        let heard = hear_bytes(bytes, &native()).unwrap_or_else(|e| panic!("{file}: {e}"));
        let tail = whole.pcm().len() * 7 / 10;
        let late = lag(
            &whole.pcm()[tail..],
            &heard.pcm()[tail.min(heard.pcm().len())..],
        );
        println!("{file}: {late} samples, {:?}", heard.warnings);
        assert!(
            late.abs() <= 800,
            "{file}: {late} samples late after the damage"
        );
    }
}

#[test]
fn half_a_million_ways_to_lie_about_silence_are_bounded() {
    // Every packet of this WebM stamped far after the one before it: silence must not grow without end.
    let mut bytes = bytes_of("jfk_opus.webm");
    let mut at = 0;
    while at + 8 < bytes.len() {
        if bytes[at] == 0xa3 && bytes[at + 3] == 0x81 {
            bytes[at + 4] = 0x7f;
        }
        at += 1;
    }
    if let Ok(heard) = hear_bytes(bytes, &native()) {
        assert!(
            heard.pcm().len() < 4000 * RATE,
            "{} s",
            heard.pcm().len() / RATE
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]
    #[test]
    fn random_damage_never_panics(
        file in prop::sample::select(FILES.to_vec()),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..24),
        cut in prop::option::of(any::<prop::sample::Index>()),
        piped: bool,
    ) {
        let mut bytes = bytes_of(file);
        bytes.truncate(60_000);
        for (index, value, early) in hits {
            // Headers are where the claims are.
            let at = if early { index.index(512) } else { index.index(bytes.len()) };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let heard = if piped {
            AudioReader::from_stream(std::io::Cursor::new(bytes), "bytes", &native()).and_then(drain)
        } else {
            hear_bytes(bytes, &native())
        };
        match heard {
            Ok(heard) => prop_assert!(heard.pcm().len() < 5000 * RATE),
            Err(error) => prop_assert!(error.to_string().starts_with("bytes: ")),
        }
    }
}
