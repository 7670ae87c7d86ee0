//! Prometheus metrics. Labels are names of routes and pipelines, never of files or users.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RecordLabels {
    pipeline: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PipelineLabels {
    pipeline: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WakeLabels {
    outcome: &'static str,
}

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    records: Family<RecordLabels, Counter>,
    files: Family<RecordLabels, Counter>,
    upload_bytes: Family<PipelineLabels, Counter>,
    staged_files: Gauge,
    publish_seconds: Histogram,
    wakes: Family<WakeLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("simbdp_gateway");
        // From half a millisecond to 16 seconds.
        let metrics = Self {
            requests: Family::default(),
            records: Family::default(),
            files: Family::default(),
            upload_bytes: Family::default(),
            staged_files: Gauge::default(),
            publish_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            wakes: Family::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "records",
            "Records of messages, accepted or rejected",
            metrics.records.clone(),
        );
        registry.register(
            "files",
            "Uploaded files, accepted, duplicate or rejected",
            metrics.files.clone(),
        );
        registry.register_with_unit(
            "upload",
            "Bytes of uploads that were received whole",
            Unit::Bytes,
            metrics.upload_bytes.clone(),
        );
        registry.register(
            "staged_files",
            "Files staged on this replica that have not ended",
            metrics.staged_files.clone(),
        );
        registry.register_with_unit(
            "publish",
            "Time from publishing to the queue's confirm",
            Unit::Seconds,
            metrics.publish_seconds.clone(),
        );
        registry.register(
            "wakes",
            "Calls of the operator for the ingest app of a pipeline, done or failed",
            metrics.wakes.clone(),
        );
        Self {
            registry,
            ..metrics
        }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn request(&self, method: &str, route: &str, status: u16) {
        let labels = RequestLabels {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts records of messages.
    pub fn records(&self, pipeline: &str, accepted: u64, rejected: u64) {
        for (outcome, count) in [("accepted", accepted), ("rejected", rejected)] {
            let labels = RecordLabels {
                pipeline: pipeline.to_owned(),
                outcome,
            };
            self.records.get_or_create(&labels).inc_by(count);
        }
    }

    /// Counts an upload.
    pub fn file(&self, pipeline: &str, outcome: &'static str) {
        let labels = RecordLabels {
            pipeline: pipeline.to_owned(),
            outcome,
        };
        self.files.get_or_create(&labels).inc();
    }

    /// Counts the bytes of an upload.
    pub fn uploaded(&self, pipeline: &str, bytes: u64) {
        let labels = PipelineLabels {
            pipeline: pipeline.to_owned(),
        };
        self.upload_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// Notes how long a publish took.
    pub fn published(&self, elapsed: Duration) {
        self.publish_seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts a call of the operator.
    pub fn woken(&self, outcome: &'static str) {
        self.wakes.get_or_create(&WakeLabels { outcome }).inc();
    }

    /// The metrics in OpenMetrics text.
    pub fn encode(&self, staged_files: u64) -> Result<String, std::fmt::Error> {
        self.staged_files
            .set(i64::try_from(staged_files).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Shared metrics.
pub type SharedMetrics = Arc<Metrics>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_appear_under_their_labels() {
        let metrics = Metrics::default();
        metrics.request("GET", "/v1/files", 200);
        metrics.records("planes", 3, 1);
        metrics.file("flights", "accepted");
        metrics.uploaded("flights", 12);
        metrics.published(Duration::from_millis(3));
        let text = metrics.encode(7).unwrap();
        for line in [
            r#"simbdp_gateway_requests_total{method="GET",route="/v1/files",status="200"} 1"#,
            r#"simbdp_gateway_records_total{pipeline="planes",outcome="accepted"} 3"#,
            r#"simbdp_gateway_records_total{pipeline="planes",outcome="rejected"} 1"#,
            r#"simbdp_gateway_files_total{pipeline="flights",outcome="accepted"} 1"#,
            r#"simbdp_gateway_upload_bytes_total{pipeline="flights"} 12"#,
            "simbdp_gateway_staged_files 7",
            "simbdp_gateway_publish_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }
}
