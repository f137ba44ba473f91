//! What ARCHITECTURE.md promises, checked: who may depend on whom, how large things may grow, what the papers must say.

mod rules;
mod scanner;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rules::{
    DEPENDENCY_OWNERS, EDGES, LONG_FILES, LONG_FUNCTIONS, MAX_FILE_LINES, MAX_FUNCTION_LINES,
    TEST_EDGES,
};
use scanner::{code_only, functions, has_word, without_tests};
use toml::Table;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Name and manifest of each crate.
fn crates() -> Vec<(String, Table)> {
    let folders = fs::read_dir(root().join("crates")).expect("the workspace has a crates folder");
    let mut found: Vec<_> = folders
        .map(|entry| {
            entry
                .expect("the folder is readable")
                .path()
                .join("Cargo.toml")
        })
        .filter(|manifest| manifest.exists())
        .map(|manifest| {
            let table: Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
            let name = table["package"]["name"].as_str().unwrap().to_owned();
            (name, table)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 8, "only {} crates were found", found.len());
    found
}

/// Names of what a manifest depends on, for building (`dev` false) or for tests (`dev` true), on any platform.
fn dependencies(manifest: &Table, dev: bool) -> BTreeSet<String> {
    let sections: &[&str] = if dev {
        &["dev-dependencies"]
    } else {
        &["dependencies", "build-dependencies"]
    };
    let platforms = manifest.get("target").and_then(|target| target.as_table());
    let platforms = platforms
        .into_iter()
        .flatten()
        .filter_map(|(_, table)| table.as_table());
    std::iter::once(manifest)
        .chain(platforms)
        .flat_map(|table| {
            sections
                .iter()
                .filter_map(|section| table.get(*section)?.as_table())
        })
        .flatten()
        .map(|(name, value)| {
            value
                .get("package")
                .and_then(|p| p.as_str())
                .unwrap_or(name)
                .to_owned()
        })
        .collect()
}

/// The one crate with unsafe code.
const UNSAFE_CRATE: &str = "sori-kernels";

/// What is wrong with the dependencies of one crate.
fn edge_faults(name: &str, manifest: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    let Some((_, allowed)) = EDGES.iter().find(|(row, _)| *row == name) else {
        return vec![format!(
            "{name}: not in the table of edges; add its row, here and in ARCHITECTURE.md"
        )];
    };
    let own = |dependency: &&String| dependency.starts_with("sori");
    for dependency in dependencies(manifest, false).iter().filter(own) {
        if !allowed.contains(&dependency.as_str()) {
            faults.push(format!("{name} -> {dependency}: this edge is not allowed"));
        }
    }
    for dependency in dependencies(manifest, true).iter().filter(own) {
        if !TEST_EDGES.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
            faults.push(format!(
                "{name} -> {dependency} in tests: this edge is not allowed"
            ));
        }
    }
    for (owners, names) in DEPENDENCY_OWNERS {
        for dependency in dependencies(manifest, false)
            .iter()
            .filter(|d| names.contains(&d.as_str()))
        {
            if !owners.contains(&name) {
                faults.push(format!(
                    "{name} -> {dependency}: only {owners:?} may name it"
                ));
            }
        }
    }
    let lint = |path: [&str; 2]| manifest.get("lints")?.get(path[0])?.get(path[1])?.as_str();
    let shared = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if name == UNSAFE_CRATE {
        // Its lints are its own, for the workspace's forbid what it is for.
        let strict = [
            ["rust", "missing_docs"],
            ["clippy", "undocumented_unsafe_blocks"],
        ];
        if strict.iter().any(|path| lint(*path) != Some("deny")) {
            faults.push(format!(
                "{name}: Cargo.toml lacks one of {strict:?} = \"deny\""
            ));
        }
    } else if shared.and_then(|workspace| workspace.as_bool()) != Some(true) {
        faults.push(format!(
            "{name}: Cargo.toml lacks `[lints] workspace = true`"
        ));
    }
    faults
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.map(|entry| entry.expect("the folder is readable").path()) {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with the size and the words of one source file.
fn source_faults(name: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let code = code_only(source);
    if has_word(&code, "unsafe") && !name.starts_with(&format!("{UNSAFE_CRATE}/")) {
        faults.push(format!(
            "{name}: `unsafe` is allowed in {UNSAFE_CRATE} only"
        ));
    }
    if name.ends_with("/tests.rs") {
        return faults;
    }
    let code = without_tests(&code);
    // Comments are blank in `code`; they count, so lines are those of the source less those that were taken out.
    let tests = code_only(source).lines().count() - code.lines().count();
    let lines = source.lines().count() - tests;
    if lines > MAX_FILE_LINES && !LONG_FILES.iter().any(|(file, _)| *file == name) {
        faults.push(format!(
            "{name}: {lines} lines without tests, {MAX_FILE_LINES} are allowed"
        ));
    }
    for (function, lines) in functions(&code) {
        let place = format!("{name}:{function}");
        if lines > MAX_FUNCTION_LINES && !LONG_FUNCTIONS.iter().any(|(known, _)| *known == place) {
            faults.push(format!(
                "{place}: {lines} lines, {MAX_FUNCTION_LINES} are allowed"
            ));
        }
    }
    faults
}

/// Level of each heading and number of code blocks of a page.
fn outline(page: &str) -> (Vec<usize>, usize) {
    let (mut headings, mut fences) = (Vec::new(), 0);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fences += 1;
        } else if fences % 2 == 0 && line.starts_with('#') {
            headings.push(line.chars().take_while(|&c| c == '#').count());
        }
    }
    (headings, fences / 2)
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let faults: Vec<_> = crates()
        .iter()
        .flat_map(|(name, manifest)| edge_faults(name, manifest))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn sources_stay_small_and_safe() {
    let crates = root().join("crates");
    let mut files = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        rust_files(&entry.unwrap().path().join("src"), &mut files);
    }
    assert!(
        files.len() > 8,
        "only {} source files were found",
        files.len()
    );
    let faults: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let name = path
                .strip_prefix(&crates)
                .expect("files lie below the folder that was read");
            let name = name.to_string_lossy().replace('\\', "/");
            source_faults(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_workspace_denies_what_it_must() {
    let manifest: Table = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let lints = &manifest["workspace"]["lints"]["rust"];
    assert_eq!(lints["missing_docs"].as_str(), Some("deny"));
    assert_eq!(lints["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn both_readmes_have_the_same_outline() {
    let page = |name| fs::read_to_string(root().join(name));
    if let (Ok(english), Ok(korean)) = (page("README.md"), page("README.ko.md")) {
        assert_eq!(
            outline(&english),
            outline(&korean),
            "README.md and README.ko.md differ"
        );
    }
}

#[test]
fn the_architecture_page_names_every_crate_and_dependency() {
    let Ok(page) = fs::read_to_string(root().join("ARCHITECTURE.md")) else {
        return;
    };
    let mut names = BTreeSet::new();
    for (name, manifest) in crates() {
        names.extend(dependencies(&manifest, false));
        names.extend(dependencies(&manifest, true));
        names.insert(name);
    }
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name {missing:?}"
    );
}

/// The tests above must be able to fail.
mod can_fail {
    use super::*;

    #[test]
    fn on_edges() {
        let faults = |name: &str, manifest: &str| edge_faults(name, &manifest.parse().unwrap());
        let fine = "[lints]\nworkspace = true\n[dependencies]\nserde = \"1\"\n";
        assert!(faults("sori-timeline", fine).is_empty());
        for (name, manifest) in [
            (
                "sori-timeline",
                "[lints]\nworkspace = true\n[dependencies]\nsori-dsp.workspace = true\n",
            ),
            (
                "sori-timeline",
                "[lints]\nworkspace = true\n[dev-dependencies]\nsori-dsp = \"1\"\n",
            ),
            (
                "sori-speech",
                "[lints]\nworkspace = true\n[dependencies]\nrten = \"0.27\"\n",
            ),
            (
                "sori-engine",
                "[lints]\nworkspace = true\n[build-dependencies]\ntokio = \"1\"\n",
            ),
            (
                "sori-dsp",
                "[lints]\nworkspace = true\n[target.'cfg(unix)'.dependencies]\nanyhow = \"1\"\n",
            ),
            (
                "sori-dsp",
                "[lints]\nworkspace = true\n[dependencies]\nx = { package = \"tokio\" }\n",
            ),
            ("sori-dsp", "[dependencies]\n"),
            ("sori-new", fine),
        ] {
            assert_eq!(faults(name, manifest).len(), 1, "{name} {manifest}");
        }
    }

    #[test]
    fn on_sources() {
        let long = |lines| "x\n".repeat(lines);
        let cases = [
            (long(MAX_FILE_LINES), 0),
            (long(MAX_FILE_LINES + 1), 1),
            (
                format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", long(400), long(400)),
                0,
            ),
            (
                format!("fn f() {{\n{}}}\n", long(MAX_FUNCTION_LINES - 2)),
                0,
            ),
            (
                format!("fn f() {{\n{}}}\n", long(MAX_FUNCTION_LINES - 1)),
                1,
            ),
            (
                format!("fn f() {{ \"}}\" // }}\n{}}}\n", long(MAX_FUNCTION_LINES)),
                1,
            ),
            ("// unsafe\nfn f() { \"unsafe\" }".to_owned(), 0),
            ("fn f() { unsafe { g() } }".to_owned(), 1),
        ];
        for (source, faults) in cases {
            assert_eq!(source_faults("a/src/b.rs", &source).len(), faults);
        }
    }

    #[test]
    fn on_pages() {
        assert_eq!(outline("# A\n```\n# no\n```\n## B\n"), (vec![1, 2], 1));
        assert_ne!(outline("# A\n## B"), outline("# A\n"));
    }
}
