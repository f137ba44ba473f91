//! What models this machine has.
//!
//! A library is a folder; a model is a folder in it with its files and [`MANIFEST`], which records what was installed: the
//! size and the SHA-256 of every file, the source, the licence. A model appears and disappears by one rename, so that
//! there is never half a model under its name. Beside the models stand three folders that the library keeps for itself:
//! `.partial/NAME` (downloads that can go on), `.new-NAME` and `.old-NAME` (a swap in progress; left over by a crash,
//! they are cleaned up at the next [`Library::open`]) and `.locks`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Entry, ModelError, ModelErrorKind, ModelKind, names, speaks};

pub(crate) mod archive;
pub(crate) mod files;
mod import;
pub(crate) mod swap;

pub use files::human_size;
pub use import::ImportOptions;

/// The file in a model's folder that says what was installed.
pub const MANIFEST: &str = "sori-model.json";

/// A manifest is a few hundred bytes; a larger one is not ours.
const MAX_MANIFEST: u64 = 1 << 20;
pub(crate) const FORMAT: u32 = 1;

/// The folder of installed models.
#[derive(Clone, Debug)]
pub struct Library {
    root: PathBuf,
}

/// What was installed, as [`MANIFEST`] stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Version of this format, 1.
    pub format: u32,
    /// The model's name, which is also its folder's.
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// Where it came from: addresses, packages or the path it was imported from.
    pub source: String,
    /// SPDX identifier of the licence, if known.
    pub licence: Option<String>,
    /// Language codes, `*` for every language of Whisper, empty if not known.
    pub languages: Vec<String>,
    /// The order of `--model auto`: higher is better; 0 for a model that no catalogue knows.
    pub rank: u32,
    /// When it was installed, in seconds since 1970 (UTC).
    pub installed_unix_s: u64,
    /// Every file of the model.
    pub files: Vec<InstalledFile>,
}

/// One file of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// The file's name in the model's folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// A model of the library.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// What was installed.
    pub manifest: Manifest,
    /// The model's folder.
    pub folder: PathBuf,
}

impl Installed {
    /// The path to load: the file of a model that is one file (GGML, ONNX), else the folder.
    pub fn load_path(&self) -> PathBuf {
        match self.manifest.files.as_slice() {
            [only] => self.folder.join(&only.name),
            _ => self.folder.clone(),
        }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.size).sum()
    }

    /// Returns whether this has every file of `entry`, by names, sizes and known checksums.
    pub fn is_of(&self, entry: &Entry) -> bool {
        entry.files.iter().all(|wanted| {
            self.manifest.files.iter().any(|have| {
                have.name == wanted.name
                    && wanted.size.is_none_or(|size| size == have.size)
                    && wanted.sha256.as_ref().is_none_or(|sum| *sum == have.sha256)
            })
        })
    }
}

/// What a library holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The usable models, by name.
    pub installed: Vec<Installed>,
    /// Folders that are no usable model, with what is wrong with each.
    pub broken: Vec<(String, ModelError)>,
}

impl Library {
    /// The library in the folder `root`, which need not exist yet; finishes or undoes what a crashed installation left.
    ///
    /// # Errors
    /// [`ModelErrorKind::Io`] if `root` is something else than a folder or cannot be read.
    pub fn open(root: PathBuf) -> Result<Self, ModelError> {
        match fs::metadata(&root) {
            Ok(found) if !found.is_dir() => {
                let message = format!("{} is not a folder: set SORI_MODELS to one", root.display());
                return Err(ModelError::new(ModelErrorKind::Io, message));
            }
            Ok(_) => swap::clean(&root)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(ModelError::io(&root, "read", e)),
        }
        Ok(Self { root })
    }

    /// Where the library is by default: `SORI_MODELS`, else `XDG_DATA_HOME/sori/models`, else `LOCALAPPDATA/sori/models`
    /// (Windows), else `HOME/.local/share/sori/models`, else `sori-models` in the current folder. Empty variables count
    /// as absent, and so does an `XDG_DATA_HOME` that is not absolute (XDG base directory specification).
    pub fn default_root(env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
        let folder = |name: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(root) = folder("SORI_MODELS") {
            return root;
        }
        folder("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| folder("LOCALAPPDATA"))
            .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
            .map_or_else(
                || PathBuf::from("sori-models"),
                |data| data.join("sori").join("models"),
            )
    }

    /// The library's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Everything in the library. Reads the manifests and the sizes, not the files.
    ///
    /// # Errors
    /// [`ModelErrorKind::Io`] if the folder cannot be read. A broken model is no error; it is in [`Listing::broken`].
    pub fn list(&self) -> Result<Listing, ModelError> {
        let mut listing = Listing::default();
        for name in folders(&self.root)? {
            if name.starts_with('.') {
                continue;
            }
            match self.get(&name) {
                Ok(installed) => listing.installed.push(installed),
                Err(error) => listing.broken.push((name, error)),
            }
        }
        listing
            .installed
            .sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        listing.broken.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(listing)
    }

    /// The installed model of this name; all its files are there with the right sizes.
    ///
    /// # Errors
    /// [`ModelErrorKind::NotInstalled`], suggesting a near name that is, or [`ModelErrorKind::Damaged`] naming the file.
    pub fn get(&self, name: &str) -> Result<Installed, ModelError> {
        let folder = self.folder(name)?;
        if !folder.is_dir() {
            let others = folders(&self.root)?;
            let near = names::suggestion(name, others.iter().map(String::as_str));
            let message = format!(
                "the model `{name}` is not installed{near}; get it with `sori models pull {name}`"
            );
            return Err(ModelError::new(ModelErrorKind::NotInstalled, message));
        }
        let manifest = read_manifest(&folder, name)?;
        for file in &manifest.files {
            match fs::metadata(folder.join(&file.name)) {
                Ok(found) if found.is_file() && found.len() == file.size => {}
                Ok(found) => {
                    let what = format!(
                        "`{}` has {} bytes instead of {}",
                        file.name,
                        found.len(),
                        file.size
                    );
                    return Err(damaged(name, &what));
                }
                Err(_) => return Err(damaged(name, &format!("`{}` is gone", file.name))),
            }
        }
        Ok(Installed { manifest, folder })
    }

    /// Reads every file of an installed model again and compares its SHA-256.
    ///
    /// # Errors
    /// As [`Library::get`]; [`ModelErrorKind::Damaged`] names all files that changed; [`ModelErrorKind::Cancelled`].
    pub fn verify(&self, name: &str, cancel: &AtomicBool) -> Result<Installed, ModelError> {
        let installed = self.get(name)?;
        let mut changed = Vec::new();
        for file in &installed.manifest.files {
            if files::sha256(&installed.folder.join(&file.name), cancel, &mut |_| ())?
                != file.sha256
            {
                changed.push(format!("`{}`", file.name));
            }
        }
        if changed.is_empty() {
            Ok(installed)
        } else {
            Err(damaged(name, &format!("{} changed", changed.join(", "))))
        }
    }

    /// Removes an installed model, whole or broken, and what was downloaded of it so far.
    ///
    /// # Errors
    /// [`ModelErrorKind::NotInstalled`] if there is nothing of this name, [`ModelErrorKind::Busy`], [`ModelErrorKind::Io`].
    pub fn remove(&self, name: &str) -> Result<(), ModelError> {
        let folder = self.folder(name)?;
        let partial = self.partial(name);
        if !folder.exists() && !partial.exists() {
            return self.get(name).map(|_| ());
        }
        let _lock = swap::lock(&self.root, name)?;
        swap::delete(&partial)?;
        swap::remove(&self.root, name)
    }

    /// The best installed model of a kind, for `--model auto`: of those that handle `language`, or, with no language
    /// given, of those that handle every language before those that do not, the highest rank, then the first by name.
    ///
    /// # Errors
    /// [`ModelErrorKind::Io`] if the library cannot be read. Broken models are passed over.
    pub fn best(
        &self,
        kind: ModelKind,
        language: Option<&str>,
    ) -> Result<Option<Installed>, ModelError> {
        let fits = |languages: &[String]| {
            languages.is_empty() || speaks(languages, language.unwrap_or("*"))
        };
        let models = self
            .list()?
            .installed
            .into_iter()
            .rev()
            .filter(|i| i.manifest.kind == kind);
        let models = models.filter(|i| language.is_none() || fits(&i.manifest.languages));
        Ok(models.max_by_key(|i| (fits(&i.manifest.languages), i.manifest.rank)))
    }

    /// Where the downloads of a model wait until it is complete.
    pub(crate) fn partial(&self, name: &str) -> PathBuf {
        self.root.join(".partial").join(name)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, ModelError> {
        if names::is_model_name(name) {
            return Ok(self.root.join(name));
        }
        let shown: String = name.escape_debug().take(80).collect();
        let message = format!(
            "`{shown}` cannot be a model's name: use lower-case letters, digits, `.`, `_`, `-`"
        );
        Err(ModelError::new(ModelErrorKind::UnknownName, message))
    }
}

fn folders(root: &Path) -> Result<Vec<String>, ModelError> {
    let found = match fs::read_dir(root) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(ModelError::io(root, "read", e)),
    };
    let mut names = Vec::new();
    for item in found {
        let item = item.map_err(|e| ModelError::io(root, "read", e))?;
        if item.path().is_dir() {
            names.push(item.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn damaged(name: &str, what: &str) -> ModelError {
    let message = format!(
        "the model `{name}` is damaged: {what}; remove it with `sori models remove {name}` and get it again"
    );
    ModelError::new(ModelErrorKind::Damaged, message)
}

fn read_manifest(folder: &Path, name: &str) -> Result<Manifest, ModelError> {
    let path = folder.join(MANIFEST);
    let text = match files::read_small(&path, MAX_MANIFEST) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let shown = folder.display();
            let remedy = format!(
                "`{MANIFEST}` is missing (a folder put there by hand? `sori models import NAME {shown}`)"
            );
            return Err(damaged(name, &remedy));
        }
        Err(e) => return Err(ModelError::io(&path, "read", e)),
    };
    let parsed = serde_json::from_slice::<Manifest>(&text);
    let manifest =
        parsed.map_err(|e| damaged(name, &format!("`{MANIFEST}` cannot be read")).caused_by(e))?;
    let sane = manifest.format == FORMAT
        && manifest.name == name
        && !manifest.files.is_empty()
        && manifest
            .files
            .iter()
            .all(|f| names::is_file_name(&f.name) && names::is_sha256(&f.sha256));
    if sane {
        Ok(manifest)
    } else {
        Err(damaged(
            name,
            &format!("`{MANIFEST}` was not written by this program"),
        ))
    }
}
