//! The service from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum_server::Handle;
use axum_server::accept::DefaultAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use sori_store::{BlobOptions, Blobs, KeyRecord, Store, StoreOptions};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::app::{App, ModelInfo, Shared};
use crate::callback::{Secret, SecretError};
use crate::clock::Clock;
use crate::config::{KeysMode, LimitsSection, ServerConfig, TlsMode};
use crate::keys::{ApiKey, Scope};
use crate::listener::Places;
use crate::media_roots::{Buckets, MediaRoots};
use crate::metrics::{Metrics, RuleLabel};
use crate::netguard::{AllowNetError, Denied, Guard, GuardOptions};
use crate::news::Newsroom;
use crate::process::WorkerCommand;
use crate::rate::{RateLimiter, RateLimits};
use crate::staging::Staging;
use crate::tls::{Tls, TlsSource};
use crate::uploads::{UploadLimits, Uploads};
use crate::{dispatch, janitor, outbox, router};

/// Documents in memory at once: each may have some hundred MB.
const DOCUMENTS: usize = 4;
/// How often it is looked whether the server shall stop.
const LOOK: Duration = Duration::from_millis(50);
/// Time that jobs get beyond the drain to be given back.
const ENDING: Duration = Duration::from_secs(4);
/// Time that connections get to end after the last job has.
const CLOSING: Duration = Duration::from_secs(3);

/// What the program hands to the service.
pub struct Wiring<'a> {
    /// How a worker is started.
    pub worker: WorkerCommand,
    /// The models that are installed.
    pub models: Vec<ModelInfo>,
    /// Becomes true when the server shall stop.
    pub stop: &'a AtomicBool,
    /// Is told where the server listens, once it does, and of the first key, which is told once only.
    pub started: &'a dyn Fn(Started<'_>),
}

/// A server that listens.
pub struct Started<'a> {
    /// Its address.
    pub url: &'a str,
    /// The first key, where keys are asked for and there was none.
    pub key: Option<&'a str>,
    /// The certificate that clients have to trust, where the server made its own authority.
    pub authority: Option<&'a Path>,
}

/// A server that could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServeError {
    message: String,
}

pub(crate) fn because(
    what: impl std::fmt::Display,
) -> impl FnOnce(&dyn std::fmt::Display) -> ServeError {
    move |why| ServeError {
        message: format!("{what}: {why}"),
    }
}

/// Serves until it is told to stop; running jobs end or go back to the queue first.
///
/// # Errors
/// When the data folder, the database, the address or a certificate cannot be used.
pub fn serve(config: ServerConfig, wiring: Wiring<'_>) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| because("no threads")(&e))?;
    let served = runtime.block_on(run(config, wiring));
    // A callback under way may block its thread for a while; it is sent again by the next server.
    runtime.shutdown_timeout(Duration::from_millis(500));
    served
}

async fn run(config: ServerConfig, wiring: Wiring<'_>) -> Result<(), ServeError> {
    let data = config.server.data.clone();
    let _lock = lock_folder(&data)?;
    let listener = listen(&config.server.listen)?;
    let address = listener
        .local_addr()
        .map_err(|e| because("no address")(&e))?;
    let tls = tls(&config)?;
    let place = match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    let url = match (&config.server.public_url, &tls) {
        (url, _) if !url.is_empty() => url.trim_end_matches('/').to_owned(),
        (_, None) => format!("http://{place}"),
        (_, Some(_)) => format!("https://{place}"),
    };
    let app = open(config, &wiring, (address, url.clone())).await?;
    let key = first_key(&app).await?;
    if !address.ip().is_loopback() {
        if !app.keys_required {
            tracing::warn!("whoever can connect may do everything (access.keys = \"never\")");
        }
        if tls.is_none() && !url.starts_with("https:") {
            tracing::warn!(
                "keys and recordings can be read on the way: --tls local, or a proxy and server.public_url"
            );
        }
    }
    let database = |e: sori_store::StoreError| because("the database")(&e);
    let lost = app.store.give_back(app.clock.now_ms()).await;
    app.lost(&lost.map_err(database)?).await.map_err(database)?;

    let slots = tokio::spawn(dispatch::run(app.clone(), wiring.worker.clone()));
    let others = [
        tokio::spawn(outbox::run(app.clone())),
        tokio::spawn(janitor::run(app.clone())),
    ];
    let handle = Handle::new();
    let server = tokio::spawn(connections(
        app.clone(),
        listener,
        tls.clone(),
        handle.clone(),
    ));
    (wiring.started)(Started {
        url: &url,
        key: key.as_deref(),
        authority: tls.as_ref().and_then(|tls| tls.authority.as_deref()),
    });
    while !wiring.stop.load(Ordering::SeqCst) && !server.is_finished() {
        tokio::time::sleep(LOOK).await;
    }
    tracing::info!("stopping: nothing new is begun");
    app.draining.cancel();
    let most = Duration::from_secs(app.config.server.drain_seconds) + ENDING;
    if tokio::time::timeout(most, slots).await.is_err() {
        tracing::error!("jobs did not stop in time; their leases run out");
    }
    handle.graceful_shutdown(Some(CLOSING));
    for other in others {
        let _ = tokio::time::timeout(CLOSING, other).await;
    }
    match server.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(because("the listener")(&e)),
        Err(e) => Err(because("the listener")(&e)),
    }
}

/// Keeps others out of the folder: two servers on one would take each other's work for lost.
fn lock_folder(data: &Path) -> Result<File, ServeError> {
    let place = data.display().to_string();
    // Recordings and secrets are nobody else's.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|e| because(&place)(&e))?;
    let file = File::create(data.join("lock")).map_err(|e| because(&place)(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ServeError {
            message: format!("{place}: another server works there; stop it or give another --data"),
        }),
        Err(fs::TryLockError::Error(e)) => Err(because(&place)(&e)),
    }
}

fn listen(address: &str) -> Result<TcpListener, ServeError> {
    let refused = because(format!("server.listen = {address:?}"));
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|e| refused(&e))
}

/// A text that is kept in a file of the data folder and made at the first start.
fn kept(path: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = make();
            let folder = path.parent().unwrap_or(Path::new("."));
            // A temporary file may be read by its owner only.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(path)?;
            Ok(text)
        }
        Err(e) => Err(e),
    }
}

/// Where the database is.
pub(crate) fn store_options(config: &ServerConfig) -> Result<StoreOptions, ServeError> {
    let data = &config.server.data;
    let folder = |e: &dyn std::fmt::Display| because(data.display())(e);
    fs::create_dir_all(data).map_err(|e| folder(&e))?;
    let node = kept(&data.join("node"), || uuid::Uuid::new_v4().to_string());
    let node = node.map_err(|e| folder(&e))?;
    let options = match config.storage.database.as_str() {
        "" => StoreOptions::sqlite(&data.join("sori.db"), &node).map_err(|e| folder(&e))?,
        url => StoreOptions::new(url, &node),
    };
    let backoff_ms = config.workers.retry_seconds.map(|s| i64::from(s) * 1000);
    Ok(StoreOptions {
        backoff_ms,
        ..options
    })
}

/// The state of the server.
async fn open(
    config: ServerConfig,
    wiring: &Wiring<'_>,
    (address, public_url): (SocketAddr, String),
) -> Result<App, ServeError> {
    let data = config.server.data.clone();
    let in_data = |name: &str| data.join(name);
    let folder = |e: &dyn std::fmt::Display| because(data.display())(e);
    let store = Store::open(&store_options(&config)?)
        .await
        .map_err(|e| because("the database")(&e))?;
    let blobs = match config.storage.blobs.as_str() {
        "" => url::Url::from_directory_path(in_data("blobs"))
            .map_or_else(|()| String::new(), |url| url.to_string()),
        url => url.to_owned(),
    };
    let blobs = Blobs::open(&BlobOptions {
        url: blobs,
        endpoint: Some(config.storage.s3_endpoint.clone()).filter(|e| !e.is_empty()),
        ..Default::default()
    });
    let blobs = blobs.map_err(|e| because("storage.blobs")(&e))?;
    let idle = Duration::from_secs(config.limits.idle_seconds);
    let limits = (config.limits.media_bytes, config.limits.free_bytes);
    let staging = Staging::new(&in_data("staging"), limits, idle);
    let staging = staging.map_err(|e| folder(&e))?;
    let uploads = UploadLimits {
        max_bytes: config.limits.media_bytes,
        free_bytes: config.limits.free_bytes,
        idle,
        ..Default::default()
    };
    let uploads = Uploads::open(&in_data("uploads"), uploads).await;
    let secrets = secrets(&config, &data)?;
    let roots = MediaRoots::new(&config.sources.media_roots);
    let metrics = Metrics::new();
    let guard = guard(&config, address, &metrics)?;
    let access = &config.access;
    let limits = RateLimits {
        requests_per_minute: Some(access.requests_per_minute).filter(|n| *n > 0),
        audio_seconds_per_day: Some(access.audio_seconds_per_day as f64).filter(|n| *n > 0.0),
    };
    let keys_required = match access.keys {
        KeysMode::Always => true,
        KeysMode::Never => false,
        // An address for others means a proxy before a listener on loopback.
        KeysMode::Auto => !address.ip().is_loopback() || !config.server.public_url.is_empty(),
    };
    Ok(App::new(Shared {
        uploads: uploads.map_err(|e| folder(&e))?,
        buckets: Buckets::new(config.sources.s3_buckets.clone()),
        roots: roots.map_err(|e| because("sources.media_roots")(&e))?,
        limits: Mutex::new(RateLimiter::new(limits)),
        standing: tokio::sync::Mutex::new(None),
        documents: Arc::new(Semaphore::new(DOCUMENTS)),
        clock: Clock::start(),
        news: Newsroom::new(),
        models: wiring.models.clone(),
        loaded: Mutex::new(BTreeMap::new()),
        workers: Mutex::new(BTreeSet::new()),
        work: Notify::new(),
        outbox: Notify::new(),
        draining: CancellationToken::new(),
        config,
        data,
        store,
        blobs,
        guard,
        metrics,
        staging,
        keys_required,
        secrets,
        public_url,
    }))
}

/// The guard of all URLs, which counts what it refuses.
fn guard(
    config: &ServerConfig,
    address: SocketAddr,
    metrics: &Metrics,
) -> Result<Guard, ServeError> {
    let denied = metrics.denied.clone();
    let allow = config.sources.allow_net.iter().map(|text| text.parse());
    let allow = allow
        .collect::<Result<_, _>>()
        .map_err(|e: AllowNetError| because("sources.allow_net")(&e))?;
    Ok(Guard::new(GuardOptions {
        allow,
        own_addresses: vec![address],
        on_denied: Some(Arc::new(move |refused: &Denied| {
            let rule = refused.rule.name().to_owned();
            denied.get_or_create(&RuleLabel { rule }).inc();
        })),
        ..Default::default()
    }))
}

/// The secrets of callbacks: the configured ones, else one that is made at the first start.
fn secrets(config: &ServerConfig, data: &Path) -> Result<Vec<Secret>, ServeError> {
    let wrong = |e: SecretError| because("callbacks.secrets")(&e);
    if !config.callbacks.secrets.is_empty() {
        return config
            .callbacks
            .secrets
            .iter()
            .map(|text| text.parse().map_err(wrong))
            .collect();
    }
    let path = data.join("callback-secret");
    let text = kept(&path, || Secret::fresh().reveal()).map_err(|e| because(path.display())(&e))?;
    Ok(vec![
        text.parse()
            .map_err(|e: SecretError| because(path.display())(&e))?,
    ])
}

/// Makes the first key where keys are asked for and there is none.
async fn first_key(app: &App) -> Result<Option<String>, ServeError> {
    let database = |e: sori_store::StoreError| because("the database")(&e);
    if !app.keys_required || !app.store.keys().await.map_err(database)?.is_empty() {
        return Ok(None);
    }
    let key = ApiKey::fresh();
    let record = KeyRecord {
        id: uuid::Uuid::now_v7().to_string(),
        name: "first".to_owned(),
        sha256: key.hash(),
        scopes: vec![Scope::Admin.name().to_owned()],
        created_ms: app.clock.now_ms(),
        expires_ms: None,
        used_ms: None,
    };
    app.store.add_key(&record).await.map_err(database)?;
    Ok(Some(key.reveal().to_owned()))
}

/// Where the certificate comes from, where there is one.
fn tls(config: &ServerConfig) -> Result<Option<Tls>, ServeError> {
    let server = &config.server;
    let source = match server.tls {
        TlsMode::Off => return Ok(None),
        TlsMode::Files => TlsSource::Files {
            certificate: server.certificate.clone(),
            key: server.certificate_key.clone(),
        },
        TlsMode::Local => TlsSource::Local {
            folder: server.data.join("tls"),
            names: server.names.clone(),
        },
    };
    let now = Clock::start().now_ms();
    Tls::open(&source, now)
        .map(Some)
        .map_err(|e| because("server.tls")(&e))
}

/// Answers connections until the handle ends them.
async fn connections(
    app: App,
    listener: TcpListener,
    tls: Option<Tls>,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let service = router::router(app.clone()).into_make_service();
    let head = Duration::from_secs(app.config.limits.header_seconds);
    let limits = app.config.limits.clone();
    match tls {
        None => {
            let acceptor = Places::new(DefaultAcceptor::new(), limits.connections, head);
            let mut server = axum_server::from_tcp(listener)?
                .handle(handle)
                .acceptor(acceptor);
            patience(server.http_builder(), &limits);
            server.serve(service).await
        }
        Some(tls) => {
            let config = RustlsConfig::from_config(tls.config);
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(head);
            let acceptor = Places::new(acceptor, limits.connections, head);
            let mut server = axum_server::from_tcp(listener)?
                .handle(handle)
                .acceptor(acceptor);
            patience(server.http_builder(), &limits);
            server.serve(service).await
        }
    }
}

/// How long a client may be silent: with a head half-sent, and without an answer to the pings of HTTP/2.
fn patience(http: &mut Builder<TokioExecutor>, limits: &LimitsSection) {
    let head = Duration::from_secs(limits.header_seconds);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(limits.idle_seconds))
        .keep_alive_timeout(head);
}
