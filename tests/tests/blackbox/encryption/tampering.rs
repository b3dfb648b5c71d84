//! Sealed objects that somebody changed: never a changed byte, and the operator hears of it.

use std::fs;

use cloakroom_tests::{
    client::{Client, file_path, id, sample},
    inspect,
    service::Setup,
    stand::Stand,
};
use futures_util::StreamExt;
use reqwest::StatusCode;

use super::{KEY, new_key, sealed};

const SIZE: usize = 1_000_000;
const SEGMENT: usize = 64 * 1024;
const STORED: usize = SEGMENT + 28;

/// What comes before the answer ends or breaks off, and whether it ends well; nothing of a refusal.
async fn given_out(api: &Client, path: &str, range: Option<&str>) -> (Vec<u8>, bool) {
    let request = range.into_iter().fold(api.get(path), |request, range| {
        request.header("Range", range)
    });
    // The connection may break before the head of an answer has left.
    let Ok(answer) = request.send().await else {
        return (Vec::new(), false);
    };
    if !answer.status().is_success() {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        return (Vec::new(), false);
    }
    let (mut given, mut chunks) = (Vec::new(), answer.bytes_stream());
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return (given, false);
        };
        given.extend_from_slice(&chunk);
    }
    (given, true)
}

#[tokio::test]
async fn a_flipped_byte_breaks_the_answer_before_it() {
    let stand = sealed(Setup::SqliteFs).await;
    let api = stand.user();
    let body = sample(SIZE, 1);
    let file = api.stored("a.bin", body.clone()).await;
    let path = file_path(id(&file));
    let object = inspect::object_path(&stand, id(&file));
    let stored = fs::read(&object).unwrap();
    for segment in [0, 7, 15] {
        let mut changed = stored.clone();
        changed[segment * STORED + 1000] ^= 0x40;
        fs::write(&object, &changed).unwrap();
        let before = segment * SEGMENT;

        let (given, well) = given_out(&api, &path, None).await;
        assert!(
            !well && body[..before].starts_with(&given),
            "{}",
            given.len()
        );
        let within = format!("bytes={}-{}", before + 1, before + 10);
        assert_eq!(
            given_out(&api, &path, Some(&within)).await,
            (Vec::new(), false)
        );
        let across = format!("bytes=0-{}", SIZE - 1);
        let (given, well) = given_out(&api, &path, Some(&across)).await;
        assert!(!well && body[..before].starts_with(&given));
        if segment > 0 {
            let untouched = format!("bytes=0-{}", before - 1);
            let (given, well) = given_out(&api, &path, Some(&untouched)).await;
            assert!(well && given == body[..before]);
        }
        let told = format!("segment {segment} of the sealed body");
        stand.log_with(&told).await;
    }
    let found = stand.run(&["fsck", "--verify"]).await;
    assert_eq!(found.code, 1);
    assert!(found.stdout.contains("wrong_hash"), "{}", found.stdout);
    fs::write(&object, &stored).unwrap();
    assert_eq!(api.bytes(&path).await, body);
}

#[tokio::test]
async fn objects_that_were_swapped_cut_off_or_put_back_as_plain_are_never_given_out() {
    let (key, _) = new_key().await;
    let settings = [(KEY, key.as_str()), ("CLOAKROOM_MEMORY_CACHE", "0")];
    let stand = Stand::start_with(Setup::SqliteFs, &settings).await;
    let api = stand.user();
    let bodies = [sample(SIZE, 1), sample(SIZE, 2)];
    let mut files = Vec::new();
    for body in &bodies {
        let file = api.stored("a.bin", body.clone()).await;
        files.push(id(&file).to_owned());
    }
    let objects = [0, 1].map(|n: usize| inspect::object_path(&stand, &files[n]));
    let stored = [0, 1].map(|n: usize| fs::read(&objects[n]).unwrap());
    let assert_silent = async |what: &str| {
        let path = file_path(&files[0]);
        for range in [None, Some("bytes=0-9"), Some("bytes=500000-600000")] {
            let (given, well) = given_out(&api, &path, range).await;
            assert!(!well && given.is_empty(), "{what}, {range:?}");
        }
    };
    fs::write(&objects[0], &stored[1]).unwrap();
    assert_silent("another file's object").await;
    fs::write(&objects[0], &bodies[0]).unwrap();
    assert_silent("the plain bytes").await;
    fs::write(&objects[0], b"").unwrap();
    assert_silent("nothing").await;

    let path = file_path(&files[0]);
    let whole_segments = 3 * STORED;
    fs::write(&objects[0], &stored[0][..whole_segments]).unwrap();
    let (given, well) = given_out(&api, &path, None).await;
    assert!(!well && bodies[0].starts_with(&given) && given.len() <= 3 * SEGMENT);
    let longer = [stored[0].clone(), vec![0; 100]].concat();
    fs::write(&objects[0], longer).unwrap();
    let (given, well) = given_out(&api, &path, None).await;
    assert!(!well && bodies[0].starts_with(&given) && given.len() < SIZE);

    // Keys in the rows are bound to their version: the other file's opens nothing either.
    fs::write(&objects[0], &stored[1]).unwrap();
    let borrowed = format!(
        "UPDATE file_versions SET wrapped_key = (SELECT wrapped_key FROM file_versions WHERE file_id = '{}') WHERE \
         file_id = '{}'",
        files[1], files[0]
    );
    inspect::run(stand.database_url(), &borrowed).await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_silent("another file's object and key").await;
    assert_eq!(api.bytes(&file_path(&files[1])).await, bodies[1]);
}
