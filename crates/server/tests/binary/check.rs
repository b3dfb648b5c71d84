//! `fsck`, and the folder that belongs to its database.

use std::fs;

use crate::running::{Place, files_below, upload};

#[tokio::test]
async fn fsck_finds_what_is_missing_orphaned_or_changed_and_says_so_by_its_exit_code() {
    let place = Place::new();
    let service = place.serve();
    let token = place.development_token("user");
    upload(&place, &token, "first").await;
    upload(&place, &token, "other").await;
    service.stop();
    let objects = files_below(&place.data().join("objects/files"));
    assert_eq!(objects.len(), 2);
    let clean = place.run(&["fsck", "--verify"]);
    assert_eq!(clean.code, Some(0), "{clean:?}");

    // One bit of one body, which only reading it can find.
    fs::set_permissions(
        &objects[0],
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    fs::write(&objects[0], "wrong").unwrap();
    assert_eq!(place.run(&["fsck"]).code, Some(0));
    let said = place.run(&["fsck", "--verify", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let events: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["kind"], "wrong_hash");
    assert_eq!(events[1]["event"], "summary");
    assert_eq!(events[1]["findings"], 1);

    // A body that no row leads to, in place of one that a row does.
    let name = objects[1].to_str().unwrap();
    let orphan = format!("{}00000000", &name[..name.len() - ".txt".len() - 8]);
    fs::rename(&objects[1], format!("{orphan}.txt")).unwrap();
    let said = place.run(&["fsck", "--repair"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("missing_object") && said.out.contains("orphan_object"),
        "{said:?}"
    );
    let said = place.run(&["fsck"]);
    assert!(
        !said.out.contains("orphan_object") && said.out.contains("missing_object"),
        "{said:?}"
    );
}

#[test]
fn a_folder_that_is_not_the_databases_is_refused_and_left_as_it_was() {
    let mut place = Place::new();
    let database = format!("sqlite://{}", place.file("kept.db", "").display());
    place.set("DATABASE_URL", &database);
    place.serve().stop();

    // Not mounted: an empty folder.
    let elsewhere = place.data().with_file_name("elsewhere");
    place.set("DATA_DIR", elsewhere.to_str().unwrap());
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.line().contains("it has no marker"), "{said:?}");
    assert!(files_below(&elsewhere.join("objects")).is_empty());
    assert_eq!(place.run(&["fsck", "--repair"]).code, Some(2));

    // Another service's.
    place.unset("DATABASE_URL");
    place.serve().stop();
    place.set("DATABASE_URL", &database);
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.line().contains("do not belong together"), "{said:?}");
}

#[test]
fn the_registry_wins_over_another_configured_store() {
    let mut place = Place::new();
    place.serve().stop();
    for (name, value) in [
        ("STORE", "s3"),
        ("S3_ENDPOINT", "http://127.0.0.1:1"),
        ("S3_BUCKET", "cloakroom"),
        ("S3_ACCESS_KEY_ID", "a"),
        ("S3_SECRET_ACCESS_KEY", "b"),
    ] {
        place.set(name, value);
    }
    let service = place.serve();
    let health = place.run(&["healthcheck"]);
    let (_, _, err) = service.stop();
    assert_eq!(health.code, Some(0), "{err}");
    assert!(
        err.contains("differs from the database, which wins"),
        "{err}"
    );
}

#[test]
fn a_database_that_says_s3_needs_s3_configured() {
    let mut place = Place::new();
    for (name, value) in [
        ("STORE", "s3"),
        ("S3_ENDPOINT", "http://127.0.0.1:1"),
        ("S3_BUCKET_PREFIX", "p"),
        ("S3_ACCESS_KEY_ID", "a"),
        ("S3_SECRET_ACCESS_KEY", "b"),
    ] {
        place.set(name, value);
    }
    place.serve().stop();
    assert!(!place.data().join("objects").exists());
    place.set("STORE", "fs");
    place.unset("S3_SECRET_ACCESS_KEY");
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.line().contains("CLOAKROOM_S3_SECRET_ACCESS_KEY"),
        "{said:?}"
    );
    assert!(files_below(&place.data().join("objects")).is_empty());
}
