//! The configuration of the service: a file, then the environment, then flags; every key has a default.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file with every key and its comment; its values are the defaults.
pub const DEFAULT_CONFIG: &str = include_str!("../../../sori.toml");

/// The whole configuration. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Where it listens and keeps things.
    pub server: ServerSection,
    /// Who may ask for what.
    pub access: AccessSection,
    /// How much is taken.
    pub limits: LimitsSection,
    /// The processes that do the work.
    pub workers: WorkersSection,
    /// Where recordings may come from.
    pub sources: SourcesSection,
    /// Telling others how jobs go.
    pub callbacks: CallbacksSection,
    /// Where jobs and results are kept.
    pub storage: StorageSection,
    /// The log.
    pub log: LogSection,
}

/// Where the server listens and keeps things.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    /// Address and port.
    pub listen: String,
    /// Folder of the database, results and keys; empty is the user's data folder.
    pub data: PathBuf,
    /// Address that clients reach the server by, for links in callbacks; empty is the one it listens on.
    pub public_url: String,
    /// `off`, `local` (a certificate authority of its own) or `files`.
    pub tls: TlsMode,
    /// Certificate chain in PEM, for `files`.
    pub certificate: PathBuf,
    /// Its key in PEM, for `files`.
    pub certificate_key: PathBuf,
    /// More names and addresses that a `local` certificate is for.
    pub names: Vec<String>,
    /// Origins whose pages may ask from a browser; none by default.
    pub cors_origins: Vec<String>,
    /// Seconds that running jobs get when the server is asked to stop.
    pub drain_seconds: u64,
}

/// How connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// They are not.
    Off,
    /// With a certificate of a local authority that is made at the first start.
    Local,
    /// With a certificate from files.
    Files,
}

/// When keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysMode {
    /// Unless only this machine can connect.
    Auto,
    /// Always.
    Always,
    /// Never: whoever can connect may do everything.
    Never,
}

/// Who may ask for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSection {
    /// When keys are asked for.
    pub keys: KeysMode,
    /// Requests a minute and key; 0 is no limit.
    pub requests_per_minute: u32,
    /// Jobs of one key that wait or run; 0 is no limit.
    pub jobs_per_key: u64,
    /// Seconds of sound a day and key; 0 is no limit.
    pub audio_seconds_per_day: u64,
}

/// How much is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Largest upload or download in bytes.
    pub media_bytes: u64,
    /// Longest recording in seconds.
    pub media_seconds: u64,
    /// Most channels of a recording.
    pub media_channels: usize,
    /// Most pixels of a picture that is decoded.
    pub media_pixels: u64,
    /// Jobs that wait or run at once.
    pub queued_jobs: u64,
    /// Bytes of recordings that wait at once.
    pub queued_bytes: u64,
    /// Bytes that must stay free on the disk.
    pub free_bytes: u64,
    /// Memory that must be free before anything is accepted, in MB.
    pub free_memory_mb: u64,
    /// Seconds in which the head of a request must arrive.
    pub header_seconds: u64,
    /// Seconds without a byte after which an upload is given up.
    pub idle_seconds: u64,
    /// Seconds that a synchronous request waits for its job.
    pub wait_seconds: u64,
    /// Connections at once.
    pub connections: usize,
}

/// The processes that do the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersSection {
    /// Jobs at once; each has a process of its own.
    pub count: usize,
    /// Threads of each; 0 shares the cores among them.
    pub threads: usize,
    /// Memory that each may use, in MB; 0 is no limit.
    pub memory_mb: u64,
    /// Seconds that an attempt at a job may take, beside ten times its length.
    pub job_seconds: u64,
    /// Seconds until another try, after the first failure or lost process, the second, and all others.
    pub retry_seconds: [u32; 3],
}

/// Where recordings may come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcesSection {
    /// Folders below which a request may name files of this machine.
    pub media_roots: Vec<PathBuf>,
    /// Buckets that a request may name as s3://bucket/key.
    pub s3_buckets: Vec<String>,
    /// Networks and hosts that are reached although they are private.
    pub allow_net: Vec<String>,
}

/// Telling others how jobs go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbacksSection {
    /// Secrets that bodies are signed with (`whsec_…`), the newest first; empty makes one at the first start.
    pub secrets: Vec<String>,
    /// Shape of the bodies.
    pub form: CallbackForm,
    /// Results up to this size stand in the body, larger ones are linked.
    pub inline_bytes: usize,
}

/// Shape of a callback's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallbackForm {
    /// `{job_id, status, progress, message, result}`.
    #[default]
    Plain,
    /// `{type, timestamp, data}` (Standard Webhooks).
    Standard,
}

/// Where jobs and results are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSection {
    /// `sqlite:///…`, `postgres://…` or `mysql://…`; empty is SQLite in the data folder.
    pub database: String,
    /// `file:///…` or `s3://bucket/prefix`; empty is the data folder.
    pub blobs: String,
    /// Address of an S3 server that is not Amazon's.
    pub s3_endpoint: String,
    /// Days that ended jobs are kept; 0 keeps them for ever.
    pub keep_days: u32,
    /// Whether recordings are kept when their job is done.
    pub keep_media: bool,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// error, warn, info, debug or trace, or a filter such as `info,sori_server=debug`.
    pub level: String,
    /// `auto` is text on a terminal and JSON lines elsewhere.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// JSON lines.
    Json,
}

/// A configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Default for ServerConfig {
    fn default() -> Self {
        toml::from_str(DEFAULT_CONFIG).expect("the file in the program is tested")
    }
}

impl ServerConfig {
    /// The defaults, changed by the `file` if there is one, by `SORI_SECTION_KEY` from `environment`, and by `flags`
    /// (`section.key` and value).
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown, or a value is out of range.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut table: toml::Table =
            toml::from_str(DEFAULT_CONFIG).expect("the file in the program is tested");
        if let Some(path) = file {
            let place = path.display();
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError(format!("{place}: cannot be read: {e}")))?;
            let given: toml::Table =
                toml::from_str(&text).map_err(|e| ConfigError(format!("{place}: {e}")))?;
            for (section, keys) in given {
                let toml::Value::Table(keys) = keys else {
                    return Err(ConfigError(format!(
                        "{place}: {section} is outside of a section such as [server]"
                    )));
                };
                for (key, value) in keys {
                    set(&mut table, (&section, &key), value)
                        .map_err(|e| ConfigError(format!("{place}: {e}")))?;
                }
            }
        }
        for (name, value) in environment {
            let Some(path) = name.strip_prefix("SORI_").map(str::to_lowercase) else {
                continue;
            };
            // Other names of the program begin with SORI_ too.
            if let Some((section, key)) = path.split_once('_')
                && table.contains_key(section)
            {
                let value = like(&table, (section, key), &value);
                set(&mut table, (section, key), value)
                    .map_err(|e| ConfigError(format!("{name}: {e}")))?;
            }
        }
        for (path, value) in flags {
            let (section, key) = path
                .split_once('.')
                .expect("flags are named by the program");
            let value = like(&table, (section, key), value);
            set(&mut table, (section, key), value)
                .map_err(|e| ConfigError(format!("--{}: {e}", key.replace('_', "-"))))?;
        }
        let config: Self = table.try_into().map_err(|e| ConfigError(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks values against each other.
    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError(message.to_owned()));
        if self.workers.count == 0 || self.workers.count > 256 {
            return refuse("workers.count: give a number from 1 to 256");
        }
        if self.server.tls == TlsMode::Files && self.server.certificate.as_os_str().is_empty() {
            return refuse("server.tls = \"files\" needs server.certificate and certificate_key");
        }
        if self.limits.queued_jobs == 0 {
            return refuse("limits.queued_jobs: give a number above 0");
        }
        Ok(())
    }
}

/// Sets a key that there is; else names the nearest one.
fn set(
    table: &mut toml::Table,
    (section, key): (&str, &str),
    value: toml::Value,
) -> Result<(), String> {
    let names: Vec<String> = table
        .iter()
        .flat_map(|(s, keys)| {
            let keys = keys.as_table().into_iter().flat_map(toml::Table::keys);
            keys.map(move |k| format!("{s}.{k}")).collect::<Vec<_>>()
        })
        .collect();
    let known = table
        .get_mut(section)
        .and_then(toml::Value::as_table_mut)
        .and_then(|keys| keys.get_mut(key));
    match known {
        Some(place) if place.same_type(&value) => {
            if let (Some(known), Some(given)) = (place.as_array(), value.as_array())
                && known.first().is_some_and(toml::Value::is_integer)
                && known.len() != given.len()
            {
                return Err(format!("{section}.{key} takes {} numbers", known.len()));
            }
            *place = value;
            Ok(())
        }
        Some(place) => Err(format!(
            "{section}.{key} takes this type: {}; given: {}",
            place.type_str(),
            value.type_str()
        )),
        None => {
            let asked = format!("{section}.{key}");
            let nearest = names
                .iter()
                .max_by(|a, b| strsim::jaro(a, &asked).total_cmp(&strsim::jaro(b, &asked)));
            let nearest = nearest.map_or("", String::as_str);
            Err(format!("there is no key {asked}; the nearest is {nearest}"))
        }
    }
}

/// The text as a value of the type that the key has; lists are given with commas.
fn like(table: &toml::Table, (section, key): (&str, &str), text: &str) -> toml::Value {
    let known = table.get(section).and_then(|keys| keys.get(key));
    let text_value = || toml::Value::String(text.to_owned());
    match known {
        Some(toml::Value::Integer(_)) => text
            .parse()
            .map_or_else(|_| text_value(), toml::Value::Integer),
        Some(toml::Value::Boolean(_)) => text
            .parse()
            .map_or_else(|_| text_value(), toml::Value::Boolean),
        Some(toml::Value::Array(known)) => {
            let number = |part: &str| part.parse().ok().map(toml::Value::Integer);
            let numbers = known.first().is_some_and(toml::Value::is_integer);
            let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
            let value = |part: &str| {
                let number = number(part).filter(|_| numbers);
                number.unwrap_or_else(|| toml::Value::String(part.to_owned()))
            };
            toml::Value::Array(parts.map(value).collect())
        }
        _ => text_value(),
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn file_then_environment_then_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sori.toml");
        std::fs::write(
            &file,
            "[server]\nlisten = \"0.0.0.0:1\"\n[workers]\ncount = 2\n[log]\nlevel = \"debug\"\n",
        )
        .expect("written");
        let environment = [
            ("SORI_WORKERS_COUNT", "3"),
            ("SORI_SOURCES_S3_BUCKETS", "a, b"),
            ("SORI_WORKERS_RETRY_SECONDS", "0,1,2"),
            ("SORI_MODELS", "/models"),
            ("SORI_LOG_LEVEL", "warn"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()));
        let flags = [("log.level", "trace".to_owned())];
        let config = ServerConfig::load(Some(&file), environment.into_iter(), &flags).expect("ok");
        assert_eq!(config.server.listen, "0.0.0.0:1");
        assert_eq!(config.workers.count, 3);
        assert_eq!(config.sources.s3_buckets, ["a", "b"]);
        assert_eq!(config.workers.retry_seconds, [0, 1, 2]);
        assert_eq!(config.log.level, "trace");
        assert_eq!(config.limits, ServerConfig::default().limits);
    }

    #[test]
    fn what_is_wrong_is_named_with_the_nearest_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sori.toml");
        for (text, part) in [
            ("[server]\nlisen = \"x\"", "the nearest is server.listen"),
            ("[sever]\nlisten = \"x\"", "the nearest is server.listen"),
            (
                "[workers]\ncount = \"2\"",
                "workers.count takes this type: integer",
            ),
            ("[workers]\ncount = 0", "from 1 to 256"),
            ("listen = 1", "outside of a section"),
            ("[server", "sori.toml"),
            ("[workers]\nretry_seconds = [1]", "takes 3 numbers"),
            ("[server]\ntls = \"maybe\"", "maybe"),
        ] {
            std::fs::write(&file, text).expect("written");
            let error = ServerConfig::load(Some(&file), iter::empty(), &[]).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
