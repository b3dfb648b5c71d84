//! Links over several replicas.

use cloakroom_tests::{client::id, service::Setup, stand::Stand};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{made, path_of, uses_of};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_callers_at_once_with_one_use_left_one_gets_it() {
    let replicas = Stand::replicas(Setup::PostgresFs, 2).await;
    let owner = replicas[0].user();
    let file = owner.stored("a.txt", "x").await;
    for round in 0..30 {
        let link = made(&owner, id(&file), json!({"max_uses": 1})).await;
        let path = path_of(&link);
        let clients: Vec<_> = replicas.iter().map(|r| r.anonymous()).collect();
        let asks = (0..6).map(|n| clients[n % 2].get(&path).send());
        let answers = join_all(asks).await;
        let mut statuses: Vec<u16> = answers
            .into_iter()
            .map(|answer| answer.unwrap().status().as_u16())
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401, 401, 401, 401, 401], "round {round}");
        assert_eq!(uses_of(&owner, id(&file), &link).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_and_revoked_on_every_replica() {
    let replicas = Stand::replicas(Setup::PostgresFs, 2).await;
    let owner = replicas[0].user();
    let file = owner.stored("a.txt", "x").await;
    let link = made(&owner, id(&file), json!({})).await;
    let other = replicas[1].anonymous();
    assert_eq!(other.bytes(&path_of(&link)).await, b"x");
    let place = format!(
        "/files/{}/links/{}",
        id(&file),
        link["link_id"].as_str().unwrap()
    );
    let revoke = replicas[0].user().call(Method::DELETE, &place);
    assert_eq!(revoke.send().await.unwrap().status(), 204);
    let answer = other.get(&path_of(&link)).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}
