//! The stack of the machine, with its marks: what lies below the last mark is out of reach, as in CPython.

use super::{MAX_DEPTH, MAX_VALUES, Refusal, value::Place};

/// Values, and marks between them.
#[derive(Debug, Default)]
pub(super) struct Stack {
    values: Vec<Place>,
    marks: Vec<usize>,
    pushed: usize,
}

impl Stack {
    /// Below this height nothing may be taken.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or_default()
    }

    /// How many values are in reach.
    fn reach(&self) -> usize {
        self.values.len() - self.fence()
    }

    /// Puts a value on top. So many may be put there in all that what they make stays small.
    pub(super) fn push(&mut self, place: Place) -> Result<(), Refusal> {
        self.pushed += 1;
        if self.pushed > MAX_VALUES {
            return Err(Refusal::Limit("values"));
        }
        self.values.push(place);
        Ok(())
    }

    /// Sets a mark.
    pub(super) fn mark(&mut self) -> Result<(), Refusal> {
        if self.marks.len() == MAX_DEPTH {
            return Err(Refusal::Limit("depth"));
        }
        self.marks.push(self.values.len());
        Ok(())
    }

    /// The value on top, which stays.
    pub(super) fn top(&self) -> Result<Place, Refusal> {
        let top = self.values.last().filter(|_| self.reach() > 0);
        top.copied().ok_or(Refusal::Malformed)
    }

    /// The value on top, which goes.
    pub(super) fn pop(&mut self) -> Result<Place, Refusal> {
        let top = self.top()?;
        self.values.pop();
        Ok(top)
    }

    /// Drops what is on top: a value, or a mark with nothing above it.
    pub(super) fn discard(&mut self) -> Result<(), Refusal> {
        if !self.marks.is_empty() && self.reach() == 0 {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    /// The values down to the last mark, which all go.
    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Place>, Refusal> {
        let mark = self.marks.pop().ok_or(Refusal::Malformed)?;
        Ok(self.values.split_off(mark))
    }

    /// The topmost values, which go; in the order in which they were put there.
    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Place>, Refusal> {
        if self.reach() < count {
            return Err(Refusal::Malformed);
        }
        Ok(self.values.split_off(self.values.len() - count))
    }
}
