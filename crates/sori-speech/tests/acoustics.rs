//! Frames and sums against librosa, Praat and ffmpeg (`reference/acoustics_golden.py`), and what must hold of any sound.

use std::io::{Cursor, Read};

use proptest::prelude::*;
use sori_dsp::loudness::{Meter, integrated, integrated_within};
use sori_speech::acoustics::{Column, Features, Frames, HOP, MFCC, Tally, npz};
use sori_testing::{golden, shared, wav};

fn golden_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn pcm(file: &str) -> Vec<f32> {
    let sound = wav::read(&shared(&format!("media/{file}")));
    assert_eq!((sound.sample_rate, sound.channels), (16_000, 1));
    sound.samples
}

#[test]
fn frames_equal_librosa() {
    const STRIDE: usize = 7;
    let frames = Frames::of(&pcm("codecs/jfk_16k_s16.wav"), 0.0, &Features::all());
    let golden = golden::npy(&golden_path("acoustics_librosa.npy"));
    assert_eq!(golden.shape, [frames.len().div_ceil(STRIDE), 6 + 2 * MFCC]);
    let mut at = 0;
    // Both compute in f32. The roll-off is a bin: one more where the sum lies within rounding of 85 %.
    for (column, tolerance) in [
        (Column::RmsDb, 1e-3),
        (Column::Centroid, 0.05),
        (Column::Rolloff, 31.25),
        (Column::Bandwidth, 0.05),
        (Column::Flatness, 1e-4),
        (Column::ZeroCrossings, 1e-6),
        (Column::Mfcc, 5e-3),
        (Column::MfccDelta, 2e-3),
    ] {
        let (width, values) = (column.width(), frames.column(column));
        assert_eq!(values.len(), frames.len() * width);
        let (mut worst, mut off) = (0.0f32, 0);
        for (row, expected) in golden.values.chunks(golden.shape[1]).enumerate() {
            for (value, expected) in values[row * STRIDE * width..]
                .iter()
                .zip(&expected[at..at + width])
            {
                let difference = (value - expected).abs();
                worst = worst.max(difference);
                off += usize::from(difference > 1e-3 * expected.abs() + 1e-3);
            }
        }
        println!("{}: worst {worst:.1e}, {off} off", column.name());
        assert!(worst <= tolerance, "{}: {worst}", column.name());
        assert!(off * 100 <= golden.shape[0], "{}: {off} off", column.name());
        at += width;
    }
}

#[test]
fn pitch_and_voice_agree_with_praat() {
    let clips = golden::json(&golden_path("acoustics.json"));
    let (mut frames_in_all, mut agreeing, mut both, mut gross) = (0, 0, 0, 0);
    for clip in clips.as_array().expect("a list") {
        let file = clip["file"].as_str().expect("a name");
        let stem = std::path::Path::new(file)
            .file_stem()
            .expect("a name")
            .to_string_lossy();
        let golden = golden::npy(&golden_path(&format!("acoustics_{stem}_pitch.npy")));
        let frames = Frames::of(&pcm(file), 0.0, &Features::default());
        let pitch = frames.column(Column::PitchHz);
        assert_eq!(golden.values.len(), pitch.len());
        let mut cents = Vec::new();
        for (&ours, &theirs) in pitch.iter().zip(&golden.values) {
            agreeing += usize::from(ours.is_finite() == (theirs > 0.0));
            if ours.is_finite() && theirs > 0.0 {
                cents.push((1200.0 * (ours / theirs).log2()).abs());
                gross += usize::from((ours / theirs - 1.0).abs() > 0.2);
            }
        }
        frames_in_all += pitch.len();
        both += cents.len();
        cents.sort_unstable_by(f32::total_cmp);
        let median = cents[cents.len() / 2];
        let voice = frames.between(0.0, 1e9).features().voice.expect("a voice");
        let theirs = |name: &str| clip[name].as_f64().expect("a number") as f32;
        println!(
            "{file}: {median:.2} cents; jitter {:.4} {:.4}; shimmer {:.4} {:.4}; hnr {:.2} {:.2}",
            voice.jitter,
            theirs("jitter"),
            voice.shimmer,
            theirs("shimmer"),
            voice.hnr_db,
            theirs("hnr_db"),
        );
        assert!(median <= 0.1, "{file}: {median} cents");
        assert!(
            (voice.jitter / theirs("jitter") - 1.0).abs() <= 0.15,
            "{file}"
        );
        assert!(
            (voice.shimmer / theirs("shimmer") - 1.0).abs() <= 0.15,
            "{file}"
        );
        assert!((voice.hnr_db - theirs("hnr_db")).abs() <= 0.3, "{file}");
    }
    let share = |count: usize, all: usize| count as f32 / all as f32;
    println!(
        "voicing {:.4}, gross {:.4}",
        share(agreeing, frames_in_all),
        share(gross, both)
    );
    assert!(share(agreeing, frames_in_all) >= 0.99);
    assert!(share(gross, both) <= 0.002);
}

#[test]
fn loudness_agrees_with_ebur128() {
    for clip in golden::json(&golden_path("acoustics.json"))
        .as_array()
        .expect("a list")
    {
        let mut meter = Meter::new();
        let pcm = pcm(clip["file"].as_str().expect("a name"));
        meter.push(&pcm);
        let ours = integrated(meter.blocks()).expect("loud");
        let theirs = clip["lufs"].as_f64().expect("a number");
        println!("{}: {ours:.3} {theirs:.3}", clip["file"]);
        assert!(
            (ours - theirs).abs() <= 0.03,
            "{}: {ours} {theirs}",
            clip["file"]
        );
        let whole = 0.0..pcm.len() as f64 / 16_000.0;
        assert_eq!(integrated_within(meter.blocks(), &[whole]), Some(ours));
    }
}

/// A voice that glides from `from_hz` to `to_hz`, like pulses through a throat.
fn glide(from_hz: f64, to_hz: f64, seconds: f64) -> Vec<f32> {
    let len = (16_000.0 * seconds) as usize;
    let mut phase = 0.0f64;
    (0..len)
        .map(|n| {
            let share = n as f64 / len as f64;
            phase += from_hz * (to_hz / from_hz).powf(share) / 16_000.0;
            let harmonics =
                (1..12).map(|k| (std::f64::consts::TAU * k as f64 * phase).sin() / k as f64);
            (0.2 * harmonics.sum::<f64>()) as f32
        })
        .collect()
}

#[test]
fn a_voice_that_is_known_is_measured() {
    for (from, to) in [(80.0, 80.0), (120.0, 240.0), (440.0, 220.0), (500.0, 500.0)] {
        let frames = Frames::of(&glide(from, to, 2.0), 60.0, &Features::default());
        let features = frames.between(60.1, 61.9).features();
        let pitch = features.pitch.expect("voiced");
        let middle = (from * to).sqrt() as f32;
        assert!(
            (pitch.median_hz / middle - 1.0).abs() < 0.005,
            "{from}: {pitch:?}"
        );
        let slope = (6.0 * (to / from).log2()) as f32;
        assert!((pitch.slope - slope).abs() < 0.05, "{from}: {pitch:?}");
        assert_eq!(pitch.voiced_share, 1.0);
        let voice = features.voice.expect("a voice");
        assert!(voice.jitter < 0.005 && voice.shimmer < 0.02, "{voice:?}");
        assert!(voice.hnr_db > 20.0 || from != to, "{voice:?}");
    }
}

#[test]
fn silence_and_noise_have_no_pitch() {
    let mut seed = 1u32;
    let noise: Vec<f32> = (0..32_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let features = Frames::of(&noise, 0.0, &Features::default())
        .between(0.0, 2.0)
        .features();
    let share = features.pitch.map_or(0.0, |pitch| pitch.voiced_share);
    assert!(share < 0.02, "{share} of noise is voiced");
    assert!(features.spectral_flatness.expect("measured") > 0.4);
    let silent = Frames::of(&[0.0; 16_000], 0.0, &Features::all())
        .between(0.0, 1.0)
        .features();
    assert_eq!(
        silent
            .volume_db
            .or(silent.pitch_hz)
            .or(silent.spectral_centroid),
        None
    );
    assert_eq!((silent.pitch, silent.voice), (None, None));
    assert!(silent.mfcc.is_empty());
}

#[test]
fn a_knock_does_not_hush_a_voice() {
    let voice: Vec<f32> = glide(150.0, 150.0, 4.0)
        .iter()
        .map(|sample| sample * 0.03)
        .collect();
    let mut knocked = voice.clone();
    for (n, sample) in knocked[32_000..32_400].iter_mut().enumerate() {
        *sample = if n % 7 < 3 { 0.9 } else { -0.9 };
    }
    let voiced = |pcm: &[f32]| {
        let pitch = Frames::of(pcm, 0.0, &Features::default())
            .between(0.0, 9.0)
            .features()
            .pitch;
        pitch.map_or(0.0, |pitch| pitch.voiced_share)
    };
    assert!(voiced(&knocked) > voiced(&voice) - 0.05);
}

#[test]
fn only_what_is_wanted_is_measured() {
    let pcm = glide(150.0, 150.0, 0.5);
    let of = |names: &str| {
        let frames = Frames::of(&pcm, 0.0, &names.parse().expect("known names"));
        (frames.between(0.0, 0.5).features(), frames)
    };
    let (features, frames) = of("none");
    assert_eq!(features, sori_timeline::AcousticFeatures::default());
    assert!(
        Column::ALL
            .iter()
            .all(|&column| frames.column(column).is_empty())
    );
    let (features, frames) = of("voice,mfcc_delta");
    assert!(features.voice.is_some() && features.mfcc_delta.len() == MFCC);
    assert_eq!(
        (features.pitch_hz, features.volume_db, features.mfcc.len()),
        (None, None, 0)
    );
    assert!(frames.column(Column::PitchHz).is_empty() && frames.column(Column::Mfcc).is_empty());
    let (features, _) = of("spectrum");
    assert!(features.spectral_centroid.is_some() && features.zero_crossing_rate.is_some());
}

#[test]
fn word_by_word_is_the_whole() {
    let pcm = pcm("codecs/jfk_16k_s16.wav");
    let frames = Frames::of(&pcm, 100.0, &Features::all());
    let whole = frames.between(100.0, 111.0);
    assert_eq!(whole.frames(), frames.len() as u64);
    let mut sum = Tally::default();
    let ends = [100.0, 100.013, 100.5, 100.5, 102.777, 103.0, 107.1, 111.0];
    for span in ends.windows(2) {
        let tally = frames.between(span[0], span[1]);
        // What is kept between stages comes back as it was.
        let json = serde_json::to_string(&tally).expect("numbers");
        let kept: Tally = serde_json::from_str(&json).expect("what was written");
        assert_eq!(kept.features(), tally.features());
        sum.add(&kept);
    }
    let (one, other) = (sum.features(), whole.features());
    assert_eq!(
        one.pitch.as_ref().map(|pitch| pitch.median_hz),
        other.pitch.as_ref().map(|pitch| pitch.median_hz)
    );
    let numbers = |features: &sori_timeline::AcousticFeatures| -> Vec<f32> {
        let pitch = features.pitch.clone().expect("voiced");
        let voice = features.voice.clone().expect("voiced");
        let mut numbers = vec![
            pitch.low_hz,
            pitch.high_hz,
            pitch.slope,
            pitch.voiced_share,
            voice.jitter,
            voice.shimmer,
        ];
        numbers.extend([
            voice.hnr_db,
            features.volume_db.expect("loud"),
            features.spectral_rolloff.expect("loud"),
        ]);
        numbers.extend(features.mfcc.iter().chain(&features.mfcc_delta));
        numbers
    };
    for (one, other) in numbers(&one).iter().zip(numbers(&other)) {
        assert!(
            (one - other).abs() <= 1e-4 * other.abs() + 1e-5,
            "{one} {other}"
        );
    }
    assert_eq!(frames.between(105.0, 104.0), frames.between(0.0, 100.0));
    assert!(frames.between(103.0, 104.0).word_features().voice.is_none());
}

#[test]
fn exported_arrays_hold_every_frame() {
    let pcm = pcm("synthetic/ko_1.wav");
    let (one, two) = pcm.split_at(3 * 16_000);
    let features = Features::default();
    let frames = [
        Frames::of(one, 0.0, &features),
        Frames::of(two, 3.0, &features),
    ];
    let mut file = Cursor::new(Vec::new());
    npz(&frames, &mut file).expect("memory");
    let mut zip = zip::ZipArchive::new(file).expect("a zip file");
    let folder = tempfile::tempdir().expect("a folder");
    let mut array = |name: &str| {
        let mut bytes = Vec::new();
        zip.by_name(&format!("{name}.npy"))
            .expect(name)
            .read_to_end(&mut bytes)
            .expect("whole");
        assert_eq!((bytes.len() - golden_header(&bytes)) % 4, 0);
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        golden::npy(&path)
    };
    let count = frames[0].len() + frames[1].len();
    let time = array("time");
    assert_eq!(time.shape, [count]);
    assert!((time.values[count - 1] - (count - 1) as f32 * HOP as f32 / 16_000.0).abs() < 1e-4);
    assert_eq!(array("mfcc").shape, [count, MFCC]);
    for column in Column::ALL
        .into_iter()
        .filter(|&column| column != Column::MfccDelta)
    {
        let values = array(column.name()).values;
        let bits =
            |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        let expected = [frames[0].column(column), frames[1].column(column)].concat();
        assert_eq!(bits(&values), bits(&expected), "{}", column.name());
    }
    assert!(zip.by_name("mfcc_delta.npy").is_err());
}

/// Length of an array file's header, which ends on a multiple of 64.
fn golden_header(bytes: &[u8]) -> usize {
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(header % 64, 0);
    header
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sound_panics_and_every_feature_is_finite(
        samples in prop::collection::vec(prop_oneof![
            -1.0f32..1.0, Just(0.0), Just(1.0), Just(f32::NAN), Just(f32::INFINITY), Just(f32::MAX), Just(1e-30),
        ], 0..4000),
        repeat in 1usize..4,
        from in -1.0f64..1.0,
        to in -1.0f64..2.0,
    ) {
        let pcm = samples.repeat(repeat);
        let frames = Frames::of(&pcm, 0.25, &Features::all());
        prop_assert_eq!(frames.len(), pcm.len().div_ceil(HOP));
        for column in Column::ALL.into_iter().filter(|&column| column != Column::PitchHz) {
            prop_assert!(frames.column(column).iter().all(|value| value.is_finite()), "{}", column.name());
        }
        let features = frames.between(from, to).features();
        prop_assert!(features.pitch_hz.is_none_or(|hz| (60.0..=620.0).contains(&hz)));
        prop_assert!(features.volume_db.is_none_or(f32::is_finite));
        if let Some(voice) = features.voice {
            prop_assert!(voice.jitter.is_finite() && voice.shimmer.is_finite() && voice.hnr_db.is_finite());
        }
    }

    #[test]
    fn kept_tallies_may_be_damaged(text in r#"\{"frames":[0-9]{1,3},"sounding":[0-9]{1,2},"mfcc":\[[0-9,]{0,6}\]\}"#) {
        if let Ok(tally) = serde_json::from_str::<Tally>(&text) {
            let mut sum = Frames::of(&[0.1; 999], 0.0, &Features::all()).between(0.0, 1.0);
            sum.add(&tally);
            let _ = sum.features();
            let _ = tally.features();
        }
    }
}
