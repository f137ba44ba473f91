use futures::stream;
use tempfile::TempDir;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn limits() -> UploadLimits {
    UploadLimits {
        max_bytes: 1000,
        max_total_bytes: 2000,
        max_uploads: 3,
        ..UploadLimits::default()
    }
}

async fn open(folder: &TempDir) -> Uploads {
    Uploads::open(folder.path(), limits())
        .await
        .expect("a new folder")
}

fn plan(length: u64) -> UploadPlan {
    UploadPlan {
        length,
        metadata: "filename YS53YXY=".into(),
        owner: Some("me".into()),
        ..UploadPlan::default()
    }
}

async fn append(
    uploads: &Uploads,
    found: &Upload,
    bytes: &'static [u8],
) -> Result<Upload, UploadError> {
    let pieces = bytes
        .chunks(3)
        .map(|piece| Ok::<_, ()>(Bytes::from_static(piece)));
    uploads
        .append(found, at(found.offset), stream::iter(pieces))
        .await
}

fn at(offset: u64) -> Append {
    Append {
        offset,
        length: None,
        checksum: None,
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, UploadError>) -> UploadErrorKind {
    result.expect_err("it must fail").kind()
}

#[tokio::test]
async fn bytes_add_up_over_requests_and_servers() {
    let folder = TempDir::new().expect("a folder");
    let uploads = open(&folder).await;
    let new = uploads.create(plan(11), NOW).await.expect("there is room");
    assert_eq!((new.offset, new.is_finished()), (0, false));
    let some = append(&uploads, &new, b"hello ").await.expect("it fits");
    assert_eq!(some.offset, 6);
    drop(uploads);
    // A server that was killed while it checked left this behind.
    std::fs::write(folder.path().join(format!("{}.unchecked", new.id)), b"x").expect("a file");
    let uploads = open(&folder).await;
    let found = uploads
        .find(&new.id, Some("me"), NOW)
        .await
        .expect("it was kept");
    assert_eq!(found, some);
    let all = append(&uploads, &found, b"world").await.expect("it fits");
    assert!(all.is_finished());
    assert_eq!(all.file_name().as_deref(), Some("a.wav"));
    let to = folder.path().join("media");
    let taken = uploads.take(&all, &to).await.expect("it is finished");
    assert_eq!(std::fs::read(&to).expect("it is there"), b"hello world");
    let second = folder.path().join("second");
    let locked = kind(uploads.take(&all, &second).await);
    assert_eq!(locked, UploadErrorKind::Locked);
    drop(taken);
    let again = uploads.take(&all, &second).await;
    let again = again.expect("it was given back");
    std::fs::remove_file(&second).expect("removed");
    again.remove().await.expect("removed");
    assert_eq!(
        kind(uploads.find(&new.id, Some("me"), NOW).await),
        UploadErrorKind::NotFound
    );
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        1
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let uploads = open(&folder).await;
    assert_eq!(
        kind(uploads.create(plan(1001), NOW).await),
        UploadErrorKind::TooLarge
    );
    let new = uploads.create(plan(5), NOW).await.expect("there is room");
    let elsewhere = uploads
        .append(&new, at(3), stream::empty::<Result<Bytes, ()>>())
        .await;
    assert_eq!(kind(elsewhere), UploadErrorKind::Offset);
    let announced = Append {
        length: Some(6),
        ..at(0)
    };
    let announced = uploads
        .append(&new, announced, stream::empty::<Result<Bytes, ()>>())
        .await;
    assert_eq!(kind(announced), UploadErrorKind::TooLarge);
    assert_eq!(
        kind(append(&uploads, &new, b"123456").await),
        UploadErrorKind::TooLarge
    );
    // The first piece was within the length and is kept.
    let found = uploads
        .find(&new.id, Some("me"), NOW)
        .await
        .expect("it is there");
    assert_eq!(found.offset, 3);
    let to = folder.path().join("media");
    assert_eq!(
        kind(uploads.take(&found, &to).await),
        UploadErrorKind::Unfinished
    );
    let total = uploads
        .create(plan(1000), NOW)
        .await
        .and(uploads.create(plan(996), NOW).await);
    assert_eq!(kind(total), UploadErrorKind::Full);
    uploads.create(plan(0), NOW).await.expect("the third");
    assert_eq!(
        kind(uploads.create(plan(0), NOW).await),
        UploadErrorKind::Full
    );
}

#[tokio::test]
async fn a_break_keeps_what_came_but_under_a_checksum() {
    let folder = TempDir::new().expect("a folder");
    let uploads = open(&folder).await;
    let new = uploads.create(plan(11), NOW).await.expect("there is room");
    let broken = || {
        stream::iter([
            Ok(Bytes::from_static(b"hel")),
            Err(()),
            Ok(Bytes::from_static(b"lo")),
        ])
    };
    let sha1 = |text| Some(Checksum::parse(text).expect("it is a checksum"));
    let right = sha1("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
    let checked = Append {
        checksum: right.clone(),
        ..at(0)
    };
    assert_eq!(
        kind(uploads.append(&new, checked.clone(), broken()).await),
        UploadErrorKind::Broken
    );
    let other = stream::iter([Ok::<_, ()>(Bytes::from_static(b"hello there"))]);
    assert_eq!(
        kind(uploads.append(&new, checked, other).await),
        UploadErrorKind::Checksum
    );
    let found = uploads
        .find(&new.id, Some("me"), NOW)
        .await
        .expect("it is there");
    assert_eq!(found.offset, 0);
    assert_eq!(
        kind(uploads.append(&new, at(0), broken()).await),
        UploadErrorKind::Broken
    );
    let found = uploads
        .find(&new.id, Some("me"), NOW)
        .await
        .expect("it is there");
    assert_eq!(found.offset, 3);

    let whole = uploads.create(plan(11), NOW).await.expect("there is room");
    let bytes = stream::iter([Ok::<_, ()>(Bytes::from_static(b"hello world"))]);
    let checked = Append {
        checksum: right,
        ..at(0)
    };
    let done = uploads
        .append(&whole, checked, bytes)
        .await
        .expect("it is right");
    assert!(done.is_finished());
    assert_eq!(
        std::fs::read(folder.path().join(format!("{}.data", whole.id))).expect("the bytes"),
        b"hello world"
    );
}

#[tokio::test]
async fn one_writes_at_a_time() {
    let folder = TempDir::new().expect("a folder");
    let uploads = open(&folder).await;
    let new = uploads.create(plan(11), NOW).await.expect("there is room");
    let (begun, has_begun) = futures::channel::oneshot::channel::<()>();
    let (end, may_end) = futures::channel::oneshot::channel::<()>();
    let writer = {
        let (uploads, new) = (uploads.clone(), new.clone());
        let first = async move {
            begun.send(()).expect("the test listens");
            Ok::<_, ()>(Bytes::from_static(b"hello "))
        };
        let second = async move {
            may_end.await.expect("the test speaks");
            Ok(Bytes::from_static(b"world"))
        };
        let bytes = stream::once(first).chain(stream::once(second));
        tokio::spawn(async move { uploads.append(&new, at(0), bytes).await })
    };
    has_begun.await.expect("the writer begins");
    assert_eq!(
        kind(append(&uploads, &new, b"x").await),
        UploadErrorKind::Locked
    );
    assert_eq!(
        kind(uploads.remove(&new.id, Some("me"), NOW).await),
        UploadErrorKind::Locked
    );
    end.send(()).expect("the writer listens");
    let all = writer.await.expect("it does not panic").expect("it fits");
    assert!(all.is_finished());
    uploads
        .remove(&new.id, Some("me"), NOW)
        .await
        .expect("it is free");
}

#[tokio::test]
async fn who_sends_nothing_loses_the_turn() {
    let folder = TempDir::new().expect("a folder");
    let impatient = UploadLimits {
        idle: Duration::from_millis(1),
        ..limits()
    };
    let uploads = Uploads::open(folder.path(), impatient)
        .await
        .expect("a new folder");
    let new = uploads.create(plan(11), NOW).await.expect("there is room");
    let first = stream::iter([Ok::<_, ()>(Bytes::from_static(b"hello "))]);
    let stalled = uploads
        .append(&new, at(0), first.chain(stream::pending()))
        .await;
    assert_eq!(kind(stalled), UploadErrorKind::Broken);
    let found = uploads
        .find(&new.id, Some("me"), NOW)
        .await
        .expect("it is there");
    assert_eq!(found.offset, 6);
    uploads
        .remove(&new.id, Some("me"), NOW)
        .await
        .expect("it is free");
}

#[tokio::test]
async fn uploads_are_their_owners_and_end() {
    let folder = TempDir::new().expect("a folder");
    let uploads = open(&folder).await;
    let new = uploads.create(plan(5), NOW).await.expect("there is room");
    let end = NOW + 86_400_000;
    assert_eq!(new.plan.expires_ms, end);
    for (id, owner, now) in [
        (new.id.as_str(), None, NOW),
        (&new.id, Some("you"), NOW),
        (&new.id, Some("me"), end),
        ("../media", Some("me"), NOW),
    ] {
        assert_eq!(
            kind(uploads.find(id, owner, now).await),
            UploadErrorKind::NotFound,
            "{id} {owner:?}"
        );
        assert_eq!(
            kind(uploads.remove(id, owner, now).await),
            UploadErrorKind::NotFound,
            "{id} {owner:?}"
        );
    }
    assert_eq!(uploads.sweep(end - 1).await.expect("nothing to do"), 0);
    assert_eq!(uploads.sweep(end).await.expect("it is removed"), 1);
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        0
    );
    let new = uploads.create(plan(5), NOW).await.expect("there is room");
    uploads
        .remove(&new.id, Some("me"), NOW)
        .await
        .expect("it is mine");
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        0
    );
}
