//! What a job was asked for, as it stands in the store.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sori_store::Job;

use crate::JobOptions;
use crate::config::CallbackForm;

/// What a job was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Where the recording comes from.
    pub source: Source,
    /// Name of the recording, for people.
    pub name: String,
    /// How it is analyzed.
    pub options: JobOptions,
    /// Shape of the bodies of its callback.
    #[serde(default)]
    pub callback_form: CallbackForm,
    /// Whether only the speakers are decided anew.
    #[serde(default)]
    pub rerun: bool,
    /// What is to be done.
    #[serde(default)]
    pub work: Work,
    /// Further recordings that came with the first and are kept beside it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
}

/// What is to be done with a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A document is made of it; samples are of people who may speak in it.
    #[default]
    Analyze,
    /// The voice in it, and in the samples, is remembered under the name of the request.
    Enroll,
}

impl Work {
    /// What a job is to do.
    pub fn of(job: &Job) -> Self {
        let request = serde_json::from_str::<Request>(&job.request);
        request.map(|request| request.work).unwrap_or_default()
    }

    /// The name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analyze => "analyze",
            Self::Enroll => "enroll",
        }
    }
}

/// A sample of a voice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Whose voice it is.
    pub name: String,
    /// Checksum of its bytes, in hexadecimal.
    pub sha256: String,
}

/// Where a recording comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It was uploaded and is kept with the job.
    Upload {
        /// Checksum of its bytes, in hexadecimal.
        sha256: String,
    },
    /// It is fetched when the job's turn comes.
    Url(String),
    /// It lies on this machine, below a folder that is open to requests.
    File(PathBuf),
    /// It lies in a bucket that is open to requests.
    S3 {
        /// The bucket.
        bucket: String,
        /// The key in it.
        key: String,
    },
}

impl Request {
    /// SHA-256 of what was asked, in hexadecimal: two requests with one job id must have the same.
    pub fn fingerprint(&self, callback: Option<&str>) -> String {
        let mut hash = Sha256::new();
        hash.update(self.json());
        hash.update(callback.unwrap_or_default());
        hex(&hash.finalize())
    }

    /// The request as it is stored.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a request has only names and numbers")
    }
}

/// The key of a sample of the recording at `media`: both lie in one folder, and are removed together.
pub(crate) fn sample_key(media: &str, index: usize) -> String {
    let folder = media.rsplit_once('/').map_or(media, |(folder, _)| folder);
    format!("{folder}/sample-{index}")
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
