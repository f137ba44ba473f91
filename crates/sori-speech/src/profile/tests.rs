use super::*;

fn model() -> EmbedderId {
    EmbedderId {
        name: "starter".into(),
        checksum: "00".into(),
    }
}

/// One log-likelihood ratio of 20 for each unit of cosine, 0 at 0.5.
fn calibration() -> Calibration {
    Calibration {
        slope: 20.0,
        offset: -10.0,
        brevity: 0.0,
        known: 0.5,
        sure: 0.9,
    }
}

fn profile(name: &str, centroid: &[f32]) -> Profile {
    Profile {
        name: name.into(),
        model: model(),
        centroid: centroid.to_vec(),
        spread: 0.0,
        seconds: 10.0,
        clips: 1,
    }
}

fn clip(embedding: &[f32], speech_seconds: f64) -> Clip {
    Clip {
        embedding: embedding.to_vec(),
        quality: Quality {
            speech_seconds,
            snr_db: 30.0,
            clipped_share: 0.0,
            overlap_share: 0.0,
        },
    }
}

fn by() -> Enrolment {
    Enrolment {
        model: model(),
        gates: Gates::default(),
        calibration: calibration(),
    }
}

fn who(embedding: &[f32], profiles: &[Profile]) -> Result<String, ProfileError> {
    let model = model();
    let probe = Probe {
        embedding,
        seconds: 5.0,
        model: &model,
    };
    let of = |c: Candidate| format!("{} {:.2}", c.name, c.probability);
    Ok(match identify(&probe, profiles, &calibration())? {
        Decision::Accept(c) => format!("accept {}", of(c)),
        Decision::Ambiguous { first, second } => {
            format!("ambiguous {}, {}", of(first), of(second))
        }
        Decision::Unknown { nearest } => format!("unknown {}", nearest.map_or("-".into(), of)),
    })
}

#[test]
fn a_voice_is_somebody_one_of_two_or_nobody() {
    let a = profile("a", &[1.0, 0.0, 0.0]);
    let b = profile("b", &[0.0, 0.4, 0.0]);
    let twin = profile("twin", &[2.0, 0.02, 0.0]);
    let cases: &[(&str, &[f32], &[&Profile], &str)] = &[
        ("nobody enrolled", &[1.0, 0.0, 0.0], &[], "unknown -"),
        ("the only one", &[3.0, 0.0, 0.0], &[&a], "accept a 1.00"),
        (
            "length does not count",
            &[0.0, 0.001, 0.0],
            &[&a, &b],
            "accept b 1.00",
        ),
        (
            "somebody else",
            &[0.0, 0.0, 1.0],
            &[&a, &b],
            "unknown a 0.00",
        ),
        // Cosine 0.55: ratio e^1; posterior e / (1 + e) = 0.73 is not sure enough.
        (
            "too unsure",
            &[0.55, 0.0, 0.835_16],
            &[&a],
            "unknown a 0.73",
        ),
        // Cosine 0.62 with one profile: e^2.4 / (1 + e^2.4); each more profile asks for more.
        ("sure enough", &[0.62, 0.0, 0.784_6], &[&a], "accept a 0.92"),
        (
            "not among two",
            &[0.62, 0.0, 0.784_6],
            &[&a, &b],
            "unknown a 0.85",
        ),
        (
            "like two",
            &[1.0, 0.005, 0.0],
            &[&twin, &b, &a],
            "ambiguous twin 0.50, a 0.50",
        ),
        (
            "tie: the earlier",
            &[1.0, 0.0, 0.0],
            &[&a, &a],
            "ambiguous a 0.50, a 0.50",
        ),
    ];
    for (case, voice, profiles, expected) in cases {
        let profiles: Vec<Profile> = profiles.iter().map(|&p| p.clone()).collect();
        assert_eq!(who(voice, &profiles).as_deref(), Ok(*expected), "{case}");
    }
}

#[test]
fn unusable_vectors_and_foreign_profiles_are_errors() {
    let good = profile("a", &[1.0, 0.0]);
    let foreign = Profile {
        model: EmbedderId {
            name: "resemblyzer".into(),
            checksum: "00".into(),
        },
        ..good.clone()
    };
    let longer = profile("a", &[1.0, 0.0, 0.0]);
    let named = |name: &str| profile(name, &[1.0, 0.0]);
    let cases: &[(&[f32], Profile, &str)] = &[
        (&[], good.clone(), "its embedding"),
        (&[0.0, 0.0], good.clone(), "its embedding"),
        (&[f32::NAN, 0.0], good.clone(), "its embedding"),
        (&[f32::INFINITY, 0.0], good.clone(), "its embedding"),
        (&[1.0, 0.0], foreign, "made with resemblyzer"),
        (&[1.0, 0.0], longer, "cannot be compared"),
        (&[1.0, 0.0], profile("a", &[0.0, 0.0]), "its centroid"),
        (&[1.0, 0.0], profile("a", &[f32::NAN, 0.0]), "its centroid"),
        (
            &[1.0, 0.0],
            profile("a", &vec![1.0; MAX_DIMENSION + 1]),
            "its centroid",
        ),
        (&[1.0, 0.0], named(" "), "its name"),
        (&[1.0, 0.0], named(&"x".repeat(201)), "its name"),
    ];
    for (voice, p, part) in cases {
        let message = who(voice, std::slice::from_ref(p))
            .expect_err(part)
            .to_string();
        assert!(message.contains(part), "{message:?} says {part:?}");
    }
}

#[test]
fn a_profile_is_the_mean_of_unit_embeddings() {
    let p = enroll(
        " Ann ",
        &[clip(&[2.0, 0.0], 5.0), clip(&[0.8, 0.6], 4.0)],
        &by(),
    )
    .expect("good clips");
    assert_eq!((p.name.as_str(), p.clips, p.seconds), ("Ann", 2, 9.0));
    assert_eq!(p.centroid, [0.9, 0.3]);
    assert!((p.spread - 0.1f32.sqrt()).abs() < 1e-6, "{}", p.spread);
    let text = serde_json::to_string(&p).expect("a profile is plain data");
    assert_eq!(
        serde_json::from_str::<Profile>(&text).expect("its own text"),
        p
    );
}

#[test]
fn merging_profiles_is_enrolling_all_their_clips() {
    let clips = [
        clip(&[1.0, 0.1], 8.0),
        clip(&[1.0, -0.1], 9.0),
        clip(&[1.0, 0.3], 10.0),
    ];
    let all = enroll("a", &clips, &by()).expect("good clips");
    let first = enroll("a", &clips[..1], &by()).expect("good clip");
    let rest = enroll("b", &clips[1..], &by()).expect("good clips");
    let merged = first.merge(&rest).expect("one embedder");
    assert_eq!(
        (merged.clips, merged.seconds, &merged.name),
        (3, 27.0, &all.name)
    );
    for (a, b) in merged.centroid.iter().zip(&all.centroid) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
    assert!((merged.spread - all.spread).abs() < 1e-3);
    let opposite = profile("c", &first.centroid.iter().map(|v| -v).collect::<Vec<_>>());
    assert!(
        first.merge(&opposite).is_err(),
        "nothing is left of opposite voices"
    );
    let foreign = profile("d", &[1.0]);
    assert!(first.merge(&foreign).is_err(), "another embedder");
}

#[test]
fn clips_that_fail_a_gate_are_refused_with_a_remedy() {
    let good = clip(&[1.0, 0.0], 5.0);
    let with = |change: &dyn Fn(&mut Quality)| {
        let mut c = good.clone();
        change(&mut c.quality);
        c
    };
    let cases: &[(Vec<Clip>, &str)] = &[
        (vec![], "0.0 s of speech in all, 8 s needed"),
        (vec![good.clone()], "5.0 s of speech in all, 8 s needed"),
        (
            vec![good.clone(), with(&|q| q.speech_seconds = f64::NAN)],
            "clip 2: NaN s of speech",
        ),
        (
            vec![with(&|q| q.speech_seconds = 1.0), good.clone()],
            "clip 1: 1.0 s of speech",
        ),
        (
            vec![good.clone(), with(&|q| q.snr_db = 4.2)],
            "clip 2: speech is 4 dB above the noise",
        ),
        (
            vec![good.clone(), with(&|q| q.snr_db = f32::NAN)],
            "record nearer to the microphone",
        ),
        (
            vec![good.clone(), with(&|q| q.clipped_share = 0.05)],
            "clip 2: 5.0 % of the speech is cut off",
        ),
        (
            vec![good.clone(), with(&|q| q.overlap_share = 0.3)],
            "others speak in 30 % of the speech",
        ),
        (
            vec![good.clone(), clip(&[0.0, 1.0], 5.0)],
            "clip 2: sounds like another person",
        ),
        (
            vec![good.clone(), clip(&[0.0, 0.0], 5.0)],
            "clip 2: its embedding is unusable",
        ),
        (
            vec![good.clone(), clip(&[1.0], 5.0)],
            "clip 2: its embedding is unusable",
        ),
    ];
    for (clips, part) in cases {
        let reasons = enroll("a", clips, &by()).expect_err(part);
        assert!(
            reasons.iter().any(|r| r.to_string().contains(part)),
            "{reasons:?} say {part:?}"
        );
    }
    assert_eq!(
        enroll("", &[good.clone(), good], &by()),
        Err(vec![Refusal::Name])
    );
}

#[test]
fn all_reasons_are_given_at_once() {
    let mut bad = clip(&[1.0, 0.0], 1.0);
    bad.quality = Quality {
        speech_seconds: 1.0,
        snr_db: 0.0,
        clipped_share: 1.0,
        overlap_share: 1.0,
    };
    assert_eq!(
        enroll("", &[bad], &by())
            .expect_err("bad in every way")
            .len(),
        6
    );
}

/// A tone of `rms` in the middle second of three, noise of `floor` everywhere.
fn sound(rms: f32, floor: f32, ceiling: f32) -> Vec<f32> {
    let mut state = 1u32;
    (0..48_000)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = ((state >> 8) as f32 / 8_388_608.0 - 1.0) * 3f32.sqrt() * floor;
            let on = (16_000..32_000).contains(&i);
            let tone = (i as f32 * 0.17).sin() * 2f32.sqrt() * rms;
            (noise + if on { tone } else { 0.0 }).clamp(-ceiling, ceiling)
        })
        .collect()
}

#[test]
fn quality_is_what_was_put_into_the_sound() {
    let speech = 16_000..32_000;
    for (rms, floor, snr) in [(0.1, 0.01, 20.0), (0.1, 0.1, 0.0), (0.2, 0.002, 40.0)] {
        let q = Quality::measure(&sound(rms, floor, 1.0), std::slice::from_ref(&speech), 0.25);
        assert!((q.snr_db - snr).abs() < 0.5, "{q:?} has {snr} dB");
        assert_eq!(
            (q.speech_seconds, q.clipped_share, q.overlap_share),
            (1.0, 0.0, 0.25)
        );
    }
    // A sine beyond 0.6 of its peak: 1 - 2/pi * asin(0.6) = 0.59 of it is cut off.
    let cut = Quality::measure(
        &sound(1.0 / 2f32.sqrt(), 0.0, 0.6),
        std::slice::from_ref(&speech),
        0.0,
    );
    assert!((cut.clipped_share - 0.59).abs() < 0.1, "{cut:?}");
}

#[test]
fn quality_of_nonsense_is_a_number_and_fails_the_gates() {
    type Case = (&'static [f32], &'static [(usize, usize)]);
    let nonsense: [Case; 5] = [
        (&[], &[]),
        (&[], &[(0, usize::MAX)]),
        (&[0.0; 4800], &[(100, 50_000), (7, 3)]),
        (&[f32::NAN; 4800], &[(0, 4800)]),
        (&[f32::INFINITY; 4800], &[(0, 4800)]),
    ];
    for (samples, spans) in nonsense {
        let speech: Vec<_> = spans.iter().map(|&(a, b)| a..b).collect();
        let q = Quality::measure(samples, &speech, 0.0);
        assert!(q.snr_db.is_finite() && q.clipped_share.is_finite(), "{q:?}");
        let c = Clip {
            embedding: vec![1.0],
            quality: q,
        };
        assert!(enroll("a", &[c], &by()).is_err(), "{q:?}");
    }
}

#[test]
fn every_calibration_rises_with_likeness_and_parts_alike_from_unlike() {
    for e in [
        KnownEmbedder::Starter,
        KnownEmbedder::Resemblyzer,
        KnownEmbedder::ResNet34Lm,
    ] {
        let c = Calibration::of(e);
        for seconds in [0.0, 1.0, 5.0, 30.0, 1e9, f64::NAN] {
            let at = |cosine| c.log_ratio(cosine, seconds, 10.0);
            assert!(at(0.0) < -1.5 && at(0.95) > 2.0, "{e:?} {seconds}");
            assert!(at(0.6) > at(0.5), "{e:?} {seconds}");
        }
    }
}

#[test]
fn an_architecture_has_the_scores_that_were_measured_of_it() {
    for (name, known) in [
        ("ge2e", KnownEmbedder::Resemblyzer),
        ("resnet", KnownEmbedder::Starter),
        ("resnet34", KnownEmbedder::ResNet34Lm),
        ("cam++", KnownEmbedder::ResNet34Lm),
    ] {
        let id = EmbedderId {
            name: name.to_owned(),
            checksum: String::new(),
        };
        assert_eq!(id.known(), known, "{name}");
    }
}
