//! That no page, look-up or sweep walks a whole table, by the plans of both databases.

use cloakroom_application::ports::{
    FileFilter, FileScope, PageMark, StoreRecord, StoreRegistry, TypeFilter,
};
use cloakroom_domain::{
    AccountId, Bucket, BucketRule, FileId, Owner, StoreId, Timestamp, TokenHash, UserId,
};

use super::{
    Database, DatabaseOptions,
    files::FIND,
    ledger::{DUE, EXPIRE, EXPIRE_KEYS, NEXT_BUCKET},
    links, list,
    reconcile::{FOUND, WINDOW_END},
    session::{Arg, Statement, args},
    sql::{Sql, sql},
    unclaimed::EXPIRE_UNCLAIMED,
    uploads,
};

const ROWS: usize = 20_000;
/// What a page of ten may cost to find, in rows: a hundredth of the table.
const FEW: u64 = 200;

/// Files of ten users in three accounts, a few of them in the trash, with two versions each.
const SEED_FILES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO files (file_id, account_id, user_id, filename, visibility, metadata, media_type, media_family, \
     current_version_id, last_number, current_since, revision, created_at, updated_at, deleted_at, claim_by) \
     SELECT 'f' || i, 'a' || (i % 3), 'u' || (i % 10), 'name' || i, \
     CASE WHEN i % 5 = 0 THEN 'account' ELSE 'private' END, '{}', CASE WHEN i % 7 = 0 THEN 'image/png' \
     ELSE 'text/plain' END, CASE WHEN i % 7 = 0 THEN 'image/' ELSE 'text/' END, 'v' || i, 1, i, 1, i, i, \
     CASE WHEN i % 50 = 0 THEN i END, CASE WHEN i % 3 = 0 THEN i END FROM n"
};

const SEED_LINKS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO links (link_id, file_id, disposition, uses, created_at, expires_at) SELECT 'l' || i, 'f' || (i % 400), \
     'inline', 0, i, ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 FROM n"
};

const SEED_FOUND: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO reconcile_found (reconcile_id, file_id, is_trashed) SELECT 'r' || (i % 3), 'f' || i, FALSE FROM n"
};

const SEED_VERSIONS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO file_versions (version_id, file_id, account_id, number, store_id, bucket, key, size, stored_size, \
     content_type, state, created_at, touched_at, delete_after) \
     SELECT 'v' || i, 'f' || i, 'a', CASE WHEN i % 30 <> 1 THEN 1 END, 's', 'b' || (i % 9), 'k' || i, 1, 1, \
     'text/plain', CASE i % 30 WHEN 0 THEN 'deleting' WHEN 1 THEN 'pending' ELSE 'stored' END, i, i, \
     CASE WHEN i % 30 = 0 THEN ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 END FROM n"
};

const SEED_KEYS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO idempotency_keys (principal, key, fingerprint, version_id, locked_until, answer, expires_at) \
     SELECT 'p' || i, 'k', '', 'v' || i, i, '', ", NOW, " + i * CAST(1000000 AS BIGINT) - 100000000 FROM n"
};

/// Uploads of every kind and state, with the rows of their bodies; some are over or ended long ago.
const SEED_UPLOADS: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO uploads (upload_id, creator, kind, state, received, account_id, filename, visibility, metadata, \
     version_id, store_id, bucket, key, next_number, free_number, loose_below, held, generation, turn, created_at, \
     touched_at, expires_at) SELECT 'u' || i, 'c', CASE WHEN i % 11 = 0 THEN 'partial' ELSE 'whole' END, CASE i % 4 \
     WHEN 0 THEN 'open' WHEN 1 THEN 'completing' WHEN 2 THEN 'finished' ELSE 'expired' END, 0, 'a', 'f', 'private', \
     '{}', 'w' || i, 's', 'b', 'w' || i, 1, 1, 1, i % 2 = 1, 0, 0, i, ", NOW, " + (i - 100) * CAST(1000000 AS \
     BIGINT), ", NOW, " + (i - 100) * CAST(1000000 AS BIGINT) FROM n"
};

const SEED_BODIES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO file_versions (version_id, file_id, upload_id, account_id, store_id, bucket, key, state, created_at, \
     touched_at) SELECT 'w' || i, 'u' || i, 'u' || i, 'a', 's', 'b', 'w' || i, 'pending', 0, 0 FROM n"
};

const SEED_STRETCHES: Sql = sql! {
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
     INSERT INTO upload_stretches (upload_id, start, size, number, tag) SELECT 'u' || (i % 20), i, 1, i, '' FROM n"
};

async fn seeded(database: Database) -> Database {
    database.migrate().await.unwrap();
    let store = StoreRecord {
        id: StoreId::random(),
        driver: "fs".to_owned(),
        buckets: BucketRule::Fixed(Bucket::parse("b").unwrap()),
        is_current: true,
    };
    database.seed(store).await.unwrap();
    let rows = i64::try_from(ROWS).unwrap();
    for seed in [
        SEED_FILES,
        SEED_VERSIONS,
        SEED_KEYS,
        SEED_UPLOADS,
        SEED_BODIES,
        SEED_STRETCHES,
        SEED_LINKS,
        SEED_FOUND,
    ] {
        let mut session = database.writer().await.unwrap();
        session.run(seed, args![rows]).await.unwrap();
    }
    database
}

async fn analyze(database: &Database) {
    let mut session = database.writer().await.unwrap();
    session.run(sql!("ANALYZE"), args![]).await.unwrap();
}

/// Every list that the interface offers over an index of its own, from the start and from the middle.
fn filters() -> Vec<FileFilter> {
    let owner = Owner {
        account: AccountId::parse("a1").unwrap(),
        user: UserId::parse("u7").ok(),
        token: None,
    };
    let visitor = Owner {
        user: None,
        token: Some(TokenHash::of("t")),
        ..owner.clone()
    };
    let middle = i64::try_from(ROWS / 2).unwrap();
    let id = FileId::parse("f10").unwrap();
    let newest = PageMark::Newest(Timestamp::from_micros(middle), id.clone());
    let name = PageMark::Name("name4000".to_owned(), id);
    let exact = || Some(TypeFilter::Exact("image/png".to_owned()));
    let family = || Some(TypeFilter::Family("image/".to_owned()));
    let mut filters = Vec::new();
    for scope in [
        FileScope::All,
        FileScope::Caller(owner),
        FileScope::Caller(visitor),
    ] {
        let base = FileFilter {
            scope,
            owner: None,
            content_type: None,
            name_prefix: None,
            created_after: None,
            deleted: false,
            after: None,
            limit: 10,
        };
        let by = |change: &dyn Fn(&mut FileFilter)| {
            let mut filter = base.clone();
            change(&mut filter);
            filter
        };
        filters.extend([
            by(&|_| ()),
            by(&|f| f.after = Some(newest.clone())),
            by(&|f| f.owner = UserId::parse("u7").ok()),
            by(&|f| f.content_type = exact()),
            by(&|f| f.content_type = family()),
            by(&|f| f.created_after = Some(Timestamp::from_micros(middle))),
            by(&|f| f.deleted = true),
            by(&|f| f.name_prefix = Some(String::new())),
            by(&|f| f.name_prefix = Some("name5".to_owned())),
            by(&|f| {
                f.name_prefix = Some("name".to_owned());
                f.after = Some(name.clone());
            }),
        ]);
    }
    filters
}

/// What is explained: a name to complain with, the text in both dialects, the values.
fn queries() -> Vec<(String, Sql, Vec<Arg>)> {
    let mut queries: Vec<(String, Sql, Vec<Arg>)> = filters()
        .into_iter()
        .filter_map(|filter| {
            let (text, args) = list::page(&filter)?;
            // A test may leak what the compiler would otherwise want to be fixed.
            let text: &'static str = text.leak();
            let sql = Sql {
                postgres: text,
                sqlite: text,
            };
            Some((format!("{filter:?}"), sql, args))
        })
        .collect();
    queries.extend([
        ("find".to_owned(), FIND, args!["f77"]),
        ("due".to_owned(), DUE, args![20_u32]),
        ("expire".to_owned(), EXPIRE, args![1_i64, 20_u32]),
        ("keys".to_owned(), EXPIRE_KEYS, args![20_u32]),
        ("bucket".to_owned(), NEXT_BUCKET, args!["s", "b3"]),
        ("upload".to_owned(), uploads::FIND, args![1_i64, "u77"]),
        ("stretches".to_owned(), uploads::TAIL, args!["u7"]),
        (
            "uploads over".to_owned(),
            uploads::STALE,
            args![20_000_000_i64, 20_u32],
        ),
        (
            "uploads ended".to_owned(),
            uploads::FORGET,
            args![1_i64, 20_u32],
        ),
        (
            "bodies of uploads".to_owned(),
            uploads::DOOM,
            args!["[\"u5\",\"u6\"]", 0_i64],
        ),
        ("link".to_owned(), links::FIND, args!["l77", 1_i64]),
        (
            "links".to_owned(),
            links::OF_FILE,
            args!["f7", 10_000_i64, "l", 10_u32],
        ),
        ("old links".to_owned(), links::FORGET, args![1_i64, 20_u32]),
        ("unclaimed".to_owned(), EXPIRE_UNCLAIMED, args![20_u32]),
        ("window".to_owned(), WINDOW_END, args!["a1", "f5", 20_u32]),
        ("found".to_owned(), FOUND, args!["r1", "f5", 20_u32]),
    ]);
    queries
}

#[tokio::test]
async fn no_query_of_sqlite_walks_or_sorts_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/db", folder.path().display());
    let database = Database::connect(&url, &DatabaseOptions::default()).unwrap();
    let database = seeded(database).await;
    // A file that was never analysed must do as well.
    check_sqlite(&database).await;
    analyze(&database).await;
    check_sqlite(&database).await;
    database.close().await;
}

async fn check_sqlite(database: &Database) {
    for (name, sql, args) in queries() {
        let text = format!("EXPLAIN QUERY PLAN {}", sql.sqlite);
        let mut session = database.reader().await.unwrap();
        let plan: Vec<(i64, i64, i64, String)> =
            session.all(Statement::Composed(text), args).await.unwrap();
        for (_, parent, _, step) in &plan {
            // What a page or a list of ids gave may be gone through and sorted; a table may not.
            let scans = [
                "files",
                "file_versions",
                "idempotency_keys",
                "uploads",
                "upload_stretches",
                "links",
                "reconcile_found",
            ]
            .iter()
            .any(|table| *step == format!("SCAN {table}"));
            let sorts = step.starts_with("USE TEMP B-TREE")
                && plan.iter().any(|(_, beside, _, other)| {
                    beside == parent
                        && [" files_", " file_versions_", " uploads_"]
                            .iter()
                            .any(|index| other.contains(index))
                });
            assert!(!scans && !sorts, "{name}\n{plan:#?}");
        }
        assert!(plan.iter().any(|step| step.3.contains("INDEX")), "{name}");
    }
}

#[tokio::test]
async fn no_query_of_postgres_reads_more_than_a_few_pages_of_rows() {
    let admin = std::env::var("CLOAKROOM_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("CLOAKROOM_TEST_POSTGRES is not set: run `make test`, which starts PostgreSQL")
    });
    let name = format!("plans_{}", uuid::Uuid::new_v4().simple());
    let options = DatabaseOptions::default();
    let server = Database::connect(&admin, &options).unwrap();
    let create = Statement::Composed(format!("CREATE DATABASE {name}"));
    let mut session = server.writer().await.unwrap();
    session.run(create, args![]).await.unwrap();
    let (host, _) = admin.rsplit_once('/').unwrap();
    let database = Database::connect(&format!("{host}/{name}"), &options).unwrap();
    let database = seeded(database).await;
    analyze(&database).await;
    for (name, sql, args) in queries() {
        let text = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {}", sql.postgres);
        let mut session = database.transaction().await.unwrap();
        let plan: Vec<(String,)> = session.all(Statement::Composed(text), args).await.unwrap();
        session.leave(()).await;
        let plan: Vec<&str> = plan.iter().map(|(line,)| line.as_str()).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan"), "{name}\n{plan}");
        assert!(most(&plan, "rows=") <= FEW, "{name}\n{plan}");
        assert!(
            most(&plan, "Rows Removed by Filter: ") <= FEW,
            "{name}\n{plan}"
        );
    }
    database.close().await;
}

/// The greatest number behind a word of a plan.
fn most(plan: &str, word: &str) -> u64 {
    plan.split(word)
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .filter_map(|digits| digits.parse().ok())
        .max()
        .unwrap_or_default()
}
