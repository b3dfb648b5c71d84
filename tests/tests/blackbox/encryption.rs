//! Encryption at rest: what lies in the store is sealed, what callers see is as it was.

mod keys;
mod tampering;

use cloakroom_tests::{
    client::{Client, Draft, Tus, expect, file_path, header, id, id_in, refused, sample, sha256},
    inspect,
    service::{Service, Setup},
    stand::Stand,
};
use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::{Value, json};

use super::nginx::offload;

pub const KEY: &str = "CLOAKROOM_ENCRYPTION_KEY";
pub const LOST_KEYS: &str = "CLOAKROOM_ENCRYPTION_LOST_KEYS";

const SEGMENT: usize = 64 * 1024;

/// A new master key and its id, as the command line makes them.
pub async fn new_key() -> (String, String) {
    let made = Service::builder().run(&["encryption", "new-key"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let (key, id) = made.stdout.trim().split_once(" # ").unwrap();
    (key.to_owned(), id.to_owned())
}

pub async fn sealed(setup: Setup) -> Stand {
    let (key, _) = new_key().await;
    let settings = [(KEY, key.as_str()), ("CLOAKROOM_SWEEP_INTERVAL", "1s")];
    Stand::start_with(setup, &settings).await
}

/// How many bytes lie in the store for so many of a file.
pub const fn stored_size(size: usize) -> u64 {
    let segments = if size == 0 { 1 } else { size.div_ceil(SEGMENT) };
    (size + 28 * segments) as u64
}

/// How many bytes lie in the store, object by object.
async fn object_sizes(stand: &Stand) -> Vec<u64> {
    let objects = inspect::objects(stand).await;
    let mut sizes: Vec<u64> = objects.iter().map(|object| object.size).collect();
    sizes.sort_unstable();
    sizes
}

/// Uploads in every way there is; each file's id and its body.
async fn upload_in_every_way(api: &Client) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let sizes = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3_000_000];
    for (seed, size) in (10..).zip(sizes) {
        let body = sample(size, seed);
        let part = cloakroom_tests::client::part("f.bin", "application/octet-stream", body.clone());
        let form = api.post("/files").multipart(Form::new().part("file", part));
        let file = expect(form.send().await.unwrap(), StatusCode::CREATED).await;
        files.push((id(&file).to_owned(), body.clone()));
        let file = api.stored("raw.bin", body.clone()).await;
        files.push((id(&file).to_owned(), body));
    }
    files.push(by_tus(api).await);
    files.push(by_tus_in_parts(api).await);
    files.push(by_draft(api).await);
    files
}

/// In several requests, one of them cut off.
async fn by_tus(api: &Client) -> (String, Vec<u8>) {
    let tus = Tus::new(api);
    let body = sample(700_000, 20);
    let path = tus.created(body.len(), &[]).await;
    let mut offset = tus.patched(&path, 0, &body[..100_000]).await;
    let wrong = tus
        .patch(&path, offset, body[..50_000].to_vec())
        .header("Upload-Checksum", "sha1 qUqP5cyxm6YcTAhz05Hph5gvu9M=");
    assert_eq!(wrong.send().await.unwrap().status(), 460);
    for end in [100_001, 400_000, 700_000] {
        let at = usize::try_from(offset).unwrap();
        offset = tus.patched(&path, offset, &body[at..end]).await;
    }
    (id_in(&path).to_owned(), body)
}

async fn by_tus_in_parts(api: &Client) -> (String, Vec<u8>) {
    let tus = Tus::new(api);
    let body = sample(300_000, 21);
    let one = tus.partial(&body[..SEGMENT]).await;
    let two = tus.partial(&body[SEGMENT..]).await;
    let joined = tus.join(&[&one, &two]).send().await.unwrap();
    assert_eq!(joined.status(), StatusCode::CREATED);
    let path = cloakroom_tests::client::path_of(header(&joined, "location"));
    (id_in(&path).to_owned(), body)
}

async fn by_draft(api: &Client) -> (String, Vec<u8>) {
    let draft = Draft::new(api);
    let body = sample(500_000, 22);
    let path = draft.created(&body[..200_000], &[]).await;
    draft
        .appended(&path, 200_000, &body[200_000..300_000])
        .await;
    let file = draft.completed(&path, 300_000, &body[300_000..]).await;
    (id(&file).to_owned(), body)
}

/// Whole, in stretches, and its head.
pub async fn assert_reads(api: &Client, file: &str, body: &[u8]) {
    let path = file_path(file);
    let whole = api.get(&path).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(header(&whole, "content-length"), body.len().to_string());
    let etag = format!("\"{}\"", sha256(body));
    assert_eq!(header(&whole, "etag"), etag);
    assert!(
        whole.bytes().await.unwrap() == body,
        "{file} came back changed"
    );
    let head = api.call(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    let size = body.len();
    let stretches = [
        (0, 1),
        (SEGMENT - 1, SEGMENT + 1),
        (SEGMENT, 2 * SEGMENT),
        (size / 2, size / 2 + 100_000),
        (size.saturating_sub(10), size),
    ];
    for (start, end) in stretches {
        let end = end.min(size);
        if start >= end {
            continue;
        }
        let range = format!("bytes={start}-{}", end - 1);
        let part = api.get(&path).header("Range", &range).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        let part = part.bytes().await.unwrap();
        assert!(part == body[start..end], "{range} of {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_uploading_lies_sealed_and_reads_back() {
    for setup in [Setup::SqliteFs, Setup::PostgresGarage, Setup::PostgresFs] {
        let mut stand = sealed(setup).await;
        let api = stand.user();
        let mut files = upload_in_every_way(&api).await;
        for (file, body) in &files {
            assert_reads(&api, file, body).await;
        }

        let path = file_path(&files[0].0);
        let put = api.call(Method::PUT, &path).body(sample(99_999, 30));
        expect(put.send().await.unwrap(), StatusCode::OK).await;
        let first = std::mem::replace(&mut files[0].1, sample(99_999, 30));
        assert_eq!(api.bytes(&format!("{path}/versions/1")).await, first);

        let mut sizes: Vec<u64> = files
            .iter()
            .map(|(_, body)| stored_size(body.len()))
            .collect();
        sizes.push(stored_size(first.len()));
        sizes.sort_unstable();
        stand.swept().await;
        inspect::assert_consistent(&stand).await;
        assert_eq!(object_sizes(&stand).await, sizes, "{setup:?}");
        let plain =
            "SELECT count(*) FROM file_versions WHERE encoding IS NULL OR wrapped_key IS NULL";
        assert_eq!(inspect::count(stand.database_url(), plain).await, 0);

        stand.restart().await;
        let api = stand.user();
        for (file, body) in &files {
            assert_reads(&api, file, body).await;
        }
    }
}

#[tokio::test]
async fn no_byte_of_a_file_lies_in_the_folder_as_it_is() {
    let stand = sealed(Setup::SqliteFs).await;
    let secret = "a secret that nobody finds ".repeat(20_000);
    let file = stand.user().stored("notes.txt", secret.as_str()).await;
    let stored = std::fs::read(inspect::object_path(&stand, id(&file))).unwrap();
    assert_eq!(stored.len() as u64, stored_size(secret.len()));
    assert!(!stored.windows(12).any(|some| some == b"secret that "));
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_files_stay_plain_beside_sealed_ones_and_become_sealed_as_versions() {
    for setup in Setup::extremes() {
        let settings = [("CLOAKROOM_SWEEP_INTERVAL", "1s")];
        let mut stand = Stand::start_with(setup, &settings).await;
        let old = sample(200_000, 1);
        let file = stand.user().stored("old.bin", old.clone()).await;
        let tus = Tus::new(&stand.user());
        let half = sample(400_000, 3);
        let begun = tus.created(half.len(), &[]).await;
        tus.patched(&begun, 0, &half[..150_000]).await;

        let (key, _) = new_key().await;
        stand.set(KEY, &key);
        stand.restart().await;
        let api = stand.user();
        assert_reads(&api, id(&file), &old).await;
        let path = file_path(id(&file));
        let new = sample(200_000, 2);
        let put = api.call(Method::PUT, &path).body(new.clone());
        expect(put.send().await.unwrap(), StatusCode::OK).await;
        assert_reads(&api, id(&file), &new).await;
        assert_eq!(api.bytes(&format!("{path}/versions/1")).await, old);

        // What was begun before goes on.
        let tus = Tus::new(&api);
        tus.patched(&begun, 150_000, &half[150_000..300_000]).await;
        tus.patched(&begun, 300_000, &half[300_000..]).await;
        assert_reads(&api, id_in(&begun), &half).await;
        inspect::assert_consistent(&stand).await;
        stand.swept().await;
        let sizes = object_sizes(&stand).await;
        // The body of the upload was begun without a key, so it has none.
        assert_eq!(sizes, [200_000, stored_size(200_000), 400_000]);
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_sealed() {
    let stand = Stand::start(Setup::SqliteFs).await;
    let file = stand.user().stored("a.txt", "plain").await;
    let stored = std::fs::read(inspect::object_path(&stand, id(&file))).unwrap();
    assert_eq!(stored, b"plain");
    let sealed =
        "SELECT count(*) FROM file_versions WHERE encoding IS NOT NULL OR wrapped_key IS NOT NULL";
    assert_eq!(inspect::count(stand.database_url(), sealed).await, 0);
}

#[tokio::test]
async fn an_idempotent_upload_is_one_file_and_its_answer_keeps_no_key() {
    let stand = sealed(Setup::PostgresFs).await;
    let api = stand.user();
    let upload = async || {
        let request = api.post("/files?filename=a.txt").body("once");
        let answer = request.header("Idempotency-Key", "k").send().await.unwrap();
        expect(answer, StatusCode::CREATED).await
    };
    let (first, second): (Value, Value) = (upload().await, upload().await);
    assert_eq!(first, second);
    let kept = "SELECT count(*) FROM idempotency_keys WHERE answer LIKE '%wrapped_key%'";
    assert_eq!(inspect::count(stand.database_url(), kept).await, 0);
    assert_eq!(api.bytes(&file_path(id(&first))).await, b"once");
}

#[tokio::test]
async fn uploads_straight_to_the_store_are_refused_so_that_pages_fall_back() {
    let stand = sealed(Setup::PostgresGarage).await;
    let request = json!({"filename": "a.bin", "size": 10_000_000});
    let answer = stand.user().post("/files/direct").json(&request).send();
    refused(answer.await.unwrap(), 409, "FILE_006").await;
    stand.swept().await;
    assert_eq!(stand.objects().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_sends_bodies_itself_gets_no_sealed_ones() {
    let (key, _) = new_key().await;
    for setup in [Setup::SqliteFs, Setup::SqliteGarage] {
        let pair = offload::Pair::start_with(setup, &[(KEY, &key)]).await;
        let body = sample(3_000_000, 1);
        let api = pair.user();
        let file = api.stored("large.bin", body.clone()).await;
        assert_reads(&api, id(&file), &body).await;
        let asked = api.get(&file_path(id(&file)));
        let answer = asked.header("X-Request-Id", "whole").send().await.unwrap();
        assert!(answer.bytes().await.unwrap() == body);
        assert_eq!(pair.bytes_by_the_service("whole").await, 3_000_000);
    }
}
