//! Targets that stop working half way: nothing is lost, the operator is told why, and later it goes on.

use std::{path::PathBuf, process::Command};

use cloakroom_tests::{
    servers::garage::{self, May},
    stand::Stand,
};

use super::{
    Known, QUICK, assert_all_moved, assert_readable, begin, ended, fs, s3, status, uploaded,
};

const FILES: u64 = 60;

/// Many at once, so that a target that takes nothing is soon known for it.
const MANY: (&str, &str) = ("CLOAKROOM_MIGRATION_CONCURRENCY", "32");

/// Moves so slowly that there is time for something to happen.
const SLOW: &[(&str, &str)] = &[MANY, ("CLOAKROOM_MIGRATION_RATE", "2MiB")];

/// A service with files of 100 KB.
async fn lived_in(settings: &[(&str, &str)]) -> (Stand, Known) {
    let stand = Stand::with(&[QUICK, settings].concat()).await;
    let known = uploaded(&stand.user(), [100_000; FILES as usize]).await;
    (stand, known)
}

async fn some_moved(stand: &Stand) {
    let some = async || status(&stand.admin()).await["done"]["objects"].as_u64() > Some(5);
    stand.until("some are moved", some).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_half_way_is_waited_for() {
    let mut store = garage::start().await;
    let (stand, known) = lived_in(SLOW).await;
    let bucket = store.access().bucket_name();
    begin(&stand.admin(), &s3(&store, &bucket)).await;
    some_moved(&stand).await;
    store.kill();
    let told = async || status(&stand.admin()).await["failures"].as_u64() > Some(0);
    stand.until("it is told", told).await;
    let waiting = status(&stand.admin()).await;
    assert_eq!(waiting["state"], "copying", "{waiting}");
    assert!(
        waiting["failed"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("the new store")
    );
    store.restart().await;
    assert_all_moved(&stand, FILES).await;
    assert_eq!(status(&stand.admin()).await["failures"], 0);
    assert_readable(&stand, &known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_stop_working_half_way_end_it_and_it_goes_on_once_they_work() {
    let store = garage::start().await;
    let (stand, known) = lived_in(SLOW).await;
    let bucket = garage::DEFAULT_BUCKET;
    let to = s3(&store, bucket);
    begin(&stand.admin(), &to).await;
    some_moved(&stand).await;
    garage::key_may(&store, bucket, May::Nothing);
    let failed = ended(&stand).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    assert_eq!(failed["failure"], "the new store takes nothing more");
    let moved = failed["done"]["objects"].as_u64().unwrap();
    assert_eq!(failed["left"]["objects"], FILES - moved, "{failed}");
    let reason = failed["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("AccessDenied"), "{reason}");
    assert!(!stand.log().contains(&store.access().secret_key));
    garage::key_may(&store, bucket, May::All);
    assert_readable(&stand, &known).await;
    begin(&stand.admin(), &to).await;
    assert_all_moved(&stand, FILES - moved).await;
    let again = status(&stand.admin()).await["done"]["objects"].as_u64();
    assert_eq!(again, Some(FILES - moved), "nothing is copied twice");
    assert_readable(&stand, &known).await;
    stand.swept().await;
    assert_eq!(stand.run(&["fsck", "--verify"]).await.code, 0);
}

/// A file system of 1 MiB, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
        assert!(
            mount.arg(&at).status().unwrap().success(),
            "mounting takes root"
        );
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_half_way_ends_it_and_nothing_is_lost() {
    let (stand, known) = lived_in(&[MANY]).await;
    let small = Small::mount(stand.data_dir().join("small"));
    begin(&stand.admin(), &fs(&small.0.join("store"))).await;
    let failed = ended(&stand).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let reason = failed["failed"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("No space left on device"), "{reason}");
    let moved = failed["done"]["objects"].as_u64().unwrap();
    assert!((1..FILES).contains(&moved), "{failed}");
    assert_readable(&stand, &known).await;
    // Everything goes back to where it was.
    begin(&stand.admin(), &fs(&stand.data_dir().join("objects"))).await;
    assert_all_moved(&stand, moved).await;
    assert_readable(&stand, &known).await;
    stand.swept().await;
    assert_eq!(stand.run(&["fsck", "--verify"]).await.code, 0);
}
