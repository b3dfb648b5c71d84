//! Faults that a test plants in the in-memory store.

use std::sync::Mutex;

use crate::ports::StoreError;

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `begin`
    Begin,
    /// `write` of any writer
    Write,
    /// `finish` of any writer
    Finish,
    /// `read`, before it answers
    Read,
    /// Half way through a body that `read` gave
    Body,
    /// `head`
    Head,
    /// `delete`, once for a call, whatever the number of keys
    Delete,
    /// `list`
    List,
    /// `probe`
    Probe,
    /// `resume`
    Resume,
    /// A part on its way to the store, or a part that grows being flushed
    Part,
    /// `join`
    Join,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// [`StoreError::Refused`]; nothing takes effect.
    Refuse,
    /// [`StoreError::Unavailable`]; nothing takes effect.
    Unavailable,
    /// [`StoreError::Broken`]; nothing takes effect.
    Break,
    /// It takes effect, but the answer is lost: [`StoreError::Unavailable`].
    LoseAnswer,
    /// No answer ever.
    Stall,
}

#[derive(Debug)]
struct Planted {
    step: Step,
    /// Calls still to pass before it strikes; `None` strikes every time.
    left: Option<usize>,
    fault: Fault,
}

/// What a call does about the fault it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Go,
    GoThenLose,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Planted>>);

impl Faults {
    pub(super) fn plant(&self, step: Step, left: Option<usize>, fault: Fault) {
        self.lock().push(Planted { step, left, fault });
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// Counts the call and meets the fault that is due, if one is.
    pub(super) async fn meet(&self, step: Step) -> Result<Outcome, StoreError> {
        match self.due(step) {
            None => Ok(Outcome::Go),
            Some(Fault::LoseAnswer) => Ok(Outcome::GoThenLose),
            Some(Fault::Refuse) => Err(StoreError::Refused("planted".into())),
            Some(Fault::Unavailable) => Err(lost()),
            Some(Fault::Break) => Err(StoreError::Broken("planted".into())),
            Some(Fault::Stall) => std::future::pending().await,
        }
    }

    pub(super) fn due(&self, step: Step) -> Option<Fault> {
        let mut planted = self.lock();
        let mut due = None;
        planted.retain_mut(|fault| {
            if fault.step != step {
                return true;
            }
            match &mut fault.left {
                None => {
                    due = due.or(Some(fault.fault));
                    true
                }
                Some(1) if due.is_none() => {
                    due = Some(fault.fault);
                    false
                }
                Some(left) => {
                    *left = left.saturating_sub(1).max(1);
                    true
                }
            }
        });
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Planted>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(super) fn lost() -> StoreError {
    StoreError::Unavailable("planted".into())
}
