//! Uploads on their way to the disk: streamed, counted, summed, and gone again unless a job takes them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::request::hex;
use crate::{ApiError, ErrorKind};

/// A minute must bring so many bytes: a recording of the lowest quality is longer than its upload.
const SLOWEST: u64 = 64 << 10;
const WINDOW: Duration = Duration::from_secs(60);

/// From one look at the free disk to the next.
const LOOK_BYTES: u64 = 16 << 20;

/// What is read and forgotten of an upload that was refused half-way, in bytes and in time.
const LINGER_BYTES: usize = 256 << 20;
const LINGER: Duration = Duration::from_secs(5);

/// A recording that lies in the staging folder; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Staged {
    /// The file.
    pub path: TempPath,
    /// Its size.
    pub bytes: u64,
    /// Its checksum, in hexadecimal.
    pub sha256: String,
}

/// Watches the free space of a disk while a file grows: what many uploads at once bring was not there when they were admitted.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    folder: &'a Path,
    free_bytes: u64,
    grown: u64,
}

impl<'a> Room<'a> {
    /// A file of no bytes in a folder on whose disk so many shall stay free.
    pub(crate) fn new(folder: &'a Path, free_bytes: u64) -> Self {
        Self {
            folder,
            free_bytes,
            grown: 0,
        }
    }

    /// Counts bytes that are to be written, and looks at the disk each [`LOOK_BYTES`].
    ///
    /// # Errors
    /// As of a full disk, where there is too little.
    pub(crate) fn grow(&mut self, bytes: u64) -> std::io::Result<()> {
        let looks = self.grown / LOOK_BYTES;
        self.grown += bytes;
        let due = self.grown / LOOK_BYTES > looks;
        if due && fs4::available_space(self.folder)? < self.free_bytes {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// The folder where uploads arrive.
#[derive(Clone, Debug)]
pub struct Staging {
    folder: PathBuf,
    most_bytes: u64,
    free_bytes: u64,
    idle: Duration,
}

impl Staging {
    /// Staging in a folder, which is made; what an earlier process left in it is removed. An upload has at most `most_bytes`,
    /// and so many as leave `free_bytes` on the disk.
    ///
    /// # Errors
    /// When the folder cannot be made or emptied.
    pub fn new(
        folder: &Path,
        (most_bytes, free_bytes): (u64, u64),
        idle: Duration,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for entry in std::fs::read_dir(folder)? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            most_bytes,
            free_bytes,
            idle,
        })
    }

    /// Writes a stream to a file, which is on the disk when this returns.
    ///
    /// # Errors
    /// When it is larger than allowed (413), stops coming, breaks off, or cannot be written (507 where the disk is full).
    pub async fn take<E: std::fmt::Display>(
        &self,
        mut stream: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Staged, ApiError> {
        let taken = self.write(&mut stream).await;
        if taken.is_err() {
            // A client that still sends hears the answer only when it could send for a while (RFC 9112, section 9.6).
            let rest = async {
                let mut left = LINGER_BYTES;
                while let Some(Ok(chunk)) = stream.next().await {
                    left = left.saturating_sub(chunk.len());
                    if left == 0 {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(LINGER, rest).await;
        }
        taken
    }

    async fn write<E: std::fmt::Display>(
        &self,
        stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<Staged, ApiError> {
        let file = tempfile::Builder::new()
            .prefix("upload-")
            .tempfile_in(&self.folder)?;
        let (file, path) = file.into_parts();
        let mut out = BufWriter::with_capacity(1 << 16, File::from_std(file));
        let (mut bytes, mut hash) = (0, Sha256::new());
        let mut room = Room::new(&self.folder, self.free_bytes);
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            if since.elapsed() > WINDOW {
                if bytes - before < SLOWEST {
                    return Err(stopped(WINDOW));
                }
                (since, before) = (Instant::now(), bytes);
            }
            let next = tokio::time::timeout(self.idle, stream.next()).await;
            let Some(chunk) = next.map_err(|_| stopped(self.idle))? else {
                break;
            };
            let chunk = chunk.map_err(|e| {
                ApiError::new(ErrorKind::Invalid, format!("the upload broke off: {e}"))
            })?;
            bytes += chunk.len() as u64;
            if bytes > self.most_bytes {
                return Err(self.too_large());
            }
            room.grow(chunk.len() as u64)?;
            hash.update(&chunk);
            out.write_all(&chunk).await?;
        }
        out.flush().await?;
        out.get_ref().sync_all().await?;
        Ok(Staged {
            path,
            bytes,
            sha256: hex(&hash.finalize()),
        })
    }

    /// A place in the folder for a file that comes from elsewhere on this disk.
    ///
    /// # Errors
    /// When the folder takes no files.
    pub fn place(&self) -> Result<TempPath, ApiError> {
        let file = tempfile::Builder::new()
            .prefix("upload-")
            .tempfile_in(&self.folder)?;
        Ok(file.into_temp_path())
    }

    /// Takes the file that was put into a [`Staging::place`]; reads it once for its checksum.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn adopt(&self, path: TempPath) -> Result<Staged, ApiError> {
        let summed = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(&path)?;
            let (mut bytes, mut hash, mut piece) = (0, Sha256::new(), vec![0; 1 << 16]);
            loop {
                let read = file.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                hash.update(&piece[..read]);
                bytes += read as u64;
            }
            file.sync_all()?;
            let sha256 = hex(&hash.finalize());
            Ok::<_, std::io::Error>(Staged {
                path,
                bytes,
                sha256,
            })
        });
        Ok(summed.await.map_err(ApiError::internal)??)
    }

    /// Refuses a body by the length that its head tells.
    ///
    /// # Errors
    /// When that is more than allowed.
    pub fn foresee(&self, length: Option<u64>) -> Result<(), ApiError> {
        // The parts around a file are a few hundred bytes.
        match length.is_some_and(|length| length > self.most_bytes.saturating_add(1 << 20)) {
            true => Err(self.too_large()),
            false => Ok(()),
        }
    }

    fn too_large(&self) -> ApiError {
        let most = match self.most_bytes >> 20 {
            0 => format!("{} bytes", self.most_bytes),
            most => format!("{most} MB"),
        };
        let message = format!("recordings of up to {most} are taken (limits.media_bytes)");
        ApiError::new(ErrorKind::TooLarge, message)
    }
}

fn stopped(idle: Duration) -> ApiError {
    let message = format!(
        "nearly nothing came for {} s; send it again",
        idle.as_secs()
    );
    ApiError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn staging(most: u64) -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().expect("a folder");
        let staging = Staging::new(folder.path(), (most, 0), Duration::from_secs(5)).expect("made");
        (folder, staging)
    }

    fn left(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path()).expect("listed").count()
    }

    #[tokio::test]
    async fn an_upload_is_whole_or_gone() {
        let (folder, staging) = staging(10);
        let good = ["hello", "world"].map(|s| Ok::<_, String>(Bytes::from(s)));
        let staged = staging.take(stream::iter(good)).await.expect("fits");
        assert_eq!(staged.bytes, 10);
        assert_eq!(std::fs::read(&staged.path).expect("read"), b"helloworld");
        assert!(staged.sha256.starts_with("936a185caaa266bb"));
        drop(staged);
        let large = ["hello", "world", "!"].map(|s| Ok::<_, String>(Bytes::from(s)));
        let error = staging.take(stream::iter(large)).await.expect_err("large");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let broken = [Ok(Bytes::from("a")), Err("reset")];
        let error = staging
            .take(stream::iter(broken))
            .await
            .expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(left(&folder), 0);
    }

    #[tokio::test]
    async fn an_upload_leaves_room_on_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = (u64::MAX, u64::MAX);
        let staging = Staging::new(folder.path(), limits, Duration::from_secs(5)).expect("made");
        let small = [Ok::<_, String>(Bytes::from("a"))];
        staging
            .take(stream::iter(small))
            .await
            .expect("too small to look");
        let large = (0..17).map(|_| Ok::<_, String>(Bytes::from(vec![0; 1 << 20])));
        let error = staging.take(stream::iter(large)).await.expect_err("full");
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert_eq!(left(&folder), 0);
    }

    #[test]
    fn what_an_earlier_process_left_is_removed() {
        let (folder, _) = staging(1);
        std::fs::write(folder.path().join("upload-x"), "half").expect("written");
        Staging::new(folder.path(), (1, 0), Duration::from_secs(1)).expect("made");
        assert_eq!(left(&folder), 0);
    }
}
