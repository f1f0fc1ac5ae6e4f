//! Everything that `/metrics` says: what requests count, and what is looked up when somebody asks.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use pier_registry::Uploads;
use pier_store::Usage;
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeMetric,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::Registry,
};
use tokio::sync::watch;

use super::{super::collection::Tally, process, requests::Requests};

/// What is encoded.
#[derive(Debug)]
pub(super) struct Numbers {
    counted: Registry,
    served: pier_registry::Registry,
    /// `None` where nothing collects.
    collected: Option<watch::Receiver<Tally>>,
    started: SystemTime,
}

/// What is looked up for one who asks.
#[derive(Debug)]
struct LookedUp {
    uploads: Uploads,
    usage: Option<Usage>,
    collected: Option<Tally>,
    started: SystemTime,
}

impl Numbers {
    pub(super) fn new(
        requests: &Requests,
        served: pier_registry::Registry,
        collected: Option<watch::Receiver<Tally>>,
    ) -> Self {
        let mut counted = Registry::default();
        requests.register(&mut counted);
        counted.register("pier_build", "This program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { counted, served, collected, started: SystemTime::now() }
    }

    /// All of it. Without `usage`, nothing is said about the store.
    pub(super) fn encode(&self, usage: Option<Usage>) -> String {
        let mut looked_up = Registry::default();
        looked_up.register_collector(Box::new(LookedUp {
            uploads: self.served.uploads(),
            usage,
            collected: self.collected.as_ref().map(|collected| *collected.borrow()),
            started: self.started,
        }));
        let mut text = String::new();
        // Writing to a string cannot fail, and the encoder has no other errors.
        let _ = encode_registry(&mut text, &self.counted)
            .and_then(|()| encode_registry(&mut text, &looked_up))
            .and_then(|()| encode_eof(&mut text));
        text
    }
}

impl Collector for LookedUp {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut said = Said(&mut encoder);
        let Uploads { at_work, limit } = self.uploads;
        said.gauge("pier_uploads", "Requests with large bodies that are worked on", count(at_work))?;
        said.gauge(
            "pier_uploads_limit",
            "Requests with large bodies that may be worked on at once",
            count(limit),
        )?;
        if let Some(usage) = &self.usage {
            said.usage(usage)?;
        }
        if let Some(collected) = &self.collected {
            said.collector(collected)?;
        }
        said.gauge("process_start_time_seconds", "When the server started", since_1970(self.started))?;
        if let Some(process) = process::read() {
            said.process(&process)?;
        }
        Ok(())
    }
}

/// Writes numbers with their names.
struct Said<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Said<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    /// The format adds `_total` to the name.
    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn usage(&mut self, usage: &Usage) -> fmt::Result {
        for (name, help, value) in [
            ("pier_store_blobs", "Blobs in the store", usage.blobs),
            ("pier_store_bytes", "Bytes of the blobs in the store", usage.bytes),
            ("pier_store_manifests", "Manifests in the store", usage.manifests),
            ("pier_store_repositories", "Repositories that the store knows", usage.repositories),
            ("pier_store_review_queue", "Digests that the collector looks at, now or later", usage.reviews),
            ("pier_store_disk_free_bytes", "Bytes that are free where the store lies", usage.free),
            ("pier_store_disk_bytes", "Bytes that there are where the store lies", usage.disk),
        ] {
            self.gauge(name, help, count(value))?;
        }
        Ok(())
    }

    fn collector(&mut self, tally: &Tally) -> fmt::Result {
        let removed = tally.removed;
        for (name, help, value) in [
            ("pier_collector_runs", "Runs of the collector that came to their end", count(tally.runs)),
            ("pier_collector_failures", "Runs of the collector that failed", count(tally.failures)),
            ("pier_collector_removed_blobs", "Blobs that the collector removed", count(removed.blobs)),
            ("pier_collector_removed_bytes", "Bytes that the collector freed", count(removed.bytes)),
            ("pier_collector_expired_parts", "Unfinished transfers that it removed", count(removed.parts)),
            ("pier_collector_seconds", "Seconds that it ran, its pauses included", tally.took.as_secs_f64()),
        ] {
            self.counter(name, help, value)?;
        }
        self.gauge(
            "pier_collector_last_run_timestamp_seconds",
            "When the collector came to an end last",
            since_1970(tally.last.unwrap_or(UNIX_EPOCH)),
        )
    }

    fn process(&mut self, process: &process::Process) -> fmt::Result {
        self.counter("process_cpu_seconds", "Processor time, user and system", process.cpu_seconds)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory", count(process.resident_bytes)),
            ("process_open_fds", "Files that are open", count(process.open_files)),
            ("process_max_fds", "Files that may be open", count(process.max_files)),
        ] {
            self.gauge(name, help, value)?;
        }
        Ok(())
    }
}

/// Seconds.
fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A whole number as the format has it.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, which is eight pebibytes, and the format has no other numbers"
)]
fn count(value: u64) -> f64 {
    value as f64
}
