//! Downloads against nginx.

use std::fs;

use cloakroom_tests::{
    backend::Backend,
    client::{self, Seeded, file_path},
    process::temporary_folder,
    servers::{Postgres, garage},
    service::Service,
};

use crate::{
    compare::{Options, Row, Unit, Work, compare},
    load::{Load, SERVER_CORE, wrk},
    nginx::Nginx,
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
pub(crate) const LARGE: u64 = 100 * MIB;
const RANGE: u64 = 64 * KIB;

/// The owner of what is read, whose token is in Redis.
const USER: i32 = 7;
const ACCOUNT: i32 = 1;

struct Read {
    work: Work,
    size: u64,
    connections: u32,
    ranges: bool,
}

const fn read(name: &'static str, size: u64, connections: u32, unit: Unit, goal: f64) -> Read {
    Read {
        work: Work {
            name,
            against: "nginx",
            unit,
            goal,
        },
        size,
        connections,
        ranges: false,
    }
}

const READS: [Read; 4] = [
    read(
        "GET 10 KiB, 32 connections",
        10 * KIB,
        32,
        Unit::Requests,
        0.8,
    ),
    read("GET 1 MiB, 8 connections", MIB, 8, Unit::Bytes, 0.8),
    Read {
        ranges: true,
        ..read(
            "GET 64 KiB ranges of 100 MiB, 16 connections",
            LARGE,
            16,
            Unit::Requests,
            0.8,
        )
    },
    read("GET 100 MiB, one stream", LARGE, 1, Unit::Bytes, 0.9),
];

/// The bytes are in Garage, and hot: they come from the service's memory.
const HOT_READS: [Read; 2] = [
    read(
        "GET 10 KiB, bytes in Garage, 32 connections",
        10 * KIB,
        32,
        Unit::Requests,
        0.8,
    ),
    read(
        "GET 1 MiB, bytes in Garage, 8 connections",
        MIB,
        8,
        Unit::Bytes,
        0.8,
    ),
];

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let nginx = Nginx::start().await;
    let (postgres, backend) = (Postgres::start().await, Backend::start().await);
    let builder = async || {
        Service::builder()
            .database(postgres.database().await)
            .production()
            .env("CLOAKROOM_REDIS_URL", backend.redis().url())
            .env("CLOAKROOM_AUTH_SECRET_KEY", backend.secret_key())
            .env("CLOAKROOM_WORKERS", "1")
            .pinned_to(SERVER_CORE)
    };
    let service = builder().await.start().await;
    let mut rows = compared(options, &READS, &service, &backend, &nginx).await;
    drop(service);
    let garage = garage::start().await;
    let service = builder().await.s3(garage.access()).start().await;
    rows.extend(compared(options, &HOT_READS, &service, &backend, &nginx).await);
    rows
}

async fn compared(
    options: &Options,
    reads: &[Read],
    service: &Service,
    backend: &Backend,
    nginx: &Nginx,
) -> Vec<Row> {
    let token = backend.sign_in(USER, ACCOUNT).await;
    let owner = service.anonymous().with(Some(&token));
    let folder = temporary_folder();
    let script = folder.path().join("ranges.lua");
    fs::write(&script, ranges()).unwrap();

    let mut rows = Vec::new();
    for read in reads {
        let body = Seeded::new(read.size, read.size);
        let file = owner.uploaded("bench.bin", body).await;
        let id = client::id(&file);
        owner.assert_body(id, body).await;

        let load = |url: String| Load {
            url,
            token: token.clone(),
            connections: read.connections,
            script: read.ranges.then(|| script.clone()),
        };
        let ours = load(service.url(&file_path(id)));
        let theirs = load(nginx.put("bench.bin", body));
        let rate = async |load: &Load, time| {
            let rate = wrk(load, time).await;
            match read.work.unit {
                Unit::Requests => rate.requests,
                Unit::Bytes => rate.bytes,
            }
        };
        let row = compare(
            options,
            read.work,
            async |time| rate(&ours, time).await,
            async |time| rate(&theirs, time).await,
        );
        rows.push(row.await);
    }
    rows
}

/// A script for wrk that asks for ranges at random places, the same ones in every turn.
pub(crate) fn ranges() -> String {
    format!(
        "math.randomseed(1)\n\
         request = function()\n\
         \x20 local start = math.random(0, {LARGE} - {RANGE})\n\
         \x20 wrk.headers['Range'] = 'bytes=' .. start .. '-' .. (start + {RANGE} - 1)\n\
         \x20 return wrk.format()\n\
         end\n"
    )
}
