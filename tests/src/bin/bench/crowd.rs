//! A thousand uploads at once: the memory that they take, and what a small download beside them feels.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_tests::{
    client::{self, Raw, Seeded, file_path},
    servers::{Postgres, garage},
    service::Service,
};
use futures_util::future::join_all;

const MIB: usize = 1024 * 1024;
/// Half of them forms, half of them tus in chunks of 1 MiB.
const UPLOADS: usize = 1000;
const SIZE: usize = 10 * MIB;
const PATIENCE: Duration = Duration::from_secs(600);
/// The pause between two small downloads.
const PAUSE: Duration = Duration::from_millis(20);

/// What a crowd did.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) store: &'static str,
    pub(crate) took: Duration,
    /// The most that was resident, in bytes.
    pub(crate) resident: u64,
    /// Of the small downloads: the 99th percentile, and the longest.
    pub(crate) p99: Duration,
    pub(crate) longest: Duration,
}

pub(crate) async fn measure() -> Vec<Crowd> {
    let postgres = Postgres::start().await;
    let folder = Service::builder()
        .database(postgres.database().await)
        .production()
        .start()
        .await;
    let in_folder = crowd("a folder", &folder).await;
    drop(folder);
    let garage = garage::start().await;
    let remote = Service::builder()
        .database(postgres.database().await)
        .production()
        .s3(garage.access())
        .start()
        .await;
    vec![in_folder, crowd("Garage", &remote).await]
}

async fn crowd(store: &'static str, service: &Service) -> Crowd {
    let body = Seeded::new(4, SIZE as u64).bytes();
    let over = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(small_downloads(
        service.base(),
        small(service).await,
        over.clone(),
    ));
    let begun = Instant::now();
    let uploads = (0..UPLOADS).map(|number| {
        let (base, body, token) = (service.base(), body.clone(), service.admin_token());
        tokio::spawn(async move {
            if number % 2 == 0 {
                form(&base, &token, &body).await;
            } else {
                tus(&base, &token, &body).await;
            }
        })
    });
    for upload in join_all(uploads).await {
        upload.unwrap();
    }
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    let mut times = beside.await.unwrap();
    times.sort_unstable();
    let crowd = Crowd {
        store,
        took,
        resident: service.peak_rss_bytes(),
        p99: times[times.len() * 99 / 100],
        longest: times[times.len() - 1],
    };
    println!("{crowd:?}");
    crowd
}

/// The request for a file of 10 KiB.
async fn small(service: &Service) -> String {
    let admin = service.admin();
    let path = "/files?filename=small.bin&account_id=1";
    let answer = admin.post(path).body(client::sample(10 * 1024, 5)).send();
    let file = client::expect(answer.await.unwrap(), reqwest::StatusCode::CREATED).await;
    let path = file_path(client::id(&file));
    let token = service.admin_token();
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn small_downloads(base: String, request: String, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut connection = Raw::connect(&base).await;
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        connection.send(&request).await.unwrap();
        let answer = connection.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.status, 200);
        times.push(begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    times
}

async fn form(base: &str, token: &str, body: &Bytes) {
    let before = "--b\r\nContent-Disposition: form-data; name=\"account_id\"\r\n\r\n1\r\n\
                  --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"crowd.bin\"\r\n\r\n";
    let after = "\r\n--b--\r\n";
    let length = before.len() + body.len() + after.len();
    let head = format!(
        "POST /files HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n{before}"
    );
    let mut connection = Raw::connect(base).await;
    connection.send(head).await.unwrap();
    connection.send(body).await.unwrap();
    connection.send(after).await.unwrap();
    let answer = connection.answer(PATIENCE).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

async fn tus(base: &str, token: &str, body: &Bytes) {
    let shared =
        format!("Host: bench\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\n");
    let mut connection = Raw::connect(base).await;
    let create = format!(
        "POST /files HTTP/1.1\r\n{shared}Upload-Length: {SIZE}\r\nContent-Length: 0\r\n\
         Upload-Metadata: account_id MQ==\r\n\r\n"
    );
    connection.send(create).await.unwrap();
    let created = connection.answer(PATIENCE).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let location = created.header("location").unwrap();
    let path = &location[location.find("/files/").unwrap()..];
    for (number, chunk) in body.chunks(MIB).enumerate() {
        let head = format!(
            "PATCH {path} HTTP/1.1\r\n{shared}Upload-Offset: {}\r\nContent-Length: {}\r\n\
             Content-Type: application/offset+octet-stream\r\n\r\n",
            number * MIB,
            chunk.len()
        );
        connection.send(head).await.unwrap();
        connection.send(chunk).await.unwrap();
        let answer = connection.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}
