//! The meter of `/metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use cloakroom_application::ports::{Damage, Gauges, Meter};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{MetricType, counter::Counter, gauge::ConstGauge, info::Info},
    registry::Registry,
};

/// Counters of this process, and the form in which Prometheus takes them.
pub struct Prometheus {
    scrubbed_bytes: Counter,
    scrubbed_objects: Counter,
    looked_up: Arc<Mutex<Gauges>>,
    /// Locked while somebody is told, so that everybody is told what was looked up for him.
    registry: Mutex<Registry>,
}

impl Prometheus {
    /// Everything at 0, of a process of that version.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("cloakroom");
        let (scrubbed_bytes, scrubbed_objects) = (Counter::default(), Counter::default());
        let build = Info::new(vec![("version", version)]);
        registry.register("build", "The running program", build);
        registry.register(
            "scrub_read_bytes",
            "Bytes that this process read again to compare them with their hashes",
            scrubbed_bytes.clone(),
        );
        registry.register(
            "scrub_read_objects",
            "Objects that this process read again to compare them with their hashes",
            scrubbed_objects.clone(),
        );
        let looked_up = Arc::new(Mutex::new(Gauges::default()));
        registry.register_collector(Box::new(LookedUp(Arc::clone(&looked_up))));
        Self {
            scrubbed_bytes,
            scrubbed_objects,
            looked_up,
            registry: Mutex::new(registry),
        }
    }
}

impl Meter for Prometheus {
    fn scrubbed_bytes(&self, bytes: u64) {
        self.scrubbed_bytes.inc_by(bytes);
    }

    fn scrubbed_object(&self) {
        self.scrubbed_objects.inc();
    }

    fn render(&self, gauges: Gauges) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        *self
            .looked_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = gauges;
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

/// What was looked up, and nothing of what could not be.
#[derive(Debug)]
struct LookedUp(Arc<Mutex<Gauges>>);

impl Collector for LookedUp {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(scrub) = &gauges.scrub else {
            return Ok(());
        };
        let help = "Stored versions that are not as they should be, by what is wrong";
        let mut findings =
            encoder.encode_descriptor("scrub_findings", help, None, MetricType::Gauge)?;
        for kind in Damage::ALL {
            let found = scrub.findings.iter().find(|(found, _)| *found == kind);
            let count = ConstGauge::new(found.map_or(0, |(_, count)| *count));
            let labels = [("kind", kind.as_str())];
            count.encode(findings.encode_family(&labels)?)?;
        }
        if let Some(seconds) = scrub.seconds_since_round {
            let help = "Seconds since every stored version was read again";
            let gauge = ConstGauge::new(seconds);
            let name = "scrub_seconds_since_completed_round";
            let since = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(since)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cloakroom_application::ports::ScrubGauges;

    use super::*;

    #[test]
    fn what_is_counted_and_looked_up_is_told_and_what_is_not_known_is_not() {
        let meter = Prometheus::new("1.2.3");
        meter.scrubbed_object();
        meter.scrubbed_bytes(700);
        meter.scrubbed_bytes(77);
        let unknown = meter.render(Gauges::default());
        for line in [
            "cloakroom_build_info{version=\"1.2.3\"} 1",
            "cloakroom_scrub_read_bytes_total 777",
            "cloakroom_scrub_read_objects_total 1",
        ] {
            assert!(unknown.lines().any(|it| it == line), "{line}:\n{unknown}");
        }
        assert!(!unknown.contains("findings") && !unknown.contains("since"));
        assert!(unknown.ends_with("# EOF\n"));
        let scrub = ScrubGauges {
            findings: vec![(Damage::WrongHash, 3)],
            seconds_since_round: Some(42),
        };
        let known = meter.render(Gauges { scrub: Some(scrub) });
        for line in [
            "cloakroom_scrub_findings{kind=\"wrong_hash\"} 3",
            "cloakroom_scrub_findings{kind=\"missing_object\"} 0",
            "cloakroom_scrub_seconds_since_completed_round 42",
        ] {
            assert!(known.lines().any(|it| it == line), "{line}:\n{known}");
        }
        assert!(!meter.render(Gauges::default()).contains("findings"));
    }
}
