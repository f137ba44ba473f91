//! Files in a folder and in a bucket.

use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use sori_store::{Blob, BlobOptions, Blobs, StoreErrorKind};

async fn read(blob: Blob) -> Vec<u8> {
    blob.stream.try_collect::<Vec<_>>().await.unwrap().concat()
}

/// 40 MiB of which no two parts are alike: three parts of an upload.
fn large() -> Vec<u8> {
    (0..10_u32 << 20)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

async fn keeps_what_it_is_given(blobs: &Blobs, folder: &Path) {
    let document = "jobs/a/document.json";
    assert_eq!(
        blobs.get(document).await.unwrap_err().kind(),
        StoreErrorKind::NotFound
    );
    blobs
        .put(document, Bytes::from_static(b"{\"old\":1}"))
        .await
        .unwrap();
    blobs
        .put(document, Bytes::from_static(b"0123456789"))
        .await
        .unwrap();
    let blob = blobs.get(document).await.unwrap();
    assert_eq!((blob.size, blob.range.clone()), (10, 0..10));
    assert_eq!(read(blob).await, b"0123456789");
    for (range, part) in [(0..4, "0123"), (8..100, "89"), (9..10, "9")] {
        let blob = blobs.get_range(document, range).await.unwrap();
        assert_eq!(blob.size, 10);
        assert_eq!(read(blob).await, part.as_bytes());
    }
    for none in [10..12, 5..5, 100..200] {
        assert_eq!(
            blobs.get_range(document, none).await.unwrap_err().kind(),
            StoreErrorKind::Invalid
        );
    }
    // A large file, in and out by path.
    let (path, bytes) = (folder.join("upload"), large());
    std::fs::write(&path, &bytes).unwrap();
    blobs.put_file("jobs/a/media", &path).await.unwrap();
    assert!(!path.exists());
    assert_eq!(
        blobs.fetch_to("jobs/a/media", &path).await.unwrap(),
        bytes.len() as u64
    );
    assert!(std::fs::read(&path).unwrap() == bytes);
    let nothing = blobs
        .put_file("jobs/a/x", &folder.join("nothing"))
        .await
        .unwrap_err();
    assert_eq!(nothing.kind(), StoreErrorKind::NotFound);
    std::fs::write(&path, "").unwrap();
    blobs.put_file("jobs/a/empty", &path).await.unwrap();
    assert_eq!(blobs.get("jobs/a/empty").await.unwrap().size, 0);
    // Keys lead nowhere else.
    for bad in [
        "",
        "../x",
        "jobs/../../x",
        "/etc/passwd/../x",
        "jobs//x",
        "a/./b",
    ] {
        let error = blobs.put(bad, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{bad:?}");
        assert!(blobs.remove_prefix(bad).await.is_err(), "{bad:?}");
    }
    // Removal is proved, and takes nobody else's.
    blobs
        .put("jobs/ab/media", Bytes::from_static(b"b"))
        .await
        .unwrap();
    assert_eq!(
        blobs.list("jobs/a").await.unwrap(),
        ["jobs/a/document.json", "jobs/a/empty", "jobs/a/media"]
    );
    assert_eq!(blobs.remove_prefix("jobs/a").await.unwrap(), 3);
    assert_eq!(blobs.remove_prefix("jobs/a").await.unwrap(), 0);
    assert_eq!(blobs.list("jobs/a").await.unwrap(), Vec::<String>::new());
    assert_eq!(blobs.list("jobs").await.unwrap(), ["jobs/ab/media"]);
}

#[tokio::test]
async fn a_folder_keeps_what_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("blobs");
    let url = url::Url::from_file_path(&root).unwrap().to_string();
    let blobs = Blobs::open(&BlobOptions {
        url,
        ..BlobOptions::default()
    })
    .unwrap();
    keeps_what_it_is_given(&blobs, folder.path()).await;
    let path = blobs.local("jobs/ab/media").unwrap().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"b");
    assert!(path.starts_with(root.canonicalize().unwrap()));
    assert!(blobs.local("../x").is_err());
    // What a killed upload leaves behind goes too, though it is not listed.
    std::fs::write(path.with_file_name("media#1"), "half").unwrap();
    assert_eq!(blobs.remove_prefix("jobs/ab").await.unwrap(), 1);
    assert!(!path.parent().unwrap().exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn a_bucket_keeps_what_it_is_given() {
    let Ok(endpoint) = std::env::var("SORI_TEST_S3") else {
        eprintln!("SKIPPED: SORI_TEST_S3 is not set; see scripts/services");
        return;
    };
    let bucket = format!("sori-{}", uuid::Uuid::now_v7());
    // Making a bucket is no part of the store: moto takes a bare PUT.
    make_bucket(&endpoint, &bucket).await;
    for prefix in ["", "/deep/er"] {
        let folder = tempfile::tempdir().unwrap();
        let options = BlobOptions {
            url: format!("s3://{bucket}{prefix}"),
            endpoint: Some(endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            access_key: Some("testing".to_owned()),
            secret_key: Some("hidden".to_owned()),
        };
        assert!(!format!("{options:?}").contains("hidden"));
        let blobs = Blobs::open(&options).unwrap();
        keeps_what_it_is_given(&blobs, folder.path()).await;
        assert_eq!(blobs.local("jobs/ab/media").unwrap(), None);
    }
}

async fn make_bucket(endpoint: &str, bucket: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let host = endpoint
        .strip_prefix("http://")
        .unwrap()
        .trim_end_matches('/');
    let mut server = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!(
        "PUT /{bucket} HTTP/1.1\r\nHost: {host}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature=0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    server.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn urls_name_a_store_or_are_refused() {
    for bad in ["", "folder", "http://x/y", "file://host/x", "s3:///x"] {
        let options = BlobOptions {
            url: bad.to_owned(),
            ..BlobOptions::default()
        };
        let error = Blobs::open(&options).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{bad:?}");
    }
}
