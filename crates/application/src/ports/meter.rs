//! What an operator's charts are drawn from.

use super::Damage;

/// Counts what happens in this process, and writes it down. No call of it waits.
pub trait Meter: Send + Sync {
    /// The scrub has read so many more bytes.
    fn scrubbed_bytes(&self, bytes: u64);

    /// The scrub is done with an object.
    fn scrubbed_object(&self);

    /// Everything that was counted, and these, as text in the OpenMetrics format.
    fn render(&self, gauges: Gauges) -> String;
}

/// What is looked up when somebody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Of the scrub, for all replicas; `None`: the database did not say in time.
    pub scrub: Option<ScrubGauges>,
}

/// How the scrub stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubGauges {
    /// How many findings there are of each kind.
    pub findings: Vec<(Damage, u64)>,
    /// Whole seconds since a round was completed; `None` before the first.
    pub seconds_since_round: Option<u64>,
}

/// Counts nothing: for commands, which nobody draws charts of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn scrubbed_bytes(&self, _: u64) {}

    fn scrubbed_object(&self) {}

    fn render(&self, _: Gauges) -> String {
        String::new()
    }
}
