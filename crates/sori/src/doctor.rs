//! `sori doctor`: what this machine offers.

use std::io::{Write, stdout};
use std::process::Command;

use anyhow::Result;
use clap::Args;
use sori_infer::library::{Library, human_size};
use sori_infer::linear::kernel_name;

use crate::networks::ModelsFolder;
use crate::{instructions, starter};

/// The arguments of `sori doctor`.
#[derive(Args)]
pub struct DoctorCommand {
    #[command(flatten)]
    models: ModelsFolder,
}

/// Runs `sori doctor`.
///
/// # Errors
/// When the library cannot be read.
pub fn run(command: &DoctorCommand) -> Result<()> {
    let root = command.models.root();
    // A closed pipe (`| head`) is the reader's choice, not an error.
    let row = |name: &str, value: &str| drop(writeln!(stdout(), "{name:<12} {value}"));
    row("sori", env!("CARGO_PKG_VERSION"));
    row(
        "system",
        &format!(
            "{} {}, {} cores",
            std::env::consts::OS,
            std::env::consts::ARCH,
            std::thread::available_parallelism().map_or(1, usize::from)
        ),
    );
    row(
        "kernels",
        &format!("int8 {}, f32 {}", instructions()?.name(), kernel_name()),
    );
    row("ffmpeg", &ffmpeg());
    row("models in", &root.display().to_string());
    let listing = if root.exists() {
        Some(Library::open(root)?.list()?)
    } else {
        None
    };
    for model in listing.iter().flat_map(|l| &l.installed) {
        row(
            "",
            &format!(
                "{} ({}, {})",
                model.manifest.name,
                model.manifest.kind.as_str(),
                human_size(model.size())
            ),
        );
    }
    if listing.is_none_or(|l| l.installed.is_empty()) {
        row("", "none installed: sori models pull base");
    }
    row(
        "",
        &format!(
            "starter, built in ({})",
            &starter::recogniser_version().sha256.unwrap_or_default()[..12]
        ),
    );
    Ok(())
}

fn ffmpeg() -> String {
    let found = Command::new("ffmpeg").arg("-version").output().ok();
    found
        .and_then(|o| {
            String::from_utf8(o.stdout)
                .ok()?
                .lines()
                .next()
                .map(str::to_owned)
        })
        .unwrap_or_else(|| {
            "not installed: formats beyond the built-in decoders (AMR, WMA, HE-AAC, …) need it"
                .to_owned()
        })
}
