//! The library: what gets in, what is refused, what survives a crash.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use sori_infer::catalogue::{Catalogue, ModelErrorKind, ModelKind};
use sori_infer::library::{ImportOptions, Installed, Library, MANIFEST};
use tempfile::TempDir;

const CONFIG: &[u8] = br#"{"model_type": "whisper", "num_mel_bins": 80}"#;
const GGML: &[u8] = b"lmgg and the rest";

struct Place {
    _folder: TempDir,
    root: PathBuf,
    library: Library,
    from: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("models");
    let from = folder.path().join("from");
    fs::create_dir(&from).expect("created");
    let library = Library::open(root.clone()).expect("opens without existing");
    Place {
        _folder: folder,
        root,
        library,
        from,
    }
}

impl Place {
    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.from.join(name);
        fs::create_dir_all(path.parent().expect("inside")).expect("created");
        fs::write(&path, content).expect("written");
        path
    }

    fn whisper_folder(&self, name: &str) -> PathBuf {
        self.write(&format!("{name}/config.json"), CONFIG);
        self.write(&format!("{name}/tokenizer.json"), b"{}");
        self.write(&format!("{name}/model.safetensors"), b"weights");
        self.from.join(name)
    }

    fn import(
        &self,
        name: &str,
        path: &Path,
    ) -> Result<Installed, sori_infer::catalogue::ModelError> {
        self.library.import(
            name,
            path,
            &ImportOptions::new(None, 7),
            &AtomicBool::new(false),
        )
    }

    /// Everything in the library, to see that a failure left nothing.
    fn content(&self) -> Vec<String> {
        let found: Vec<_> = fs::read_dir(&self.root)
            .map(|found| found.flatten().collect())
            .unwrap_or_default();
        let mut names: Vec<String> = found
            .iter()
            .map(|i| i.file_name().to_string_lossy().into_owned())
            .collect();
        names.retain(|name| name != ".locks");
        names.sort();
        names
    }
}

fn names(installed: &Installed) -> Vec<&str> {
    installed
        .manifest
        .files
        .iter()
        .map(|file| file.name.as_str())
        .collect()
}

#[test]
fn the_default_root_follows_the_environment() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[("SORI_MODELS", "/m"), ("HOME", "/h")], "/m"),
        (&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")], "/x/sori/models"),
        (
            &[("XDG_DATA_HOME", "relative"), ("HOME", "/h")],
            "/h/.local/share/sori/models",
        ),
        (
            &[("SORI_MODELS", ""), ("HOME", "/h")],
            "/h/.local/share/sori/models",
        ),
        (&[("LOCALAPPDATA", "/l")], "/l/sori/models"),
        (&[], "sori-models"),
    ];
    for (env, expected) in cases {
        let look = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(Library::default_root(&look), Path::new(expected), "{env:?}");
    }
}

#[test]
fn a_folder_is_imported_without_what_is_not_needed() {
    let place = place();
    let folder = place.whisper_folder("w");
    for extra in [
        "pytorch_model.bin",
        "flax_model.msgpack",
        "model.fp32-00001-of-00002.safetensors",
        ".hidden.json",
        "x/y.json",
    ] {
        place.write(&format!("w/{extra}"), b"x");
    }
    let installed = place.import("mine", &folder).expect("imported");
    assert_eq!(
        names(&installed),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    assert_eq!(
        (installed.manifest.kind, installed.manifest.installed_unix_s),
        (ModelKind::Whisper, 7)
    );
    assert_eq!(installed.load_path(), place.root.join("mine"));
    assert_eq!(place.library.get("mine").expect("there"), installed);
    assert_eq!(
        fs::read(installed.folder.join("model.safetensors")).expect("there"),
        b"weights"
    );
    assert_eq!(place.content(), ["mine"]);
}

#[test]
fn a_file_is_imported_by_what_it_is() {
    let place = place();
    let ggml = place
        .import("g", &place.write("ggml-tiny.bin", GGML))
        .expect("imported");
    assert_eq!(
        (ggml.manifest.kind, names(&ggml)),
        (ModelKind::Whisper, vec!["ggml-tiny.bin"])
    );
    assert_eq!(ggml.load_path(), place.root.join("g").join("ggml-tiny.bin"));
    let vad = place
        .import("v", &place.write("silero_vad.onnx", b"onnx"))
        .expect("imported");
    assert_eq!(vad.manifest.kind, ModelKind::Vad);
    let odd = place
        .import("o", &place.write("모델 (1).bin", GGML))
        .expect("imported");
    assert_eq!(names(&odd), ["model.bin"]);
    for (name, content) in [
        ("x.bin", &b"PK"[..]),
        ("empty.bin", b""),
        ("notes.txt", b"hello"),
        ("x.json", b"{}"),
    ] {
        let error = place
            .import("x", &place.write(name, content))
            .expect_err(name);
        assert_eq!(error.kind(), ModelErrorKind::Foreign, "{name}: {error}");
    }
    assert_eq!(
        place
            .import("x", &place.from.join("absent"))
            .expect_err("absent")
            .kind(),
        ModelErrorKind::Io
    );
    assert_eq!(
        place.import("../x", &place.from).expect_err("name").kind(),
        ModelErrorKind::UnknownName
    );
    assert_eq!(place.content(), ["g", "o", "v"]);
}

#[test]
fn a_folder_that_is_no_model_says_what_is_missing() {
    for (remove, write, expected) in [
        ("tokenizer.json", None, "no tokenizer.json"),
        ("model.safetensors", None, "no .safetensors weights"),
        ("config.json", None, "no model that is known"),
        ("config.json", Some(&b"{"[..]), "not JSON"),
        (
            "config.json",
            Some(br#"{"model_type": "bert"}"#),
            "is a `bert` model",
        ),
    ] {
        let place = place();
        let folder = place.whisper_folder("w");
        fs::remove_file(folder.join(remove)).expect("removed");
        if let Some(content) = write {
            place.write(&format!("w/{remove}"), content);
        }
        let error = place.import("w", &folder).expect_err(expected);
        assert_eq!(error.kind(), ModelErrorKind::Foreign);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(place.content().is_empty(), "{:?}", place.content());
    }
}

type Entries<'a> = &'a [(&'a str, &'a [u8])];

/// A tar as hostile as wished: the names are written as they are.
fn tar(entries: Entries, kind: tar::EntryType) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).expect("appended");
    }
    builder.into_inner().expect("finished")
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("finished")
}

fn zip(entries: Entries) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .expect("started");
        writer.write_all(content).expect("written");
    }
    writer.finish().expect("finished").into_inner()
}

#[test]
fn archives_of_a_folder_or_a_file_are_imported() {
    let folder: Entries = &[
        ("./whisper/config.json", CONFIG),
        ("./whisper/tokenizer.json", b"{}"),
        ("./whisper/model.safetensors", b"weights"),
        ("./whisper/onnx/deep/model.onnx", b"not this"),
        ("./whisper/README.md", b"nor this"),
    ];
    let flat: Entries = &[("ggml-tiny.bin", GGML)];
    let regular = tar::EntryType::Regular;
    for (name, bytes, expected) in [
        ("a.tar", tar(folder, regular), 3),
        ("a.tar.gz", gz(&tar(folder, regular)), 3),
        ("a.zip", zip(folder), 3),
        ("b.tgz", gz(&tar(flat, regular)), 1),
        // The content decides, not the extension.
        ("b.bin", zip(flat), 1),
    ] {
        let place = place();
        let installed = place
            .import("m", &place.write(name, &bytes))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(installed.manifest.files.len(), expected, "{name}");
        place
            .library
            .verify("m", &AtomicBool::new(false))
            .expect("whole");
    }
}

#[test]
fn a_hostile_or_damaged_archive_leaves_nothing() {
    let regular = tar::EntryType::Regular;
    let slip: Entries = &[("ggml.bin", GGML), ("../../evil.bin", GGML)];
    let cases = [
        ("slip.tar", tar(slip, regular)),
        ("slip.zip", zip(slip)),
        ("absolute.tar", tar(&[("/tmp/evil.bin", GGML)], regular)),
        ("drive.zip", zip(&[("C:\\evil.bin", GGML)])),
        (
            "link.tar",
            tar(&[("ggml.bin", b"")], tar::EntryType::Symlink),
        ),
        ("hard.tar", tar(&[("ggml.bin", b"")], tar::EntryType::Link)),
        (
            "device.tar",
            tar(&[("ggml.bin", b"")], tar::EntryType::Char),
        ),
        (
            "long.tar",
            tar(&[("ggml.bin", b"a name")], tar::EntryType::GNULongName),
        ),
        (
            "twice.tar",
            tar(&[("ggml.bin", GGML), ("GGML.bin", GGML)], regular),
        ),
        (
            "two.zip",
            zip(&[("a/ggml.bin", GGML), ("b/ggml.bin", GGML)]),
        ),
        ("cut.zip", zip(&[("ggml.bin", GGML)])[..40].to_vec()),
    ];
    for (name, bytes) in cases {
        let place = place();
        let error = place
            .import("m", &place.write(name, &bytes))
            .expect_err(name);
        assert_eq!(error.kind(), ModelErrorKind::Archive, "{name}: {error}");
        assert!(place.content().is_empty(), "{name}: {:?}", place.content());
        assert!(
            !place.root.join("../evil.bin").exists() && !place.root.join("../../evil.bin").exists()
        );
    }
    // Cut in the middle of a file: the reader or the length tells.
    let whole = gz(&tar(&[("ggml.bin", &[7; 100_000])], regular));
    let place = place();
    let error = place
        .import("m", &place.write("cut.tgz", &whole[..whole.len() / 2]))
        .expect_err("cut");
    assert!(
        matches!(
            error.kind(),
            ModelErrorKind::Archive | ModelErrorKind::Io | ModelErrorKind::Size
        ),
        "{error}"
    );
    assert!(place.content().is_empty());
}

#[test]
fn a_bomb_is_stopped_by_the_room_on_the_disk() {
    let place = place();
    let bomb = place.write("bomb.zip", &zip(&[("ggml.bin", &vec![0; 8 << 20])]));
    assert!(fs::metadata(&bomb).expect("there").len() < 100_000);
    let options = ImportOptions {
        free_space: &|_| Ok(70 << 20),
        ..ImportOptions::new(None, 0)
    };
    let error = place
        .library
        .import("m", &bomb, &options, &AtomicBool::new(false))
        .expect_err("no room");
    assert_eq!(error.kind(), ModelErrorKind::Full);
    assert!(place.content().is_empty());
}

#[test]
fn a_known_name_is_held_against_its_checksum() {
    let place = place();
    let catalogue = Catalogue::builtin();
    let import = |name: &str, path: &Path| {
        let entry = catalogue.entry(name).expect("known");
        place.library.import(
            name,
            path,
            &ImportOptions::new(Some(entry), 0),
            &AtomicBool::new(false),
        )
    };
    let error = import("ggml-tiny", &place.write("a.bin", GGML)).expect_err("another size");
    assert_eq!(error.kind(), ModelErrorKind::Size, "{error}");
    let vad = place.write("v.onnx", &vec![1; 2_327_524]);
    let error = import("silero-vad", &vad).expect_err("another checksum");
    assert_eq!(error.kind(), ModelErrorKind::Checksum, "{error}");
    let error = import("silero-vad", &place.write("g.bin", GGML)).expect_err("another kind");
    assert_eq!(error.kind(), ModelErrorKind::Foreign, "{error}");
    assert!(place.content().is_empty());
}

#[test]
fn a_network_is_taken_under_its_name_in_the_catalogue() {
    const CATALOGUE: &str = r#"
        [[model]]
        name = "voice"
        kind = "embedding"
        rank = 1
        languages = ["*"]
        licence = "MIT"
        files = [{ name = "w.pt", sources = ["https://h.example/w.pt"] }]
        [[model]]
        name = "letters"
        kind = "aligner"
        rank = 1
        languages = ["ko"]
        licence = "MIT"
        files = [{ name = "vocab.json", sources = ["https://h.example/v"] }, { name = "pytorch_model.bin", sources = ["https://h.example/p"] }]"#;
    let place = place();
    let catalogue = Catalogue::parse(CATALOGUE).expect("right");
    let import = |name: &str, path: &Path| {
        let entry = catalogue.entry(name).expect("known");
        let options = ImportOptions::new(Some(entry), 0);
        let cancel = AtomicBool::new(false);
        place.library.import(name, path, &options, &cancel)
    };
    // A checkpoint is a zip, and it is one file all the same.
    let checkpoint = zip(&[("a/data.pkl", b"pickle")]);
    let voice = import("voice", &place.write("checkpoint.pt", &checkpoint)).expect("imported");
    assert_eq!(names(&voice), ["w.pt"]);
    assert_eq!(fs::read(voice.load_path()).expect("there"), checkpoint);
    let packed = zip(&[("w.pt", b"weights"), ("other.pt", b"x")]);
    let voice = import("voice", &place.write("packed.zip", &packed)).expect("imported");
    assert_eq!(fs::read(voice.load_path()).expect("there"), b"weights");

    let folder = place.from.join("hub");
    for file in ["vocab.json", "config.json", "model.safetensors"] {
        place.write(&format!("hub/{file}"), b"{}");
    }
    let error = import("letters", &folder).expect_err("incomplete");
    assert!(
        error.to_string().contains("has no `pytorch_model.bin`"),
        "{error}"
    );
    place.write("hub/pytorch_model.bin", b"weights");
    let letters = import("letters", &folder).expect("imported");
    assert_eq!(names(&letters), ["pytorch_model.bin", "vocab.json"]);

    let best = |kind, language| {
        let best = place.library.best(kind, language).expect("readable");
        best.map(|installed| installed.manifest.name)
    };
    for (kind, language, name) in [
        (ModelKind::Embedding, None, Some("voice")),
        (ModelKind::Embedding, Some("ko"), Some("voice")),
        (ModelKind::Aligner, Some("ko"), Some("letters")),
        (ModelKind::Aligner, Some("en"), None),
        (ModelKind::Segmentation, None, None),
        (ModelKind::Plda, None, None),
    ] {
        assert_eq!(best(kind, language).as_deref(), name, "{kind:?}");
    }
    let wav2vec = place.from.join("w");
    place.write("w/config.json", br#"{"model_type": "wav2vec2"}"#);
    for file in ["vocab.json", "model.safetensors"] {
        place.write(&format!("w/{file}"), b"{}");
    }
    let own = place.import("own", &wav2vec).expect("imported");
    assert_eq!(own.manifest.kind, ModelKind::Aligner);
}

#[test]
fn verify_finds_what_changed_and_remove_removes() {
    let place = place();
    let cancel = AtomicBool::new(false);
    let installed = place
        .import("m", &place.whisper_folder("w"))
        .expect("imported");
    place.library.verify("m", &cancel).expect("whole");
    fs::write(installed.folder.join("model.safetensors"), b"WEIGHTS").expect("written");
    let error = place.library.verify("m", &cancel).expect_err("changed");
    assert_eq!(error.kind(), ModelErrorKind::Damaged);
    assert!(
        error.to_string().contains("`model.safetensors` changed"),
        "{error}"
    );
    fs::write(installed.folder.join("model.safetensors"), b"short").expect("written");
    assert_eq!(
        place.library.get("m").expect_err("short").kind(),
        ModelErrorKind::Damaged
    );
    fs::remove_file(installed.folder.join("tokenizer.json")).expect("removed");
    assert_eq!(place.library.list().expect("listed").broken.len(), 1);
    place
        .library
        .remove("m")
        .expect("a broken model is removed too");
    assert_eq!(
        place.library.remove("m").expect_err("gone").kind(),
        ModelErrorKind::NotInstalled
    );
    assert!(place.content().is_empty());
    let error = place.library.get("tiny").expect_err("not there");
    assert!(
        error.to_string().contains("sori models pull tiny"),
        "{error}"
    );
}

#[test]
fn a_foreign_or_hostile_manifest_makes_a_broken_model() {
    let place = place();
    // Everything is there with the right size, so that only the manifest itself is wrong.
    let (sum, size) = ("0".repeat(64), GGML.len());
    let manifest = |name: &str, file: &str| {
        format!(
            r#"{{"format":1,"name":"{name}","kind":"vad","source":"","licence":null,"languages":[],"rank":1,
            "installed_unix_s":0,"files":[{{"name":"{file}","size":{size},"sha256":"{sum}"}}]}}"#
        )
    };
    place
        .import("good", &place.write("g.bin", GGML))
        .expect("imported");
    for (name, text) in [
        ("no-manifest", None),
        ("not-json", Some("{".to_owned())),
        ("other-name", Some(manifest("x", "a"))),
        ("slip", Some(manifest("slip", "../good/g.bin"))),
        ("huge", Some(" ".repeat(2 << 20))),
    ] {
        fs::create_dir(place.root.join(name)).expect("created");
        fs::write(place.root.join(name).join("a"), GGML).expect("written");
        if let Some(text) = text {
            fs::write(place.root.join(name).join(MANIFEST), text).expect("written");
        }
        assert!(place.library.get(name).is_err(), "{name}");
    }
    let listing = place.library.list().expect("listed");
    assert_eq!((listing.installed.len(), listing.broken.len()), (1, 5));
}

#[test]
fn a_crash_leaves_the_old_model_or_the_new_one() {
    let place = place();
    place
        .import("m", &place.write("a.bin", GGML))
        .expect("imported");
    // Before the swap: the new one is not complete.
    fs::create_dir_all(place.root.join(".new-m")).expect("created");
    fs::write(place.root.join(".new-m").join("half.bin"), b"x").expect("written");
    Library::open(place.root.clone()).expect("opened");
    assert_eq!(place.content(), ["m"]);
    // In the middle of the swap: the old one is aside, the new one not yet in place.
    fs::rename(place.root.join("m"), place.root.join(".old-m")).expect("renamed");
    let library = Library::open(place.root.clone()).expect("opened");
    library
        .verify("m", &AtomicBool::new(false))
        .expect("the old one is back");
    // After the swap: the old one is still there.
    fs::create_dir_all(place.root.join(".old-m")).expect("created");
    Library::open(place.root.clone()).expect("opened");
    assert_eq!(place.content(), ["m"]);
}

#[test]
fn what_another_program_is_doing_is_left_alone() {
    let place = place();
    let path = place.write("a.bin", GGML);
    place.import("m", &path).expect("imported");
    let lock = fs::File::create(place.root.join(".locks").join("m")).expect("created");
    lock.lock().expect("locked");
    fs::create_dir_all(place.root.join(".new-m")).expect("created");
    Library::open(place.root.clone()).expect("opened");
    assert!(place.root.join(".new-m").exists());
    assert_eq!(
        place.import("m", &path).expect_err("busy").kind(),
        ModelErrorKind::Busy
    );
    assert_eq!(
        place.library.remove("m").expect_err("busy").kind(),
        ModelErrorKind::Busy
    );
    drop(lock);
    place.library.remove("m").expect("free again");
}

#[test]
fn a_second_import_replaces_the_first_and_a_failed_one_does_not() {
    let place = place();
    place
        .import("m", &place.write("a.bin", GGML))
        .expect("imported");
    assert!(
        place
            .import("m", &place.write("b.bin", b"no model"))
            .is_err()
    );
    assert_eq!(
        names(&place.library.get("m").expect("still there")),
        ["a.bin"]
    );
    place
        .import("m", &place.write("c.bin", b"lmgg another"))
        .expect("imported");
    assert_eq!(names(&place.library.get("m").expect("there")), ["c.bin"]);
    assert_eq!(place.content(), ["m"]);
    let cancel = AtomicBool::new(true);
    let error = place.library.import(
        "m",
        &place.from.join("a.bin"),
        &ImportOptions::new(None, 0),
        &cancel,
    );
    assert_eq!(
        error.expect_err("cancelled").kind(),
        ModelErrorKind::Cancelled
    );
    assert_eq!(place.content(), ["m"]);
}

#[test]
fn auto_takes_the_best_that_fits_the_language() {
    let place = place();
    let install = |name: &str, languages: &str, rank: u32| {
        place
            .import(name, &place.write("a.bin", GGML))
            .expect("imported");
        let path = place.root.join(name).join(MANIFEST);
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("read")).expect("json");
        manifest["languages"] = serde_json::json!([languages]);
        manifest["rank"] = rank.into();
        fs::write(&path, manifest.to_string()).expect("written");
    };
    let best = |kind, language| {
        let best = place.library.best(kind, language).expect("read");
        best.map(|installed| installed.manifest.name)
    };
    assert_eq!(best(ModelKind::Whisper, None), None);
    install("medium.en", "en", 400);
    assert_eq!(best(ModelKind::Whisper, None).as_deref(), Some("medium.en"));
    assert_eq!(best(ModelKind::Whisper, Some("ko")), None);
    install("tiny", "*", 100);
    install("base-b", "*", 200);
    install("base-a", "*", 200);
    assert_eq!(best(ModelKind::Whisper, None).as_deref(), Some("base-a"));
    assert_eq!(
        best(ModelKind::Whisper, Some("ko")).as_deref(),
        Some("base-a")
    );
    assert_eq!(
        best(ModelKind::Whisper, Some("EN")).as_deref(),
        Some("medium.en")
    );
    assert_eq!(best(ModelKind::Vad, None), None);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let place = place();
    let file = place.write("file", b"");
    assert_eq!(
        Library::open(file).expect_err("a file").kind(),
        ModelErrorKind::Io
    );
    assert!(
        place
            .library
            .list()
            .expect("an absent library is empty")
            .installed
            .is_empty()
    );
}
