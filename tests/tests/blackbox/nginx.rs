//! Through nginx, on the files that are deployed: streaming, replicas, TLS, and who is told what.

mod input;
mod listening;
pub mod offload;
mod offload_failures;
mod placed;
mod trust;

use std::{fs, time::Duration};

use cloakroom_tests::{
    client::{Client, Raw, Seeded, file_path, header, id, sample, sha256},
    process::{Launch, eventually, temporary_folder, tree},
    servers::Nginx,
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

const PATIENCE: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// The user of a service, through an nginx before it.
fn through(nginx: &Nginx, stand: &Stand) -> Client {
    nginx.client().with(Some(stand.user_token()))
}

/// Resident memory of nginx with its worker, in bytes.
fn memory(nginx: &Nginx) -> u64 {
    let kib = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let value = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        value.unwrap_or_default()
    };
    tree(nginx.id()).into_iter().map(kib).sum::<u64>() * 1024
}

/// Bytes of bodies that are being written to the folder.
fn written(stand: &Stand) -> u64 {
    let unfinished = fs::read_dir(stand.data_dir().join("objects/files/tmp"));
    let sizes = unfinished.into_iter().flatten().flatten();
    sizes
        .map(|entry| entry.metadata().map_or(0, |data| data.len()))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_stream_both_ways_through_nginx_and_are_never_kept_there() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1GiB")]).await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let body = Seeded::new(5, 300 * MIB);
    let head = stand.head(
        "POST",
        "/files?filename=a.bin",
        "",
        usize::try_from(body.size).unwrap(),
    );
    let mut connection = Raw::connect(&nginx.base()).await;
    connection.send(head).await.unwrap();
    let half = 150 * MIB;
    for start in (0..half).step_by(MIB as usize) {
        let piece = body.slice(start..start + MIB);
        connection.send(piece).await.unwrap();
    }
    // Half of it has not been sent; of the other half at most what sockets hold is not with the service.
    eventually("what was sent is written", PATIENCE, async || {
        written(&stand) > half / 2
    })
    .await;
    assert_eq!(nginx.temporary_bytes(), 0);
    assert!(memory(&nginx) < 64 * MIB, "{}", memory(&nginx));
    for start in (half..body.size).step_by(MIB as usize) {
        let piece = body.slice(start..start + MIB);
        connection.send(piece).await.unwrap();
    }
    let answer = connection.answer(PATIENCE).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let file: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(file["sha256"], body.sha256());

    let get = stand.head("GET", &file_path(id(&file)), "", 0);
    let mut slow = Raw::connect(&nginx.base()).await;
    slow.send(get).await.unwrap();
    let begun = slow.read_some(64 * 1024, PATIENCE).await.unwrap();
    assert!(begun.starts_with(b"HTTP/1.1 200 OK\r\n"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(nginx.temporary_bytes(), 0, "a slow client's body");
    assert!(memory(&nginx) < 64 * MIB, "{}", memory(&nginx));
    drop(slow);
    through(&nginx, &stand).assert_body(id(&file), body).await;
    assert_eq!(nginx.temporary_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_is_not_missed_by_readers() {
    let mut replicas = Stand::replicas(Setup::PostgresFs, 2).await;
    let addresses = [replicas[0].address(), replicas[1].address()];
    let nginx = Nginx::before(addresses).start().await;
    let api = through(&nginx, &replicas[0]);
    let body = sample(200_000, 3);
    let path = file_path(id(&api.stored("a.bin", body.clone()).await));
    // How many of so many reads one after the other go wrong.
    let read = |count: usize| {
        let (api, path, body) = (api.clone(), path.clone(), body.clone());
        tokio::spawn(async move {
            let mut lost = 0;
            for _ in 0..count {
                let answer = api.get(&path).send().await.unwrap();
                let status = answer.status();
                match answer.bytes().await {
                    Ok(bytes) => assert!(status == StatusCode::OK && bytes == body, "{status}"),
                    Err(_) => lost += 1,
                }
            }
            lost
        })
    };
    assert_eq!(read(20).await.unwrap(), 0);
    let readers: Vec<_> = (0..4).map(|_| read(100)).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    replicas[0].kill9();
    for lost in futures_util::future::join_all(readers).await {
        assert!(lost.unwrap() <= 1, "more than the body that was under way");
    }
    let later = futures_util::future::join_all((0..4).map(|_| read(50))).await;
    assert!(later.into_iter().all(|lost| lost.unwrap() == 0));

    replicas[0].restart().await;
    replicas[1].kill9();
    eventually("the one that came back serves", PATIENCE, async || {
        let answer = api.get(&path).send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_behind_nginx_does_not_end_well() {
    let mut stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).start().await;
    let file = stand.user().uploaded("a.bin", (8, 64 * MIB)).await;
    let answer = through(&nginx, &stand).get(&file_path(id(&file)));
    let mut answer = answer.send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    stand.kill9();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err(), "a body that was cut ended well");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_downloads_go_over_tls_by_http_1_1_and_http_2() {
    let stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).tls().start().await;
    let folder = temporary_folder();
    let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
    let body = sample(20_000_000, 7);
    fs::write(&sent, &body).unwrap();
    // By a file, so that the token is no argument.
    let credential = folder.path().join("credential");
    let token = stand.user_token();
    fs::write(&credential, format!("Authorization: Bearer {token}\n")).unwrap();
    for version in ["--http1.1", "--http2"] {
        let curl = || {
            Launch::new("curl")
                .args(["--silent", "--show-error", "--fail", version, "--cacert"])
                .args([nginx.certificate()])
                .args(["--header".into(), format!("@{}", credential.display())])
        };
        let form = format!("file=@{}", sent.display());
        let answer = curl().args(["--form", &form]).args([nginx.url("/files")]);
        let file: serde_json::Value = serde_json::from_str(&answer.run()).unwrap();
        assert_eq!(file["sha256"], sha256(&body), "{version}");
        curl()
            .args(["--output"])
            .args([&got])
            .args([nginx.url(&file_path(id(&file)))])
            .run();
        assert!(fs::read(&got).unwrap() == body, "{version}");
    }
    assert_eq!(nginx.temporary_bytes(), 0);
    let plain = Client::new(nginx.plain_base());
    let answer = plain.get("/files/a%20b?c").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        header(&answer, "location"),
        "https://127.0.0.1/files/a%20b?c"
    );
}
