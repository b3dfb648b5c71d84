//! That no page, look-up or sweep walks a whole table, by the plans of both databases.

mod seeds;

use cloakroom_application::ports::{FileFilter, FileScope, ObjectFilter, PageMark, TypeFilter};
use cloakroom_domain::{AccountId, BucketName, FileId, Owner, Timestamp, TokenHash, UserId};

use super::{
    Database, DatabaseOptions,
    files::FIND,
    ledger::{DUE, EXPIRE, EXPIRE_KEYS, NEXT_BUCKET},
    links, list,
    migrations::{MOVABLE, PENDING_IN, switching::POINT},
    objects,
    reconcile::{FOUND, WINDOW_END},
    scrub,
    seals::{KEEP, NEXT_KEY, UNDER},
    session::{Arg, Statement, args},
    sql::Sql,
    unclaimed::EXPIRE_UNCLAIMED,
    uploads,
};
use seeds::{analyze, seeded};

const ROWS: usize = 20_000;
/// What a page of ten may cost to find, in rows: a hundredth of the table.
const FEW: u64 = 200;

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

/// Pages of a bucket, from the start and from the middle.
fn object_pages() -> impl Iterator<Item = (String, Vec<Arg>)> {
    let places = [
        ("", None),
        ("dir3/", None),
        ("dir3/", Some("dir3/5")),
        ("", Some("dir5/")),
    ];
    places.into_iter().map(|(prefix, after)| {
        objects::page(&ObjectFilter {
            bucket: BucketName::parse("b2").unwrap(),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit: 10,
        })
    })
}

/// A statement that was put together. A test may leak what the compiler would otherwise want to be fixed.
fn composed(text: String) -> Sql {
    let text: &'static str = text.leak();
    Sql {
        postgres: text,
        sqlite: text,
    }
}

/// What is explained: a name to complain with, the text in both dialects, the values.
type Query = (String, Sql, Vec<Arg>);

fn queries() -> Vec<Query> {
    let named = look_ups().into_iter().chain(sweeps()).chain(walks());
    let named = named.map(|(name, sql, args)| (name.to_owned(), sql, args));
    pages().chain(named).collect()
}

fn pages() -> impl Iterator<Item = Query> {
    let files = filters().into_iter().filter_map(|filter| {
        let (text, args) = list::page(&filter)?;
        Some((format!("{filter:?}"), composed(text), args))
    });
    files.chain(object_pages().map(|(text, args)| (text.clone(), composed(text), args)))
}

/// What a request asks about one thing.
fn look_ups() -> Vec<(&'static str, Sql, Vec<Arg>)> {
    vec![
        ("find", FIND, args!["f77"]),
        ("object", objects::FIND, args!["b2", "dir1/1"]),
        ("name", objects::LOCK, args!["b2", "dir1/1"]),
        ("upload", uploads::FIND, args![1_i64, "u77"]),
        ("stretches", uploads::TAIL, args!["u7"]),
        ("link", links::FIND, args!["l77", 1_i64]),
        (
            "links",
            links::OF_FILE,
            args!["f7", 10_000_i64, "l", 10_u32],
        ),
    ]
}

/// What the sweeper asks for: a batch of what is over.
fn sweeps() -> Vec<(&'static str, Sql, Vec<Arg>)> {
    vec![
        ("due", DUE, args![20_u32]),
        ("expire", EXPIRE, args![1_i64, 20_u32, 1_i64]),
        ("keys", EXPIRE_KEYS, args![20_u32]),
        (
            "uploads over",
            uploads::STALE,
            args![20_000_000_i64, 20_u32],
        ),
        (
            "uploads promised",
            uploads::FORSAKEN,
            args![20_000_000_i64, 20_u32],
        ),
        ("uploads ended", uploads::FORGET, args![1_i64, 20_u32]),
        (
            "bodies of uploads",
            uploads::DOOM,
            args!["[\"u5\",\"u6\"]", 0_i64],
        ),
        ("old links", links::FORGET, args![1_i64, 20_u32]),
        ("unclaimed", EXPIRE_UNCLAIMED, args![20_u32]),
    ]
}

/// What goes through everything batch by batch: reconciling, keys that change, moves, the scrub, fsck.
fn walks() -> Vec<(&'static str, Sql, Vec<Arg>)> {
    let head = [1, 2, 2, 2, 2, 2, 2, 2, 2];
    let again = r#"[{"version_id": "v6", "was": "0102020202020202020a", "becomes": "0103030303030303030b"}]"#;
    let moves = r#"[{"version_id": "v7", "copy_id": "c", "from_store": "s", "from_bucket": "b7", "from_key": "k7",
        "size": 1, "stored_size": 1, "store_id": "t", "bucket": "b", "key": "k", "delay": 1}]"#;
    vec![
        ("bucket", NEXT_BUCKET, args!["s", "b3"]),
        ("window", WINDOW_END, args!["a1", "f5", 20_u32]),
        ("found", FOUND, args!["r1", "f5", 20_u32]),
        ("key", NEXT_KEY, args![&head[..8]]),
        ("sealed", UNDER, args![head.as_slice(), "v5", 20_u32]),
        ("sealed again", KEEP, args![again]),
        ("copies", POINT, args![moves]),
        ("left", MOVABLE, args!["t", "", "", 20_u32]),
        ("to come", PENDING_IN, args!["t"]),
        ("scrub", scrub::PAGE, args!["v5", 20_u32]),
        ("findings", scrub::FINDINGS, args!["v5", 20_u32]),
    ]
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
                "scrub_findings",
                "objects",
                "o",
                "f",
                "v",
            ]
            .iter()
            .any(|table| *step == format!("SCAN {table}"));
            let sorts = step.starts_with("USE TEMP B-TREE")
                && plan.iter().any(|(_, beside, _, other)| {
                    beside == parent
                        && [" files_", " file_versions_", " uploads_", "_objects_"]
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
