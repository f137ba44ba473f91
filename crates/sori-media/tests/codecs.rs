//! Every codec and container gives the same sound at the same time.

mod hearing;

use hearing::*;
use sori_media::{AudioOptions, Channels, WarningKind};

struct Expected {
    /// Least signal-to-noise ratio in dB: what the codec itself leaves.
    snr_db: f64,
    /// Most samples at 16 kHz that it may be early or late.
    lag: i32,
    seconds: f64,
}

fn check(name: &str, heard: &Heard, expected: &Expected) {
    let reference = reference();
    let (lag, snr) = (lag(&reference, heard.pcm()), snr(&reference, heard.pcm()));
    let seconds = heard.pcm().len() as f64 / RATE as f64;
    println!(
        "{name}: lag {lag}, SNR {snr:.1} dB, {seconds:.4} s, {} {}, {:?}",
        heard.info.container, heard.info.codec, heard.warnings
    );
    assert!(lag.abs() <= expected.lag, "{name}: {lag} samples late");
    assert!(snr >= expected.snr_db, "{name}: SNR {snr:.1} dB");
    assert!(
        (seconds - expected.seconds).abs() < 0.1,
        "{name}: {seconds} s"
    );
}

#[test]
fn shared_codecs_decode_to_the_same_signal() {
    for (file, codec, snr_db, lag, seconds) in [
        ("jfk_16k_s16.wav", "pcm_s16le", 100.0, 0, 11.0),
        ("jfk_16k_u8.wav", "pcm_u8", 25.0, 0, 11.0),
        ("jfk_8k_alaw.wav", "pcm_alaw", 3.0, 4, 11.0),
        ("jfk_8k_ulaw.wav", "pcm_mulaw", 3.0, 4, 11.0),
        ("jfk_44k_f32.wav", "pcm_f32le", 30.0, 1, 4.0),
        ("jfk_48k_s24_stereo.wav", "pcm_s24le", 30.0, 1, 4.0),
        ("jfk.mka", "flac", 30.0, 1, 4.0),
        ("jfk_alac.m4a", "alac", 30.0, 1, 4.0),
        ("jfk.mp3", "mp3", 10.0, 4, 11.0),
        ("jfk_vorbis.ogg", "vorbis", 10.0, 4, 11.0),
        ("jfk_opus.ogg", "opus", 3.0, 8, 11.0),
        ("jfk_opus.webm", "opus", 3.0, 8, 11.0),
        ("jfk_aac.m4a", "aac", 10.0, 4, 11.0),
        ("jfk_aac.aac", "aac", 10.0, 4, 11.0),
    ] {
        let path = sori_testing::shared(&format!("media/codecs/{file}"));
        let heard = hear(&path, &native()).unwrap_or_else(|error| panic!("{error}"));
        check(
            file,
            &heard,
            &Expected {
                snr_db,
                lag,
                seconds,
            },
        );
        assert_eq!(heard.info.codec, codec, "{file}");
        assert!(heard.warnings.is_empty(), "{file}: {:?}", heard.warnings);
        let told = heard.info.duration.expect("these headers tell the length");
        assert!(
            (told - seconds).abs() < 0.2,
            "{file}: the header tells {told} s"
        );
    }
}

#[test]
fn every_folder_of_recordings_is_readable() {
    for folder in [
        "media/codecs",
        "media/speech",
        "media/diar",
        "media/speakers",
        "media/events",
    ] {
        for entry in std::fs::read_dir(sori_testing::shared(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if ["txt", "json", "rttm"].contains(&extension) {
                continue;
            }
            let heard = hear(&path, &native()).unwrap_or_else(|error| panic!("{error}"));
            assert!(heard.pcm().len() > RATE / 4, "{}", path.display());
            assert!(
                heard.warnings.is_empty(),
                "{}: {:?}",
                path.display(),
                heard.warnings
            );
            assert!(
                heard.pcm().iter().any(|&x| x.abs() > 0.01),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn the_three_interviews_hold_one_sound_track() {
    let names = [
        "interview_h264_aac.mp4",
        "interview_vp8_opus.webm",
        "interview_vp9_opus.webm",
    ];
    let heard = names.map(|name| {
        let path = sori_testing::shared(&format!("media/video/{name}"));
        hear(&path, &native()).unwrap_or_else(|error| panic!("{error}"))
    });
    for (name, other) in names.iter().zip(&heard).skip(1) {
        let late = lag(heard[0].pcm(), other.pcm());
        println!(
            "{name}: {late} samples after the MP4, {:.3} s",
            other.pcm().len() as f64 / RATE as f64
        );
        assert!(late.abs() <= 16, "{name}: {late} samples after the MP4");
    }
}

#[test]
fn silent_films_say_so() {
    let path = sori_testing::shared("media/video/head_male.mp4");
    let error = hear(&path, &native())
        .err()
        .expect("there is no sound in it");
    assert!(error.to_string().contains("no audio track"), "{error}");
}

#[test]
fn containers_of_the_wild_keep_the_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let opus = ["-c:a", "libopus", "-b:a", "32k"];
    let aac = ["-c:a", "aac", "-b:a", "96k", "-ar", "44100"];
    let fragments = [
        "-movflags",
        "frag_keyframe+empty_moov+default_base_moof",
        "-frag_duration",
        "500000",
    ];
    let pcm = |codec| vec!["-c:a", codec];
    let cases: Vec<(&str, Vec<&str>, f64, i32)> = vec![
        ("f64.wav", pcm("pcm_f64le"), 100.0, 0),
        ("s32.wav", pcm("pcm_s32le"), 100.0, 0),
        ("f32.wav", pcm("pcm_f32le"), 100.0, 0),
        ("adpcm.wav", pcm("adpcm_ima_wav"), 20.0, 0),
        ("s16.aiff", pcm("pcm_s16be"), 100.0, 0),
        ("s24.aiff", pcm("pcm_s24be"), 100.0, 0),
        ("s16.caf", pcm("pcm_s16be"), 100.0, 0),
        ("alac.caf", pcm("alac"), 100.0, 0),
        ("plain.flac", pcm("flac"), 100.0, 0),
        ("flac.ogg", pcm("flac"), 100.0, 0),
        ("vorbis.webm", pcm("libvorbis"), 8.0, 4),
        ("opus.mp4", opus.to_vec(), 3.0, 8),
        ("opus.mkv", opus.to_vec(), 3.0, 8),
        (
            "opus_fragments.mp4",
            [&opus[..], &fragments].concat(),
            3.0,
            8,
        ),
        ("aac.mkv", aac.to_vec(), 8.0, 8),
        ("aac.mov", aac.to_vec(), 8.0, 4),
        ("aac_fragments.mp4", [&aac[..], &fragments].concat(), 8.0, 4),
        (
            "aac_delayed.mp4",
            [&aac[..], &["-movflags", "frag_keyframe+delay_moov"]].concat(),
            8.0,
            4,
        ),
        (
            "live.webm",
            [&opus[..], &["-live", "1", "-cluster_time_limit", "500"]].concat(),
            3.0,
            8,
        ),
        (
            "mp3.mp4",
            ["-c:a", "libmp3lame", "-ar", "44100"].to_vec(),
            8.0,
            16,
        ),
        (
            "mono.mp3",
            ["-c:a", "libmp3lame", "-ar", "16000"].to_vec(),
            8.0,
            4,
        ),
    ];
    for (name, args, snr_db, lag) in cases {
        let path = make(folder.path(), name, &args);
        let heard = hear(&path, &native()).unwrap_or_else(|error| panic!("{error}"));
        check(
            name,
            &heard,
            &Expected {
                snr_db,
                lag,
                seconds: 11.0,
            },
        );
        assert_eq!(hear_pipe(&path).pcm(), heard.pcm(), "{name} through a pipe");
    }
}

#[test]
fn a_late_start_stays_late() {
    let folder = tempfile::tempdir().expect("a folder");
    // A picture track from 0 s and the sound from 1.5 s on.
    for name in ["late.mkv", "late.mp4", "late.webm"] {
        let codec = if name.ends_with("webm") {
            ["libopus", "libvpx"]
        } else {
            ["aac", "mpeg4"]
        };
        let path = folder.path().join(name);
        let done = std::process::Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-loglevel",
                "error",
                "-y",
                "-f",
                "lavfi",
                "-i",
                "color=s=64x64:d=13:r=10",
            ])
            .args(["-itsoffset", "1.5", "-i"])
            .arg(reference_path())
            .args([
                "-map", "0:v", "-map", "1:a", "-c:a", codec[0], "-b:a", "64k", "-c:v", codec[1],
            ])
            .arg(&path)
            .status()
            .expect("this test makes its files with ffmpeg: install it");
        assert!(done.success(), "{name}");
        let heard = hear(&path, &native()).unwrap_or_else(|error| panic!("{error}"));
        let late = lag(&reference(), &heard.pcm()[24_000..]);
        println!("{name}: {late} samples, {:?}", heard.warnings);
        assert!(late.abs() <= 32, "{name}: {late} samples after 1.5 s");
    }
}

#[test]
fn what_is_not_built_in_goes_to_ffmpeg() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, args, snr_db, lag) in [
        (
            "speech.wma",
            &["-c:a", "wmav2", "-b:a", "96k"][..],
            8.0,
            600,
        ),
        (
            "speech.ac3",
            &["-c:a", "ac3", "-ar", "48000", "-b:a", "192k"],
            8.0,
            300,
        ),
        ("speech.mp2", &["-c:a", "mp2", "-ar", "44100"], 8.0, 400),
        ("speech.avi", &["-c:a", "pcm_s16le"], 90.0, 0),
        (
            "speech.ts",
            &["-c:a", "aac", "-b:a", "96k", "-ar", "44100"],
            8.0,
            400,
        ),
        ("gsm.wav", &["-c:a", "libgsm_ms", "-ar", "8000"], -3.0, 400),
        ("speech.w64", &["-c:a", "pcm_s16le"], 90.0, 0),
    ] {
        let path = make(folder.path(), name, args);
        let heard = hear(&path, &AudioOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(heard.warnings[0].kind, WarningKind::Fallback, "{name}");
        let reference = reference();
        println!(
            "{name}: lag {}, SNR {:.1}",
            hearing::lag(&reference, heard.pcm()),
            snr(&reference, heard.pcm())
        );
        assert!(hearing::lag(&reference, heard.pcm()).abs() <= lag, "{name}");
        if lag == 0 {
            assert!(snr(&reference, heard.pcm()) >= snr_db, "{name}");
        }
        assert_eq!(heard.info.container, "ffmpeg");
        let bytes = std::fs::read(&path).expect("just made");
        let again = hear_bytes(bytes, &AudioOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.pcm(), heard.pcm(), "{name} through a temporary file");
    }
}

#[test]
fn channels_are_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = make(
        folder.path(),
        "wide.wav",
        &[
            "-af",
            "aformat=fltp,pan=stereo|c0=c0|c1=0.25*c0",
            "-c:a",
            "pcm_f32le",
        ],
    );
    let listen = |channels| {
        hear(
            &path,
            &AudioOptions {
                channels,
                ..native()
            },
        )
        .unwrap_or_else(|error| panic!("{error}"))
    };
    let reference = reference();
    let scaled = |gain: f32| -> Vec<f32> { reference.iter().map(|x| x * gain).collect() };
    for (channels, gain) in [
        (Channels::Mix, 0.625),
        (Channels::Left, 1.0),
        (Channels::Right, 0.25),
    ] {
        let heard = listen(channels);
        assert_eq!((heard.channels.len(), heard.info.channels), (1, 2));
        let worst = scaled(gain)
            .iter()
            .zip(heard.pcm())
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(worst < 1e-5, "{channels:?}: {worst}");
    }
    let each = listen(Channels::Each);
    assert_eq!(each.channels.len(), 2);
    assert!(
        snr(&scaled(1.0), &each.channels[0]) > 80.0 && snr(&scaled(0.25), &each.channels[1]) > 80.0
    );
    let mono = hear(
        &reference_path(),
        &AudioOptions {
            channels: Channels::Right,
            ..native()
        },
    );
    assert_eq!(
        mono.unwrap_or_else(|e| panic!("{e}")).pcm(),
        reference,
        "the only channel is left and right"
    );
}

#[test]
fn surround_opus_and_aac_are_mixed() {
    let folder = tempfile::tempdir().expect("a folder");
    // Symphonia finds this AAC too complex, so that one takes the way over ffmpeg.
    for (name, codec, options) in [
        ("surround.ogg", "libopus", native()),
        ("surround.m4a", "aac", AudioOptions::default()),
    ] {
        let args = [
            "-af",
            "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0",
            "-c:a",
            codec,
            "-b:a",
            "384k",
            "-ar",
            "48000",
        ];
        let path = make(folder.path(), name, &args);
        let heard = hear(&path, &options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(heard.info.channels, 6, "{name}");
        let late = lag(&reference(), heard.pcm());
        println!("{name}: {late}");
        assert!(late.abs() <= 8, "{name}: {late} samples late");
    }
}
