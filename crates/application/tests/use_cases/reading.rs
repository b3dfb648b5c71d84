//! Bodies that the store gives back wrong.

use std::{sync::Arc, time::Duration};

use cloakroom_application::{
    Error,
    ports::StoreError,
    testkit::objects::{Fault, Step},
};
use tokio::time::Instant;

use crate::{read, support::World, uploaded};

/// What is held in memory before it is sent, what breaks before its first bytes are sent, and what does so later.
const SIZES: [usize; 3] = [5, 100_000, 300_000];
static BODY: [u8; SIZES[2]] = [7; SIZES[2]];

#[tokio::test]
async fn what_is_wrong_before_it_is_sent_is_read_once_more() {
    for size in SIZES {
        let world = roomy().await;
        let file = uploaded(&world, &BODY[..size]).await;
        world.store.fail_nth(Step::Body, 1, Fault::Break);
        let answer = read(&world, &file).await;
        if size < BODY.len() {
            assert_eq!(answer.unwrap(), BODY[..size], "{size}");
        } else {
            assert!(is_broken(&answer.unwrap_err()), "{size}");
        }
        assert_eq!(read(&world, &file).await.unwrap(), BODY[..size], "{size}");
    }
}

#[tokio::test]
async fn what_stays_wrong_is_an_error() {
    for size in SIZES {
        let world = roomy().await;
        let file = uploaded(&world, &BODY[..size]).await;
        let at = &file.current.location;
        assert!(world.store.flip_bit(&at.bucket, &at.key, 1));
        assert!(is_broken(&read(&world, &file).await.unwrap_err()), "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_begin_is_an_error_in_time() {
    let world = roomy().await;
    let file = uploaded(&world, &BODY[..5]).await;
    for step in [Step::Read, Step::Body] {
        let begun = Instant::now();
        world.store.fail_nth(step, 1, Fault::Stall);
        let answer = read(&world, &file).await;
        assert!(matches!(
            answer,
            Err(Error::Store {
                source: StoreError::Unavailable(_),
                ..
            })
        ));
        assert!(begun.elapsed() < Duration::from_secs(10), "{step:?}");
    }
}

async fn roomy() -> World {
    let mut world = World::new().await;
    Arc::get_mut(&mut world.app).unwrap().limits.max_file_size = BODY.len() as u64;
    world
}

fn is_broken(error: &Error) -> bool {
    matches!(
        error,
        Error::Store {
            source: StoreError::Broken(_),
            ..
        }
    )
}
