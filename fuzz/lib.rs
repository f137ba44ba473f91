//! What the fuzz targets share.

use std::path::Path;

/// Calls `read` with a folder in which `name` holds `data`; readers of model files take paths, not bytes.
pub fn in_folder(name: &str, data: &[u8], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    std::fs::write(folder.path().join(name), data).expect("the temporary folder is writable");
    read(folder.path());
}
