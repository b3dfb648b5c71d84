//! How long a queue for connections is waited in, by a clock that only waiting moves.

use std::{sync::Arc, time::Duration};

use sqlx::{Sqlite, sqlite::SqliteConnectOptions};
use tokio::time::{Instant, sleep};

use super::{super::error::Cut, Lease, Pool};

const SECOND: Duration = Duration::from_secs(1);

/// A pool of one connection, and that connection. The clock stands still from here on.
async fn taken() -> (Arc<Pool<Sqlite>>, Lease<Sqlite>) {
    let options = SqliteConnectOptions::new().in_memory(true);
    let pool = Arc::new(Pool::new(options, 1));
    let (lease, _) = pool.acquire(SECOND * 10).await.unwrap();
    tokio::time::pause();
    (pool, lease)
}

/// Waits in the queue; answers how long that took, and what came of it.
async fn wait(pool: Arc<Pool<Sqlite>>) -> (Duration, Result<Lease<Sqlite>, Cut>) {
    let asked = Instant::now();
    let outcome = pool.acquire(SECOND * 10).await;
    (asked.elapsed(), outcome.map(|(lease, _)| lease))
}

/// Others who wait before us, each of whom has the connection for so long.
async fn serve(pool: &Arc<Pool<Sqlite>>, first: Lease<Sqlite>, others: u32, each: Duration) {
    let mut served = Vec::new();
    for _ in 0..others {
        let pool = Arc::clone(pool);
        served.push(tokio::spawn(async move {
            let (mut lease, _) = pool.acquire(SECOND * 60).await.ok()?;
            sleep(each).await;
            lease.settle();
            Some(())
        }));
        // In the order of asking.
        tokio::task::yield_now().await;
    }
    let first_done = tokio::spawn(async move {
        sleep(each).await;
        drop(first);
    });
    drop((served, first_done));
}

#[tokio::test]
async fn a_queue_that_does_not_move_is_no_use_after_three_seconds() {
    let (pool, lease) = taken().await;
    let (took, outcome) = wait(Arc::clone(&pool)).await;
    assert!(matches!(outcome, Err(Cut::TimedOut)));
    assert!((SECOND * 3..SECOND * 4).contains(&took), "{took:?}");
    // Nor is one that has moved and then stops.
    let waiting = tokio::spawn(wait(Arc::clone(&pool)));
    serve(&pool, lease, 0, SECOND).await;
    assert!(waiting.await.unwrap().1.is_ok(), "it came back in time");
    let (stuck, _) = pool.acquire(SECOND).await.unwrap();
    let (took, outcome) = wait(pool).await;
    assert!(matches!(outcome, Err(Cut::TimedOut)));
    assert!((SECOND * 3..SECOND * 4).contains(&took), "{took:?}");
    drop(stuck);
}

#[tokio::test]
async fn a_queue_that_moves_is_waited_in_beyond_three_seconds() {
    let (pool, lease) = taken().await;
    // 1.5 s each: the connection comes back often enough, and ours is the eleventh turn.
    serve(&pool, lease, 10, SECOND * 3 / 2).await;
    let (took, outcome) = wait(pool).await;
    assert!(outcome.is_ok());
    let expected = SECOND * 33 / 2;
    assert!((expected..expected + SECOND).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_queue_that_moves_and_is_too_long_is_left_after_half_a_minute() {
    let (pool, lease) = taken().await;
    serve(&pool, lease, 60, SECOND * 3 / 2).await;
    let (took, outcome) = wait(pool).await;
    assert!(matches!(outcome, Err(Cut::TimedOut)));
    assert!((SECOND * 30..SECOND * 31).contains(&took), "{took:?}");
}

#[tokio::test]
async fn waiting_in_a_queue_that_moves_takes_nothing_off_the_time_to_work() {
    let (pool, lease) = taken().await;
    serve(&pool, lease, 6, SECOND * 3 / 2).await;
    let limit = SECOND * 2;
    let (ours, until) = pool.acquire(limit).await.unwrap();
    assert_eq!(until.duration_since(Instant::now()), limit);
    drop(ours);
}
