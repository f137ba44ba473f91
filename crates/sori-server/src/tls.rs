//! TLS for the server: the operator's certificate, or one of a local authority that is made at the first start.
//!
//! The local authority serves networks without names in public DNS: its certificate, `ca.pem` in the data folder, is given
//! to browsers and programs once. Its key lies beside it, readable by its owner only. The server's own certificate is made
//! anew at every start and its key never written, so it is never old and never stolen from a disk.

use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Days that a server's certificate is valid; Apple's systems refuse more than 398 (825 for private authorities).
const LEAF_DAYS: i64 = 397;
/// Years that the local authority is valid.
const CA_YEARS: i64 = 10;
const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum TlsSource {
    /// Files in PEM: the chain, the server's certificate first, and its key (PKCS#8, PKCS#1 or SEC1).
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The local authority.
    Local {
        /// The folder of `ca.pem` and `ca.key`; it is made if it is absent.
        folder: PathBuf,
        /// Names and addresses under which the server is reached, besides `localhost` and the loopback addresses.
        names: Vec<String>,
    },
}

/// TLS, ready to serve.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The configuration for the listener: TLS 1.2 and 1.3 with `ring`, offering HTTP/2 and HTTP/1.1.
    pub config: Arc<ServerConfig>,
    /// The certificate of the local authority, for clients to trust.
    pub authority: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}", path = path.display())]
pub struct TlsError {
    path: PathBuf,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TlsError {
    fn new(path: &Path, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
            source: None,
        }
    }

    fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl Tls {
    /// Reads the certificate, or makes one with the local authority. Reads and writes files; takes a few milliseconds.
    ///
    /// # Errors
    /// When files are absent, unreadable or not what they should be, a name is none, or the folder takes no files.
    pub fn open(source: &TlsSource, now_ms: i64) -> Result<Self, TlsError> {
        match source {
            TlsSource::Files { certificate, key } => {
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|error| {
                        TlsError::new(certificate, "no certificates in PEM can be read from it")
                            .caused_by(error)
                    })?;
                if chain.is_empty() {
                    return Err(TlsError::new(certificate, "holds no certificate in PEM"));
                }
                let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    TlsError::new(key, "no private key in PEM can be read from it").caused_by(error)
                })?;
                let config = serve(chain, private).map_err(|error| {
                    let message = format!("does not go with the key in {}", key.display());
                    TlsError::new(certificate, message).caused_by(error)
                })?;
                Ok(Self {
                    config,
                    authority: None,
                })
            }
            TlsSource::Local { folder, names } => local(folder, names, now_ms),
        }
    }
}

fn serve(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn local(folder: &Path, names: &[String], now_ms: i64) -> Result<Tls, TlsError> {
    let today = day(now_ms);
    let issuer = authority(folder, today)?;
    let mut all = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    for name in names {
        let name = name
            .trim()
            .trim_end_matches('.')
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        let known = name.parse::<IpAddr>().is_ok() || is_host_name(&name);
        if !known {
            let message =
                format!("{name:?} is neither a host name nor an address: correct tls.names");
            return Err(TlsError::new(folder, message));
        }
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let made = |error| TlsError::new(folder, "no certificate can be made").caused_by(error);
    let mut params = CertificateParams::new(all).map_err(made)?;
    params.distinguished_name.push(DnType::CommonName, "Sori");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, today, (LEAF_DAYS - 1).days());
    let key = KeyPair::generate().map_err(made)?;
    let leaf = params.signed_by(&key, &issuer).map_err(made)?;
    let private = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|message| TlsError::new(folder, message))?;
    let config = serve(vec![leaf.der().clone()], private)
        .map_err(|error| TlsError::new(folder, "no certificate can be used").caused_by(error))?;
    Ok(Tls {
        config,
        authority: Some(folder.join(CA_FILE)),
    })
}

/// Letters, digits and `-` in labels of up to 63 (RFC 1123 §2.1); `_` too, which names in local networks have.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// Returns the authority of the folder, made now if there is none. The key is written before the certificate: a
/// certificate that users have been given always has its key.
fn authority(folder: &Path, today: Date) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let (certificate, key_file) = (folder.join(CA_FILE), folder.join(CA_KEY_FILE));
    let key = match fs::read_to_string(&key_file) {
        Ok(pem) => KeyPair::from_pem(&pem).map_err(|error| {
            TlsError::new(
                &key_file,
                "not a key: remove it and ca.pem for a new authority",
            )
            .caused_by(error)
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !certificate.exists() => {
            fs::create_dir_all(folder)
                .map_err(|error| TlsError::new(folder, "cannot be made").caused_by(error))?;
            let key = KeyPair::generate()
                .map_err(|error| TlsError::new(&key_file, "no key can be made").caused_by(error))?;
            keep(&key_file, &key.serialize_pem())?;
            key
        }
        Err(error) => {
            let message =
                "the key of the local authority cannot be read: remove ca.pem for a new authority";
            return Err(TlsError::new(&key_file, message).caused_by(error));
        }
    };
    let params = authority_params(&key, today);
    if !certificate.exists() {
        let made = params
            .self_signed(&key)
            .map_err(|error| TlsError::new(&certificate, "cannot be made").caused_by(error))?;
        keep(&certificate, &made.pem())?;
    }
    Ok(Issuer::new(params, key))
}

/// The name of the authority holds the beginning of its key's identifier, so that two of them can be told apart in a list.
fn authority_params(key: &KeyPair, today: Date) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let id: String = params.key_identifier(key)[..4]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Sori local authority {id}"));
    valid(&mut params, today, CA_YEARS.years());
    params
}

/// Writes a file that only its owner can read, whole or not at all, unless another start did so first.
fn keep(path: &Path, text: &str) -> Result<(), TlsError> {
    let failed = |error| TlsError::new(path, "cannot be written").caused_by(error);
    let folder = path.parent().unwrap_or(Path::new("."));
    // tempfile makes files with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

/// Makes a certificate valid from yesterday, for clocks that are behind.
fn valid(params: &mut CertificateParams, today: Date, span: Span) {
    let at = |date: Date| date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8);
    params.not_before = at(today.saturating_sub(1.day()));
    params.not_after = at(today.saturating_add(span));
}

fn day(now_ms: i64) -> Date {
    Timestamp::from_millisecond(now_ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::UTC)
        .date()
}
