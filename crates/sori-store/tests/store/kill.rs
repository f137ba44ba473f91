//! A process that is killed while it writes has kept every job that it said it had.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use sori_store::{Ending, JobState, Store, StoreOptions};

use crate::database::{LEASE, accept, name, new};

const FILE: &str = "SORI_TEST_KILLED_FILE";
const ROUND: &str = "SORI_TEST_KILLED_ROUND";

async fn open(file: &Path) -> Store {
    Store::open(&StoreOptions::sqlite(file, "one").unwrap())
        .await
        .unwrap()
}

/// What is killed: it accepts jobs and ends some, and says so of each afterwards. It ends by itself only when nobody listens.
#[tokio::test]
#[ignore = "it is started, and killed, by the test below"]
async fn writer() {
    let file = std::env::var(FILE).expect("the test below says where");
    let round = std::env::var(ROUND).expect("the test below says which");
    let store = open(Path::new(&file)).await;
    for n in 0.. {
        let id = format!("{round}-{n}");
        accept(&store, new(&id), n).await;
        println!("\naccepted {id}");
        if n % 3 == 0 {
            let lease = store
                .claim("w", LEASE, n)
                .await
                .unwrap()
                .expect("one is due");
            assert!(
                store
                    .finish(&lease, Ending::Done { duration: 1.0 }, n)
                    .await
                    .unwrap()
                    .is_some()
            );
            println!("\nended {}", lease.job.id);
        }
    }
}

#[tokio::test]
async fn a_killed_writer_has_kept_its_word() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sori.db");
    let (mut accepted, mut ended) = (Vec::new(), Vec::new());
    for (round, lines) in [1, 7, 40, 95, 200, 13].into_iter().enumerate() {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["kill::writer", "--exact", "--ignored", "--nocapture"])
            .env(FILE, &file)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut heard = 0;
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((what, id)) = line.split_once(' ') else {
                continue;
            };
            match what {
                "accepted" => accepted.push(id.to_owned()),
                "ended" => ended.push(id.to_owned()),
                _ => continue,
            }
            heard += 1;
            // Killed at once, in the middle of what it does next; what it said before is still read.
            if heard == lines {
                writer.kill().unwrap();
            }
        }
        assert!(heard >= lines, "it ended by itself: {:?}", writer.wait());
        writer.wait().unwrap();
        let store = open(&file).await;
        store.give_back(1 << 40).await.unwrap();
        for id in &accepted {
            let job = store.job(&name(id)).await.unwrap();
            assert!(job.is_some(), "{id} was accepted, and is lost");
        }
        for id in &ended {
            let job = store.job(&name(id)).await.unwrap().unwrap();
            assert_eq!(job.state, JobState::Done, "{id}");
            assert_eq!(store.deliveries(&job.id).await.unwrap().len(), 1, "{id}");
        }
        store.close().await;
    }
    assert!(accepted.len() > 100 && ended.len() > 30);
}
