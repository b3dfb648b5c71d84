//! Stores that everything was moved away from.

use cloakroom_tests::{
    client::{expect, refused},
    inspect::files_below,
    servers::garage,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{QUICK, assert_all_moved, assert_readable, begin, fs, s3, status, uploaded};

const FILES: u64 = 30;

/// What was moved is not removed while the test runs.
const LONG: (&str, &str) = ("CLOAKROOM_DELETE_DELAY", "1h");

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_was_entered_twice_keeps_its_objects_and_may_be_gone_later() {
    let mut store = garage::start().await;
    let stand = Stand::with(&[QUICK, &[LONG]].concat()).await;
    let known = uploaded(&stand.user(), [10_000; FILES as usize]).await;
    let to = s3(&store, &store.access().bucket_name());
    begin(&stand.admin(), &to).await;
    assert_all_moved(&stand, FILES).await;
    let mut again = to.clone();
    let endpoint = store.access().endpoint.replace("127.0.0.1", "localhost");
    again["config"]["endpoint"] = json!(endpoint);
    begin(&stand.admin(), &again).await;
    assert_all_moved(&stand, FILES).await;
    let looked = stand.run(&["fsck", "--repair", "--verify"]).await;
    assert_eq!(looked.code, 0, "{}", looked.stdout);
    assert_readable(&stand, &known).await;

    begin(&stand.admin(), &fs(&stand.data_dir().join("last"))).await;
    assert_all_moved(&stand, FILES).await;
    let ready = async || {
        let answer = stand.anonymous().get("/health/ready").send().await.unwrap();
        answer.status() == StatusCode::OK
    };
    assert!(ready().await);
    store.kill();
    assert!(ready().await, "the old store is not needed");
    assert_readable(&stand, &known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_in_the_old_store_is_not_repaired_away() {
    let slow = ("CLOAKROOM_MIGRATION_RATE", "100KiB");
    let stand = Stand::with(&[QUICK, &[slow]].concat()).await;
    let known = uploaded(&stand.user(), [10_000; FILES as usize]).await;
    let home = stand.data_dir().join("objects");
    let mut to = fs(&stand.data_dir().join("new"));
    to["cleanup"] = json!(false);
    begin(&stand.admin(), &to).await;
    let some = async || status(&stand.admin()).await["done"]["objects"].as_u64() > Some(5);
    stand.until("some are moved", some).await;
    let cancel = stand.admin().call(Method::DELETE, "/migrate");
    expect(cancel.send().await.unwrap(), StatusCode::OK).await;
    stand.swept().await;
    let looked = stand.run(&["fsck", "--repair"]).await;
    assert_eq!(looked.code, 0, "{}", looked.stdout);
    assert_eq!(files_below(&home).len(), FILES as usize);
    assert_readable(&stand, &known).await;
}

#[tokio::test]
async fn a_copy_of_the_folder_is_refused_and_the_folder_by_another_path_is_not_a_copy() {
    let stand = Stand::with(QUICK).await;
    let known = uploaded(&stand.user(), [1000; 3]).await;
    let home = stand.data_dir().join("objects");
    let (copy, other_path) = (stand.data_dir().join("copy"), stand.data_dir().join("link"));
    let copied = std::process::Command::new("cp")
        .args(["-a".as_ref(), home.as_os_str(), copy.as_os_str()])
        .status();
    assert!(copied.unwrap().success());
    let admin = stand.admin();
    let answer = admin
        .post("/migrate")
        .json(&fs(&copy))
        .send()
        .await
        .unwrap();
    let problem = refused(answer, 422, "VAL_001").await;
    assert!(problem.to_string().contains("copy"), "{problem}");
    std::os::unix::fs::symlink(&home, &other_path).unwrap();
    begin(&admin, &fs(&other_path)).await;
    assert_all_moved(&stand, 0).await;
    assert_readable(&stand, &known).await;
}
