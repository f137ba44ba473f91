//! How a model of the catalogue gets into the library over the network.
//!
//! Each file is tried from each of its sources in order; a download goes on where an earlier one stopped, also after the
//! program was killed. When every file is complete and checked, the model appears in the library by one rename. Nothing is
//! fetched that the user did not ask for, and nothing is sent but the request: the Hugging Face token goes to the Hugging
//! Face endpoint only, and into no message.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::catalogue::{Entry, FileEntry, ModelError, ModelErrorKind, Source};
use crate::library::files::{self, human_size};
use crate::library::{Installed, InstalledFile, Library, Manifest, swap};

mod address;
mod http;
mod options;
mod package;

pub use options::{PullOptions, Token};

/// A text with no declared size may have this many bytes: enough for any configuration or vocabulary.
const MAX_UNDECLARED: u64 = 256 << 20;
/// And weights with no declared size this many: enough for any network that is not a recogniser.
const MAX_UNDECLARED_WEIGHTS: u64 = 4 << 30;

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullProgress<'a> {
    /// The file at work.
    pub file: &'a str,
    /// Where it comes from.
    pub source: &'a str,
    /// What is done with it.
    pub phase: Phase,
    /// Bytes of the whole model that are on this machine.
    pub done: u64,
    /// Bytes of the whole model, as far as they are known.
    pub total: Option<u64>,
}

/// What a pull is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Asking the server.
    Connecting,
    /// Bytes are coming in.
    Downloading,
    /// Waiting before the next try.
    Waiting(Duration),
    /// The user's `pip` or `npm` is at work.
    Client,
    /// The checksum is computed.
    Checking,
}

/// Fetches `entry` into `library`, and returns it at once if it is there already.
///
/// Blocks for the time of the download; `progress` is called several times a second while bytes come in; `cancel` stops it
/// between two blocks, and what came in so far is kept for the next pull.
///
/// # Errors
/// If every source of a file failed: the kind they share or [`ModelErrorKind::Sources`], a message that lists each failure
/// and the remedies. Without trying another source: [`ModelErrorKind::Full`], [`ModelErrorKind::Busy`],
/// [`ModelErrorKind::Offline`], [`ModelErrorKind::Settings`], [`ModelErrorKind::Io`], [`ModelErrorKind::Cancelled`].
pub fn pull(
    entry: &Entry,
    library: &Library,
    options: &PullOptions,
    progress: &mut dyn FnMut(&PullProgress),
    cancel: &AtomicBool,
) -> Result<Installed, ModelError> {
    match library.get(&entry.name) {
        Ok(installed) if installed.is_of(entry) => return Ok(installed),
        Err(error) if error.kind() == ModelErrorKind::UnknownName => return Err(error),
        _ => {}
    }
    if options.offline {
        let message = format!(
            "`{name}` is not installed and SORI_OFFLINE is set; unset it, or fetch the files on another machine and run \
             `sori models import {name} PATH`",
            name = entry.name
        );
        return Err(ModelError::new(ModelErrorKind::Offline, message));
    }
    let stage = library.partial(&entry.name);
    let _lock = swap::lock(library.root(), &entry.name)?;
    files::create_folder(&stage)?;
    files::check_room(&stage, missing(entry, &stage), options.free_space)?;

    let report = RefCell::new(Report {
        progress,
        total: entry.size(),
        before: 0,
    });
    let mut installed = Vec::new();
    let mut sources = Vec::new();
    for file in &entry.files {
        let work = Work {
            file,
            stage: &stage,
            options,
            report: &report,
            cancel,
        };
        let (done, source) = work.fetch(&entry.name)?;
        report.borrow_mut().before += done.size;
        installed.push(done);
        sources.push(source);
    }
    sources.dedup();
    let manifest = Manifest {
        format: crate::library::FORMAT,
        name: entry.name.clone(),
        kind: entry.kind,
        source: sources.join(" "),
        licence: Some(entry.licence.clone()),
        languages: entry.languages.clone(),
        rank: entry.rank,
        installed_unix_s: options.installed_unix_s,
        files: installed,
    };
    let folder = swap::install(library.root(), &stage, &manifest)?;
    Ok(Installed { manifest, folder })
}

/// The declared bytes that are not yet in `stage`.
fn missing(entry: &Entry, stage: &Path) -> u64 {
    let here = |name: String| fs::metadata(stage.join(name)).map_or(0, |found| found.len());
    let missing = |file: &FileEntry| {
        file.size
            .unwrap_or(0)
            .saturating_sub(here(file.name.clone()).max(here(format!("{}.partial", file.name))))
    };
    entry.files.iter().map(missing).sum()
}

/// Turns what is done with one file into progress of the whole.
struct Report<'a> {
    progress: &'a mut dyn FnMut(&PullProgress),
    total: Option<u64>,
    before: u64,
}

/// One file on its way.
struct Work<'a> {
    file: &'a FileEntry,
    stage: &'a Path,
    options: &'a PullOptions<'a>,
    // A cell because the download and the waiting inside it both report.
    report: &'a RefCell<Report<'a>>,
    cancel: &'a AtomicBool,
}

impl Work<'_> {
    /// Returns the complete, checked file in the stage and the source it came from.
    fn fetch(&self, model: &str) -> Result<(InstalledFile, String), ModelError> {
        let path = self.stage.join(&self.file.name);
        let partial = self.stage.join(format!("{}.partial", self.file.name));
        if path.is_file() {
            // Complete since an earlier pull, unless the catalogue has changed or the disk lied.
            if let Ok(done) = self.check(&path, "the earlier download") {
                return Ok((done, "an earlier download".to_owned()));
            }
            files::check(self.cancel)?;
            swap::delete(&path)?;
        }
        let mut failures: Vec<(String, ModelError)> = Vec::new();
        for source in &self.file.sources {
            let shown = self.options.show(source);
            match self.from(source, &shown, &partial) {
                Ok(done) => {
                    fs::rename(&partial, &path)
                        .map_err(|e| ModelError::io(&partial, "rename", e))?;
                    http::forget(&partial)?;
                    return Ok((done, shown));
                }
                Err(error) if is_final(error.kind()) => return Err(error),
                Err(error) => failures.push((shown, error)),
            }
        }
        Err(self.give_up(model, &failures))
    }

    fn from(
        &self,
        source: &Source,
        shown: &str,
        partial: &Path,
    ) -> Result<InstalledFile, ModelError> {
        let Source::Url(address) = source else {
            package::fetch(self, source, shown, partial)?;
            return self.check_or_delete(partial, shown);
        };
        let url = self.options.resolve(address)?;
        let resumed = http::download(self, &url, shown, partial)?;
        match self.check_or_delete(partial, shown) {
            // The first part may be of another version of the file, or of another source: once more from the start.
            Err(error) if resumed && !is_final(error.kind()) => {
                http::download(self, &url, shown, partial)?;
                self.check_or_delete(partial, shown)
            }
            checked => checked,
        }
    }

    fn check_or_delete(&self, partial: &Path, shown: &str) -> Result<InstalledFile, ModelError> {
        self.check(partial, shown).inspect_err(|error| {
            if !is_final(error.kind()) {
                // The next source starts afresh; if this fails, it fails there with a message.
                let _ = swap::delete(partial);
                let _ = http::forget(partial);
            }
        })
    }

    /// Holds a complete file against what the catalogue declares.
    fn check(&self, path: &Path, shown: &str) -> Result<InstalledFile, ModelError> {
        let name = &self.file.name;
        let size = fs::metadata(path)
            .map_err(|e| ModelError::io(path, "read", e))?
            .len();
        if let Some(declared) = self.file.size.filter(|declared| *declared != size) {
            let message = format!("`{name}` has {size} bytes instead of {declared}");
            return Err(ModelError::new(ModelErrorKind::Size, message));
        }
        self.tell(shown, Phase::Checking, size);
        let sha256 = files::sha256(path, self.cancel, &mut |_| ())?;
        if self
            .file
            .sha256
            .as_ref()
            .is_some_and(|declared| *declared != sha256)
        {
            let message =
                format!("`{name}` has the SHA-256 {sha256}, which is not the one of the catalogue");
            return Err(ModelError::new(ModelErrorKind::Checksum, message));
        }
        if self.file.sha256.is_none() && name.ends_with(".json") {
            let text = files::read_small(path, MAX_UNDECLARED)
                .map_err(|e| ModelError::io(path, "read", e))?;
            serde_json::from_slice::<serde::de::IgnoredAny>(&text).map_err(|e| {
                let message = format!(
                    "`{name}` is not JSON: a login page or a proxy may have answered instead"
                );
                ModelError::new(ModelErrorKind::Checksum, message).caused_by(e)
            })?;
        }
        Ok(InstalledFile {
            name: name.clone(),
            size,
            sha256,
        })
    }

    /// The most bytes this file may have.
    fn limit(&self) -> u64 {
        let most = if self.file.name.ends_with(".json") {
            MAX_UNDECLARED
        } else {
            MAX_UNDECLARED_WEIGHTS
        };
        self.file.size.unwrap_or(most)
    }

    fn tell(&self, source: &str, phase: Phase, done: u64) {
        let report = &mut *self.report.borrow_mut();
        let done = report.before + done;
        (report.progress)(&PullProgress {
            file: &self.file.name,
            source,
            phase,
            done,
            total: report.total.map(|total| total.max(done)),
        });
    }

    /// Waits in small steps, so that cancelling does not wait too.
    fn wait(&self, source: &str, time: Duration, done: u64) -> Result<(), ModelError> {
        const STEP: Duration = Duration::from_millis(200);
        self.tell(source, Phase::Waiting(time), done);
        let mut left = time;
        while !left.is_zero() {
            files::check(self.cancel)?;
            let step = left.min(STEP);
            (self.options.sleep)(step);
            left -= step;
        }
        files::check(self.cancel)
    }

    fn give_up(&self, model: &str, failures: &[(String, ModelError)]) -> ModelError {
        let mut kinds = failures.iter().map(|failure| failure.1.kind());
        let first = kinds.next().unwrap_or(ModelErrorKind::Sources);
        let kind = if kinds.all(|kind| kind == first) {
            first
        } else {
            ModelErrorKind::Sources
        };
        let size = self
            .file
            .size
            .map(|size| format!(" ({})", human_size(size)))
            .unwrap_or_default();
        let mut message = format!(
            "cannot get `{}`{size} of the model `{model}`:",
            self.file.name
        );
        for (source, error) in failures {
            message += &format!("\n  {source}: {}", error.with_causes());
        }
        message += &format!(
            "\nwhat is here is kept and the next `sori models pull {model}` goes on with it; with no network, fetch the \
             files elsewhere and run `sori models import {model} PATH`; HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy"
        );
        ModelError::new(kind, message)
    }
}

/// Whether another source cannot help.
fn is_final(kind: ModelErrorKind) -> bool {
    use ModelErrorKind::{Busy, Cancelled, Full, Io, Settings};
    matches!(kind, Busy | Cancelled | Full | Io | Settings)
}
