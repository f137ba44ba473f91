//! A model from a folder, a file or an archive on this machine, for machines with no network.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::archive::{self, Next};
use super::files::{self, FreeSpace};
use super::{FORMAT, Installed, InstalledFile, Library, Manifest, swap};
use crate::catalogue::{Entry, MAX_FILE, ModelError, ModelErrorKind, ModelKind, names};

/// The first bytes of a whisper.cpp file: the number 0x67676d6c, little-endian.
const GGML_MAGIC: [u8; 4] = *b"lmgg";
/// A model's configuration is a few kB.
const MAX_CONFIG: u64 = 1 << 20;

/// What [`Library::import`] needs to know besides the name and the path.
pub struct ImportOptions<'a> {
    /// The catalogue's entry of this name, if it has one: its checksums are applied, its licence, languages and rank noted.
    pub entry: Option<&'a Entry>,
    /// The time to note, in seconds since 1970 (UTC).
    pub installed_unix_s: u64,
    /// Returns the free bytes on the disk of a folder.
    pub free_space: FreeSpace<'a>,
}

impl<'a> ImportOptions<'a> {
    /// Options with the real disk; `entry` as in the field.
    pub fn new(entry: Option<&'a Entry>, installed_unix_s: u64) -> Self {
        Self {
            entry,
            installed_unix_s,
            free_space: &|path| fs4::available_space(path),
        }
    }
}

impl Library {
    /// Copies a model into the library under `name`, replacing one of that name; whole or not at all.
    ///
    /// `path` is a folder as Hugging Face publishes Whisper or wav2vec2 (what else lies there is passed over), one file (GGML,
    /// ONNX), or a tar, tar.gz or zip archive of either. The other networks for speakers and alignment do not say what they
    /// are: they are taken only with their `entry`.
    ///
    /// # Errors
    /// [`ModelErrorKind::Foreign`] naming what is missing, [`ModelErrorKind::Archive`], [`ModelErrorKind::Checksum`] and
    /// [`ModelErrorKind::Size`] against the entry, [`ModelErrorKind::Full`], [`ModelErrorKind::Busy`],
    /// [`ModelErrorKind::Io`], [`ModelErrorKind::Cancelled`].
    pub fn import(
        &self,
        name: &str,
        path: &Path,
        options: &ImportOptions,
        cancel: &AtomicBool,
    ) -> Result<Installed, ModelError> {
        self.folder(name)?;
        let found = fs::metadata(path).map_err(|e| ModelError::io(path, "read", e))?;
        files::create_folder(self.root())?;
        let _lock = swap::lock(self.root(), name)?;
        let staged = Staged {
            folder: swap::fresh(self.root(), name)?,
            options,
            cancel,
        };
        let mut taken = if found.is_dir() {
            staged.take_folder(path)?
        } else {
            match archive::format_of(path)? {
                Some(format) if !staged.is_the_file(path) => staged.take_archive(path, format)?,
                _ => vec![staged.take_file(path)?],
            }
        };
        taken.sort_by(|a, b| a.name.cmp(&b.name));
        let kind = match options.entry {
            Some(entry) if is_network(entry) => complete(entry, &taken, path)?,
            _ => recognise(&staged.folder, &taken, path)?,
        };
        if let Some(entry) = options.entry {
            compare(entry, kind, &taken, path)?;
        }
        let manifest = Manifest {
            format: FORMAT,
            name: name.to_owned(),
            kind,
            source: path.display().to_string(),
            licence: options.entry.map(|entry| entry.licence.clone()),
            languages: options
                .entry
                .map(|entry| entry.languages.clone())
                .unwrap_or_default(),
            rank: options.entry.map_or(0, |entry| entry.rank),
            installed_unix_s: options.installed_unix_s,
            files: taken,
        };
        let folder = swap::install(self.root(), &staged.folder, &manifest)?;
        Ok(Installed { manifest, folder })
    }
}

/// The folder a model is put together in; removed when dropped, unless it has become the model.
struct Staged<'a> {
    folder: PathBuf,
    options: &'a ImportOptions<'a>,
    cancel: &'a AtomicBool,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // After an installation there is nothing left; after an error the next open would do it.
        let _ = swap::delete(&self.folder);
    }
}

impl Staged<'_> {
    /// Whether a file is the model's only one, though it looks like an archive: PyTorch's checkpoints are zips.
    fn is_the_file(&self, path: &Path) -> bool {
        let alone = |entry: &&Entry| is_network(entry) && entry.files.len() == 1;
        let packed = ["zip", "tar", "gz", "tgz"].map(|end| Some(OsStr::new(end)));
        self.options.entry.filter(alone).is_some() && !packed.contains(&path.extension())
    }

    /// Of a network of the catalogue just its files; else whatever a model may consist of.
    fn wants(&self, name: &str) -> bool {
        match self.options.entry {
            Some(entry) if is_network(entry) => entry.files.iter().any(|file| file.name == name),
            _ => is_wanted(name),
        }
    }

    fn take_folder(&self, path: &Path) -> Result<Vec<InstalledFile>, ModelError> {
        let read = |e| ModelError::io(path, "read", e);
        let mut wanted = Vec::new();
        for item in fs::read_dir(path).map_err(read)? {
            let item = item.map_err(read)?;
            // Follows links: the snapshots of the Hugging Face cache are links, and the folder is the user's own.
            if let (Some(name), Ok(found)) = (item.file_name().to_str(), fs::metadata(item.path()))
                && found.is_file()
                && self.wants(name)
            {
                wanted.push((name.to_owned(), found.len()));
            }
        }
        drop_doubles(&mut wanted);
        files::check_room(
            &self.folder,
            wanted.iter().map(|w| w.1).sum(),
            self.options.free_space,
        )?;
        let mut taken = Vec::new();
        for (name, size) in wanted {
            let from = path.join(&name);
            let mut file = File::open(&from).map_err(|e| ModelError::io(&from, "read", e))?;
            taken.push(self.take(&name, size, &mut file)?);
        }
        Ok(taken)
    }

    fn take_file(&self, path: &Path) -> Result<InstalledFile, ModelError> {
        let mut file = File::open(path).map_err(|e| ModelError::io(path, "read", e))?;
        let size = file
            .metadata()
            .map_err(|e| ModelError::io(path, "read", e))?
            .len();
        let own = path
            .file_name()
            .and_then(OsStr::to_str)
            .filter(|name| names::is_file_name(name));
        let name = match self.options.entry.map(|entry| entry.files.as_slice()) {
            Some([only]) => only.name.clone(),
            _ => match own {
                Some(own) => own.to_owned(),
                None if path.extension() == Some(OsStr::new("onnx")) => "model.onnx".to_owned(),
                None => "model.bin".to_owned(),
            },
        };
        files::check_room(&self.folder, size, self.options.free_space)?;
        self.take(&name, size, &mut file)
    }

    /// Takes what lies at the top of the archive or in its one top folder.
    fn take_archive(
        &self,
        path: &Path,
        format: archive::Format,
    ) -> Result<Vec<InstalledFile>, ModelError> {
        let mut taken: Vec<InstalledFile> = Vec::new();
        let mut top: Option<String> = None;
        archive::for_each_file(path, format, &mut |inside, size, reader| {
            let (folder, name) = inside.rsplit_once('/').unwrap_or(("", inside));
            if folder.contains('/') || !self.wants(name) {
                return Ok(Next::Continue);
            }
            if *top.get_or_insert_with(|| folder.to_owned()) != folder {
                let message = format!(
                    "{} has models in more than one folder: import one at a time",
                    path.display()
                );
                return Err(ModelError::new(ModelErrorKind::Archive, message));
            }
            if taken
                .iter()
                .any(|file| file.name.eq_ignore_ascii_case(name))
            {
                let message = format!("{} has `{name}` twice", path.display());
                return Err(ModelError::new(ModelErrorKind::Archive, message));
            }
            files::check_room(&self.folder, size, self.options.free_space)?;
            taken.push(self.take(name, size, reader)?);
            Ok(Next::Continue)
        })?;
        Ok(taken)
    }

    fn take(
        &self,
        name: &str,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<InstalledFile, ModelError> {
        let (written, sha256) = files::write_new(
            &self.folder.join(name),
            reader,
            size.min(MAX_FILE),
            self.cancel,
        )?;
        if written != size {
            let message = format!("`{name}` ends after {written} of {size} bytes: copy it again");
            return Err(ModelError::new(ModelErrorKind::Size, message));
        }
        Ok(InstalledFile {
            name: name.to_owned(),
            size,
            sha256,
        })
    }
}

/// Whether a model is a network whose files do not tell what it is for, so that the catalogue has to.
fn is_network(entry: &Entry) -> bool {
    !matches!(entry.kind, ModelKind::Whisper | ModelKind::Vad)
}

/// The kind of a network of the catalogue, all of whose files were taken.
fn complete(entry: &Entry, taken: &[InstalledFile], from: &Path) -> Result<ModelKind, ModelError> {
    let absent = |name: &str| !taken.iter().any(|file| file.name == name);
    match entry.files.iter().find(|file| absent(&file.name)) {
        None => Ok(entry.kind),
        Some(file) => {
            let message = format!(
                "{} has no `{}`, which `{}` needs",
                from.display(),
                file.name,
                entry.name
            );
            Err(ModelError::new(ModelErrorKind::Foreign, message))
        }
    }
}

/// Weights, configurations and vocabularies; not the pickles, flax and TensorFlow copies beside them.
fn is_wanted(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let known = match extension {
        "json" | "safetensors" | "txt" | "onnx" => true,
        "bin" => !name.starts_with("pytorch_model") && name != "training_args.bin",
        _ => false,
    };
    known && names::is_file_name(name)
}

/// Hugging Face keeps large-v3 a second time as f32 shards; one copy is enough.
fn drop_doubles(wanted: &mut Vec<(String, u64)>) {
    if wanted.iter().any(|w| w.0 == "model.safetensors") {
        wanted.retain(|w| w.0 == "model.safetensors" || !w.0.contains(".safetensors"));
    }
}

/// Returns what kind of model the files are, looking at no more than their first bytes and the configuration. Whether the
/// weights are right is found out by the loader.
fn recognise(folder: &Path, taken: &[InstalledFile], from: &Path) -> Result<ModelKind, ModelError> {
    let foreign = |what: String| {
        ModelError::new(
            ModelErrorKind::Foreign,
            format!("{} {what}", from.display()),
        )
    };
    let has = |name: &str| taken.iter().any(|file| file.name == name);
    let ends = |end: &str| taken.iter().find(|file| file.name.ends_with(end));
    if has("config.json") {
        let path = folder.join("config.json");
        let text =
            files::read_small(&path, MAX_CONFIG).map_err(|e| ModelError::io(&path, "read", e))?;
        let config: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|e| foreign("has a config.json that is not JSON".into()).caused_by(e))?;
        let model_type = config
            .get("model_type")
            .and_then(|t| t.as_str())
            .unwrap_or("whisper");
        if model_type == "wav2vec2" && has("vocab.json") && ends(".safetensors").is_some() {
            return Ok(ModelKind::Aligner);
        }
        if model_type != "whisper" {
            let model_type: String = model_type.escape_debug().take(40).collect();
            return Err(foreign(format!(
                "is a `{model_type}` model: only Whisper, or wav2vec2 with vocab.json and .safetensors, can be used"
            )));
        }
        if ends(".safetensors").is_none() {
            let remedy =
                "pytorch_model.bin is not read; convert it with transformers' save_pretrained";
            return Err(foreign(format!("has no .safetensors weights ({remedy})")));
        }
        let tokenizer = has("tokenizer.json") || (has("vocab.json") && has("merges.txt"));
        if !tokenizer {
            return Err(foreign(
                "has no tokenizer.json (nor vocab.json with merges.txt)".into(),
            ));
        }
        return Ok(ModelKind::Whisper);
    }
    if let Some(file) = ends(".bin").or_else(|| taken.first().filter(|_| taken.len() == 1)) {
        let path = folder.join(&file.name);
        let mut magic = [0; 4];
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut magic));
        if read.is_ok() && magic == GGML_MAGIC {
            return Ok(ModelKind::Whisper);
        }
    }
    match ends(".onnx") {
        Some(_) => Ok(ModelKind::Vad),
        None => Err(foreign(
            "is no model that is known here: give a Whisper folder (config.json, tokenizer.json, model.safetensors), \
             a whisper.cpp GGML file, a VAD .onnx file, or an archive of one; a network for speakers or alignment under its \
             name in the catalogue"
                .into(),
        )),
    }
}

/// Holds what was taken against the catalogue.
fn compare(
    entry: &Entry,
    kind: ModelKind,
    taken: &[InstalledFile],
    from: &Path,
) -> Result<(), ModelError> {
    let from = from.display();
    let other = "import it under another name to keep it as it is";
    let error = |kind, what: String| {
        Err(ModelError::new(
            kind,
            format!("{from} is not `{}`: {what}; {other}", entry.name),
        ))
    };
    if kind != entry.kind {
        return error(
            ModelErrorKind::Foreign,
            format!("it is a {} model", kind.as_str()),
        );
    }
    for file in taken {
        let Some(wanted) = entry.files.iter().find(|wanted| wanted.name == file.name) else {
            continue;
        };
        if wanted.size.is_some_and(|size| size != file.size) {
            return error(
                ModelErrorKind::Size,
                format!("`{}` has {} bytes", file.name, file.size),
            );
        }
        if wanted
            .sha256
            .as_ref()
            .is_some_and(|sum| *sum != file.sha256)
        {
            return error(
                ModelErrorKind::Checksum,
                format!("`{}` has the SHA-256 {}", file.name, file.sha256),
            );
        }
    }
    Ok(())
}
