//! Downloads through nginx, on the files that are deployed, against nginx that serves the same bytes as a plain file.

use cloakroom_tests::{
    client::{self, Seeded, file_path},
    servers::{self, Postgres},
    service::Service,
};

use crate::{
    compare::{Options, Row, Unit, Work, compare},
    load::{Load, SERVER_CORE, wrk},
    nginx::Nginx,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The owner of what is read, a user with a token of the service's own.
const OWNER: [&str; 4] = ["--account", "1", "--user", "7"];

struct Read {
    name: &'static str,
    offloaded: bool,
    size: u64,
    connections: u32,
    unit: Unit,
    goal: f64,
}

const READS: [Read; 4] = [
    Read {
        name: "GET 1 MiB through nginx with offload, 8 connections",
        offloaded: true,
        size: MIB,
        connections: 8,
        unit: Unit::Bytes,
        goal: 0.9,
    },
    Read {
        name: "GET 10 MiB through nginx with offload, 8 connections",
        offloaded: true,
        size: 10 * MIB,
        connections: 8,
        unit: Unit::Bytes,
        goal: 0.9,
    },
    Read {
        name: "GET 1 MiB through nginx without offload, 8 connections",
        offloaded: false,
        size: MIB,
        connections: 8,
        unit: Unit::Bytes,
        goal: 0.0,
    },
    Read {
        name: "GET 10 KiB through nginx, 32 connections",
        offloaded: true,
        size: 10 * KIB,
        connections: 32,
        unit: Unit::Requests,
        goal: 0.0,
    },
];

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let plain = Nginx::start().await;
    let postgres = Postgres::start().await;
    let service = Service::builder()
        .database(postgres.database().await)
        .production()
        .env("CLOAKROOM_WORKERS", "1")
        .env("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1")
        .env("CLOAKROOM_OFFLOAD", "x-accel")
        .pinned_to(SERVER_CORE)
        .start()
        .await;
    let before = || {
        servers::Nginx::before([service.address()])
            .silent()
            .pinned_to(SERVER_CORE)
    };
    let objects = service.data_dir().join("objects");
    let offloading = before().offload_from(objects).start().await;
    let proxying = before().start().await;
    let token = service.create_token("user", &OWNER).await;
    let mut rows = Vec::new();
    for read in READS {
        let through = if read.offloaded {
            &offloading
        } else {
            &proxying
        };
        rows.push(row(options, &read, through, &plain, &token).await);
    }
    rows
}

async fn row(
    options: &Options,
    read: &Read,
    through: &servers::Nginx,
    plain: &Nginx,
    token: &str,
) -> Row {
    let body = Seeded::new(read.size, read.size);
    let owner = through.client().with(Some(token));
    let file = owner.uploaded("bench.bin", body).await;
    let id = client::id(&file);
    owner.assert_body(id, body).await;
    let load = |url: String| Load {
        url,
        token: token.to_owned(),
        connections: read.connections,
        script: None,
    };
    let ours = load(through.url(&file_path(id)));
    let theirs = load(plain.put("bench.bin", body));
    let rate = async |load: &Load, time| {
        let rate = wrk(load, time).await;
        match read.unit {
            Unit::Requests => rate.requests,
            Unit::Bytes => rate.bytes,
        }
    };
    let work = Work {
        name: read.name,
        against: "nginx",
        unit: read.unit,
        goal: read.goal,
    };
    compare(
        options,
        work,
        async |time| rate(&ours, time).await,
        async |time| rate(&theirs, time).await,
    )
    .await
}
