//! A circuit breaker: a backend that only fails is left alone, but for a probe now and then.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 10;
/// How long nobody is asked then, before one question is let through.
const REST: Duration = Duration::from_secs(1);

/// How the circuit is, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Questions are asked.
    Closed,
    /// The backend failed too often: it is not asked, or only by one question that shows how it does.
    Open,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// The breaker of one backend.
pub(super) struct Breaker(Mutex<State>);

/// The right to ask one question. Whoever has it says how it went; not to say is as if it had not been asked.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A state cannot be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn circuit(&self) -> Circuit {
        match *self.state() {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } | State::Probing => Circuit::Open,
        }
    }

    /// Whether a question would be refused now.
    pub(super) fn refuses(&self) -> bool {
        match *self.state() {
            State::Closed { .. } => false,
            State::Open { until } => Instant::now() < until,
            State::Probing => true,
        }
    }

    /// Lets a question through, or not.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.state();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Pass {
            breaker: Arc::clone(self),
            is_probe,
        })
    }
}

impl Pass {
    /// The backend answered.
    pub(super) fn succeeded(mut self) {
        let mut state = self.breaker.state();
        match &mut *state {
            State::Closed { failures } => *failures = 0,
            State::Probing if self.is_probe => {
                tracing::info!("the permission backend answers again");
                *state = State::Closed { failures: 0 };
            }
            // The answer to a question of before the circuit opened proves nothing.
            State::Open { .. } | State::Probing => {}
        }
        drop(state);
        self.is_probe = false;
    }

    /// The backend failed, or did not answer.
    pub(super) fn failed(mut self) {
        let mut state = self.breaker.state();
        let rest = State::Open {
            until: Instant::now() + REST,
        };
        match &mut *state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= FAILURES {
                    tracing::warn!(failures, "the permission backend is left alone for a while");
                    *state = rest;
                }
            }
            State::Probing if self.is_probe => *state = rest,
            State::Open { .. } | State::Probing => {}
        }
        drop(state);
        self.is_probe = false;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe {
            *self.breaker.state() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        for _ in 0..times {
            breaker.enter().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Arc::new(Breaker::new());
        fail(&breaker, FAILURES - 1);
        breaker.enter().unwrap().succeeded();
        fail(&breaker, FAILURES - 1);
        assert!(!breaker.refuses());
        fail(&breaker, 1);
        assert!(breaker.refuses() && breaker.enter().is_none());
        assert_eq!(breaker.circuit(), Circuit::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_rest_one_question_probes_at_a_time_and_decides() {
        let breaker = Arc::new(Breaker::new());
        let early = breaker.enter().unwrap();
        fail(&breaker, FAILURES);
        tokio::time::advance(REST).await;
        let probe = breaker.enter().unwrap();
        assert!(breaker.refuses() && breaker.enter().is_none());
        early.succeeded();
        assert!(breaker.refuses(), "an old answer closed it");
        probe.failed();
        assert!(breaker.enter().is_none());
        tokio::time::advance(REST).await;
        drop(breaker.enter().unwrap());
        // A probe that was dropped is none.
        let probe = breaker.enter().unwrap();
        probe.succeeded();
        assert_eq!(breaker.circuit(), Circuit::Closed);
        fail(&breaker, FAILURES - 1);
        assert!(!breaker.refuses());
    }
}
