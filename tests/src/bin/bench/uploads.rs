//! Uploads to a folder, against the same writing done bare.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_tests::{
    client::{Answer, Client, Raw, Seeded},
    process::temporary_folder,
    servers::{Postgres, PostgresAccess},
    service::Service,
};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    bare,
    compare::{Options, Row, Unit, Work, compare},
};

const LARGE: u64 = 100 * 1024 * 1024;
const SMALL: usize = 10 * 1024;
const CLIENTS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

/// What an upload commits: the row that says that bytes will come, and that they are there.
const COMMITS: f64 = 2.0;

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let postgres = Postgres::start().await;
    let service = Service::builder()
        .database(postgres.database().await)
        .production()
        .start()
        .await;
    vec![
        large(options, &service).await,
        small(options, &service, postgres.access()).await,
    ]
}

async fn large(options: &Options, service: &Service) -> Row {
    let work = Work {
        name: "POST 100 MiB form",
        against: "dd conv=fsync",
        unit: Unit::Bytes,
        goal: 0.6,
    };
    let body = Seeded::new(1, LARGE).bytes();
    let folder = temporary_folder();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, &body).unwrap();
    let uploader = Uploader::new(service);
    compare(
        options,
        work,
        async |time| per_second(time, async || uploader.form(&body).await).await,
        async |time| per_second(time, async || bare::dd(&from, &to).await).await,
    )
    .await
}

/// Bytes per second of what takes so long for each 100 MiB, again and again for a while.
pub(crate) async fn per_second(time: Duration, mut once: impl AsyncFnMut() -> Duration) -> f64 {
    let (begun, mut busy, mut bytes) = (Instant::now(), Duration::ZERO, 0.0);
    while begun.elapsed() < time {
        busy += once().await;
        bytes += LARGE as f64;
    }
    bytes / busy.as_secs_f64()
}

/// Uploads whole bodies over a connection of its own, and removes them again.
pub(crate) struct Uploader {
    base: String,
    token: String,
    client: Client,
}

impl Uploader {
    pub(crate) fn new(service: &Service) -> Self {
        Self {
            base: service.base(),
            token: service.admin_token(),
            client: service.admin(),
        }
    }

    /// How long it takes from connecting to the answer to a form with this file.
    pub(crate) async fn form(&self, body: &Bytes) -> Duration {
        let (time, id) = self.keep_form(body).await;
        self.client.purge(&id).await;
        time
    }

    /// As `form`, and the file stays; its id.
    pub(crate) async fn keep_form(&self, body: &Bytes) -> (Duration, String) {
        let before = "--b\r\nContent-Disposition: form-data; name=\"account_id\"\r\n\r\n1\r\n\
                      --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bench.bin\"\r\n\
                      Content-Type: application/octet-stream\r\n\r\n";
        let after = "\r\n--b--\r\n";
        let head = format!(
            "POST /files HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n",
            self.token,
            before.len() + body.len() + after.len()
        );
        let begun = Instant::now();
        let mut connection = Raw::connect(&self.base).await;
        connection.send(head).await.unwrap();
        connection.send(before).await.unwrap();
        connection.send(body).await.unwrap();
        connection.send(after).await.unwrap();
        let answer = connection.answer(PATIENCE).await.unwrap();
        (begun.elapsed(), id_of(&answer))
    }
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let file: Value = serde_json::from_slice(&answer.body).unwrap();
    file["file_id"].as_str().unwrap().to_owned()
}

async fn small(options: &Options, service: &Service, postgres: &PostgresAccess) -> Row {
    let work = Work {
        name: "POST 10 KiB, 16 clients",
        against: "pgbench's commits, then bare flushes",
        unit: Unit::Requests,
        goal: 0.6,
    };
    let url = postgres.database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let table = "CREATE TABLE bare (body text NOT NULL)";
    connection.execute(table).await.unwrap();
    connection.close().await.unwrap();
    let folder = temporary_folder();
    let script = folder.path().join("commit.sql");
    let files = folder.path().join("files");
    compare(
        options,
        work,
        async |time| posts(service, time).await,
        async |time| {
            let commits = bare::commits(&url, &script, CLIENTS, time).await;
            let flushes = bare::flushes(&files, SMALL, CLIENTS, time).await;
            1.0 / (COMMITS / commits + 1.0 / flushes)
        },
    )
    .await
}

/// Uploads per second by all clients together, each on its connection.
async fn posts(service: &Service, time: Duration) -> f64 {
    let body = Seeded::new(2, SMALL as u64).bytes();
    let request = format!(
        "POST /files?filename=bench.bin&account_id=1 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {SMALL}\r\n\r\n",
        service.admin_token()
    );
    let request = Bytes::from([request.as_bytes(), &body].concat());
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|_| {
        let (base, request) = (service.base(), request.clone());
        tokio::spawn(async move {
            let (mut connection, mut done) = (Raw::connect(&base).await, 0);
            while begun.elapsed() < time {
                connection.send(&request).await.unwrap();
                let answer = connection.answer(PATIENCE).await.unwrap();
                assert_eq!(answer.status, 201, "{}", answer.text());
                done += 1;
            }
            done
        })
    });
    let done = futures_util::future::join_all(clients).await;
    let done: u32 = done.into_iter().map(Result::unwrap).sum();
    f64::from(done) / begun.elapsed().as_secs_f64()
}
