//! Services that stop while clients upload.

use std::time::Duration;

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front, PageClient},
    service::Setup,
    trouble,
};
use serde_json::{Value, json};

use super::{CHUNK, PATIENCE, file};

/// The upload began once and went on where it was.
fn assert_went_on(seen: &Value, body: Repeated) {
    let watch = &seen["watch"];
    println!("{watch}");
    assert_eq!(watch["shown"], body.size, "{watch}");
    assert_eq!(
        (&watch["zeros"], &watch["beneath"]),
        (&json!(0), &json!(0)),
        "{watch}"
    );
    let uploads = watch["acknowledged"].as_object().unwrap().len();
    assert_eq!(uploads, 1, "{watch}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_replica_answers_pages_of_any_origin_wait_and_go_on_where_they_were() {
    for (client, is_own) in [
        (PageClient::Tus, false),
        (PageClient::Tus, true),
        (PageClient::Uppy, true),
    ] {
        let mut front = Front::start(Setup::PostgresFs, Door::Pages).await;
        front.line.delay(Duration::from_millis(1));
        let mut replicas = std::mem::take(&mut front.replicas);
        let body = Repeated::new(5, 40_000_000);
        let mut input = json!({ "file": file(body), "options": { "chunkSize": CHUNK } });
        if is_own {
            // It may read every answer, nginx's too.
            input["page"] = format!("{}/docs/", front.origin()).into();
        }
        let stopping = async {
            trouble::reached(&front.line, body.size / 2).await;
            for replica in &mut replicas {
                replica.kill9();
            }
            tokio::time::sleep(Duration::from_millis(1500)).await;
            for replica in &mut replicas {
                replica.restart().await;
            }
        };
        let uploading = front.browse(PATIENCE, client.upload(), &input);
        let (seen, ()) = tokio::join!(uploading, stopping);
        front.replicas = replicas;
        front.line.heal();
        println!("{client:?}, same origin: {is_own}");
        assert_went_on(&seen, body);
        front
            .assert_file(0, seen["url"].as_str().unwrap(), body)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_restarts_one_replica_after_the_other_disturbs_no_upload() {
    let mut front = Front::start(Setup::PostgresGarage, Door::Pages).await;
    front.line.delay(Duration::from_millis(1));
    let mut replicas = std::mem::take(&mut front.replicas);
    let body = Repeated::new(6, 60_000_000);
    let input = json!({ "file": file(body), "options": { "chunkSize": CHUNK } });
    let deploying = async {
        for (number, replica) in (1..).zip(&mut replicas) {
            trouble::reached(&front.line, number * body.size / 4).await;
            replica.terminate().await;
            replica.restart().await;
        }
    };
    let uploading = front.browse(PATIENCE, PageClient::Tus.upload(), &input);
    let (seen, ()) = tokio::join!(uploading, deploying);
    front.replicas = replicas;
    front.line.heal();
    assert_went_on(&seen, body);
    front
        .assert_file(0, seen["url"].as_str().unwrap(), body)
        .await;
}
