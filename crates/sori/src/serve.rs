//! `sori serve`: the service on this machine.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::Args;
use sori_infer::catalogue::ModelKind;
use sori_infer::library::Library;
use sori_server::config::{DEFAULT_CONFIG, ServerConfig};
use sori_server::{ModelInfo, Started, Wiring, WorkerCommand, serve};

use crate::log;
use crate::networks::ModelsFolder;

const EXAMPLES: &str = "\
Examples:
  sori serve                                        on http://127.0.0.1:8080, for this machine alone
  sori serve --host 0.0.0.0 --tls local             for the network, encrypted; prints a key at the first start
  sori serve --print-config > sori.toml             every setting with its comment
  sori serve --config sori.toml --workers 2

Then:
  curl -F file=@interview.mp4 http://127.0.0.1:8080/v1/jobs
  curl http://127.0.0.1:8080/openapi.json           what else it answers; /docs in a browser

Exit status: 0 stopped as asked, 1 it could not start, 2 wrong arguments.";

/// Where the settings of the service are.
#[derive(Args)]
pub struct Settings {
    /// A file of settings; see `sori serve --print-config`
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder of the database, results and secrets
    #[arg(long, value_name = "FOLDER", global = true)]
    data: Option<PathBuf>,
}

impl Settings {
    /// The settings without flags of `sori serve`.
    ///
    /// # Errors
    /// When one is wrong.
    pub fn load(&self) -> Result<ServerConfig> {
        self.with(&[])
    }

    /// The settings: defaults, file, environment, flags.
    fn with(&self, flags: &[(&str, String)]) -> Result<ServerConfig> {
        let mut flags = flags.to_vec();
        if let Some(data) = &self.data {
            flags.push(("server.data", data.to_string_lossy().into_owned()));
        }
        let mut config = ServerConfig::load(self.config.as_deref(), std::env::vars(), &flags)?;
        config.server.data = match config.server.data.as_os_str().is_empty() {
            true => default_data()?,
            false => std::path::absolute(&config.server.data)?,
        };
        Ok(config)
    }
}

/// The arguments of `sori serve`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeCommand {
    #[command(flatten)]
    settings: Settings,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The address alone, as other servers have it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "listen")]
    host: Option<String>,
    /// The port alone; 0 takes a free one
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// off; local: encrypted with a certificate of its own authority; files: with the one in the settings
    #[arg(long, value_name = "MODE")]
    tls: Option<String>,
    /// Jobs at once
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Folders below which requests may name files, with commas
    #[arg(long, value_name = "FOLDERS")]
    media_root: Option<String>,
    /// Private networks and hosts that may be asked, with commas (192.168.1.0/24,nas.local)
    #[arg(long, value_name = "NETS")]
    allow_net: Option<String>,
    /// Buckets that requests may name, with commas
    #[arg(long, value_name = "BUCKETS")]
    allow_bucket: Option<String>,
    /// error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Print every setting with its comment, and stop
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    models: ModelsFolder,
}

/// Runs `sori serve`.
///
/// # Errors
/// When a setting is wrong, or the data folder, the database, the address or a certificate cannot be used.
pub fn run(command: &ServeCommand, cancel: &AtomicBool) -> Result<()> {
    if command.print_config {
        print!("{DEFAULT_CONFIG}");
        return Ok(());
    }
    let config = configuration(command)?;
    let traces = log::start(&config.log)?;
    let root = command.models.root();
    let worker = WorkerCommand {
        program: std::env::current_exe().context("the program does not know where it is")?,
        arguments: arguments(&config, &root),
    };
    let models = models(&root)?;
    let wiring = Wiring {
        worker,
        models,
        stop: cancel,
        started: &started,
    };
    let served = serve(config, wiring);
    log::end(traces);
    Ok(served?)
}

/// The settings: defaults, file, environment, flags.
fn configuration(command: &ServeCommand) -> Result<ServerConfig> {
    let mut flags: Vec<(&str, String)> = Vec::new();
    let listen = match (&command.listen, &command.host, command.port) {
        (Some(listen), ..) => Some(listen.clone()),
        (None, None, None) => None,
        (None, host, port) => {
            // The other half is that of the settings.
            let settings = command.settings.load()?.server.listen;
            let (own_host, own_port) = settings.rsplit_once(':').unwrap_or((&settings, "8080"));
            let own_host = own_host.trim_start_matches('[').trim_end_matches(']');
            let host = host.as_deref().unwrap_or(own_host);
            let port = port.map_or_else(|| own_port.to_owned(), |port| port.to_string());
            Some(match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            })
        }
    };
    let given = [
        ("server.listen", listen),
        ("server.tls", command.tls.clone()),
        ("workers.count", command.workers.map(|n| n.to_string())),
        ("sources.media_roots", command.media_root.clone()),
        ("sources.allow_net", command.allow_net.clone()),
        ("sources.s3_buckets", command.allow_bucket.clone()),
        ("log.level", command.log_level.clone()),
    ];
    for (key, value) in given {
        flags.extend(value.map(|value| (key, value)));
    }
    command.settings.with(&flags)
}

/// The user's data folder (XDG Base Directory Specification).
fn default_data() -> Result<PathBuf> {
    let given = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    match (given("XDG_DATA_HOME"), given("HOME")) {
        (Some(data), _) => Ok(data.join("sori")),
        (None, Some(home)) => Ok(home.join(".local/share/sori")),
        (None, None) => bail!("no HOME in the environment: give --data FOLDER"),
    }
}

/// What a worker is started with.
fn arguments(config: &ServerConfig, root: &Path) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match config.workers.threads {
        0 => (cores / config.workers.count).max(1),
        threads => threads,
    };
    let mut arguments = vec![
        "work".to_owned(),
        format!("--models-dir={}", root.display()),
        format!("--threads={threads}"),
        format!("--max-seconds={}", config.limits.media_seconds),
        format!("--max-channels={}", config.limits.media_channels),
        format!("--max-pixels={}", config.limits.media_pixels),
    ];
    if config.workers.memory_mb > 0 {
        arguments.push(format!("--memory-mb={}", config.workers.memory_mb));
    }
    arguments
}

fn started(server: Started<'_>) {
    eprintln!("listening on {}", server.url);
    if let Some(key) = server.key {
        eprintln!("the first key, shown this once: {key}");
        eprintln!("send it as `Authorization: Bearer {key}`; more with `sori keys add NAME`");
    }
    if let Some(authority) = server.authority {
        eprintln!("clients must trust {}", authority.display());
    }
}

/// The models that jobs may name: the installed ones, and the one that is built in.
fn models(root: &Path) -> Result<Vec<ModelInfo>> {
    let installed = Library::open(root.to_owned())?.list()?.installed;
    let built_in = ModelInfo {
        name: "starter".to_owned(),
        kind: ModelKind::Whisper.as_str().to_owned(),
        licence: env!("CARGO_PKG_LICENSE").to_owned(),
    };
    let installed = installed.into_iter().map(|model| ModelInfo {
        name: model.manifest.name,
        kind: model.manifest.kind.as_str().to_owned(),
        licence: model.manifest.licence.unwrap_or_default(),
    });
    Ok(installed.chain([built_in]).collect())
}

/// Milliseconds since 1970 for people: UTC to the second.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000))
        .map_or_else(|_| String::new(), |t| t.to_string())
}
