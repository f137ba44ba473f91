//! Files that appear whole or not at all, named after the recording.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Name of a recording without its own ending, with another.
pub fn name(file: &str, ending: &str) -> String {
    let stem = if file == "-" {
        "stdin".into()
    } else {
        Path::new(file)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
    };
    format!("{stem}{ending}")
}

/// Checks that no two recordings would write the same files.
///
/// # Errors
/// When two of them have the same name but for folder and ending.
pub fn distinct(files: &[String]) -> Result<()> {
    let mut seen = BTreeMap::new();
    for file in files {
        if let Some(other) = seen.insert(name(file, ""), file) {
            bail!(
                "{other} and {file} would write the same files: analyze them into different folders with --output-dir"
            );
        }
    }
    Ok(())
}

/// The folder results go to.
pub struct Output<'a> {
    folder: &'a Path,
}

impl<'a> Output<'a> {
    /// The folder, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: &'a Path) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The path of the result with this ending for a recording.
    pub fn path(&self, file: &str, ending: &str) -> PathBuf {
        self.folder.join(name(file, ending))
    }

    /// Writes one result of a recording with `fill`.
    ///
    /// # Errors
    /// When it cannot be written; then nothing of it is left.
    pub fn write(
        &self,
        file: &str,
        ending: &str,
        fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(file, ending);
        let failed = || format!("cannot write {}", path.display());
        let mut builder = tempfile::Builder::new();
        // As any other program makes files: the user's umask decides who may read them.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut half = builder
            .prefix(".sori-")
            .tempfile_in(self.folder)
            .with_context(failed)?;
        {
            let mut out = BufWriter::new(half.as_file_mut());
            fill(&mut out).with_context(failed)?;
            out.flush().with_context(failed)?;
        }
        half.persist(&path).with_context(failed)?;
        if stdout().is_terminal() {
            println!("{}", path.display());
        }
        Ok(path)
    }
}
