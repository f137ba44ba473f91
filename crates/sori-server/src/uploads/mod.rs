//! Resumable uploads: what the tus protocol 1.0.0 needs of a folder, and its routes.
//!
//! What: an upload is a file that grows, and beside it a small JSON file that says how long it will be. The file's length is
//! the one truth of how far it is, so that a killed server loses no byte that was written. A finished upload is named in a job
//! as `{"upload": "<id>"}` and taken by it.
//!
//! What not: nothing here looks into the recording; keys and limits of rate are the server's.
//!
//! | module | holds |
//! |---|---|
//! | `mod` | [`Uploads`]: creating, appending, taking, removing |
//! | [`headers`] | the headers of tus: metadata and checksums |
//! | `routes` | `/v1/uploads` |

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};
use uuid::Uuid;

mod error;
pub mod headers;
pub(crate) mod routes;

pub use error::{UploadError, UploadErrorKind};
use headers::{Checksum, Hasher};

use crate::staging::Room;

/// Bytes gathered before they are written: few calls, and little to lose where the server is killed.
const WRITE_BYTES: usize = 256 << 10;

/// What uploads may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Most bytes of one upload.
    pub max_bytes: u64,
    /// Most bytes of all uploads that are there, by the lengths they were announced with.
    pub max_total_bytes: u64,
    /// Most uploads that are there.
    pub max_uploads: usize,
    /// How long an upload is kept, from its creation.
    pub keep: Duration,
    /// How long a client may send nothing before its request counts as broken off.
    pub idle: Duration,
    /// Bytes that stay free on the disk.
    pub free_bytes: u64,
}

impl Default for UploadLimits {
    /// 4 GiB each, 64 GiB and 1,000 in all, a day; a request is broken off after 30 s.
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            max_total_bytes: 64 << 30,
            max_uploads: 1000,
            keep: Duration::from_secs(86_400),
            idle: Duration::from_secs(30),
            free_bytes: 0,
        }
    }
}

/// An upload and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id: an unguessable name of a file.
    pub id: String,
    /// Bytes that are there.
    pub offset: u64,
    /// What it was created as.
    pub plan: UploadPlan,
}

impl Upload {
    /// Whether all bytes are there.
    pub fn is_finished(&self) -> bool {
        self.offset == self.plan.length
    }

    /// The name of the file, if the client told it: the metadata `filename` or `name`.
    pub fn file_name(&self) -> Option<String> {
        let mut pairs = headers::metadata(&self.plan.metadata)?;
        let name = pairs.remove("filename").or_else(|| pairs.remove("name"))?;
        Some(String::from_utf8_lossy(&name).into_owned())
    }
}

/// What an upload was created as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPlan {
    /// Bytes it will have.
    pub length: u64,
    /// The header `Upload-Metadata` as it came.
    pub metadata: String,
    /// Whose it is: the id of a key. Nobody else is told that it exists.
    pub owner: Option<String>,
    /// When it is removed, Unix milliseconds.
    pub expires_ms: i64,
}

/// What a client appends, but for the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Where the client believes the upload to be.
    pub offset: u64,
    /// Number of bytes that will come, where that is known.
    pub length: Option<u64>,
    /// What they must hash to; without it, what came before a break is kept.
    pub checksum: Option<Checksum>,
}

/// The uploads of a folder that nobody else writes to. Clones share it.
#[derive(Clone, Debug)]
pub struct Uploads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    limits: UploadLimits,
    /// Every upload. A plain lock: it is held for a look-up and never over an await; poisoned it is still a sound table.
    table: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    plan: UploadPlan,
    /// Whether somebody writes to it; a second writer is refused at once.
    busy: bool,
}

/// The right to write to an upload; given back when dropped.
#[derive(Debug)]
struct Turn {
    inner: Arc<Inner>,
    id: String,
}

/// A finished upload that a job is made of; dropped, it is there for another try.
#[derive(Debug)]
pub struct Taken(Turn);

impl Taken {
    /// Removes the upload: it is the job's now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove(self) -> Result<(), UploadError> {
        let Turn { inner, id } = &self.0;
        inner.delete(id).await?;
        inner.table().remove(id);
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(entry) = self.inner.table().get_mut(&self.id) {
            entry.busy = false;
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.table
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    fn data(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.data"))
    }

    fn plan(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Bytes with a checksum lie here until they are known to be right.
    fn unchecked(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.unchecked"))
    }

    async fn delete(&self, id: &str) -> io::Result<()> {
        // The plan last: what it stands for is not forgotten before it is gone.
        for path in [self.unchecked(id), self.data(id), self.plan(id)] {
            match fs::remove_file(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Uploads {
    /// Opens a folder, which is made where it is not there, and finds the uploads that an earlier server left in it.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub async fn open(folder: &Path, limits: UploadLimits) -> Result<Self, UploadError> {
        fs::create_dir_all(folder).await?;
        let mut table = BTreeMap::new();
        let mut files = fs::read_dir(folder).await?;
        while let Some(file) = files.next_entry().await? {
            let path = file.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let (Some(id), Some(ending)) = (stem, path.extension()) else {
                continue;
            };
            if ending == "unchecked" {
                fs::remove_file(&path).await?;
            } else if ending == "json" && is_id(id) {
                // A plan that a killed server wrote half has no upload yet that anybody was told of.
                match serde_json::from_slice(&fs::read(&path).await?) {
                    Ok(plan) => drop(table.insert(id.to_owned(), Entry { plan, busy: false })),
                    Err(_) => fs::remove_file(&path).await?,
                }
            }
        }
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            limits,
            table: Mutex::new(table),
        })))
    }

    /// What uploads may take.
    pub fn limits(&self) -> &UploadLimits {
        &self.0.limits
    }

    /// Begins an upload; `expires_ms` of the plan is set here.
    ///
    /// # Errors
    /// [`UploadErrorKind::TooLarge`], [`UploadErrorKind::Full`], or when the disk refuses.
    pub async fn create(&self, mut plan: UploadPlan, now_ms: i64) -> Result<Upload, UploadError> {
        let limits = &self.0.limits;
        if plan.length > limits.max_bytes {
            return Err(UploadError::too_large(limits.max_bytes));
        }
        let keep = i64::try_from(limits.keep.as_millis()).unwrap_or(i64::MAX);
        plan.expires_ms = now_ms.saturating_add(keep);
        let id = Uuid::new_v4().simple().to_string();
        {
            let mut table = self.0.table();
            let taken: u64 = table.values().map(|entry| entry.plan.length).sum();
            let full = taken.saturating_add(plan.length) > limits.max_total_bytes;
            if full || table.len() >= limits.max_uploads {
                return Err(UploadError::new(
                    UploadErrorKind::Full,
                    "there are too many uploads; finish or remove some, or try again later",
                ));
            }
            let entry = Entry {
                plan: plan.clone(),
                busy: true,
            };
            table.insert(id.clone(), entry);
        }
        let turn = Turn {
            inner: self.0.clone(),
            id: id.clone(),
        };
        let json = serde_json::to_vec(&plan).expect("a plan has text as keys");
        let mut made = File::create(self.0.data(&id)).await.map(drop);
        if made.is_ok() {
            made = fs::write(self.0.plan(&id), json).await;
        }
        if let Err(error) = made {
            self.0.table().remove(&id);
            self.0.delete(&id).await.ok();
            return Err(error.into());
        }
        drop(turn);
        let offset = 0;
        Ok(Upload { id, offset, plan })
    }

    /// An upload and how far it is.
    ///
    /// # Errors
    /// [`UploadErrorKind::NotFound`] where there is none of this id, of this owner, at this time.
    pub async fn find(
        &self,
        id: &str,
        owner: Option<&str>,
        now_ms: i64,
    ) -> Result<Upload, UploadError> {
        let plan = self.plan(id, owner, now_ms)?;
        let offset = fs::metadata(self.0.data(id)).await?.len();
        let id = id.to_owned();
        Ok(Upload { id, offset, plan })
    }

    /// Appends bytes. Run it as a task of its own: dropped half-way it keeps what was written, and gives the upload back before
    /// the last write is through.
    ///
    /// # Errors
    /// [`UploadErrorKind::Locked`] while somebody else appends, [`UploadErrorKind::Offset`] where the upload is elsewhere,
    /// [`UploadErrorKind::TooLarge`] for more than was announced, [`UploadErrorKind::Checksum`], and
    /// [`UploadErrorKind::Broken`] where the bytes stopped coming: what came is kept but under a checksum.
    pub async fn append<E>(
        &self,
        found: &Upload,
        append: Append,
        bytes: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Upload, UploadError> {
        let turn = self.turn(&found.id)?;
        let data = self.0.data(&found.id);
        // Somebody may have appended since the upload was found.
        let offset = fs::metadata(&data).await?.len();
        if append.offset != offset {
            return Err(UploadError::offset(offset));
        }
        let room = found.plan.length - offset;
        if append.length.is_some_and(|length| length > room) {
            return Err(UploadError::too_large(room));
        }
        let mut file = OpenOptions::new().append(true).open(&data).await?;
        let mut bytes = std::pin::pin!(bytes);
        match append.checksum {
            None => self.write(&mut file, room, None, &mut bytes).await?,
            Some(checksum) => {
                let unchecked = self.0.unchecked(&found.id);
                let mut aside = File::create(&unchecked).await?;
                let written = self
                    .write(&mut aside, room, Some(&checksum), &mut bytes)
                    .await;
                if written.is_ok() {
                    let mut right = File::open(&unchecked).await?;
                    tokio::io::copy(&mut right, &mut file).await?;
                    file.flush().await?;
                }
                fs::remove_file(&unchecked).await?;
                written?;
            }
        }
        let offset = fs::metadata(&data).await?.len();
        if offset == found.plan.length {
            file.sync_all().await?;
        }
        drop(turn);
        Ok(Upload {
            offset,
            ..found.clone()
        })
    }

    async fn write<E>(
        &self,
        file: &mut File,
        mut room: u64,
        checksum: Option<&Checksum>,
        bytes: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<(), UploadError> {
        let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut hasher = checksum.map(|checksum| Hasher::new(checksum.algorithm));
        let mut disk = Room::new(&self.0.folder, self.0.limits.free_bytes);
        let ended = loop {
            let Ok(next) = tokio::time::timeout(self.0.limits.idle, bytes.next()).await else {
                break Err(UploadError::broken());
            };
            let piece = match next {
                None => break Ok(()),
                Some(Err(_)) => break Err(UploadError::broken()),
                Some(Ok(piece)) => piece,
            };
            if piece.len() as u64 > room {
                break Err(UploadError::too_large(room));
            }
            room -= piece.len() as u64;
            if let Err(full) = disk.grow(piece.len() as u64) {
                break Err(full.into());
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            file.write_all(&piece).await?;
        };
        file.flush().await?;
        ended?;
        let digest = hasher.map(Hasher::finish);
        if digest.as_ref() == checksum.map(|checksum| &checksum.digest) {
            return Ok(());
        }
        Err(UploadError::new(
            UploadErrorKind::Checksum,
            "the bytes do not match their checksum; send them again",
        ))
    }

    /// Removes an upload, finished or not.
    ///
    /// # Errors
    /// As [`Uploads::find`]; [`UploadErrorKind::Locked`] while somebody appends; when the disk refuses.
    pub async fn remove(
        &self,
        id: &str,
        owner: Option<&str>,
        now_ms: i64,
    ) -> Result<(), UploadError> {
        self.plan(id, owner, now_ms)?;
        let _turn = self.turn(id)?;
        self.0.delete(id).await?;
        self.0.table().remove(id);
        Ok(())
    }

    /// Gives a finished upload a second name, `to`, where no file may be; where the disk has no second names it is copied.
    ///
    /// # Errors
    /// As [`Uploads::remove`]; [`UploadErrorKind::Unfinished`] where bytes are missing.
    pub async fn take(&self, upload: &Upload, to: &Path) -> Result<Taken, UploadError> {
        let turn = self.turn(&upload.id)?;
        let data = self.0.data(&upload.id);
        if fs::metadata(&data).await?.len() != upload.plan.length {
            return Err(UploadError::new(
                UploadErrorKind::Unfinished,
                "bytes of the upload are missing; send them first",
            ));
        }
        if fs::hard_link(&data, to).await.is_err() {
            fs::copy(&data, to).await?;
        }
        Ok(Taken(turn))
    }

    /// Removes uploads whose time is over, and returns how many there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn sweep(&self, now_ms: i64) -> Result<usize, UploadError> {
        let over = |(id, entry): (&String, &Entry)| {
            (!entry.busy && entry.plan.expires_ms <= now_ms).then(|| id.clone())
        };
        let over: Vec<_> = self.0.table().iter().filter_map(over).collect();
        for id in &over {
            if let Ok(_turn) = self.turn(id) {
                self.0.delete(id).await?;
                self.0.table().remove(id);
            }
        }
        Ok(over.len())
    }

    fn plan(&self, id: &str, owner: Option<&str>, now_ms: i64) -> Result<UploadPlan, UploadError> {
        let table = self.0.table();
        let entry = table
            .get(id)
            .filter(|entry| entry.plan.owner.as_deref() == owner && entry.plan.expires_ms > now_ms);
        entry
            .map(|entry| entry.plan.clone())
            .ok_or_else(UploadError::not_found)
    }

    fn turn(&self, id: &str) -> Result<Turn, UploadError> {
        let mut table = self.0.table();
        let entry = table.get_mut(id).ok_or_else(UploadError::not_found)?;
        if entry.busy {
            return Err(UploadError::new(
                UploadErrorKind::Locked,
                "another request writes to this upload; try again when it is over",
            ));
        }
        entry.busy = true;
        Ok(Turn {
            inner: self.0.clone(),
            id: id.to_owned(),
        })
    }
}

/// Whether a name is one of ours: 32 hexadecimal digits.
fn is_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests;
