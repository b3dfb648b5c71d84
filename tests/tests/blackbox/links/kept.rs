//! The key that links are signed with, and what is left of links.

use cloakroom_tests::{
    client::{file_path, id, refused},
    inspect,
    service::Setup,
    stand::Stand,
};
use serde_json::json;

use super::{made, path_of};

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_link_outlives_a_restart_whether_its_key_is_configured_or_made_up() {
    for settings in [&[][..], &[("CLOAKROOM_LINK_KEY", KEY)]] {
        let mut stand = Stand::with(settings).await;
        let owner = stand.user();
        let file = owner.stored("a.txt", "x").await;
        let link = made(&owner, id(&file), json!({})).await;
        let kept = "SELECT count(*) FROM secrets";
        let kept = inspect::count(stand.database_url(), kept).await;
        assert_eq!(kept, u64::from(settings.is_empty()));
        stand.restart().await;
        assert_eq!(stand.anonymous().bytes(&path_of(&link)).await, b"x");
    }
}

#[tokio::test]
async fn a_link_that_another_key_has_signed_is_refused() {
    let one = Stand::with(&[("CLOAKROOM_LINK_KEY", KEY)]).await;
    let other = Stand::with(&[("CLOAKROOM_LINK_KEY", "fedcba9876543210fedcba9876543210")]).await;
    let file = one.user().stored("a.txt", "x").await;
    let link = made(&one.user(), id(&file), json!({})).await;
    let answer = other.anonymous().get(&path_of(&link)).send().await.unwrap();
    refused(answer, 401, "AUTH_001").await;
}

#[tokio::test]
async fn a_key_that_is_short_or_a_time_beyond_the_most_stops_the_start() {
    for settings in [
        &[("CLOAKROOM_LINK_KEY", "hunter2-hunter2-hunter2-hunter2")][..],
        &[("CLOAKROOM_LINK_LIFETIME", "0s")],
        &[
            ("CLOAKROOM_LINK_LIFETIME", "2h"),
            ("CLOAKROOM_LINK_MAX_LIFETIME", "1h"),
        ],
        &[("CLOAKROOM_CLAIM_TIME", "0s")],
        &[("CLOAKROOM_CLAIM_TIME", "soon")],
    ] {
        let output = Stand::serve_fails(settings).await;
        assert_ne!(output.code, 0, "{settings:?}");
        assert!(output.stderr.contains(settings[0].0), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}

#[tokio::test]
async fn a_file_takes_a_bounded_number_of_links() {
    let stand = Stand::start(Setup::PostgresFs).await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    let path = format!("{}/links", file_path(id(&file)));
    for _ in 0..20 {
        let some = (0..50).map(|_| owner.post(&path).json(&json!({})).send());
        for answer in futures_util::future::join_all(some).await {
            assert_eq!(answer.unwrap().status(), 201);
        }
    }
    let one_more = owner.post(&path).json(&json!({})).send().await.unwrap();
    refused(one_more, 409, "FILE_006").await;
}
