//! `cloakroom import pneumatic` over a real database and real buckets.

use std::{collections::BTreeMap, time::Duration};

use cloakroom_tests::service::Service;

use super::old::Old;

/// Everything that an import could change here, as one number.
const OURS: &str = "SELECT ('x' || left(md5(
    (SELECT string_agg(f::text, ',' ORDER BY file_id) FROM cloakroom.files AS f) ||
    (SELECT string_agg(v::text, ',' ORDER BY version_id) FROM cloakroom.file_versions AS v) ||
    (SELECT string_agg(s::text, ',') FROM cloakroom.stores AS s)), 8))::bit(32)::bigint";

const OUR_SCHEMA: &str = "SELECT count(*) FROM pg_namespace WHERE nspname = 'cloakroom'";

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_come_over_and_a_second_run_changes_nothing() {
    let old = Old::new().await;
    old.sql(
        "INSERT INTO files SELECT 'f-' || n || '_Отчёт 2024.pdf', length(n::text), 'application/pdf', 'Отчёт ' || n || \
         '.pdf', n % 50, 1 + n % 4, now() - n * interval '1 minute' FROM generate_series(1, 10000) AS n"
            .to_owned(),
    )
    .await;
    for account in 1..=4 {
        let own = (1..=10_000).filter(|n| 1 + n % 4 == account);
        let object = |n: u32| (format!("f-{n}_Отчёт 2024.pdf"), n.to_string().into_bytes());
        old.put(account, own.map(object).collect()).await;
    }
    let before = old.table().await;

    let dry = old.import(&["--dry-run"]).await;
    assert_eq!((dry.code, dry.counts()), (0, [10_000, 0, 0]), "{dry:?}");
    assert_eq!(old.count(OUR_SCHEMA).await, 0, "a dry run makes nothing");

    // Killed in the middle, as often as it likes, it goes on where it was.
    for millis in [700, 1500] {
        let patience = Duration::from_millis(millis);
        let import = &["import", "pneumatic"];
        old.service().run_killed_after(import, patience).await;
    }
    let whole = old.import(&[]).await;
    let [taken, present, not_taken] = whole.counts();
    assert_eq!(
        (whole.code, taken + present, not_taken),
        (0, 10_000, 0),
        "{whole:?}"
    );
    let half = "SELECT count(*) FROM cloakroom.file_versions AS v FULL JOIN cloakroom.files AS f \
                ON f.current_version_id = v.version_id WHERE v.state = 'stored' AND f.file_id = v.file_id";
    assert_eq!(old.count(half).await, 10_000);

    let ours = old.count(OURS).await;
    let again = old.import(&[]).await;
    assert_eq!(
        (again.code, again.counts()),
        (0, [0, 10_000, 0]),
        "{again:?}"
    );
    assert_eq!(old.count(OURS).await, ours);
    assert_eq!(old.table().await, before, "the old table is only read");

    let checked = old.service().run(&["fsck"]).await;
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::too_many_lines,
    reason = "a table of rows, and what becomes of each"
)]
async fn rows_that_cannot_be_served_are_told_with_their_reason_and_taken_once_they_are_mended() {
    let old = Old::new().await;
    let long = "ж".repeat(300);
    old.sql(format!(
        "INSERT INTO files VALUES ('good', 4, NULL, NULL, NULL, 7, '-infinity'), \
         ('lost', 4, 'text/plain', 'a.txt', 1, 7, now()), ('no bucket', 4, 'text/plain', 'a.txt', 1, 8, now()), \
         ('longer', 3, 'text/plain', 'a.txt', 1, 7, now()), ('negative', -1, 'text/plain', 'a.txt', 1, 7, now()), \
         ('{long}', 4, 'text/plain', 'a.txt', 1, 7, now()), ('', 4, 'text/plain', 'a.txt', 1, 7, now()), \
         ('{{\"odd\": \"id\"}} %2F\n\u{1b}[31m', 4, 'not a type', '../..', 2147483647, 7, now())"
    ))
    .await;
    let odd = "{\"odd\": \"id\"} %2F\n\u{1b}[31m".to_owned();
    let keys = [
        "good".to_owned(),
        "longer".to_owned(),
        "negative".to_owned(),
        odd,
    ];
    old.put(7, keys.map(|key| (key, b"data".to_vec())).into())
        .await;

    for more in [&["--dry-run"][..], &[]] {
        let imported = old.import(more).await;
        assert_eq!(
            (imported.code, imported.counts()),
            (1, [2, 0, 6]),
            "{imported:?}"
        );
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
        let told: BTreeMap<String, String> = imported
            .not_taken
            .iter()
            .map(|row| (text(row, "file_id"), text(row, "kind")))
            .collect();
        let expected = [
            ("", "bad_row"),
            ("longer", "wrong_size"),
            ("lost", "missing_object"),
            ("negative", "bad_row"),
            ("no bucket", "missing_object"),
            (long.as_str(), "bad_row"),
        ];
        let expected = expected.map(|(id, kind)| (id.to_owned(), kind.to_owned()));
        assert_eq!(told, BTreeMap::from(expected));
        let sizes = imported
            .not_taken
            .iter()
            .find(|row| row["kind"] == "wrong_size");
        let sizes = sizes.unwrap();
        assert_eq!(
            (&sizes["row_size"], &sizes["object_size"]),
            (&3.into(), &4.into())
        );
    }

    // A row and an object mended, and a row added meanwhile.
    old.sql(
        "UPDATE files SET size = 4 WHERE file_id = 'longer'; \
         INSERT INTO files VALUES ('new', 3, 'text/plain', 'n.txt', 1, 9, now())"
            .to_owned(),
    )
    .await;
    old.put(9, vec![("new".to_owned(), b"new".to_vec())]).await;
    let imported = old.import(&[]).await;
    assert_eq!(
        (imported.code, imported.counts()),
        (1, [2, 2, 5]),
        "{imported:?}"
    );

    // For people: a line each, nothing that a terminal would obey.
    let told = old.service().run(&["import", "pneumatic"]).await;
    assert_eq!(told.code, 1);
    assert!(
        told.stdout.contains("missing_object  lost\n"),
        "{}",
        told.stdout
    );
    let summary = "9 rows: 0 taken, 4 here already, 5 not taken\n";
    assert!(told.stdout.ends_with(summary), "{}", told.stdout);
    assert!(!told.stdout.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_exit_code_2() {
    let old = Old::new().await;
    let import = ["import", "pneumatic"];
    let empty = cloakroom_tests::servers::Postgres::shared()
        .database()
        .await;
    let unreachable = "postgres://u:canary@127.0.0.1:1/d";
    for (name, value, says) in [
        (
            "CLOAKROOM_IMPORT_DATABASE_URL",
            empty.as_str(),
            "no table `files` of the FastAPI service",
        ),
        (
            "CLOAKROOM_IMPORT_DATABASE_URL",
            unreachable,
            "cannot be reached",
        ),
        (
            "CLOAKROOM_IMPORT_DATABASE_URL",
            "sqlite:///x.db",
            "expected CLOAKROOM_IMPORT_DATABASE_URL",
        ),
        ("SEAWEEDFS_S3_ENDPOINT", "http://127.0.0.1:1", ""),
    ] {
        old.sql(
            "INSERT INTO files VALUES ('a', 1, 'a/b', 'a', 1, 7, now()) ON CONFLICT DO NOTHING"
                .to_owned(),
        )
        .await;
        let ran = old.service().env(name, value).run(&import).await;
        assert_eq!(ran.code, 2, "{value}: {ran:?}");
        assert!(ran.stderr.contains(says), "{value}: {ran:?}");
        assert!(!ran.stderr.contains("canary"), "{ran:?}");
    }
    // Over a folder there is nothing to leave in its place.
    let fresh = Old::new().await;
    let folder = fresh
        .service()
        .env("CLOAKROOM_STORE", "fs")
        .run(&import)
        .await;
    assert_eq!(folder.code, 2, "{folder:?}");
    assert!(folder.stderr.contains("CLOAKROOM_STORE=s3"), "{folder:?}");
    let prefix = old
        .service()
        .run(&["import", "pneumatic", "--bucket-prefix", "A/B"])
        .await;
    assert_eq!(prefix.code, 2, "{prefix:?}");
}

#[tokio::test]
async fn a_database_with_another_applications_files_is_left_alone() {
    let old = Old::new().await;
    let url = old.url().to_owned();
    let service = || Service::builder().production().database(&url);
    for command in [&["serve"][..], &["db", "migrate"]] {
        let refused = service().run(command).await;
        assert_ne!(refused.code, 0, "{refused:?}");
        assert!(
            refused.stderr.contains("CLOAKROOM_DATABASE_SCHEMA"),
            "{refused:?}"
        );
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    assert_eq!(old.count(tables).await, 2, "only the old ones");
    let beside = service()
        .env("CLOAKROOM_DATABASE_SCHEMA", "apart")
        .start()
        .await;
    beside
        .admin()
        .get("/files")
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
}
