//! Everything moves from a folder to Garage to WebDAV and back while people use it: the mover is killed again and
//! again, the target freezes, and gives wrong bytes back. With `CLOAKROOM_TEST_FILES` as many files as one has time
//! for: from 20,000 they measure up to 200 MB.

mod wrong;

use std::{
    env,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use cloakroom_tests::{
    client::{Client, Seeded, expect, file_path, id},
    inspect::files_below,
    line::Line,
    servers::{Nginx, S3Server, WebdavServer, garage},
    service::{Service, Setup},
};
use futures_util::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SETTINGS: [(&str, &str); 8] = [
    ("CLOAKROOM_MAX_FILE_SIZE", "1GiB"),
    ("CLOAKROOM_DELETE_DELAY", "5s"),
    ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
    ("CLOAKROOM_PENDING_TTL", "5s"),
    ("CLOAKROOM_UNCERTAIN_DELAY", "5s"),
    ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
    ("CLOAKROOM_RATE_LIMIT", "off"),
    (
        "CLOAKROOM_CONFIG_KEY",
        "6f1d0c3b5a79e2481122334455667788990011aabbccddeeff0a1b2c3d4e5f60",
    ),
];

/// A mover lives so long.
const LIFE: Duration = Duration::from_secs(5);

/// Another takes over within so long.
const TAKEOVER: Duration = Duration::from_secs(15);

/// Where everything moved from is empty within so long.
const EMPTIED: Duration = Duration::from_secs(300);

/// From so many files on, they are large.
const MANY: u64 = 20_000;

/// Few files are moved slowly, so that something happens to the movers.
fn rate() -> &'static str {
    if files() < MANY { "512KiB" } else { "1GiB" }
}

fn files() -> u64 {
    let files = env::var("CLOAKROOM_TEST_FILES").ok();
    files.map_or(300, |files| files.parse().unwrap())
}

/// Of every thousand twenty are empty and one is large, though no larger than a mover moves in its life; the others
/// are small.
fn size(number: u64) -> u64 {
    let largest = if files() < MANY {
        512 * 1024
    } else {
        200_000_000
    };
    let mut random = SmallRng::seed_from_u64(number);
    match number % 1000 {
        7 => largest - random.next_u64() % (largest / 2),
        rest if rest % 50 == 0 => 0,
        _ => 1 << (random.next_u64() % 17),
    }
}

#[derive(Debug, Clone)]
struct Kept {
    id: String,
    size: u64,
    sha256: String,
}

/// What people do meanwhile, and what came of it.
#[derive(Debug, Default)]
struct Life {
    kept: Mutex<Vec<Kept>>,
    over: AtomicBool,
    numbers: AtomicU64,
    reads: AtomicU64,
    /// Reads that broke off and were repeated.
    broken: AtomicU64,
    /// Reads that got anything but a body.
    failed: Mutex<Vec<String>>,
    /// Uploads that were repeated.
    repeated: AtomicU64,
}

impl Life {
    fn some(&self, random: &mut SmallRng) -> Kept {
        let kept = self.kept.lock().unwrap();
        kept[random.next_u64() as usize % kept.len()].clone()
    }

    /// Uploads one more, as often as it takes.
    async fn write(&self, client: &Client) {
        let number = self.numbers.fetch_add(1, Relaxed);
        let body = Seeded::new(number, size(number));
        let sha256 = body.sha256();
        let begun = Instant::now();
        loop {
            let request = client
                .post(&format!("/files?filename=f{number}.bin"))
                .header("Idempotency-Key", format!("\"f{number}\""))
                .header("Content-Length", body.size)
                .body(reqwest::Body::wrap_stream(body.stream()));
            let answer = request.send().await;
            if let Ok(answer) = answer
                && answer.status() == StatusCode::CREATED
                && let Ok(file) = answer.json::<Value>().await
            {
                assert_eq!(file["sha256"], sha256, "{file}");
                let id = id(&file).to_owned();
                let size = body.size;
                self.kept.lock().unwrap().push(Kept { id, size, sha256 });
                return;
            }
            self.repeated.fetch_add(1, Relaxed);
            assert!(begun.elapsed() < Duration::from_secs(90), "f{number}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Reads one. A body that breaks off is asked for once more, as a browser does.
    async fn read(&self, client: &Client, wanted: &Kept) {
        self.reads.fetch_add(1, Relaxed);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let path = file_path(&wanted.id);
            let Ok(answer) = client.get(&path).send().await else {
                self.broken.fetch_add(1, Relaxed);
                continue;
            };
            if answer.status() != StatusCode::OK {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                let mut failed = self.failed.lock().unwrap();
                failed.push(format!("{path}: {status} {text}"));
                return;
            }
            let mut chunks = answer.bytes_stream();
            let (mut size, mut hash) = (0, Sha256::new());
            let whole = loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        size += chunk.len() as u64;
                        hash.update(&chunk);
                    }
                    Some(Err(_)) => break false,
                    None => break true,
                }
            };
            if whole {
                let found = (size, hex::encode(hash.finalize()));
                assert_eq!(found, (wanted.size, wanted.sha256.clone()), "{path}");
                return;
            }
            self.broken.fetch_add(1, Relaxed);
        }
        self.failed.lock().unwrap().push(wanted.id.clone());
    }
}

/// Two write and three read, through nginx, until it is over.
fn live(life: &Arc<Life>, client: &Client) -> Vec<tokio::task::JoinHandle<()>> {
    let each = (0..5).map(|person| {
        let (life, client) = (life.clone(), client.clone());
        tokio::spawn(async move {
            let mut random = SmallRng::seed_from_u64(person);
            while !life.over.load(Relaxed) {
                if person < 2 {
                    life.write(&client).await;
                    tokio::time::sleep(Duration::from_millis(400)).await;
                } else {
                    let wanted = life.some(&mut random);
                    life.read(&client, &wanted).await;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        })
    });
    each.collect()
}

fn begun_in(replica: &Service) -> usize {
    replica.log().matches("moving to another store").count()
}

/// Kills whichever replica moves, every few seconds, and answers how long it took others to take over.
async fn kill_movers(
    replicas: &mut [Service],
    mut seen: Vec<usize>,
    over: &AtomicBool,
) -> Vec<Duration> {
    let (mut takeovers, mut since) = (Vec::new(), None::<Instant>);
    loop {
        let mover = (0..replicas.len()).find(|n| begun_in(&replicas[*n]) > seen[*n]);
        if let Some(mover) = mover {
            takeovers.extend(since.take().map(|since: Instant| since.elapsed()));
            seen = replicas.iter().map(begun_in).collect();
            let killed = Instant::now() + LIFE;
            while Instant::now() < killed && !over.load(Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if !over.load(Relaxed) {
                replicas[mover].kill9();
                since = Some(Instant::now());
                replicas[mover].restart().await;
            }
        }
        if over.load(Relaxed) {
            return takeovers;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn status(admin: &Client) -> Option<Value> {
    let answer = admin.get("/migrate/status").send().await.ok()?;
    let answer = (answer.status() == StatusCode::OK).then_some(answer)?;
    answer.json().await.ok()
}

/// Watches the migration to its end: what is done never goes back.
async fn watch(admin: &Client, over: &AtomicBool) -> Value {
    let (mut done, begun) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let Some(now) = status(admin).await else {
            continue;
        };
        let so_far = now["done"]["objects"].as_u64().unwrap();
        assert!(so_far >= done, "{now} after {done}");
        done = so_far;
        let state = now["state"].as_str().unwrap();
        if !["validating", "copying", "draining"].contains(&state) {
            over.store(true, Relaxed);
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(3600), "{now}");
    }
}

/// Moves everything while the mover is killed and the target has its troubles.
async fn hop(
    (replicas, life): (&mut [Service], &Arc<Life>),
    (client, admin): (&Client, &Client),
    to: &Value,
    troubles: impl Future<Output = ()>,
) {
    let before = life.kept.lock().unwrap().len() as u64;
    let seen = replicas.iter().map(begun_in).collect();
    life.over.store(false, Relaxed);
    let people = live(life, client);
    let begun = admin.post("/migrate").json(to).send().await.unwrap();
    expect(begun, StatusCode::ACCEPTED).await;
    let start = Instant::now();
    let over = AtomicBool::new(false);
    let (ended, takeovers, ()) = tokio::join!(
        watch(admin, &over),
        kill_movers(replicas, seen, &over),
        troubles
    );
    println!(
        "{}: {:.1?}, {ended}\n  taken over after {takeovers:.1?}",
        to["driver"],
        start.elapsed()
    );
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(ended["left"]["objects"], 0, "{ended}");
    assert!(ended["done"]["objects"].as_u64() >= Some(before), "{ended}");
    assert!(takeovers.iter().all(|it| *it < TAKEOVER), "{takeovers:?}");
    life.over.store(true, Relaxed);
    for person in people {
        person.await.unwrap();
    }
    wrong::end();
    let failed = life.failed.lock().unwrap().clone();
    println!(
        "  {} files, {} reads of which {} broke off and were repeated, {} failed; {} uploads repeated; {} wrong bytes",
        life.kept.lock().unwrap().len(),
        life.reads.load(Relaxed),
        life.broken.load(Relaxed),
        failed.len(),
        life.repeated.load(Relaxed),
        wrong::count(),
    );
    assert!(failed.is_empty(), "{failed:#?}");
    let all = life.kept.lock().unwrap().clone();
    let reading = stream::iter(&all).map(|kept| life.read(client, kept));
    reading.buffer_unordered(4).collect::<Vec<()>>().await;
    let failed = life.failed.lock().unwrap().clone();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Freezes it twice, each time for as long as a request may wait.
async fn freeze_twice(pause: impl Fn(), resume: impl Fn()) {
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        pause();
        tokio::time::sleep(Duration::from_secs(5)).await;
        resume();
    }
}

async fn objects_in(store: &S3Server, bucket: &str) -> Vec<String> {
    let list = store.access().client().list_objects_v2();
    let listed = list.bucket(bucket).send().await.unwrap();
    let keys = listed.contents().iter().filter_map(|object| object.key());
    keys.map(str::to_owned).collect()
}

/// Waits until nothing is left.
async fn emptied<L: Debug>(what: &str, mut left: impl AsyncFnMut() -> Vec<L>) {
    let begun = Instant::now();
    loop {
        let left = left().await;
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < EMPTIED, "{what} is not empty: {left:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_round_while_movers_die_and_targets_freeze_and_lie() {
    let _turn = crate::alone().await;
    let (store, dav) = tokio::join!(garage::start(), WebdavServer::rclone());
    let access = store.access();
    let address = |url: &str| url.trim_start_matches("http://").parse().unwrap();
    let to_store = Line::changing(address(&access.endpoint), wrong::spoil).await;
    let to_dav = Line::changing(address(&dav.access().endpoint), wrong::spoil).await;
    let builder = Service::builder().setup(Setup::PostgresFs).production();
    let builder = SETTINGS.iter().fold(builder, |it, (k, v)| it.env(*k, *v));
    let builder = builder.env("CLOAKROOM_MIGRATION_RATE", rate());
    let mut replicas = builder.start_replicas(2).await;
    let nginx = Nginx::before(replicas.iter().map(Service::address));
    let nginx = nginx.start().await;
    let user = ["--account", "1", "--user", "7"];
    let token = replicas[0].create_token("user", &user).await;
    let client = nginx.client().with(Some(&token));
    let admin = nginx.client().with(Some(&replicas[0].admin_token()));
    let home = replicas[0].data_dir().join("objects");

    let life = Arc::<Life>::default();
    let writing = stream::iter(0..files()).map(|_| life.write(&client));
    writing.buffer_unordered(8).collect::<Vec<()>>().await;

    let bucket = access.bucket_name();
    let s3 = json!({"driver": "s3", "config": {
        "endpoint": format!("http://{}", to_store.address()), "region": access.region,
        "bucket": bucket, "access_key_id": access.access_key,
        "secret_access_key": access.secret_key,
    }});
    wrong::begin();
    let troubles = freeze_twice(|| store.pause(), || store.resume());
    hop((&mut replicas, &life), (&client, &admin), &s3, troubles).await;
    emptied("the folder", async || files_below(&home)).await;

    let place = dav.access();
    let webdav = json!({"driver": "webdav", "config": {
        "endpoint": format!("http://{}", to_dav.address()),
        "username": place.username, "password": place.password,
    }});
    wrong::begin();
    let troubles = freeze_twice(|| dav.pause(), || dav.resume());
    hop((&mut replicas, &life), (&client, &admin), &webdav, troubles).await;
    emptied("the bucket", async || objects_in(&store, &bucket).await).await;

    let fs = json!({"driver": "fs", "config": {"path": home}});
    hop((&mut replicas, &life), (&client, &admin), &fs, async {}).await;
    emptied("the WebDAV server", async || files_below(&dav.data())).await;
    let here = files_below(&home).len();
    assert_eq!(here, life.kept.lock().unwrap().len());
    let looked = replicas[0].run(&["fsck", "--verify"]).await;
    assert_eq!(looked.code, 0, "{}", looked.stdout);
}
