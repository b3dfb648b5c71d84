//! What an application claims, and what it says that it still refers to.

mod reconcile;

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, expect, file_path, id, refused},
    inspect,
    servers::{Django, Redis},
    service::{Service, Setup},
    stand::Stand,
};
use futures_util::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

const ACCOUNT: [&str; 2] = ["--account", "1"];
const FAST: (&str, &str) = ("CLOAKROOM_SWEEP_INTERVAL", "100ms");

async fn claim(application: &Client, file: &str) -> Response {
    let request = application.post(&format!("{}/claim", file_path(file)));
    request.send().await.unwrap()
}

async fn info(api: &Client, file: &str) -> Response {
    let path = format!("{}/info", file_path(file));
    api.get(&path).send().await.unwrap()
}

async fn is_there(api: &Client, file: &str) -> bool {
    match info(api, file).await.status() {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn without_the_setting_nothing_has_to_be_claimed_and_a_claim_changes_nothing() {
    let stand = Stand::simple().await;
    let file = stand.user().stored("a.txt", "x").await;
    assert!(file.get("claim_by").is_none(), "{file}");
    let service = stand.token("service", &ACCOUNT).await;
    for _ in 0..2 {
        let claimed = expect(claim(&service, id(&file)).await, StatusCode::OK).await;
        assert_eq!(claimed, file);
    }
    refused(claim(&service, "unknown").await, 404, "FILE_001").await;
    let foreign = stand.token("service", &["--account", "2"]).await;
    refused(claim(&foreign, id(&file)).await, 403, "FILE_002").await;
    refused(claim(&stand.user(), id(&file)).await, 403, "PERM_001").await;
    let trash = stand.user().call(Method::DELETE, &file_path(id(&file)));
    trash.send().await.unwrap();
    refused(claim(&service, id(&file)).await, 404, "FILE_001").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_claims_goes_to_the_trash_and_a_late_claim_takes_it_back() {
    for setup in [Setup::SqliteFs, Setup::PostgresFs] {
        let time = ("CLOAKROOM_CLAIM_TIME", "3s");
        let stand = Stand::start_with(setup, &[FAST, time]).await;
        let (user, service) = (stand.user(), stand.token("service", &ACCOUNT).await);
        let claimed = user.stored("claimed.txt", "x").await;
        assert!(claimed["claim_by"].is_string(), "{claimed}");
        let late = user.stored("late.txt", "x").await;
        let deleted = user.stored("deleted.txt", "x").await;
        let of_service = service.stored("of the service.txt", "x").await;
        assert!(of_service.get("claim_by").is_none(), "{of_service}");
        let kept = expect(claim(&service, id(&claimed)).await, StatusCode::OK).await;
        assert!(kept.get("claim_by").is_none(), "{kept}");
        let trash = user.call(Method::DELETE, &file_path(id(&deleted)));
        assert_eq!(trash.send().await.unwrap().status(), StatusCode::NO_CONTENT);

        let gone = async || !is_there(&user, id(&late)).await;
        stand.until("what nobody claims expires", gone).await;
        let list = user.get("/files?deleted=true").send().await.unwrap();
        let list = expect(list, StatusCode::OK).await;
        assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
        assert!(is_there(&user, id(&claimed)).await);
        assert!(is_there(&service, id(&of_service)).await);

        let back = expect(claim(&service, id(&late)).await, StatusCode::OK).await;
        assert_eq!(back["deleted_at"], Value::Null);
        assert!(back.get("claim_by").is_none(), "{back}");
        assert_eq!(user.bytes(&file_path(id(&late))).await, b"x");
        // What somebody deleted is no application's to take back.
        refused(claim(&service, id(&deleted)).await, 404, "FILE_001").await;
        let restore = user.post(&format!("{}/restore", file_path(id(&deleted))));
        let anew = expect(restore.send().await.unwrap(), StatusCode::OK).await;
        assert!(anew["claim_by"].is_string(), "{anew}");
        stand.assert_consistent().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_the_sweepers_of_two_replicas_at_once_lose_no_claimed_file() {
    let builder = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env(FAST.0, FAST.1)
        .env("CLOAKROOM_CLAIM_TIME", "1s");
    let replicas = builder.start_replicas(2).await;
    let service = replicas[0].create_token("service", &ACCOUNT).await;
    let user = replicas[0]
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let service: Vec<Client> = replicas
        .iter()
        .map(|replica| replica.anonymous().with(Some(&service)))
        .collect();
    let user: Vec<Client> = replicas
        .iter()
        .map(|replica| replica.anonymous().with(Some(&user)))
        .collect();
    for round in 0..3 {
        let files = join_all((0..12).map(|n| user[n % 2].stored("a.txt", "x"))).await;
        // About when they expire, through the one or the other, some of them twice.
        tokio::time::sleep(Duration::from_millis(850)).await;
        let claims = files.iter().enumerate().map(async |(n, file)| {
            tokio::time::sleep(Duration::from_millis(25 * n as u64)).await;
            claim(&service[n % 2], id(file)).await.status()
        });
        for status in join_all(claims).await {
            assert_eq!(status, StatusCode::OK, "round {round}");
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        for file in &files {
            for api in &user {
                assert!(is_there(api, id(file)).await, "round {round}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_puts_in_the_trash_no_other_serves_for_long() {
    let builder = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env(FAST.0, FAST.1)
        .env("CLOAKROOM_CLAIM_TIME", "2s");
    let replicas = builder.start_replicas(2).await;
    let user = replicas[0]
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let [one, two] = [0, 1].map(|n: usize| replicas[n].anonymous().with(Some(&user)));
    let file = one.stored("a.txt", "x").await;
    let begun = tokio::time::Instant::now();
    // Both keep it in their caches, which would hold it for 5 s.
    while begun.elapsed() < Duration::from_secs(4) {
        is_there(&one, id(&file)).await;
        is_there(&two, id(&file)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!is_there(&one, id(&file)).await);
    assert!(!is_there(&two, id(&file)).await);
}

#[tokio::test]
async fn the_sweep_stops_with_the_setting() {
    let first = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env(FAST.0, FAST.1)
        .env("CLOAKROOM_CLAIM_TIME", "1h")
        .start()
        .await;
    let user = first
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let user = first.anonymous().with(Some(&user));
    let file = user.stored("a.txt", "x").await;
    assert!(file["claim_by"].is_string());
    let second = Stand::start_with(Setup::PostgresFs, &[FAST]).await;
    let kept = second.user().stored("b.txt", "x").await;
    for database in [first.database_url(), second.database_url()] {
        inspect::run(database, "UPDATE files SET claim_by = 1").await;
    }
    let gone = async || !is_there(&user, id(&file)).await;
    second
        .until("it expires where the setting is on", gone)
        .await;
    second.settle().await;
    assert!(is_there(&second.user(), id(&kept)).await);
}

#[tokio::test]
async fn a_django_application_claims_what_it_registers() {
    let (redis, secret) = (
        Redis::start().await,
        "a secret of the tests that is long enough",
    );
    let url = redis.url();
    let settings = [
        ("CLOAKROOM_REDIS_URL", url.as_str()),
        ("CLOAKROOM_AUTH_SECRET_KEY", secret),
        ("CLOAKROOM_CLAIM_TIME", "1h"),
    ];
    let stand = Stand::with(&settings).await;
    let files = stand.url("/files");
    let django = Django::over(&url, secret).files(&files, &files);
    let django = django.service_token(&stand.admin_token()).start().await;
    let olga = django.sign_in("olga").await;
    let api = stand.anonymous().with(Some(&olga.token));
    let file = api.stored("a.txt", "x").await;
    assert!(file["claim_by"].is_string(), "{file}");
    django.attach(&olga.token, id(&file), "account", &[]).await;
    let file = expect(info(&api, id(&file)).await, StatusCode::OK).await;
    assert!(file.get("claim_by").is_none(), "{file}");
}
