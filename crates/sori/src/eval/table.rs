//! What `sori eval` prints.

use std::fmt::Write;

use serde_json::{Value, json};
use sori_timeline::score::{Deviation, Edits};
use unicode_width::UnicodeWidthStr;

use super::{EvalCommand, measure::Measured};

/// Mean of each rate over the recordings that have it: all weigh alike.
fn means(results: &[(String, Measured)]) -> [Option<f64>; 6] {
    let mut means = [None; 6];
    for (at, mean) in means.iter_mut().enumerate() {
        let rates: Vec<f64> = results.iter().filter_map(|(_, m)| m.rates()[at]).collect();
        if !rates.is_empty() {
            *mean = Some(rates.iter().sum::<f64>() / rates.len() as f64);
        }
    }
    means
}

/// For programs: `options`, `recordings`, `total` (sums) and `macro` (means of the rates).
pub fn json(command: &EvalCommand, results: &[(String, Measured)]) -> String {
    let recordings: Vec<Value> = results
        .iter()
        .map(|(name, measured)| {
            let mut object = measured.json();
            object.insert("recording".into(), json!(name));
            Value::Object(object)
        })
        .collect();
    let total = Measured::total(results.iter().map(|(_, measured)| measured));
    let names = ["wer", "cer", "der", "jer", "cp_wer", "tcp_wer"];
    let means = names.iter().zip(means(results));
    let means: serde_json::Map<String, Value> = means
        .filter_map(|(name, mean)| Some(((*name).to_owned(), json!(mean?))))
        .collect();
    let whole = json!({
        "options": { "collar": command.collar, "skip_overlap": command.skip_overlap,
            "uem": command.uem.is_some(), "tcp_collar": command.tcp_collar },
        "recordings": recordings,
        "total": total.json(),
        "macro": means,
    });
    format!("{whole:#}\n")
}

/// For people: one recording line by line, several as a table.
pub fn text(command: &EvalCommand, results: &[(String, Measured)]) -> String {
    match results {
        [(name, measured)] => format!("{name}\n{}", details(command, measured)),
        _ => {
            let total = Measured::total(results.iter().map(|(_, measured)| measured));
            format!(
                "{}\nAll together\n{}",
                rows(results, &total),
                details(command, &total)
            )
        }
    }
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn rows(results: &[(String, Measured)], total: &Measured) -> String {
    let shown: Vec<usize> = (0..6).filter(|&at| total.rates()[at].is_some()).collect();
    let mut lines: Vec<(&str, [Option<f64>; 6])> = results
        .iter()
        .map(|(name, measured)| (name.as_str(), measured.rates()))
        .collect();
    lines.push(("total", total.rates()));
    lines.push(("mean", means(results)));
    let width = lines
        .iter()
        .map(|(name, _)| name.width())
        .max()
        .unwrap_or(0);
    let mut table = " ".repeat(width);
    for &at in &shown {
        let _ = write!(table, "  {:>9}", Measured::RATES[at]);
    }
    for (at, (name, rates)) in lines.iter().enumerate() {
        if at == results.len() {
            let _ = write!(table, "\n{}", "-".repeat(width + 11 * shown.len()));
        }
        let _ = write!(table, "\n{name}{}", " ".repeat(width - name.width()));
        for &at in &shown {
            let rate = rates[at].map_or_else(|| "-".into(), percent);
            let _ = write!(table, "  {rate:>9}");
        }
    }
    table.push('\n');
    table
}

fn details(command: &EvalCommand, measured: &Measured) -> String {
    let mut text = String::new();
    let mut line = |name: &str, rate: String, more: String| {
        let _ = writeln!(text, "  {name:<11} {rate:>9}   {more}");
    };
    let mut edits = |name: &str, edits: &Option<Edits>, unit: &str, more: &str| {
        let Some(edits) = edits else { return };
        let counts = format!(
            "{} of {} {unit}: {} replaced, {} missing, {} too many{more}",
            edits.total(),
            edits.reference,
            edits.substitutions,
            edits.deletions,
            edits.insertions
        );
        line(name, percent(edits.rate()), counts);
    };
    edits("WER", &measured.wer, "words", "");
    edits("CER", &measured.cer, "characters", "");
    edits("cpWER", &measured.cp_wer, "words", "");
    let collar = format!("; collar {} s", command.tcp_collar);
    edits("tcpWER", &measured.tcp_wer, "words", &collar);
    if let Some(der) = measured.der {
        let collar = match command.collar {
            0.0 => String::new(),
            collar => format!("; collar {collar} s"),
        };
        let overlap = if command.skip_overlap {
            "; without overlap"
        } else {
            ""
        };
        let parts = format!(
            "{:.2} s missed, {:.2} s false alarm, {:.2} s confused of {:.2} s{collar}{overlap}",
            der.missed, der.false_alarm, der.confusion, der.total
        );
        line("DER", percent(der.rate()), parts);
    }
    if let Some(jer) = measured.jer {
        line(
            "JER",
            percent(jer.rate()),
            format!("mean of {} speakers", jer.speakers),
        );
    }
    if let Some(times) = &measured.times {
        for (name, of) in [("word start", times.start()), ("word end", times.end())] {
            line(name, format!("{:.0} ms", of.mean * 1e3), deviation(of));
        }
        let matched = format!("{} of {} words found", times.starts.len(), times.reference);
        line("", String::new(), matched);
    }
    let paired: Vec<String> = measured
        .pairs
        .iter()
        .map(|(spoken, heard)| {
            let name = |of: &Option<String>| of.clone().unwrap_or_else(|| "nobody".into());
            format!("{} = {}", name(spoken), name(heard))
        })
        .collect();
    if !paired.is_empty() {
        line("speakers", String::new(), paired.join(", "));
    }
    text
}

fn deviation(of: Deviation) -> String {
    let [near, fair, far] = of.within.map(|share| share * 100.0);
    format!(
        "off on average; median {:.0} ms, 95 % below {:.0} ms; within 50/100/200 ms: {near:.1}/{fair:.1}/{far:.1} %",
        of.median * 1e3,
        of.p95 * 1e3
    )
}
