//! Rate limits that replicas share: Redis there, frozen and gone.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::Client,
    process::eventually,
    servers::Redis,
    service::{Service, Setup},
    stand::Stand,
};
use futures_util::{StreamExt, stream};

use crate::limits::{ON, public_file, status};

const SECRET_KEY: &str = "a-secret-key-of-a-backend-for-these-tests-only-4711";
/// A window so long that nothing comes back while a test runs.
const WINDOW: &str = "10000s";

/// How many of so many requests at once, over these callers in turn, were let through.
async fn passed(callers: &[Client], path: &str, count: usize) -> usize {
    let ask = |n: usize| callers[n % callers.len()].get(path).send();
    stream::iter((0..count).map(ask))
        .buffer_unordered(64)
        .map(|answer| match answer.unwrap().status().as_u16() {
            200 => 1,
            429 => 0,
            other => panic!("{other}"),
        })
        .fold(0, async |sum, one| sum + one)
        .await
}

/// Replicas with one Redis and one limit of downloads.
async fn replicas(redis: &str, count: usize, limit: &str) -> (Vec<Service>, Client) {
    let builder = Service::builder()
        .setup(Setup::PostgresFs)
        .production()
        .env(ON.0, ON.1)
        .env("CLOAKROOM_RATE_LIMIT_DOWNLOAD", limit)
        .env("CLOAKROOM_REDIS_URL", redis)
        .env("CLOAKROOM_AUTH_SECRET_KEY", SECRET_KEY);
    let replicas = builder.start_replicas(count).await;
    let token = replicas[0]
        .create_token("user", &["--account", "1", "--user", "7"])
        .await;
    let user = replicas[0].anonymous().with(Some(&token));
    (replicas, user)
}

async fn keys(redis: &Redis) -> Vec<String> {
    redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut redis.connection().await)
        .await
        .unwrap()
}

fn nobodies(replicas: &[Service]) -> Vec<Client> {
    replicas.iter().map(Service::anonymous).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_over_two_and_four_replicas_at_ten_times_the_rate() {
    for (count, limit) in [(2, 60), (4, 200)] {
        let redis = Redis::start().await;
        let (replicas, user) = replicas(&redis.url(), count, &format!("{limit}/{WINDOW}")).await;
        let path = public_file(&user).await;
        let passed = passed(&nobodies(&replicas), &path, limit * 10).await;
        assert!(passed <= limit, "{passed} of {limit} over {count} replicas");
        assert!(
            passed >= limit * 3 / 4,
            "{passed} of {limit} over {count} replicas"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_caller_does_not_cost_a_round_trip_each_time_and_redis_keeps_no_address_or_token() {
    let redis = Redis::start().await;
    let (replicas, user) = replicas(&redis.url(), 2, "50000/10000s").await;
    let path = public_file(&user).await;
    let before = redis.statistic("total_commands_processed").await;
    assert_eq!(passed(&nobodies(&replicas), &path, 2000).await, 2000);
    let asked = redis.statistic("total_commands_processed").await - before;
    println!("{asked} commands for 2000 requests");
    assert!(asked < 1000, "{asked} commands for 2000 requests");
    assert_eq!(passed(&[user], &path, 10).await, 10);
    let keys = keys(&redis).await;
    assert!(keys.len() >= 2, "{keys:?}");
    for key in keys {
        let hash = key.strip_prefix("cloakroom:rate:").unwrap();
        let (_, hash) = hash.split_once(':').unwrap();
        assert!(
            hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
            "{key}"
        );
        let life: i64 = redis::cmd("PTTL")
            .arg(&key)
            .query_async(&mut redis.connection().await)
            .await
            .unwrap();
        assert!((0..=10_000_000).contains(&life), "{key} lives {life} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_replica_limits_by_itself_and_nobody_waits() {
    let mut redis = Redis::start().await;
    let limit = 20;
    let (replicas, user) = replicas(&redis.url(), 2, &format!("{limit}/{WINDOW}")).await;
    let path = public_file(&user).await;
    let clients = nobodies(&replicas);
    let quick = clients[0].get(&path).send().await.unwrap();
    assert_eq!(quick.status(), 200);

    redis.pause();
    let begun = Instant::now();
    assert_eq!(status(user.get(&path)).await, 200);
    let first = begun.elapsed();
    // 200 ms, and what a busy machine takes for anything.
    assert!(first < Duration::from_millis(1000), "{first:?}");
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(status(user.get(&path)).await, 200);
    }
    let ten = begun.elapsed();
    assert!(
        ten < Duration::from_millis(1500),
        "ten requests take {ten:?} while Redis is frozen"
    );
    let passed_alone = passed(&clients, &path, limit * 10).await;
    assert!(passed_alone <= 2 * limit, "{passed_alone}");
    assert!(
        passed_alone > limit,
        "each replica by itself: {passed_alone}"
    );

    redis.kill();
    assert_eq!(passed(&clients, &path, limit).await, 0, "still used up");
    redis.restart().await;
    let again = async || {
        passed(&clients, &path, 1).await;
        !keys(&redis).await.is_empty()
    };
    eventually("Redis counts again", Duration::from_secs(20), again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_starts_without_its_redis_for_limits_and_says_so() {
    let settings = [
        ON,
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "5/10000s"),
        (
            "CLOAKROOM_REDIS_URL",
            "redis://:canary-secret@127.0.0.1:1/0",
        ),
        ("CLOAKROOM_AUTH_SECRET_KEY", SECRET_KEY),
    ];
    let stand = Stand::with(&settings).await;
    let path = public_file(&stand.user()).await;
    assert_eq!(passed(&[stand.anonymous()], &path, 50).await, 5);
    let log = stand.log_with("Redis does not answer").await;
    assert!(!log.contains("canary-secret"));
}
