//! Lists that pages of join, whatever others write meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cloakroom_tests::{client::Client, service::Setup, stand::Stand};
use futures_util::{StreamExt, future::join, stream};
use serde_json::{Value, json};

use super::{ALL, bucket, keys, page, put, removed, service, stored};

const KEYS: usize = 2500;

fn stays(n: usize) -> String {
    format!("dir{}/{n:05}-\u{f6}", n % 3)
}

/// Every key, page by page, the pages asked of one replica after the other.
async fn all(apis: &[Client], limit: u32, prefix: &str) -> Vec<String> {
    let (mut found, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
    for turn in 0.. {
        let after = cursor.map(|cursor| format!("&cursor={cursor}"));
        let query = format!("limit={limit}&prefix={prefix}{}", after.unwrap_or_default());
        let page = page(&apis[turn % apis.len()], &query).await;
        found.extend(keys(&page));
        let Value::String(next) = &page["next_cursor"] else {
            assert_eq!(page["next_cursor"], Value::Null);
            break;
        };
        cursor = Some(next.clone());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_a_half_thousand_keys_are_listed_once_each_while_others_write() {
    let replicas = Stand::replicas(Setup::PostgresFs, 2).await;
    let rights = json!({"grants": [{"service": "s", "allow": ALL}]});
    bucket(&replicas[0], "box", rights).await;
    let mut apis = Vec::new();
    for replica in &replicas {
        apis.push(service(replica, "s").await);
    }
    let puts = stream::iter(0..KEYS).map(|n| stored_by(&apis[n % 2], stays(n)));
    puts.buffer_unordered(16).collect::<Vec<()>>().await;
    let mut expected: Vec<String> = (0..KEYS).map(stays).collect();
    expected.sort_unstable();
    let (done, written) = (AtomicBool::new(false), AtomicU32::new(0));
    let writer = async |at: usize| {
        let mut n = at;
        while !done.load(Ordering::Relaxed) {
            n = (n + 611) % KEYS;
            let passing = format!("{}{at}passing", stays(n));
            stored(&apis[at % 2], &passing, "x").await;
            assert_eq!(
                put(&apis[at % 2], &stays(n))
                    .body("new")
                    .send()
                    .await
                    .unwrap()
                    .status(),
                200
            );
            assert_eq!(removed(&apis[(at + 1) % 2], &passing).await, 204);
            written.fetch_add(1, Ordering::Relaxed);
        }
    };
    let reading = async {
        for limit in [1000, 100, 333] {
            let found = all(&apis, limit, "").await;
            let mut sorted = found.clone();
            sorted.sort_unstable();
            assert_eq!(found, sorted, "in the order of their bytes");
            let stayed: Vec<String> = found
                .into_iter()
                .filter(|key| !key.ends_with("passing"))
                .collect();
            assert!(stayed == expected, "{limit}: {} of {KEYS}", stayed.len());
        }
        let some = all(&apis, 50, "dir1/").await;
        let some = some.iter().filter(|key| !key.ends_with("passing"));
        let of_folder = expected.iter().filter(|key| key.starts_with("dir1/"));
        assert_eq!(some.count(), of_folder.count());
        done.store(true, Ordering::Relaxed);
    };
    join(reading, join(join(writer(0), writer(100)), writer(201))).await;
    assert!(written.load(Ordering::Relaxed) > 10, "hardly anybody wrote");
}

async fn stored_by(api: &Client, key: String) {
    stored(api, &key, "x").await;
}
