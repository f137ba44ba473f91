//! The server's TLS, by handshakes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use sori_server::tls::{Tls, TlsSource};

/// 2026-01-01.
const NOW_MS: i64 = 1_767_225_600_000;
const DAY_MS: i64 = 86_400_000;

#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(
            self.0 as u64,
        )))
    }
}

/// Shakes hands in memory; returns the protocol agreed upon and the server's certificate.
fn shake(
    tls: &Tls,
    root: &Path,
    name: &str,
    at_ms: i64,
) -> Result<(Vec<u8>, Vec<u8>), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(At(at_ms)))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(tls.config.clone())?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let leaf = client.peer_certificates().unwrap()[0].to_vec();
    Ok((client.alpn_protocol().unwrap_or_default().to_vec(), leaf))
}

fn local(folder: &Path, names: &[&str]) -> TlsSource {
    TlsSource::Local {
        folder: folder.to_owned(),
        names: names.iter().map(|name| name.to_string()).collect(),
    }
}

#[test]
fn a_local_authority_is_made_once_and_certifies_anew_at_every_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("tls");
    let source = local(&folder, &["Nas.lan.", "10.0.0.7", "[fd00::7]", "localhost"]);
    let first = Tls::open(&source, NOW_MS).unwrap();
    let root = first.authority.clone().unwrap();
    let pem = fs::read(&root).unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "nas.lan",
        "10.0.0.7",
        "fd00::7",
    ] {
        let (protocol, _) = shake(&first, &root, name, NOW_MS).unwrap();
        assert_eq!(protocol, b"h2", "{name}");
    }
    for name in ["other.lan", "10.0.0.8"] {
        assert!(shake(&first, &root, name, NOW_MS).is_err(), "{name}");
    }
    for (days, valid) in [(-3, false), (0, true), (395, true), (397, false)] {
        let found = shake(&first, &root, "nas.lan", NOW_MS + days * DAY_MS);
        assert_eq!(found.is_ok(), valid, "{days}");
    }

    let later = NOW_MS + 3 * 365 * DAY_MS;
    let second = Tls::open(&source, later).unwrap();
    assert_eq!(fs::read(&root).unwrap(), pem, "users trust it once");
    let (_, new) = shake(&second, &root, "nas.lan", later).unwrap();
    let (_, old) = shake(&first, &root, "nas.lan", NOW_MS).unwrap();
    assert_ne!(new, old);

    let elsewhere = tempfile::tempdir().unwrap();
    let other = Tls::open(&local(elsewhere.path(), &[]), NOW_MS).unwrap();
    assert!(shake(&second, &other.authority.unwrap(), "localhost", later).is_err());

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.join("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn an_authority_without_its_key_and_names_that_are_none_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    for name in [
        "",
        "a b",
        "*.lan",
        "-a.lan",
        "a..b",
        "http://a.lan",
        &"a".repeat(64),
    ] {
        let error = Tls::open(&local(folder.path(), &[name]), NOW_MS)
            .unwrap_err()
            .to_string();
        assert!(error.contains("tls.names"), "{error}");
    }
    let key = fs::read(at("ca.key")).unwrap();
    fs::write(at("ca.key"), "noise").unwrap();
    let error = Tls::open(&local(folder.path(), &[]), NOW_MS)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ca.key: not a key"), "{error}");
    fs::remove_file(at("ca.key")).unwrap();
    let error = Tls::open(&local(folder.path(), &[]), NOW_MS)
        .unwrap_err()
        .to_string();
    assert!(error.contains("remove ca.pem"), "{error}");
    // A first start that was killed between key and certificate goes on.
    fs::write(at("ca.key"), key).unwrap();
    fs::remove_file(at("ca.pem")).unwrap();
    let tls = Tls::open(&local(folder.path(), &[]), NOW_MS).unwrap();
    assert!(shake(&tls, &at("ca.pem"), "localhost", NOW_MS).is_ok());
}

#[test]
fn the_operators_files_are_served_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
        fs::write(at(&format!("{name}.pem")), made.cert.pem()).unwrap();
        fs::write(at(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    fs::write(at("noise"), "noise").unwrap();
    let open = |certificate: &str, key: &str| {
        let source = TlsSource::Files {
            certificate: at(certificate),
            key: at(key),
        };
        Tls::open(&source, NOW_MS).map_err(|error| error.to_string())
    };
    let tls = open("a.pem", "a.key").unwrap();
    assert!(tls.authority.is_none());
    assert_eq!(
        shake(&tls, &at("a.pem"), "a.example", NOW_MS).unwrap().0,
        b"h2"
    );
    for (certificate, key, named) in [
        ("a.pem", "b.key", "a.pem"),
        ("noise", "a.key", "noise"),
        ("a.pem", "noise", "noise"),
        ("absent", "a.key", "absent"),
        ("a.pem", "absent", "absent"),
        ("a.key", "a.pem", "a.key"),
    ] {
        let error = open(certificate, key).unwrap_err();
        assert!(
            error.contains(&at(named).display().to_string()),
            "{certificate}, {key}: {error}"
        );
    }
}
