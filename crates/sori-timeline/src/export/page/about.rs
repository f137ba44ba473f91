//! What stands around the transcript: facts, totals of the speakers, how the document was made.

use std::io::Write;

use super::{Cast, Html, Wording, clock};
use crate::{Document, Speaker, TimelineError};

/// Writes length, speakers, words and language in one line.
pub(super) fn facts(
    document: &Document,
    cast: &Cast,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let say = cast.wording;
    write!(out, "<span>{}</span>", clock(document.duration))?;
    let words: usize = document.segments.iter().map(|s| s.words.len()).sum();
    for (count, name) in [(cast.ids().len(), "speakers"), (words, "words")] {
        if count > 0 {
            write!(out, "<span>{} <b>{count}</b></span>", say.get(name))?;
        }
    }
    if !document.language.is_empty() {
        let language = Html(&document.language);
        write!(out, "<span id=\"language\">{language}</span>")?;
    }
    let warnings = document.metadata.warnings.len();
    if warnings > 0 {
        write!(
            out,
            "<a href=\"#making\">{} <b>{warnings}</b></a>",
            say.get("warnings")
        )?;
    }
    Ok(())
}

/// Writes what is missing in a partial document.
pub(super) fn notice(
    document: &Document,
    say: Wording,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    if !document.partial {
        return Ok(());
    }
    write!(
        out,
        "<div class=\"notice\" role=\"alert\"><strong>{}</strong><ul>",
        say.get("partial")
    )?;
    for failure in &document.metadata.failures {
        write!(
            out,
            "<li><b>{}</b> {}</li>",
            Html(&failure.stage),
            Html(&failure.reason)
        )?;
    }
    Ok(out.write_all(b"</ul></div>")?)
}

/// Writes the table of speakers; nothing when there are none. Roles are spelled out, for the style lays its rows out as
/// cards and browsers then forget that it is a table.
pub(super) fn speakers(
    document: &Document,
    cast: &Cast,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    if cast.ids().is_empty() {
        return Ok(());
    }
    let say = |name| cast.wording.get(name);
    write!(
        out,
        "<aside class=\"speakers\" aria-labelledby=\"speakers\"><h2 id=\"speakers\">{}</h2>\n\
         <table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">",
        say("speakers")
    )?;
    for name in [
        "speaker", "share", "time", "rate", "pitch", "turns", "words",
    ] {
        write!(
            out,
            "<th role=\"columnheader\" scope=\"col\">{}</th>",
            say(name)
        )?;
    }
    out.write_all(b"</tr></thead><tbody role=\"rowgroup\">\n")?;
    let unknown = Speaker::default();
    for (number, id) in cast.ids().iter().enumerate() {
        row(
            number,
            document.speakers.get(*id).unwrap_or(&unknown),
            cast,
            out,
        )?;
    }
    Ok(out.write_all(b"</tbody></table></aside>\n")?)
}

fn row(
    number: usize,
    speaker: &Speaker,
    cast: &Cast,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let say = |name| cast.wording.get(name);
    let name = cast.name(number);
    let name = Html(&name);
    write!(
        out,
        "<tr role=\"row\" class=\"{}\" data-s=\"{number}\"><th role=\"rowheader\" scope=\"row\">\
         <input type=\"checkbox\" checked aria-label=\"{} {name}\">\
         <input class=\"name\" value=\"{name}\" aria-label=\"{} {name}\" title=\"{}\" spellcheck=\"false\">",
        Cast::class(number),
        say("show"),
        say("name_of"),
        Html(cast.ids()[number]),
    )?;
    if let Some(identity) = &speaker.identity {
        let percent = identity.probability * 100.0;
        if identity.accepted {
            write!(out, "<small>{} {percent:.0} %</small>", say("known"))?;
        } else {
            write!(
                out,
                "<small>{} {} {percent:.0} %</small>",
                say("perhaps"),
                Html(&identity.name)
            )?;
        }
    }
    let share = (speaker.share.clamp(0.0, 1.0) * 100.0).round();
    write!(
        out,
        "</th><td role=\"cell\" class=\"share\"><svg width=\"100%\" height=\"6\" aria-hidden=\"true\">\
         <rect width=\"100%\" height=\"6\" rx=\"3\"/><rect width=\"{share}%\" height=\"6\" rx=\"3\"/></svg>\
         <b>{share} %</b></td>"
    )?;
    let minutes = speaker.total_duration / 60.0;
    let delivered = speaker.delivery.as_ref().map(|d| d.words_per_minute);
    let counted = (minutes > 0.0).then(|| (speaker.words as f64 / minutes) as f32);
    let sound = speaker.acoustic_features.as_ref();
    let pitch = sound.and_then(|s| s.pitch.as_ref().map(|p| p.median_hz).or(s.pitch_hz));
    for (name, value) in [
        ("time", Some(clock(speaker.total_duration))),
        (
            "rate",
            delivered.or(counted).map(|rate| format!("{rate:.0}")),
        ),
        ("pitch", pitch.map(|hz| format!("{hz:.0} Hz"))),
        ("turns", Some(speaker.turns.to_string())),
        ("words", Some(speaker.words.to_string())),
    ] {
        let value = value.unwrap_or_else(|| "–".into());
        write!(
            out,
            "<td role=\"cell\" data-name=\"{}\">{value}</td>",
            say(name)
        )?;
    }
    Ok(out.write_all(b"</tr>\n")?)
}

/// Writes how the document was made: program, recording, models, stages, warnings, withheld text.
pub(super) fn making(
    document: &Document,
    wording: Wording,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let say = |name| wording.get(name);
    let made = &document.metadata;
    out.write_all(b"<dl>")?;
    if !made.generator.is_empty() {
        write!(
            out,
            "<dt>{}</dt><dd>{}</dd>",
            say("program"),
            Html(&made.generator)
        )?;
    }
    if made.processing_time > 0.0 {
        write!(
            out,
            "<dt>{}</dt><dd>{:.1} {}</dd>",
            say("took"),
            made.processing_time,
            say("seconds")
        )?;
    }
    if let Some(source) = &made.source {
        let (container, codec) = (Html(&source.container), Html(&source.codec));
        write!(
            out,
            "<dt>{}</dt><dd>{container} · {codec} · {} Hz × {}</dd>",
            say("recording"),
            source.sample_rate,
            source.channels
        )?;
    }
    if !made.stages.is_empty() {
        write!(out, "<dt>{}</dt><dd>", say("stages"))?;
        for stage in &made.stages {
            write!(
                out,
                "<span>{} <b>{:.2} {}</b></span> ",
                Html(&stage.stage),
                stage.seconds,
                say("seconds")
            )?;
        }
        out.write_all(b"</dd>")?;
    }
    out.write_all(b"</dl>")?;
    models(document, wording, out)?;
    if !made.warnings.is_empty() {
        write!(out, "<h3>{}</h3><ul>", say("warnings"))?;
        for warning in &made.warnings {
            write!(out, "<li>{}</li>", Html(warning))?;
        }
        out.write_all(b"</ul>")?;
    }
    if !made.audit.is_empty() {
        write!(
            out,
            "<details><summary>{} ({})</summary><ul>",
            say("withheld"),
            made.audit.len()
        )?;
        for dropped in &made.audit {
            let reason = serde_json::to_value(dropped.reason)?;
            let reason = reason.as_str().unwrap_or_default().replace('_', " ");
            write!(
                out,
                "<li>{} {} <small>{reason}</small></li>",
                clock(dropped.start),
                Html(&dropped.text)
            )?;
        }
        out.write_all(b"</ul></details>")?;
    }
    Ok(())
}

fn models(document: &Document, say: Wording, out: &mut dyn Write) -> Result<(), TimelineError> {
    let models = &document.metadata.model_versions;
    if models.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<table><caption>{}</caption><thead><tr>",
        say.get("models")
    )?;
    for name in ["role", "model", "checksum"] {
        write!(out, "<th scope=\"col\">{}</th>", say.get(name))?;
    }
    out.write_all(b"</tr></thead><tbody>")?;
    for (role, model) in models {
        let sum = model.sha256.as_deref().unwrap_or("–");
        write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td><code>{}</code></td></tr>",
            Html(role),
            Html(&model.name),
            Html(sum)
        )?;
    }
    Ok(out.write_all(b"</tbody></table>")?)
}
