//! The command line and the life of the process, as an operator sees them.

use cloakroom_tests::{
    client::{expect, id, refused, sample},
    inspect,
    service::Setup,
    stand::Stand,
};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

#[tokio::test]
async fn stop_and_start_again_the_file_is_still_there() {
    for setup in Setup::extremes() {
        let mut stand = Stand::start(setup).await;
        let file = stand.user().stored("a.txt", "still here").await;
        stand.terminate().await;
        stand.restart().await;
        assert_eq!(
            stand.user().bytes(&format!("/files/{}", id(&file))).await,
            b"still here"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_requests_in_flight_end_and_refuses_new_ones() {
    let mut stand = Stand::simple().await;
    let api = stand.user();
    let chunks = futures_util::stream::unfold(0_u64, |n| async move {
        if n == 20 {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, std::io::Error>(sample(1_000, n)), n + 1))
    });
    let request = api
        .post("/files?filename=slow.bin")
        .body(reqwest::Body::wrap_stream(chunks));
    let slow = tokio::spawn(request.send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let code = stand.terminate().await;
    assert_eq!(code.code(), Some(0));
    let file = expect(slow.await.unwrap().unwrap(), StatusCode::CREATED).await;
    assert!(
        api.get("/health").send().await.is_err(),
        "nobody listens any more"
    );
    stand.restart().await;
    assert_eq!(
        stand
            .user()
            .bytes(&format!("/files/{}", id(&file)))
            .await
            .len(),
        20_000
    );
}

#[tokio::test]
async fn tokens_are_shown_once_listed_and_revoked() {
    let stand = Stand::simple().await;
    let made = stand
        .run(&[
            "token",
            "create",
            "--kind",
            "user",
            "--name",
            "alice",
            "--account",
            "1",
            "--user",
            "9",
            "--json",
        ])
        .await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let (token, token_id) = (
        made["token"].as_str().unwrap(),
        made["token_id"].as_str().unwrap(),
    );
    let alice = stand.anonymous().with(Some(token));
    expect(alice.get("/files").send().await.unwrap(), StatusCode::OK).await;
    let listed = stand.run(&["token", "list", "--json"]).await;
    assert!(listed.stdout.contains("alice") && !listed.stdout.contains(token));
    assert_eq!(stand.run(&["token", "revoke", token_id]).await.code, 0);
    stand
        .until("the revoked token is refused", async || {
            alice.get("/files").send().await.unwrap().status() == StatusCode::UNAUTHORIZED
        })
        .await;
    assert_eq!(stand.run(&["token", "revoke", token_id]).await.code, 1);
    for wrong in [
        &["--kind", "user", "--name", "x"][..],
        &["--kind", "king", "--name", "x"],
    ] {
        let refused = stand.run(&[&["token", "create"], wrong].concat()).await;
        assert_ne!(refused.code, 0);
    }
}

#[tokio::test]
async fn a_wrong_or_unknown_setting_stops_the_start_with_one_helpful_line() {
    for (name, value, expected) in [
        ("CLOAKROOM_MAX_FILE_SIZE", "ten", "CLOAKROOM_MAX_FILE_SIZE"),
        ("CLOAKROOM_STORE", "floppy", "CLOAKROOM_STORE"),
        ("CLOAKROOM_MAX_FILE_SIZES", "10", "CLOAKROOM_MAX_FILE_SIZE"),
        ("CLOAKROOM_LISTEN", "0.0.0.0:0", "CLOAKROOM_ADMIN_TOKEN"),
        (
            "CLOAKROOM_DATABASE_URL",
            "mysql://x",
            "CLOAKROOM_DATABASE_URL",
        ),
        ("CLOAKROOM_PENDING_TTL", "soon", "CLOAKROOM_PENDING_TTL"),
    ] {
        let output = Stand::serve_fails(&[(name, value)]).await;
        assert_eq!(output.code, 2, "{name}: {}", output.stderr);
        let lines: Vec<&str> = output.stderr.lines().collect();
        assert!(
            lines.len() == 1 && lines[0].contains(expected),
            "{name}: {}",
            output.stderr
        );
    }
}

#[tokio::test]
async fn canary_secrets_show_up_nowhere() {
    let canary = "canary-8f2b51c9d0";
    let stand =
        Stand::start_with(Setup::PostgresGarage, &[("CLOAKROOM_ADMIN_TOKEN", canary)]).await;
    let api = stand.anonymous().with(Some(canary));
    expect(api.get("/files").send().await.unwrap(), StatusCode::OK).await;
    let wrong = stand.anonymous().with(Some("canary-of-a-caller"));
    refused(
        wrong
            .get("/files?cursor=canary-of-a-caller")
            .send()
            .await
            .unwrap(),
        401,
        "AUTH_001",
    )
    .await;
    let shown = stand.run(&["config", "show"]).await;
    let json = stand.run(&["config", "show", "--json"]).await;
    let secret = stand.s3().unwrap().secret_key.clone();
    for text in [
        &shown.stdout,
        &json.stdout,
        &stand.log(),
        &stand.command_line(),
    ] {
        for canary in [canary, "canary-of-a-caller", &secret] {
            assert!(!text.contains(canary), "{text}");
        }
    }
}

#[tokio::test]
async fn fsck_is_clean_finds_orphans_and_repairs_them() {
    for setup in [Setup::SqliteFs, Setup::PostgresGarage] {
        let stand = Stand::start(setup).await;
        stand.user().stored("a.txt", "x").await;
        let clean = stand.run(&["fsck", "--verify", "--json"]).await;
        assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
        inspect::plant_orphan(&stand).await;
        let found = stand.run(&["fsck"]).await;
        assert_eq!(found.code, 1, "{}{}", found.stdout, found.stderr);
        assert!(found.stdout.contains("orphan_object"), "{}", found.stdout);
        assert_eq!(
            stand.run(&["fsck", "--repair"]).await.code,
            1,
            "something was found, and repaired"
        );
        assert_eq!(stand.run(&["fsck", "--verify"]).await.code, 0);
    }
}

#[tokio::test]
async fn healthcheck_openapi_and_config_check_tell_scripts() {
    let mut stand = Stand::simple().await;
    assert_eq!(stand.run(&["healthcheck"]).await.code, 0);
    assert_eq!(stand.run(&["config", "check"]).await.code, 0);
    assert_eq!(stand.run(&["db", "migrate"]).await.code, 0);
    let printed: Value = serde_json::from_str(&stand.run(&["openapi"]).await.stdout).unwrap();
    let served = expect(
        stand.anonymous().get("/openapi.json").send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(printed, served);
    let docs = stand
        .anonymous()
        .get("/docs/")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        !docs.contains("//cdn") && !docs.contains("https://"),
        "loads nothing from elsewhere"
    );
    stand.terminate().await;
    assert_eq!(stand.run(&["healthcheck"]).await.code, 1);
}
