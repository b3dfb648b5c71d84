//! A thousand uploads at once: the memory that they take, and what a small download beside them feels.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_tests::{
    client::{self, Answer, Raw, Seeded, file_path},
    servers::{Postgres, garage},
    service::Service,
};
use futures_util::future::join_all;
use tokio::runtime::Builder;

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
    /// How often a request was told to come back, or broke.
    pub(crate) refused: usize,
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
    let beside = beside(service.base(), small(service).await, over.clone());
    let refused = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let uploads = (0..UPLOADS).map(|number| {
        let body = body.clone();
        let client = Patient {
            base: service.base(),
            token: service.admin_token(),
            refused: refused.clone(),
        };
        tokio::spawn(async move {
            if number % 2 == 0 {
                client.form(&body).await;
            } else {
                client.tus(&body).await;
            }
        })
    });
    for upload in join_all(uploads).await {
        upload.unwrap();
    }
    let took = begun.elapsed();
    over.store(true, Ordering::Relaxed);
    let mut times = beside.join().unwrap();
    times.sort_unstable();
    let crowd = Crowd {
        store,
        took,
        refused: refused.load(Ordering::Relaxed),
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

/// Downloads in a thread of its own, which waits for no uploading client.
fn beside(base: String, request: String, over: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    thread::spawn(move || runtime.block_on(small_downloads(base, request, over)))
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

/// A client that is told to come back comes back, as browsers' upload clients do, and counts how often.
struct Patient {
    base: String,
    token: String,
    refused: Arc<AtomicUsize>,
}

impl Patient {
    /// Sends the pieces over a connection of their own until they are answered with `taken`.
    async fn until_taken(&self, pieces: &[&[u8]], taken: u16) -> Answer {
        loop {
            if let Ok(answer) = self.send(pieces).await {
                if answer.status == taken {
                    return answer;
                }
                assert!([423, 503].contains(&answer.status), "{}", answer.text());
            }
            self.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn send(&self, pieces: &[&[u8]]) -> io::Result<Answer> {
        let mut connection = Raw::connect(&self.base).await;
        for piece in pieces {
            connection.send(piece).await?;
        }
        connection.answer(PATIENCE).await
    }

    async fn form(&self, body: &Bytes) {
        let before = "--b\r\nContent-Disposition: form-data; name=\"account_id\"\r\n\r\n1\r\n\
                      --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"crowd.bin\"\r\n\r\n";
        let after = "\r\n--b--\r\n";
        let length = before.len() + body.len() + after.len();
        let head = format!(
            "POST /files HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}\r\n\r\n{before}",
            self.token
        );
        let pieces = [head.as_bytes(), body, after.as_bytes()];
        self.until_taken(&pieces, 201).await;
    }

    async fn tus(&self, body: &Bytes) {
        let shared = format!(
            "Host: bench\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n",
            self.token
        );
        let create = format!(
            "POST /files HTTP/1.1\r\n{shared}Upload-Length: {SIZE}\r\nContent-Length: 0\r\n\
             Upload-Metadata: account_id MQ==\r\n\r\n"
        );
        let created = self.until_taken(&[create.as_bytes()], 201).await;
        let location = created.header("location").unwrap();
        let path = &location[location.find("/files/").unwrap()..];
        let mut offset = 0;
        while offset < SIZE {
            let chunk = &body[offset..SIZE.min(offset + MIB)];
            let patch = format!(
                "PATCH {path} HTTP/1.1\r\n{shared}Upload-Offset: {offset}\r\nContent-Length: {}\r\n\
                 Content-Type: application/offset+octet-stream\r\n\r\n",
                chunk.len()
            );
            let answer = match self.send(&[patch.as_bytes(), chunk]).await {
                Ok(answer) if answer.status == 204 => answer,
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let head = format!("HEAD {path} HTTP/1.1\r\n{shared}\r\n");
                    self.until_taken(&[head.as_bytes()], 200).await
                }
            };
            offset = answer.header("upload-offset").unwrap().parse().unwrap();
        }
    }
}
