//! Moving everything to another store while people live in it.

mod faults;
mod old_stores;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cloakroom_tests::{
    client::{Client, expect, file_path, id, refused, sample},
    inspect::files_below,
    servers::{S3Server, WebdavServer, garage},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const QUICK: &[(&str, &str)] = &[
    ("CLOAKROOM_DELETE_DELAY", "5s"),
    ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
    ("CLOAKROOM_PENDING_TTL", "5s"),
    ("CLOAKROOM_UNCERTAIN_DELAY", "5s"),
];

/// As `cloakroom encryption new-key` prints one.
const KEY: &str = "6f1d0c3b5a79e2481122334455667788990011aabbccddeeff0a1b2c3d4e5f60";

fn fs(path: &Path) -> Value {
    json!({"driver": "fs", "config": {"path": path}})
}

fn s3(store: &S3Server, bucket: &str) -> Value {
    let access = store.access();
    json!({"driver": "s3", "config": {
        "endpoint": access.endpoint, "region": access.region, "bucket": bucket,
        "access_key_id": access.access_key, "secret_access_key": access.secret_key,
    }})
}

/// Files by their ids, and what is in them.
type Known = Vec<(String, Vec<u8>)>;

/// Uploads files of these sizes in bytes.
async fn uploaded(client: &Client, sizes: impl IntoIterator<Item = usize>) -> Known {
    let mut known = Known::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let body = sample(size, number as u64);
        let file = client.stored(&format!("f{number}.bin"), body.clone()).await;
        known.push((id(&file).to_owned(), body));
    }
    known
}

async fn assert_readable(stand: &Stand, known: &Known) {
    for (id, body) in known {
        assert_eq!(stand.user().bytes(&file_path(id)).await, *body, "{id}");
    }
}

async fn begin(admin: &Client, to: &Value) -> Value {
    let answer = admin.post("/migrate").json(to).send().await.unwrap();
    expect(answer, StatusCode::ACCEPTED).await
}

async fn status(admin: &Client) -> Value {
    let answer = admin.get("/migrate/status").send().await.unwrap();
    expect(answer, StatusCode::OK).await
}

/// Waits until the migration is over, and answers how it ended.
async fn ended(stand: &Stand) -> Value {
    let admin = stand.admin();
    let over = async || {
        let state = status(&admin).await["state"].as_str().unwrap().to_owned();
        !["validating", "copying", "draining"].contains(&state.as_str())
    };
    stand.until("the migration is over", over).await;
    status(&admin).await
}

/// Everything that is stored is in that store.
async fn assert_all_moved(stand: &Stand, objects: u64) {
    let ended = ended(stand).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(ended["left"]["objects"], 0, "{ended}");
    assert!(
        ended["done"]["objects"].as_u64().unwrap() >= objects,
        "{ended}"
    );
}

/// Uploads and reads without end until told; answers what was uploaded, and fails at the first failed read.
async fn live(client: Client, known: Known, over: Arc<AtomicBool>) -> Known {
    let mut all = known;
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        let body = sample(1 + (round * 7919) % 200_000, round as u64);
        let made = client
            .stored(&format!("live{round}.bin"), body.clone())
            .await;
        all.push((id(&made).to_owned(), body));
        let (id, body) = &all[(round * 31) % all.len()];
        assert_eq!(client.bytes(&file_path(id)).await, *body, "{id}");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_from_a_folder_to_garage_to_webdav_and_back_while_it_is_used() {
    let (store, dav) = tokio::join!(garage::start(), WebdavServer::rclone());
    let settings = [QUICK, &[("CLOAKROOM_CONFIG_KEY", KEY)]].concat();
    let replicas = Stand::replicas_with(Setup::PostgresFs, 2, &settings).await;
    let [one, two] = &replicas[..] else {
        panic!("two replicas were asked for")
    };
    let home = one.data_dir().join("objects");
    let (user, admin) = (one.user(), one.admin());
    let mut known = uploaded(&user, (0..40).map(|number| number * number * 500)).await;
    let to_s3 = s3(&store, &store.access().bucket_name());
    let place = dav.access();
    let to_dav = json!({"driver": "webdav", "config": {
        "endpoint": place.endpoint, "username": place.username, "password": place.password,
    }});
    for (to, driver) in [(to_s3, "s3"), (to_dav, "webdav"), (fs(&home), "fs")] {
        let over = Arc::new(AtomicBool::new(false));
        let at_work = [one.user(), two.user()]
            .map(|client| tokio::spawn(live(client, known.clone(), over.clone())));
        begin(&admin, &to).await;
        assert_all_moved(one, known.len() as u64).await;
        over.store(true, Ordering::Relaxed);
        for work in at_work {
            for made in work.await.unwrap() {
                if !known.iter().any(|(id, _)| *id == made.0) {
                    known.push(made);
                }
            }
        }
        for (number, (id, body)) in known.iter().enumerate() {
            let replica = if number % 2 == 0 { one } else { two };
            assert_eq!(
                replica.user().bytes(&file_path(id)).await,
                *body,
                "{driver}"
            );
        }
        let health = expect(admin.get("/health").send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(health["backend"], driver);
        if driver == "s3" {
            let emptied = async || files_below(&home).is_empty();
            one.until("the folder is empty", emptied).await;
        }
    }
    one.swept().await;
    one.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_that_is_killed_is_followed_and_a_cancelled_move_goes_on() {
    let settings = [QUICK, &[("CLOAKROOM_MIGRATION_RATE", "2MiB")]].concat();
    let mut stand = Stand::start_with(Setup::SqliteFs, &settings).await;
    let known = uploaded(&stand.user(), [400_000; 30]).await;
    let other = stand.data_dir().join("other");
    begin(&stand.admin(), &fs(&other)).await;
    let some = async || status(&stand.admin()).await["done"]["objects"].as_u64() > Some(2);
    stand.until("some are moved", some).await;
    stand.kill9();
    stand.restart().await;
    let before = status(&stand.admin()).await["done"]["objects"].as_u64();
    let more = async || status(&stand.admin()).await["done"]["objects"].as_u64() > before;
    stand.until("it goes on", more).await;
    let cancel = stand.admin().call(Method::DELETE, "/migrate");
    let cancelled = expect(cancel.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(cancelled["state"], "cancelled");
    let again = stand.admin().call(Method::DELETE, "/migrate");
    refused(again.send().await.unwrap(), 409, "FILE_006").await;
    assert_readable(&stand, &known).await;
    let left = status(&stand.admin()).await["left"]["objects"]
        .as_u64()
        .unwrap();
    assert!(left > 0 && left < 30, "{left}");
    begin(&stand.admin(), &fs(&other)).await;
    assert_all_moved(&stand, left - 1).await;
    let moved = status(&stand.admin()).await["done"]["objects"]
        .as_u64()
        .unwrap();
    assert!(moved <= left, "nothing is copied twice: {moved} of {left}");
    assert_readable(&stand, &known).await;
    stand.swept().await;
    let looked = stand.run(&["fsck", "--verify"]).await;
    assert_eq!(looked.code, 0, "{}", looked.stdout);
}

#[tokio::test]
async fn a_store_that_cannot_be_is_refused_and_nothing_changes() {
    let stand = Stand::simple().await;
    let admin = stand.admin();
    let kept = stand.user().stored("kept.txt", "kept").await;
    let full = stand.data_dir().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("theirs.txt"), "theirs").unwrap();
    let theirs = stand.data_dir().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let mark = "5c1f6f0e-6d1c-4ad0-9f3f-2a9f5f1f0c11\n";
    std::fs::write(theirs.join(".cloakroom-store"), mark).unwrap();
    let s3 = |endpoint: &str| {
        json!({"driver": "s3", "config": {"endpoint": endpoint, "bucket": "files", "region": "x",
            "access_key_id": "id", "secret_access_key": "canary-secret"}})
    };
    let bad = [
        json!({"driver": "none", "config": {}}),
        json!({"driver": "fs", "config": {"path": "relative"}}),
        json!({"driver": "fs", "config": {"path": "/x", "more": 1}}),
        json!({"driver": "fs", "config": {}, "unknown": true}),
        fs(&full),
        fs(&theirs),
        s3("http://169.254.169.254"),
        s3("http://[fd00:ec2::254]:80"),
        s3("http://127.0.0.1:9"),
        s3("ftp://127.0.0.1"),
    ];
    for body in bad {
        let answer = admin.post("/migrate").json(&body).send().await.unwrap();
        let problem = refused(answer, 422, "VAL_001").await;
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
    let health = expect(admin.get("/health").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(health["backend"], "fs");
    assert_eq!(stand.user().bytes(&file_path(id(&kept))).await, b"kept");
    assert!(!stand.log().contains("canary"));
    let dry =
        json!({"driver": "fs", "config": {"path": stand.data_dir().join("new")}, "dry_run": true});
    for _ in 0..2 {
        let answer = admin.post("/migrate").json(&dry).send().await.unwrap();
        let told = expect(answer, StatusCode::OK).await;
        assert_eq!(told["would_move"], json!({"objects": 1, "bytes": 4}));
    }
}

#[tokio::test]
async fn credentials_are_changed_once_they_work_and_secrets_are_masked() {
    let store = garage::start().await;
    let access = store.access();
    let stand = Stand::with(&[]).await;
    let admin = stand.admin();
    let to = s3(&store, &access.bucket_name());
    let kept = stand.user().stored("kept.txt", "kept").await;
    begin(&admin, &to).await;
    assert_all_moved(&stand, 1).await;
    let shown = expect(
        admin.get("/backend-config").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(shown["driver"], "s3");
    assert_eq!(shown["config"]["secret_access_key"], "****");
    assert_eq!(shown["config"]["endpoint"], access.endpoint);
    let patch = async |config: Value| {
        let body = json!({ "config": config });
        let change = admin.call(Method::PATCH, "/backend-config").json(&body);
        change.send().await.unwrap()
    };
    // What was shown can be given back as it is.
    expect(patch(shown["config"].clone()).await, StatusCode::OK).await;
    let change = admin.call(Method::PATCH, "/backend-config").json(&shown);
    expect(change.send().await.unwrap(), StatusCode::OK).await;
    let mut another = shown.clone();
    another["driver"] = json!("fs");
    let change = admin.call(Method::PATCH, "/backend-config").json(&another);
    refused(change.send().await.unwrap(), 422, "VAL_001").await;
    for bad in [
        json!({"secret_access_key": "wrong-canary"}),
        json!({"bucket": "another-bucket"}),
        json!({"endpoint": "http://127.0.0.1:9"}),
        json!({"endpoint": null}),
        json!({"nonsense": 1}),
    ] {
        let problem = refused(patch(bad).await, 422, "VAL_001").await;
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
    assert_eq!(stand.user().bytes(&file_path(id(&kept))).await, b"kept");
    let with_region = json!({"region": access.region, "path_style": true});
    expect(patch(with_region).await, StatusCode::OK).await;
    assert_eq!(stand.user().bytes(&file_path(id(&kept))).await, b"kept");
    stand.user().stored("more.txt", "more").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let log = stand.log();
    assert!(!log.contains(&access.secret_key) && !log.contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tries_moves_and_tells() {
    let stand = Stand::with(QUICK).await;
    let user = stand.user();
    let known = uploaded(&user, [100_000; 5]).await;
    assert_eq!(stand.run(&["storage", "probe"]).await.code, 0);
    let never = stand.run(&["storage", "status"]).await;
    assert!(
        never.stdout.contains("nothing was ever moved"),
        "{}",
        never.stdout
    );
    let settings = stand.data_dir().join("new-store.json");
    let path = settings.display().to_string();
    let migrate = ["storage", "migrate", "--driver", "fs", "--settings", &path];
    std::fs::write(&settings, "{not json").unwrap();
    assert_ne!(stand.run(&migrate).await.code, 0);
    let other = stand.data_dir().join("other");
    std::fs::write(&settings, json!({ "path": other }).to_string()).unwrap();
    let dry = stand
        .run(&[&migrate[..], &["--dry-run", "--json"]].concat())
        .await;
    let told: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(told["would_move"], json!({"objects": 5, "bytes": 500_000}));
    let moved = stand.run(&[&migrate[..], &["--json"]].concat()).await;
    assert_eq!(moved.code, 0, "{} {}", moved.stdout, moved.stderr);
    let told: Value = serde_json::from_str(&moved.stdout).unwrap();
    assert_eq!(
        (&told["state"], &told["left"]["objects"]),
        (&json!("done"), &json!(0))
    );
    assert_ne!(stand.run(&["storage", "cancel"]).await.code, 0);
    let status = stand.run(&["storage", "status"]).await;
    assert!(
        status.stdout.starts_with("done to fs: 5 objects"),
        "{}",
        status.stdout
    );
    assert_readable(&stand, &known).await;
    // The service beside it has heard of the new store, too.
    user.stored("new.txt", "new").await;
    stand.swept().await;
    let old = files_below(&stand.data_dir().join("objects"));
    assert!(old.is_empty(), "{old:#?}");
    assert_eq!(files_below(&other).len(), 6);
}
