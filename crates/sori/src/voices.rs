//! Remembered voices: a folder with one small file for each.

use std::fs;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sori_speech::profile::Profile;

use crate::networks::ModelsFolder;
use crate::starter::checksum;

/// Where remembered voices are kept.
#[derive(Args, Clone)]
pub struct VoicesFolder {
    /// Where remembered voices are kept
    #[arg(long, value_name = "FOLDER", env = "SORI_VOICES")]
    pub voices_dir: Option<PathBuf>,
}

/// The arguments of `sori voices`.
#[derive(Args)]
pub struct VoicesCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    folder: VoicesFolder,
}

#[derive(Subcommand)]
enum Action {
    /// Show who is remembered
    List,
    /// Give a voice another name
    Rename {
        /// The name now
        from: String,
        /// The name from now on
        to: String,
    },
    /// Add what is known of one voice to another, and forget the first
    Merge {
        /// The voice to forget
        from: String,
        /// The voice to keep
        into: String,
    },
    /// Forget a voice; nothing of it is left
    Delete {
        /// Its name
        name: String,
    },
}

/// The remembered voices of a folder.
pub struct Voices {
    folder: PathBuf,
}

impl Voices {
    /// The voices of this folder, or of the user's.
    pub fn new(folder: &VoicesFolder) -> Self {
        let default = || ModelsFolder::default().root().with_file_name("voices");
        Self {
            folder: folder.voices_dir.clone().unwrap_or_else(default),
        }
    }

    /// Every voice, by name.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read.
    pub fn all(&self) -> Result<Vec<Profile>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", self.folder.display()))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                // One damaged file must not cost the others their names.
                match read(&path) {
                    Ok(profile) => all.push(profile),
                    Err(e) => eprintln!("warning: {e:#}"),
                }
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The voice of that name.
    ///
    /// # Errors
    /// When nobody has that name, or its file cannot be read.
    pub fn get(&self, name: &str) -> Result<Profile> {
        let path = self.path(name);
        if !path.exists() {
            bail!("no voice is called {name}: see `sori voices list`");
        }
        read(&path)
    }

    /// Whether a voice has that name.
    pub fn contains(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Remembers a voice, in place of one with the same name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, profile: &Profile) -> Result<()> {
        profile.validate()?;
        let path = self.path(&profile.name);
        let failed = || format!("cannot write {}", path.display());
        fs::create_dir_all(&self.folder).with_context(failed)?;
        let mut half = tempfile::NamedTempFile::new_in(&self.folder).with_context(failed)?;
        serde_json::to_writer_pretty(&mut half, profile).with_context(failed)?;
        half.persist(&path).with_context(failed)?;
        Ok(())
    }

    /// Forgets a voice.
    ///
    /// # Errors
    /// When nobody has that name, or its file cannot be deleted.
    pub fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if !path.exists() {
            bail!("no voice is called {name}: see `sori voices list`");
        }
        fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))
    }

    /// A name may be any text; its file is named after its checksum.
    fn path(&self, name: &str) -> PathBuf {
        let checksum = checksum(name.as_bytes());
        self.folder.join(format!("{}.json", &checksum[..24]))
    }
}

fn read(path: &Path) -> Result<Profile> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let damaged = || {
        format!(
            "{} is no remembered voice: delete it and enroll again",
            path.display()
        )
    };
    let profile: Profile = serde_json::from_slice(&text).with_context(damaged)?;
    profile.validate().with_context(damaged)?;
    Ok(profile)
}

/// Runs `sori voices`.
///
/// # Errors
/// When a voice is not there, or a file cannot be read or written.
pub fn run(command: &VoicesCommand) -> Result<()> {
    let voices = Voices::new(&command.folder);
    match &command.action {
        Action::List => {
            let all = voices.all()?;
            if all.is_empty() {
                println!("no voice is remembered: sori enroll NAME FILE…");
            }
            for profile in all {
                // A closed pipe is the reader's choice.
                let _ = writeln!(
                    stdout(),
                    "{}\t{:.0} s in {} recordings\t{}",
                    profile.name,
                    profile.seconds,
                    profile.clips,
                    profile.model.name
                );
            }
        }
        Action::Rename { from, to } => {
            if voices.contains(to) {
                bail!("{to} is remembered already: `sori voices merge {from} {to}` joins them");
            }
            let mut profile = voices.get(from)?;
            profile.name = to.clone();
            voices.put(&profile)?;
            voices.delete(from)?;
        }
        Action::Merge { from, into } => {
            if from == into {
                bail!("{from} is one voice already");
            }
            let merged = voices.get(into)?.merge(&voices.get(from)?)?;
            voices.put(&merged)?;
            voices.delete(from)?;
        }
        Action::Delete { name } => voices.delete(name)?,
    }
    Ok(())
}
