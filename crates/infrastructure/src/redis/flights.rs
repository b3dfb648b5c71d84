//! Questions under way, so that whoever asks the same meanwhile waits for the same answer.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::runtime::Handle;

type Flight<A> = Shared<BoxFuture<'static, Option<A>>>;
type Under<K, M, A> = Arc<Mutex<HashMap<K, (M, Flight<A>)>>>;

/// Questions by their key, each with a mark that says which callers may share it.
pub(super) struct Flights<K, M, A> {
    runtime: Handle,
    under_way: Under<K, M, A>,
}

impl<K, M, A> Flights<K, M, A>
where
    K: Hash + Eq + Clone + Send + 'static,
    M: PartialEq + Copy + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// None yet. They will run on the current runtime, whoever asks.
    pub(super) fn here() -> Self {
        Self {
            runtime: Handle::current(),
            under_way: Arc::default(),
        }
    }

    /// The answer to the question under way with that key and mark, or to this one. `None` if it broke off.
    pub(super) async fn join(
        &self,
        key: K,
        mark: M,
        ask: impl Future<Output = A> + Send + 'static,
    ) -> Option<A> {
        let flight = {
            let mut flights = locked(&self.under_way);
            match flights.get(&key) {
                Some((begun, flight)) if *begun == mark => flight.clone(),
                _ => {
                    let flight = self.start(key.clone(), mark, ask);
                    flights.insert(key, (mark, flight.clone()));
                    flight
                }
            }
        };
        flight.await
    }

    /// In a task of its own, so that it ends also where nobody waits any more.
    fn start(&self, key: K, mark: M, ask: impl Future<Output = A> + Send + 'static) -> Flight<A> {
        let landed = Landed {
            under_way: self.under_way.clone(),
            key,
            mark,
        };
        let task = self.runtime.spawn(async move {
            let _landed = landed;
            ask.await
        });
        async move { task.await.ok() }.boxed().shared()
    }
}

/// Takes a question out when it goes out of scope, also by a panic.
struct Landed<K: Hash + Eq, M: PartialEq, A> {
    under_way: Under<K, M, A>,
    key: K,
    mark: M,
}

impl<K: Hash + Eq, M: PartialEq, A> Drop for Landed<K, M, A> {
    fn drop(&mut self) {
        let mut flights = locked(&self.under_way);
        // A later one with another mark may have taken its place.
        if flights
            .get(&self.key)
            .is_some_and(|(mark, _)| *mark == self.mark)
        {
            flights.remove(&self.key);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A map cannot be left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn the_same_question_is_asked_once_at_a_time_and_again_after_its_mark_changed() {
        let flights = Arc::new(Flights::<u8, u8, usize>::here());
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |mark: u8| {
            let (flights, asked) = (flights.clone(), asked.clone());
            async move {
                let question = async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    asked.fetch_add(1, Ordering::SeqCst)
                };
                flights.join(1, mark, question).await
            }
        };
        tokio::join!(ask(0), ask(0), ask(0));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::join!(ask(0), ask(1), ask(1));
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(locked(&flights.under_way).is_empty());
    }

    #[tokio::test]
    async fn a_question_that_broke_off_is_no_answer_and_does_not_stay() {
        let flights = Flights::<u8, u8, ()>::here();
        let broken = flights.join(1, 0, async { panic!("on purpose") }).await;
        assert_eq!(broken, None);
        assert_eq!(flights.join(1, 0, async {}).await, Some(()));
    }
}
