//! The ids that an application still refers to, in pages, and what nobody refers to.

use cloakroom_tests::{
    client::{Client, expect, file_path, id, refused},
    inspect,
    service::{Service, Setup},
    stand::Stand,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{ACCOUNT, is_there};

/// Files of this very moment count.
const AT_ONCE: (&str, &str) = ("CLOAKROOM_RECONCILE_AGE", "0s");

async fn step(api: &Client, body: &Value) -> Response {
    api.post("/files/reconcile")
        .json(body)
        .send()
        .await
        .unwrap()
}

async fn told(api: &Client, body: Value) -> Value {
    expect(step(api, &body).await, StatusCode::OK).await
}

/// Uploads so many files and answers their ids, in order.
async fn files(api: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(id(&api.stored(&format!("{n}.txt"), "x").await).to_owned());
    }
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_page_named_is_reported_and_then_put_in_the_trash() {
    for setup in [Setup::SqliteFs, Setup::PostgresFs] {
        let stand = Stand::start_with(setup, &[AT_ONCE]).await;
        let (user, service) = (stand.user(), stand.token("service", &ACCOUNT).await);
        let ids = files(&user, 5).await;
        let other = ["--account", "2", "--user", "7"];
        let other = stand.token("user", &other).await;
        let foreign = files(&other, 1).await;

        let begun = told(&service, json!({"ids": [&ids[0]]})).await;
        let run = begun["reconcile_id"].clone();
        assert_eq!(
            (&begun["account_id"], &begun["referenced"]),
            (&json!(1), &json!(1))
        );
        assert!(begun.get("unreferenced").is_none(), "{begun}");
        let more = json!({"reconcile_id": run, "ids": [&ids[2], "gone", &ids[2], &foreign[0]]});
        for _ in 0..2 {
            let told = told(&service, more.clone()).await;
            assert_eq!(
                (&told["referenced"], &told["unknown"]),
                (&json!(4), &json!(2))
            );
        }
        let done = json!({"reconcile_id": run, "ids": [&ids[4]], "done": true, "action": "report"});
        let report = told(&service, done.clone()).await;
        assert_eq!(report["unreferenced"], json!([&ids[1], &ids[3]]));
        assert_eq!(
            (&report["action"], &report["next_cursor"]),
            (&json!("report"), &Value::Null)
        );
        assert_eq!(told(&service, done.clone()).await, report);
        for id in &ids {
            assert!(is_there(&user, id).await);
        }
        let late = json!({"reconcile_id": run, "ids": [&ids[1]]});
        refused(step(&service, &late).await, 409, "FILE_006").await;
        // Made after the run began: not its business.
        let young = files(&user, 1).await;

        let end = json!({"reconcile_id": run, "ids": [], "done": true, "action": "trash"});
        let trashed = told(&service, end.clone()).await;
        assert_eq!(trashed["unreferenced"], report["unreferenced"]);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(is_there(&user, id).await, n % 2 == 0, "{n}");
        }
        let restore = user.post(&format!("{}/restore", file_path(&ids[1])));
        expect(restore.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(told(&service, end).await, trashed);
        for id in [&ids[1], &young[0]] {
            assert!(is_there(&user, id).await);
        }
        assert!(is_there(&other, &foreign[0]).await);
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn nothing_younger_than_the_settings_say_is_found() {
    for settings in [
        &[][..],
        &[AT_ONCE, ("CLOAKROOM_CLAIM_TIME", "1h")],
        &[("CLOAKROOM_RECONCILE_AGE", "1h")],
    ] {
        let stand = Stand::with(settings).await;
        let service = stand.token("service", &ACCOUNT).await;
        let ids = files(&stand.user(), 2).await;
        let all = json!({"done": true, "action": "trash", "nothing_referenced": true});
        let end = told(&service, all).await;
        assert_eq!(end["unreferenced"], json!([]), "{settings:?}");
        assert!(is_there(&stand.user(), &ids[0]).await);
    }
}

#[tokio::test]
async fn everything_goes_only_where_that_is_said() {
    let stand = Stand::with(&[AT_ONCE]).await;
    let service = stand.token("service", &ACCOUNT).await;
    let ids = files(&stand.user(), 3).await;
    for careless in [
        json!({"ids": [], "done": true, "action": "trash"}),
        json!({"done": true, "action": "trash"}),
        // Such as the ids of another deployment.
        json!({"ids": ["x", "y"], "done": true, "action": "trash"}),
    ] {
        refused(step(&service, &careless).await, 422, "VAL_001").await;
    }
    assert!(is_there(&stand.user(), &ids[0]).await);
    let report = told(&service, json!({"done": true})).await;
    assert_eq!(report["unreferenced"], json!(ids));
    let meant = json!({"done": true, "action": "trash", "nothing_referenced": true});
    assert_eq!(told(&service, meant).await["unreferenced"], json!(ids));
    assert!(!is_there(&stand.user(), &ids[0]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_take_the_pages_of_a_run_in_turn() {
    let builder = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env(AT_ONCE.0, AT_ONCE.1);
    let replicas = builder.start_replicas(2).await;
    let service = replicas[0].create_token("service", &ACCOUNT).await;
    let api: Vec<Client> = replicas
        .iter()
        .map(|replica| replica.anonymous().with(Some(&service)))
        .collect();
    // Enough for several pages of what is found; made up in the database, which is faster.
    let file = api[0].stored("a.txt", "x").await;
    let seed = format!(
        "INSERT INTO files (file_id, account_id, filename, visibility, metadata, media_type, media_family, \
         current_version_id, last_number, current_since, revision, created_at, updated_at) SELECT 'f' || \
         lpad(i::text, 5, '0'), account_id, filename, visibility, metadata, media_type, media_family, \
         current_version_id, 1, current_since, 1, created_at, updated_at FROM files, generate_series(1, 12000) AS i \
         WHERE file_id = '{}'",
        id(&file)
    );
    inspect::run(replicas[0].database_url(), &seed).await;
    let named: Vec<String> = (1..=10_000).map(|n| format!("f{n:05}")).collect();
    let begun = told(&api[0], json!({"ids": &named[..9_999]})).await;
    assert_eq!(begun["unknown"], 0);
    let run = begun["reconcile_id"].clone();
    let rest = json!({"reconcile_id": run, "ids": [&named[9_999], id(&file)]});
    assert_eq!(told(&api[1], rest).await["referenced"], 10_001);
    let mut page = told(
        &api[0],
        json!({"reconcile_id": run, "done": true, "action": "trash"}),
    )
    .await;
    let (mut found, mut pages) = (Vec::new(), 1);
    loop {
        assert_eq!(page["action"], "trash");
        let ids = page["unreferenced"].as_array().unwrap();
        found.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        let on = json!({"reconcile_id": run, "cursor": cursor});
        let again = told(&api[0], on.clone()).await;
        page = told(&api[pages % 2], on).await;
        assert_eq!(page["unreferenced"], again["unreferenced"]);
        pages += 1;
        assert!(pages < 50);
    }
    let expected: Vec<String> = (10_001..=12_000).map(|n| format!("f{n:05}")).collect();
    assert_eq!(found, expected);
    let trashed = "SELECT count(*) FROM files WHERE deleted_at IS NOT NULL";
    assert_eq!(
        inspect::count(replicas[0].database_url(), trashed).await,
        2_000
    );
}

#[tokio::test]
async fn a_run_is_its_accounts_and_an_admin_names_whose() {
    let stand = Stand::with(&[AT_ONCE]).await;
    let service = stand.token("service", &ACCOUNT).await;
    let foreign = stand.token("service", &["--account", "2"]).await;
    let admin = stand.admin();
    let ids = files(&stand.user(), 1).await;
    let run = told(&service, json!({"ids": []})).await["reconcile_id"].clone();
    let end = json!({"reconcile_id": run, "done": true});
    refused(step(&foreign, &end).await, 404, "FILE_001").await;
    let named = json!({"account_id": 2});
    refused(step(&service, &named).await, 403, "PERM_001").await;
    refused(step(&admin, &json!({})).await, 422, "VAL_002").await;
    let own = told(&service, json!({"account_id": "1"})).await;
    assert_eq!(own["account_id"], 1);
    let all = json!({"account_id": 1, "done": true});
    assert_eq!(told(&admin, all).await["unreferenced"], json!(ids));
    assert_eq!(told(&admin, end).await["unreferenced"], json!(ids));
    let other = json!({"account_id": 2, "done": true});
    assert_eq!(told(&admin, other).await["unreferenced"], json!([]));
    refused(step(&stand.user(), &json!({})).await, 403, "PERM_001").await;
}

#[tokio::test]
async fn steps_that_cannot_be_are_refused() {
    let stand = Stand::simple().await;
    let service = stand.token("service", &ACCOUNT).await;
    for bad in [
        json!({"ids": "x"}),
        json!({"ids": [1]}),
        json!({"ids": [""]}),
        json!({"ids": ["a\u{0}b"]}),
        json!({"ids": ["x".repeat(513)]}),
        json!({"ids": vec!["x"; 10_001]}),
        json!({"done": true, "action": "purge"}),
        json!({"action": "report"}),
        json!({"reconcile_id": "00000000-0000-4000-8000-000000000000", "cursor": "x"}),
        json!({"account_id": true}),
        json!({"all": true}),
    ] {
        refused(step(&service, &bad).await, 422, "VAL_001").await;
    }
    for unknown in ["00000000-0000-4000-8000-000000000000", "x", ""] {
        let body = json!({"reconcile_id": unknown, "ids": []});
        refused(step(&service, &body).await, 404, "FILE_001").await;
    }
    let broken = service.post("/files/reconcile").body("{");
    refused(broken.send().await.unwrap(), 400, "VAL_004").await;
    let huge = service.post("/files/reconcile").body(" ".repeat(9 << 20));
    refused(huge.send().await.unwrap(), 413, "FILE_003").await;
}

#[tokio::test]
async fn the_rows_of_a_run_go_once_it_has_ended() {
    let sweep = ("CLOAKROOM_SWEEP_INTERVAL", "100ms");
    let stand = Stand::with(&[AT_ONCE, sweep]).await;
    let service = stand.token("service", &ACCOUNT).await;
    files(&stand.user(), 2).await;
    let begun = told(&service, json!({"ids": ["a", "b", "c"], "done": true})).await;
    let rows = async || {
        let all = "SELECT (SELECT count(*) FROM reconciliations) + (SELECT count(*) FROM reconcile_named) + \
                   (SELECT count(*) FROM reconcile_found)";
        inspect::count(stand.database_url(), all).await
    };
    assert_eq!(rows().await, 6);
    let ended = "UPDATE reconciliations SET expires_at = 1";
    inspect::run(stand.database_url(), ended).await;
    let again = json!({"reconcile_id": begun["reconcile_id"], "done": true});
    refused(step(&service, &again).await, 404, "FILE_001").await;
    let none = async || rows().await == 0;
    stand.until("its rows are gone", none).await;
}
