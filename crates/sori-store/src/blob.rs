//! Files: media and results, in a folder or in an S3 bucket.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::{StoreError, StoreErrorKind};

/// Bytes of one part of a large upload: 10,000 parts (S3's limit) are 156 GiB.
const PART_BYTES: usize = 16 << 20;
/// Parts of one upload that are under way at once.
const PARTS: usize = 4;

/// Where files are kept.
#[derive(Clone, Default)]
pub struct BlobOptions {
    /// `file:///FOLDER` or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// The address of an S3-compatible server, such as `http://127.0.0.1:9000`; none for Amazon's.
    pub endpoint: Option<String>,
    /// The region; none for that of the environment (`AWS_REGION`).
    pub region: Option<String>,
    /// The access key; none for that of the environment (`AWS_ACCESS_KEY_ID` …).
    pub access_key: Option<String>,
    /// The secret key, likewise.
    pub secret_key: Option<String>,
}

impl fmt::Debug for BlobOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobOptions")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// A file that is being read.
pub struct Blob {
    /// Bytes of the whole file.
    pub size: u64,
    /// The bytes that were asked for.
    pub range: Range<u64>,
    /// The bytes, piece by piece.
    pub stream: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Blob {
    /// Writes it to `path`, piece by piece, and returns the size of the file it is of.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when it breaks off or cannot be written; what was written so far is left at `path`.
    pub async fn save(mut self, path: &Path) -> Result<u64, StoreError> {
        let io = |error| StoreError::io(path, error);
        let mut file = tokio::fs::File::create(path).await.map_err(io)?;
        while let Some(piece) = self.stream.next().await {
            file.write_all(&piece?).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        Ok(self.size)
    }
}

/// A store of files by key, such as `jobs/ID/ATTEMPT/document.json`. Clones are the same store.
///
/// A file appears whole or not at all, and a `put` that returned is on disk.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// The folder, when it is one.
    local: Option<Arc<LocalFileSystem>>,
    /// What every key begins with in a bucket.
    prefix: Key,
}

impl Blobs {
    /// Opens a folder (created, for this user only, when it is not there) or a bucket (which must exist).
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a bad URL, [`StoreErrorKind::Unavailable`] when the folder cannot be used. Whether a
    /// bucket answers shows only at its first use.
    pub fn open(options: &BlobOptions) -> Result<Self, StoreError> {
        let bad = |_| {
            let message = "files are kept in file:///FOLDER or s3://BUCKET/PREFIX";
            StoreError::new(StoreErrorKind::Invalid, message)
        };
        let url = url::Url::parse(&options.url).map_err(|_| bad(()))?;
        match url.scheme() {
            "file" => Self::open_folder(&url.to_file_path().map_err(bad)?),
            "s3" => Self::open_bucket(url.host_str().ok_or(()).map_err(bad)?, url.path(), options),
            _ => Err(bad(())),
        }
    }

    fn open_folder(folder: &Path) -> Result<Self, StoreError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(folder)
            .map_err(|e| StoreError::io(folder, e))?;
        let local = LocalFileSystem::new_with_prefix(folder)?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        let local = Arc::new(local);
        Ok(Self {
            store: local.clone(),
            local: Some(local),
            prefix: Key::default(),
        })
    }

    fn open_bucket(bucket: &str, prefix: &str, options: &BlobOptions) -> Result<Self, StoreError> {
        // The HTTP client panics where the process has not chosen who does its cryptography; a choice made before stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::Disabled);
        if let Some(endpoint) = &options.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(key) = &options.access_key {
            builder = builder.with_access_key_id(key);
        }
        if let Some(key) = &options.secret_key {
            builder = builder.with_secret_access_key(key);
        }
        Ok(Self {
            store: Arc::new(builder.build()?),
            local: None,
            prefix: parse(prefix.trim_matches('/'))?,
        })
    }

    /// The place of a key in the store.
    fn place(&self, key: &str) -> Result<Key, StoreError> {
        let key = parse(key)?;
        if key.as_ref().is_empty() {
            return Err(StoreError::new(StoreErrorKind::Invalid, "an empty key"));
        }
        Ok(self.prefix.parts().chain(key.parts()).collect())
    }

    /// Writes a file from memory.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a bad key, [`StoreErrorKind::Unavailable`] when it cannot be written.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(&self.place(key)?, bytes.into()).await?;
        Ok(())
    }

    /// Moves the file at `path` into the store: by renaming it where that is possible, else by copying it in pieces. The file at
    /// `path` is gone afterwards.
    ///
    /// # Errors
    /// As of [`Blobs::put`]; the file is still there then.
    pub async fn put_file(&self, key: &str, path: &Path) -> Result<(), StoreError> {
        let place = self.place(key)?;
        if let Some(local) = &self.local {
            let (from, to) = (path.to_owned(), local.path_to_filesystem(&place)?);
            match blocking(move || rename(&from, &to)).await {
                Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {}
                other => return other.map_err(|e| StoreError::io(path, e)),
            }
        }
        let mut file = tokio::fs::File::open(path)
            .await
            .map_err(|e| StoreError::io(path, e))?;
        let upload = self.store.put_multipart(&place).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut piece = vec![0; 1 << 20];
        loop {
            upload.wait_for_capacity(PARTS).await?;
            match file.read(&mut piece).await {
                Ok(0) => break,
                Ok(n) => upload.write(&piece[..n]),
                Err(error) => {
                    upload.abort().await?;
                    return Err(StoreError::io(path, error));
                }
            }
        }
        upload.finish().await?;
        tokio::fs::remove_file(path)
            .await
            .map_err(|e| StoreError::io(path, e))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when there is none.
    pub async fn get(&self, key: &str) -> Result<Blob, StoreError> {
        self.open_blob(key, GetOptions::default()).await
    }

    /// Opens a part of a file; the end is brought to the file's end.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when there is no file, [`StoreErrorKind::Invalid`] when the part is empty or begins behind
    /// the file's end.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Blob, StoreError> {
        let size = self.store.head(&self.place(key)?).await?.size;
        if range.start >= range.end.min(size) {
            let message = format!("bytes {range:?} of {size}: there are none");
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let options = GetOptions::default().with_range(Some(range.start..range.end.min(size)));
        self.open_blob(key, options).await
    }

    async fn open_blob(&self, key: &str, options: GetOptions) -> Result<Blob, StoreError> {
        let found = self.store.get_opts(&self.place(key)?, options).await?;
        Ok(Blob {
            size: found.meta.size,
            range: found.range.clone(),
            stream: found.into_stream().map_err(StoreError::from).boxed(),
        })
    }

    /// Returns where a file lies on this machine, when files are kept in a folder; whether it is there is not asked.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a bad key.
    pub fn local(&self, key: &str) -> Result<Option<PathBuf>, StoreError> {
        let place = self.place(key)?;
        let path = self.local.as_ref().map(|l| l.path_to_filesystem(&place));
        Ok(path.transpose()?)
    }

    /// Copies a file to `path`, piece by piece, and returns its size.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when there is none; what was written of it so far is left at `path`.
    pub async fn fetch_to(&self, key: &str, path: &Path) -> Result<u64, StoreError> {
        self.get(key).await?.save(path).await
    }

    /// Removes every file whose key begins with the folder `prefix`, and returns how many there were. When this returns the store
    /// has been asked again and has none.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when a file could not be removed.
    pub async fn remove_prefix(&self, prefix: &str) -> Result<u64, StoreError> {
        let place = self.place(prefix)?;
        let found = self.store.list(Some(&place)).map_ok(|m| m.location).boxed();
        let mut gone = self.store.delete_stream(found);
        let mut count = 0;
        while let Some(one) = gone.next().await {
            match one {
                Ok(_) => count += 1,
                // Somebody else removed it meanwhile.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(local) = &self.local {
            // What is not listed: empty folders, and parts of files that were not finished.
            let folder = local.path_to_filesystem(&place)?;
            match tokio::fs::remove_dir_all(&folder).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&folder, error));
                }
                _ => {}
            }
        }
        match self.list(prefix).await?.first() {
            None => Ok(count),
            Some(left) => Err(StoreError::new(
                StoreErrorKind::Unavailable,
                format!("{left} is still there: remove it again"),
            )),
        }
    }

    /// Returns the keys below the folder `prefix`, in order.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when the store does not answer.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let place = self.place(prefix)?;
        let skip = match self.prefix.as_ref().len() {
            0 => 0,
            n => n + 1,
        };
        let mut keys: Vec<String> = self
            .store
            .list(Some(&place))
            .map_ok(|meta| meta.location.as_ref()[skip..].to_owned())
            .try_collect()
            .await?;
        keys.sort();
        Ok(keys)
    }
}

fn parse(key: &str) -> Result<Key, StoreError> {
    Key::parse(key).map_err(|error| {
        StoreError::new(StoreErrorKind::Invalid, "a bad key of a file").caused_by(error)
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(std::io::Error::other(error)),
    }
}

/// Moves a file into place, so that both its bytes and its name are on disk.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    std::fs::File::open(from)?.sync_all()?;
    std::fs::rename(from, to)?;
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
