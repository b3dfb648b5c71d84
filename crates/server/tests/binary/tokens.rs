//! Tokens by the command line, beside a service that runs.

use std::time::{Duration, Instant};

use crate::running::{Place, download, upload};

fn create(place: &Place, arguments: &[&str]) -> String {
    let said = place.run(&[&["token", "create"], arguments].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

#[tokio::test]
async fn a_token_works_at_once_and_is_refused_soon_after_it_is_revoked() {
    let mut place = Place::new();
    place.set("ADMIN_TOKEN", "of-the-operator");
    let service = place.serve();
    let user = create(
        &place,
        &[
            "--kind",
            "user",
            "--name",
            "alice",
            "--account",
            "1",
            "--user",
            "7",
        ],
    );
    let id = upload(&place, &user, "hello").await;
    assert_eq!(
        download(&place, &user, &id).await,
        (200, "hello".to_owned())
    );
    let other = create(
        &place,
        &[
            "--kind",
            "user",
            "--name",
            "bob",
            "--account",
            "1",
            "--user",
            "8",
        ],
    );
    assert_eq!(download(&place, &other, &id).await.0, 403);
    let admin = create(&place, &["--kind", "admin", "--name", "root"]);
    assert_eq!(download(&place, &admin, &id).await.0, 200);
    assert_eq!(download(&place, "of-the-operator", &id).await.0, 200);

    let list = place.run(&["token", "list", "--json"]).json();
    let tokens = list.as_array().unwrap();
    assert_eq!(tokens.len(), 3);
    assert!(!list.to_string().contains(&user));
    let alice = tokens
        .iter()
        .find(|token| token["name"] == "alice")
        .unwrap();
    let alice = alice["token_id"].as_str().unwrap();
    assert_eq!(place.run(&["token", "revoke", alice]).code, Some(0));
    assert_eq!(place.run(&["token", "revoke", alice]).code, Some(1));
    let start = Instant::now();
    while download(&place, &user, &id).await.0 != 401 {
        assert!(start.elapsed() < Duration::from_secs(6), "still accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, out, err) = service.stop();
    for secret in [user.as_str(), "of-the-operator"] {
        assert!(!out.contains(secret) && !err.contains(secret));
    }
}

#[test]
fn arguments_that_do_not_fit_the_kind_are_refused() {
    let place = Place::new();
    for arguments in [
        &["--kind", "user", "--name", "a", "--account", "1"][..],
        &["--kind", "service", "--name", "a", "--user", "1"],
        &["--kind", "admin", "--name", "a", "--user", "1"],
        &["--kind", "guest", "--name", "a"],
        &["--kind", "service", "--name", ""],
    ] {
        let said = place.run(&[&["token", "create"], arguments].concat());
        assert_eq!(said.code, Some(2), "{said:?}");
    }
    assert!(!place.data().exists());
}

#[test]
fn a_command_on_an_old_schema_says_what_to_do() {
    let place = Place::new();
    let said = place.run(&["token", "list"]);
    assert_eq!(said.code, Some(1));
    assert!(said.line().contains("cloakroom db migrate"), "{said:?}");
    assert_eq!(place.run(&["fsck"]).code, Some(2));
    let first = place.run(&["db", "migrate", "--json"]).json();
    assert!(first["migrations"].as_u64().unwrap() > 0);
    assert_eq!(
        place.run(&["db", "migrate", "--json"]).json()["migrations"],
        0
    );
    assert_eq!(place.run(&["token", "list"]).code, Some(0));
}

#[test]
fn a_new_token_as_json_has_its_id_and_itself() {
    let place = Place::new();
    let arguments = [
        "token",
        "create",
        "--kind",
        "service",
        "--name",
        "s",
        "--account",
        "1",
        "--json",
    ];
    let token = place.run(&arguments).json();
    assert!(token["token"].as_str().unwrap().starts_with("ckr_"));
    assert_eq!(token["kind"], "service");
    assert_eq!(token["account_id"], 1);
    assert!(token["token_id"].is_string());
}

#[tokio::test]
async fn an_admins_token_may_have_an_account_that_its_uploads_belong_to() {
    let mut place = Place::new();
    place.set("ADMIN_TOKEN", "of-the-operator");
    let service = place.serve();
    let arguments = ["--kind", "admin", "--name", "root", "--account", "1"];
    let admin = create(&place, &arguments);
    let id = upload(&place, &admin, "hello").await;
    let colleague = create(
        &place,
        &["--kind", "service", "--name", "s", "--account", "1"],
    );
    assert_eq!(download(&place, &colleague, &id).await.0, 200);
    let stranger = create(
        &place,
        &["--kind", "service", "--name", "s", "--account", "2"],
    );
    assert_eq!(download(&place, &stranger, &id).await.0, 403);
    service.stop();
}
