//! Keys, profiles, and the database itself.

use sori_store::{KeyRecord, ProfileRow, Store, StoreErrorKind, StoreOptions};

use crate::database::{Fresh, Kind, on_every_database};

on_every_database! {
    keys_are_found_by_their_hash
    profiles_have_one_name
    many_servers_may_open_an_empty_database
    a_newer_database_is_refused
}

async fn keys_are_found_by_their_hash(fresh: Fresh) {
    let key = KeyRecord {
        id: "k1".to_owned(),
        name: "노트북".to_owned(),
        sha256: "ab".repeat(32),
        scopes: vec!["jobs".to_owned(), "admin".to_owned()],
        created_ms: 1,
        expires_ms: Some(100),
        used_ms: None,
    };
    let store = &fresh.store;
    store.add_key(&key).await.unwrap();
    assert_eq!(
        store.key_by_hash(&key.sha256).await.unwrap(),
        Some(key.clone())
    );
    assert_eq!(store.key_by_hash("cd").await.unwrap(), None);
    for twice in [
        KeyRecord {
            id: "k2".to_owned(),
            ..key.clone()
        },
        KeyRecord {
            sha256: "cd".to_owned(),
            ..key.clone()
        },
    ] {
        assert_eq!(
            store.add_key(&twice).await.unwrap_err().kind(),
            StoreErrorKind::Conflict
        );
    }
    // A use is written once a minute.
    for (now, written) in [(1_000, 1_000), (60_999, 1_000), (61_000, 61_000)] {
        store.touch_key("k1", now).await.unwrap();
        assert_eq!(store.keys().await.unwrap()[0].used_ms, Some(written));
    }
    assert!(store.revoke_key("k1").await.unwrap());
    assert!(!store.revoke_key("k1").await.unwrap());
    assert_eq!(store.keys().await.unwrap(), []);
}

async fn profiles_have_one_name(fresh: Fresh) {
    let row = |owner: Option<&str>, name: &str, data: &str| ProfileRow {
        owner: owner.map(str::to_owned),
        name: name.to_owned(),
        embedder: "resemblyzer".to_owned(),
        data: data.to_owned(),
        created_ms: 7,
    };
    let profile = |name: &str, data: &str| row(None, name, data);
    let store = &fresh.store;
    store.put_profile(&profile("김", "[1]")).await.unwrap();
    store.put_profile(&profile("김", "[2]")).await.unwrap();
    let other = row(Some("k1"), "김", "[9]");
    store.put_profile(&other).await.unwrap();
    store
        .put_profile(&profile("Ann", &"3".repeat(100_000)))
        .await
        .unwrap();
    assert_eq!(
        store.profile(None, "김").await.unwrap(),
        Some(profile("김", "[2]"))
    );
    assert_eq!(
        store.profile(None, "ann").await.unwrap(),
        None,
        "case matters"
    );
    let names = |rows: Vec<ProfileRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(names(store.profiles(None).await.unwrap()), ["Ann", "김"]);
    assert_eq!(names(store.profiles(Some("k1")).await.unwrap()), ["김"]);
    assert!(store.profiles(Some("k2")).await.unwrap().is_empty());
    assert_eq!(store.all_profiles().await.unwrap().len(), 3);
    let taken = store
        .rename_profile("김", &profile("Ann", "[2]"))
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), StoreErrorKind::Conflict);
    let renamed = |old: &'static str, new: &'static str| {
        let row = profile(new, "[2]");
        async move { store.rename_profile(old, &row).await.unwrap() }
    };
    assert!(renamed("김", "이").await);
    assert!(!renamed("김", "박").await);
    assert_eq!(
        store.profile(None, "이").await.unwrap(),
        Some(profile("이", "[2]"))
    );
    for (gone, into, fits) in [
        ("이", "이", false),
        ("이", "nobody", false),
        ("nobody", "이", false),
        ("Ann", "이", true),
    ] {
        let merged = store.merge_profile(gone, &profile(into, "[4]")).await;
        assert_eq!(merged.unwrap(), fits, "{gone} into {into}");
    }
    assert_eq!(store.profiles(None).await.unwrap(), [profile("이", "[4]")]);
    assert!(!store.remove_profile(Some("k1"), "이").await.unwrap());
    assert!(store.remove_profile(None, "이").await.unwrap());
    assert!(!store.remove_profile(None, "이").await.unwrap());
    assert_eq!(store.all_profiles().await.unwrap(), [other]);
    assert!(!format!("{:?}", profile("Kim", "secret")).contains("secret"));
}

async fn many_servers_may_open_an_empty_database(fresh: Fresh) {
    let drop = "sori_profiles sori_keys sori_counters sori_delivery_attempts sori_deliveries sori_events sori_jobs sori_schema";
    for table in drop.split(' ') {
        fresh.sql(&format!("DROP TABLE {table}")).await;
    }
    let opens = (0..8).map(|n| {
        let options = StoreOptions::new(&fresh.url, &format!("n{n}"));
        tokio::spawn(async move { Store::open(&options).await.unwrap() })
    });
    for open in opens.collect::<Vec<_>>() {
        let store = open.await.unwrap();
        store.ping().await.unwrap();
        assert_eq!(store.load(0).await.unwrap().queued(), 0);
        store.close().await;
        assert_eq!(
            store.ping().await.unwrap_err().kind(),
            StoreErrorKind::Unavailable
        );
    }
}

async fn a_newer_database_is_refused(fresh: Fresh) {
    fresh
        .sql("INSERT INTO sori_schema (version) VALUES (1000)")
        .await;
    let options = StoreOptions::new(&fresh.url, "two");
    let error = Store::open(&options).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Damaged);
    assert!(error.to_string().contains("1000"), "{error}");
    let nameless = StoreOptions {
        node: String::new(),
        ..options
    };
    assert_eq!(
        Store::open(&nameless).await.unwrap_err().kind(),
        StoreErrorKind::Invalid
    );
    if fresh.kind == Kind::Sqlite {
        #[cfg(unix)]
        for entry in std::fs::read_dir(fresh.folder.path()).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{entry:?}"
            );
        }
        let nowhere = StoreOptions::new("sqlite:///proc/nowhere/sori.db", "one");
        assert!(Store::open(&nowhere).await.is_err());
        std::fs::write(
            fresh.folder.path().join("text.db"),
            "no database at all, but long enough for a header",
        )
        .unwrap();
        let text = StoreOptions::sqlite(&fresh.folder.path().join("text.db"), "one").unwrap();
        assert!(Store::open(&text).await.is_err());
    }
}
