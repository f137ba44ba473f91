//! The options of a job as arguments of `sori analyze`, so that each has one meaning.

use std::path::Path;

use anyhow::Result;
use clap::Parser;
use sori_infer::catalogue::ModelKind;
use sori_infer::library::Library;
use sori_server::{JobAlign, JobChannel, JobFeature, JobOptions, JobTask, JobVad};

use crate::analyze::AnalyzeCommand;

#[derive(Parser)]
#[command(no_binary_name = true)]
struct Arguments {
    #[command(flatten)]
    command: AnalyzeCommand,
}

/// The command that does what the options ask for, with models below `root`; a warning where a model that is not installed is
/// stood in for.
///
/// # Errors
/// When an option is out of range or they do not fit each other.
pub fn command(options: &JobOptions, root: &Path) -> Result<(AnalyzeCommand, Option<String>)> {
    options.validate()?;
    let asked = options.model.as_deref().unwrap_or("auto");
    let model = if is_recogniser(asked, root) {
        asked
    } else {
        "auto"
    };
    let warning = (model != asked).then(|| {
        format!("the model {asked:?} is not installed: the best one that is was taken (see sori models list)")
    });
    let mut arguments = vec![
        format!("--model={model}"),
        format!("--models-dir={}", root.display()),
    ];
    let mut add = |name: &str, value: Option<String>| {
        arguments.extend(value.map(|value| format!("--{name}={value}")));
    };
    add(
        "language",
        options.language.as_ref().map(|l| l.replace(' ', "")),
    );
    add("task", options.task.map(|t| task(t).to_owned()));
    add("initial-prompt", options.prompt.clone());
    add("hotwords", options.hotwords.clone());
    add("temperature", options.temperature.map(temperatures));
    add("beam-size", options.beam_size.map(|n| n.to_string()));
    add("speakers", options.speakers.map(|n| n.to_string()));
    add("min-speakers", options.min_speakers.map(|n| n.to_string()));
    add("max-speakers", options.max_speakers.map(|n| n.to_string()));
    add("align", options.align.map(|a| align(a).to_owned()));
    add("features", options.features.as_deref().map(features));
    add("channel", options.channel.map(|c| channel(c).to_owned()));
    add("vad", options.vad.map(|v| vad(v).to_owned()));
    for (name, wanted) in [
        ("--no-speakers", !options.diarize),
        ("--exact", options.exact),
        ("--no-names", !options.names),
    ] {
        arguments.extend(wanted.then(|| name.to_owned()));
    }
    // The recording itself is given elsewhere.
    arguments.push("-".to_owned());
    let parsed = Arguments::try_parse_from(arguments)?;
    parsed.command.validate()?;
    Ok((parsed.command, warning))
}

/// Whether a recogniser has this name; never a path.
fn is_recogniser(name: &str, root: &Path) -> bool {
    let installed = || {
        let library = Library::open(root.to_owned()).ok()?;
        library.get(name).ok()
    };
    ["auto", "starter"].contains(&name)
        || installed().is_some_and(|found| found.manifest.kind == ModelKind::Whisper)
}

/// The temperatures tried in turn: from the first by 0.2 up to 1 (openai-whisper's command, `temperature_increment_on_fallback`).
fn temperatures(first: f32) -> String {
    let more = (1..).map(|step| first + 0.2 * step as f32);
    let all = std::iter::once(first).chain(more.take_while(|t| *t < 1.0 + 1e-3));
    let all: Vec<String> = all
        .map(|t| format!("{}", (t * 1e4).round() / 1e4))
        .collect();
    all.join(",")
}

fn task(task: JobTask) -> &'static str {
    match task {
        JobTask::Transcribe => "transcribe",
        JobTask::Translate => "translate",
    }
}

fn align(align: JobAlign) -> &'static str {
    match align {
        JobAlign::Auto => "auto",
        JobAlign::Off => "off",
    }
}

fn channel(channel: JobChannel) -> &'static str {
    match channel {
        JobChannel::Mix => "mix",
        JobChannel::Left => "left",
        JobChannel::Right => "right",
    }
}

fn vad(vad: JobVad) -> &'static str {
    match vad {
        JobVad::Auto => "auto",
        JobVad::Builtin => "builtin",
        JobVad::Silero => "silero",
        JobVad::Off => "off",
    }
}

fn features(features: &[JobFeature]) -> String {
    let names = features.iter().map(|feature| match feature {
        JobFeature::Volume => "volume",
        JobFeature::Pitch => "pitch",
        JobFeature::Spectrum => "spectrum",
        JobFeature::Mfcc => "mfcc",
        JobFeature::MfccDelta => "mfcc_delta",
        JobFeature::Voice => "voice",
        JobFeature::Loudness => "loudness",
    });
    let names: Vec<_> = names.collect();
    match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze;

    #[test]
    fn every_option_has_its_argument() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let all = r#"{"model":"whisper-1","language":"en, ko","task":"translate","prompt":"-p, q","hotwords":"--h","temperature":0.5,
            "beam_size":5,"speakers":2,"min_speakers":1,"max_speakers":3,"exact":true,"align":"off",
            "features":["volume","mfcc_delta","loudness"],"channel":"right","vad":"off","names":false}"#;
        let options: JobOptions = serde_json::from_str(all).expect("they are known");
        let (command, warning) = command(&options, root.path()).expect("they fit");
        assert!(warning.is_some_and(|w| w.contains("\"whisper-1\" is not installed")));
        let session = analyze::session(&command).expect("they have a meaning");
        let found = format!(
            "{command:?} {session:?}",
            command = (
                &command.transcribe.model,
                &command.align,
                command.speakers,
                command.min_speakers,
                command.max_speakers,
                command.no_names,
                command.no_speakers,
                command.transcribe.channel,
                command.transcribe.vad,
                &command.features,
            )
        );
        for part in [
            r#""auto", "off", Some(2), Some(1), Some(3), true, false, Right, Off, ["volume", "mfcc_delta", "loudness"]"#,
            r#"languages: ["en", "ko"]"#,
            "task: Translate",
            "Beam { size: 5",
            "temperatures: [0.5, 0.7, 0.9]",
            r#"initial_prompt: Some("-p, q")"#,
            r#"hotwords: Some("--h")"#,
            "mode: Exact",
        ] {
            assert!(found.contains(part), "{part} is not in {found}");
        }
        let none = JobOptions {
            features: Some(Vec::new()),
            diarize: false,
            ..JobOptions::default()
        };
        let (command, warning) = super::command(&none, root.path()).expect("they fit");
        let session = analyze::session(&command).expect("they have a meaning");
        assert!(session.features.is_none() && command.no_speakers && warning.is_none());
    }

    #[test]
    fn a_temperature_is_the_first_of_several() {
        for (first, all) in [
            (0.0, "0,0.2,0.4,0.6,0.8,1"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.7, "0.7,0.9"),
        ] {
            assert_eq!(temperatures(first), all);
        }
    }

    #[test]
    fn a_path_is_no_model() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().display().to_string();
        for name in [path.as_str(), "..", ".", "", "a/b", "\u{0}"] {
            assert!(!is_recogniser(name, root.path()), "{name}");
        }
    }
}
