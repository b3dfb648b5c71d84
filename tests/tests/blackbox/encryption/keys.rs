//! Master keys: missing, wrong, lost, changed.

use std::fs;

use cloakroom_tests::{
    client::{Tus, file_path, id, id_in, refused, sample},
    inspect,
    service::{Service, Setup},
    stand::Stand,
};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{KEY, LOST_KEYS, assert_reads, new_key};

fn summary(stdout: &str) -> Value {
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

#[tokio::test]
async fn a_service_does_not_start_without_a_key_that_files_are_sealed_under() {
    for setup in Setup::extremes() {
        let ((old, old_id), (other, _)) = (new_key().await, new_key().await);
        let mut stand = Stand::start_with(setup, &[(KEY, &old)]).await;
        let file = stand.user().stored("a.txt", "sealed").await;
        stand.terminate().await;
        for wrong in ["", other.as_str()] {
            stand.set(KEY, wrong);
            let refused = stand.run(&["serve"]).await;
            assert_eq!(refused.code, 2, "{}", refused.stderr);
            assert!(refused.stderr.contains(&old_id), "{}", refused.stderr);
            let keys = stand.run(&["encryption", "keys"]).await;
            assert_eq!(keys.code, 1, "{}", keys.stderr);
            let line = format!("{old_id}  missing  1 bodies");
            assert!(keys.stdout.contains(&line), "{}", keys.stdout);
            // What would call a body damaged, or copy it, needs the key as well.
            let settings = stand.data_dir().join("new.json");
            let new = json!({ "path": stand.data_dir().join("new") });
            fs::write(&settings, new.to_string()).unwrap();
            let settings = settings.to_str().unwrap();
            for command in [
                &["scrub", "--once"][..],
                &[
                    "storage",
                    "migrate",
                    "--driver",
                    "fs",
                    "--settings",
                    settings,
                ],
            ] {
                let refused = stand.run(command).await;
                assert_eq!(refused.code, 2, "{command:?}: {}", refused.stderr);
                assert!(refused.stderr.contains(&old_id), "{}", refused.stderr);
            }
        }
        // Behind another key, in whatever spelling, it is enough.
        let both = format!("{other} # new\n  {} # old\n", old.trim_end_matches('='));
        stand.set(KEY, &both);
        stand.restart().await;
        assert_reads(&stand.user(), id(&file), b"sealed").await;
    }
}

/// A service that has lost a key, with what it had before.
struct Bereft {
    stand: Stand,
    /// The id of the lost key.
    key: String,
    /// A file from before there was a key.
    plain: String,
    /// A file under the lost key.
    lost: String,
    /// The path of an upload whose first bytes are under the lost key.
    begun: String,
}

impl Bereft {
    async fn new() -> Self {
        let ((old, key), (new, _)) = (new_key().await, new_key().await);
        let settings = [
            ("CLOAKROOM_DELETE_DELAY", "0s"),
            ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
        ];
        let mut stand = Stand::start_with(Setup::SqliteFs, &settings).await;
        let plain = stand.user().stored("plain.txt", "plain").await;
        stand.set(KEY, &old);
        stand.restart().await;
        let lost = stand.user().stored("lost.bin", sample(300_000, 1)).await;
        let tus = Tus::new(&stand.user());
        let begun = tus.created(100_000, &[]).await;
        tus.patched(&begun, 0, &sample(50_000, 2)).await;

        stand.set(KEY, &new);
        stand.set(LOST_KEYS, &format!("0123456789abcdef, {key}"));
        stand.restart().await;
        Self {
            stand,
            key,
            plain: id(&plain).to_owned(),
            lost: id(&lost).to_owned(),
            begun,
        }
    }
}

#[tokio::test]
async fn files_under_a_lost_key_are_refused_and_everything_else_goes_on() {
    let bereft = Bereft::new().await;
    let api = bereft.stand.user();
    let path = file_path(&bereft.lost);
    for range in [None, Some("bytes=0-9"), Some("bytes=100000-200000")] {
        let request = range.into_iter().fold(api.get(&path), |request, range| {
            request.header("Range", range)
        });
        let problem = refused(request.send().await.unwrap(), 503, "STORAGE_003").await;
        assert!(!problem.to_string().contains(&bereft.key), "{problem}");
    }
    let told = format!("the master key {}, which", bereft.key);
    bereft.stand.log_with(&told).await;
    let head = api.call(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    // An upload whose first bytes are lost cannot become a file.
    let tus = Tus::new(&api);
    let rest = tus.patch(&bereft.begun, 50_000, sample(50_000, 3));
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.status(), StatusCode::SERVICE_UNAVAILABLE);
    let none = api.get(&file_path(id_in(&bereft.begun))).send().await;
    assert_eq!(none.unwrap().status(), StatusCode::NOT_FOUND);

    assert_reads(&api, &bereft.plain, b"plain").await;
    let fresh = api.stored("new.txt", "new").await;
    assert_reads(&api, id(&fresh), b"new").await;
}

#[tokio::test]
async fn files_under_a_lost_key_are_told_and_can_be_removed() {
    let mut bereft = Bereft::new().await;
    let stand = &bereft.stand;
    let found = stand.run(&["fsck", "--verify"]).await;
    assert_eq!(found.code, 1, "{}", found.stderr);
    let told = found.stdout.matches("key_missing").count();
    assert_eq!(told, 1, "{}", found.stdout);
    let rotated = stand.run(&["encryption", "rotate", "--json"]).await;
    assert_eq!(rotated.code, 1, "{}", rotated.stderr);
    let missing = &summary(&rotated.stdout)["missing"][0];
    assert_eq!(missing["id"], bereft.key);

    let api = stand.user();
    api.purge(&bereft.lost).await;
    let deleted = Tus::new(&api).delete(&bereft.begun).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let under = "SELECT count(*) FROM file_versions WHERE wrapped_key IS NOT NULL";
    stand
        .until("the lost ones are gone", async || {
            inspect::count(stand.database_url(), under).await == 0
        })
        .await;
    bereft.stand.set(LOST_KEYS, "");
    bereft.stand.restart().await;
    inspect::assert_consistent(&bereft.stand).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_key_seals_keys_again_under_downloads_and_touches_no_object() {
    for setup in [Setup::PostgresFs, Setup::SqliteFs] {
        let ((old, old_id), (new, new_id)) = (new_key().await, new_key().await);
        let mut stand = Stand::start_with(setup, &[(KEY, &old)]).await;
        let api = stand.user();
        let large = sample(20_000_000, 1);
        let film = api.stored("film.bin", large.clone()).await;
        let mut files = Vec::new();
        for n in 0..30 {
            let body = sample(n * 1000, n as u64);
            let file = api.stored("n.bin", body.clone()).await;
            files.push((id(&file).to_owned(), body));
        }
        let tus = Tus::new(&api);
        let half = sample(150_000, 2);
        let begun = tus.created(half.len(), &[]).await;
        tus.patched(&begun, 0, &half[..70_000]).await;
        let object = inspect::object_path(&stand, id(&film));
        let before = fs::read(&object).unwrap();

        stand.set(KEY, &format!("{new}\n{old}"));
        stand.restart().await;
        let api = stand.user();
        let answer = api.get(&file_path(id(&film))).send().await.unwrap();
        let mut chunks = answer.bytes_stream();
        let mut read = chunks.next().await.unwrap().unwrap().to_vec();

        let rotated = stand.run(&["encryption", "rotate", "--json"]).await;
        assert_eq!(rotated.code, 0, "{}{}", rotated.stdout, rotated.stderr);
        let told = summary(&rotated.stdout);
        // The files, the upload's body and its first piece.
        assert_eq!(
            (&told["resealed"], &told["complete"]),
            (&33.into(), &true.into())
        );
        let again = stand.run(&["encryption", "rotate"]).await;
        assert_eq!(again.code, 0, "{}", again.stderr);
        assert!(again.stdout.starts_with("0 bodies"), "{}", again.stdout);
        while let Some(chunk) = chunks.next().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        assert!(read == large);
        assert!(fs::read(&object).unwrap() == before, "bytes were touched");
        assert_reads(&api, &files[7].0, &files[7].1).await;

        let keys = stand.run(&["encryption", "keys"]).await;
        assert!(
            keys.stdout
                .contains(&format!("{new_id}  current  33 bodies"))
        );
        assert!(keys.stdout.contains(&format!("{old_id}  old  0 bodies")));
        stand.set(KEY, &new);
        stand.restart().await;
        let api = stand.user();
        for (file, body) in &files {
            assert_reads(&api, file, body).await;
        }
        let tus = Tus::new(&api);
        tus.patched(&begun, 70_000, &half[70_000..]).await;
        assert_reads(&api, id_in(&begun), &half).await;
        inspect::assert_consistent(&stand).await;
    }
}

#[tokio::test]
async fn keys_are_never_shown() {
    let (key, id) = new_key().await;
    let stand = Stand::start_with(Setup::SqliteFs, &[(KEY, &key)]).await;
    stand.user().stored("a.txt", "x").await;
    let shown = stand.run(&["config", "show"]).await;
    let keys = stand.run(&["encryption", "keys", "--json"]).await;
    assert_eq!(summary(&keys.stdout)["id"], id);
    for text in [
        &shown.stdout,
        &keys.stdout,
        &stand.log(),
        &stand.command_line(),
    ] {
        assert!(!text.contains(&key), "{text}");
    }
    let wrong = format!("{key} and something else");
    let refused = Service::builder().env(KEY, &wrong).run(&["serve"]).await;
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains(KEY) && !refused.stderr.contains(&key));
    let rotate = Service::builder().run(&["encryption", "rotate"]).await;
    assert_eq!(rotate.code, 2, "{}", rotate.stderr);
}
