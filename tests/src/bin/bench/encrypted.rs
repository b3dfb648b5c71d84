//! Encryption at rest against the same service without a key.

use std::{fs, path::PathBuf, time::Duration};

use cloakroom_tests::{
    client::{self, Seeded, file_path},
    process::temporary_folder,
    servers::Postgres,
    service::{Service, ServiceBuilder},
};

use crate::{
    compare::{Options, Row, Unit, Work, compare},
    load::{Load, SERVER_CORE, wrk},
    reads::{self, LARGE},
    uploads::{Uploader, per_second},
};

/// Any 32 bytes will do for a key that nothing is kept under.
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

const fn work(name: &'static str, unit: Unit, goal: f64) -> Work {
    Work {
        name,
        against: "without a key",
        unit,
        goal,
    }
}

/// What is read, its size in bytes, connections, and whether in ranges.
const READS: [(Work, u64, u32, bool); 3] = [
    (
        work("GET 10 KiB encrypted, 32 connections", Unit::Requests, 0.0),
        10 * 1024,
        32,
        false,
    ),
    (
        work(
            "GET 64 KiB ranges of 100 MiB encrypted, 16 connections",
            Unit::Requests,
            0.0,
        ),
        LARGE,
        16,
        true,
    ),
    (
        work("GET 100 MiB encrypted, one stream", Unit::Bytes, 0.6),
        LARGE,
        1,
        false,
    ),
];

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let postgres = Postgres::start().await;
    let start = async |prepare: fn(ServiceBuilder) -> ServiceBuilder| {
        let builder = Service::builder()
            .database(postgres.database().await)
            .production()
            .env("CLOAKROOM_MEMORY_CACHE", "0");
        let plain = prepare(builder).start().await;
        let builder = Service::builder()
            .database(postgres.database().await)
            .production()
            .env("CLOAKROOM_MEMORY_CACHE", "0")
            .env("CLOAKROOM_ENCRYPTION_KEY", KEY);
        (prepare(builder).start().await, plain)
    };
    let pinned =
        |builder: ServiceBuilder| builder.env("CLOAKROOM_WORKERS", "1").pinned_to(SERVER_CORE);
    let (sealed, plain) = start(pinned).await;
    let mut rows = downloads(options, &sealed, &plain).await;
    drop((sealed, plain));
    let (sealed, plain) = start(|builder| builder).await;
    rows.push(uploads(options, &sealed, &plain).await);
    rows
}

async fn downloads(options: &Options, sealed: &Service, plain: &Service) -> Vec<Row> {
    let folder = temporary_folder();
    let script = folder.path().join("ranges.lua");
    fs::write(&script, reads::ranges()).unwrap();
    let mut rows = Vec::new();
    for (work, size, connections, in_ranges) in READS {
        let script = in_ranges.then(|| script.clone());
        let ours = load(sealed, size, connections, script.clone()).await;
        let theirs = load(plain, size, connections, script).await;
        let rate = async |load: &Load, time| {
            let rate = wrk(load, time).await;
            match work.unit {
                Unit::Requests => rate.requests,
                Unit::Bytes => rate.bytes,
            }
        };
        let row = compare(
            options,
            work,
            async |time| rate(&ours, time).await,
            async |time| rate(&theirs, time).await,
        );
        rows.push(row.await);
    }
    rows
}

/// A file of that size in the service, to be asked for again and again.
async fn load(service: &Service, size: u64, connections: u32, script: Option<PathBuf>) -> Load {
    let token = service
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let owner = service.anonymous().with(Some(&token));
    let body = Seeded::new(size, size);
    let file = owner.uploaded("bench.bin", body).await;
    let id = client::id(&file);
    owner.assert_body(id, body).await;
    Load {
        url: service.url(&file_path(id)),
        token,
        connections,
        script,
    }
}

async fn uploads(options: &Options, sealed: &Service, plain: &Service) -> Row {
    let body = Seeded::new(3, LARGE).bytes();
    let (ours, theirs) = (Uploader::new(sealed), Uploader::new(plain));
    let rate = async |uploader: &Uploader, time: Duration| {
        per_second(time, async || uploader.form(&body).await).await
    };
    compare(
        options,
        work("POST 100 MiB form encrypted", Unit::Bytes, 0.0),
        async |time| rate(&ours, time).await,
        async |time| rate(&theirs, time).await,
    )
    .await
}
