//! The binary as the tests start it.

use cloakroom_tests::{
    client::Seeded,
    inspect::{self, Inventory},
    service::{Service, Setup},
};

#[tokio::test]
async fn on_every_setup_a_file_is_stored_survives_a_kill_and_leaves_nothing_when_purged() {
    for setup in Setup::all() {
        let mut service = Service::builder()
            .setup(setup)
            .sweeping_fast()
            .start()
            .await;
        assert_eq!(
            Inventory::of(&service).await,
            Inventory::tidy(0),
            "{setup:?}"
        );
        let body = Seeded::new(1, 12_345_678);
        let file = service.user().uploaded("a.bin", body).await;
        let id = file["file_id"].as_str().unwrap();
        inspect::assert_only(&service, 1).await;
        assert_eq!(inspect::objects(&service).await[0].size, body.size);

        service.kill9();
        service.restart().await;
        service.user().assert_body(id, body).await;
        assert!(service.rss_bytes() <= service.peak_rss_bytes());
        assert!(service.open_fds() > 3);

        service.user().purge(id).await;
        inspect::assert_nothing_left(&service).await;
        let fsck = service.run(&["fsck", "--verify"]).await;
        assert_eq!(fsck.code, 0, "{setup:?}: {fsck:?}");
        assert!(service.terminate().await.success(), "{}", service.log());
    }
}

#[tokio::test]
async fn replicas_share_what_they_stand_on_and_tokens_are_made_by_the_command_line() {
    let replicas = Service::builder()
        .setup(Setup::PostgresGarage)
        .production()
        .start_replicas(2)
        .await;
    let token = replicas[0]
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let [first, second] = [&replicas[0], &replicas[1]].map(|r| r.anonymous().with(Some(&token)));
    let file = first.uploaded("a.bin", (5, 1000)).await;
    second
        .assert_body(file["file_id"].as_str().unwrap(), (5, 1000))
        .await;
}

#[tokio::test]
async fn a_refused_setting_is_answered_with_what_the_binary_says() {
    let refused = Service::builder()
        .env("CLOAKROOM_MAX_FILE_SIZE", "huge")
        .try_start()
        .await
        .unwrap_err();
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output);
    assert!(
        refused.output.contains("CLOAKROOM_MAX_FILE_SIZE"),
        "{}",
        refused.output
    );
}
