//! Prometheus metrics of the controllers, and the state of every custom resource.

use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::Failure;
use crate::requeue::Key;

/// A kind of custom resource.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Kind {
    kind: String,
}

/// An error of a reconcile.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Error {
    kind: String,
    class: &'static str,
    reason: &'static str,
}

/// A condition of an object.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Resource {
    kind: String,
    namespace: String,
    name: String,
    condition: String,
}

/// An IngestPipeline.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Pipeline {
    namespace: String,
    name: String,
}

/// A change of the number of ingest apps.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Scaling {
    direction: &'static str,
}

/// What came of a gateway's call.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Wake {
    outcome: &'static str,
}

/// What an IngestPipeline's status counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// Files or messages that wait.
    pub backlog: Option<i64>,
    /// Messages in the dead-letter queue.
    pub dead_letters: Option<i64>,
    /// Rows written.
    pub rows: Option<i64>,
    /// Rows and messages rejected.
    pub rejected: Option<i64>,
}

type Histograms = Family<Kind, Histogram, fn() -> Histogram>;

/// Every metric of the operator.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Kind, Counter>,
    errors: Family<Error, Counter>,
    durations: Histograms,
    conditions: Family<Resource, Gauge>,
    leading: Gauge,
    backlog: Family<Pipeline, Gauge>,
    dead_letters: Family<Pipeline, Gauge>,
    rows: Family<Pipeline, Gauge>,
    rejected: Family<Pipeline, Gauge>,
    scalings: Family<Scaling, Counter>,
    wakes: Family<Wake, Counter>,
    /// Series of each object, to be dropped with it.
    series: Mutex<Vec<Resource>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("simbdp_operator");
        let reconciles = Family::default();
        let errors = Family::default();
        let durations: Histograms =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.0, 14)));
        let conditions = Family::default();
        let leading = Gauge::default();
        let (backlog, rows, rejected) = (Family::default(), Family::default(), Family::default());
        let dead_letters = Family::default();
        registry.register("reconciles", "Reconciles that were run", reconciles.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that failed, by class (invalid, transient) and reason",
            errors.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "How long reconciles took",
            durations.clone(),
        );
        registry.register(
            "resource_condition",
            "Conditions of custom resources: 1 when True, 0 when not",
            conditions.clone(),
        );
        registry.register(
            "pipeline_backlog",
            "Files or messages of an IngestPipeline that wait in its queue",
            backlog.clone(),
        );
        registry.register(
            "pipeline_dead_letters",
            "Messages in the dead-letter queue of an IngestPipeline",
            dead_letters.clone(),
        );
        registry.register(
            "pipeline_rows",
            "Rows that an IngestPipeline has written",
            rows.clone(),
        );
        registry.register(
            "pipeline_rejected",
            "Rows or messages that an IngestPipeline has rejected",
            rejected.clone(),
        );
        let (scalings, wakes) = (Family::default(), Family::default());
        registry.register(
            "scalings",
            "Changes of the number of ingest apps by what waits, by direction (out, in)",
            scalings.clone(),
        );
        registry.register(
            "wakes",
            "Calls of gateways that publish after a pause, by outcome",
            wakes.clone(),
        );
        registry.register("leading", "1 while this process leads", leading.clone());
        Self {
            registry,
            reconciles,
            errors,
            durations,
            conditions,
            leading,
            backlog,
            dead_letters,
            rows,
            rejected,
            scalings,
            wakes,
            series: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Notes another number of ingest apps.
    pub fn scaled(&self, from: u16, to: u16) {
        let direction = if to > from { "out" } else { "in" };
        self.scalings.get_or_create(&Scaling { direction }).inc();
    }

    /// Notes a gateway's call.
    pub fn woken(&self, outcome: &'static str) {
        self.wakes.get_or_create(&Wake { outcome }).inc();
    }

    /// Notes a reconcile.
    pub fn reconciled(&self, kind: &str, took: Duration, failure: Option<&Failure>) {
        let label = Kind {
            kind: kind.to_owned(),
        };
        self.reconciles.get_or_create(&label).inc();
        self.durations
            .get_or_create(&label)
            .observe(took.as_secs_f64());
        if let Some(failure) = failure {
            let error = Error {
                kind: kind.to_owned(),
                class: failure.class.as_str(),
                reason: failure.reason,
            };
            self.errors.get_or_create(&error).inc();
        }
    }

    /// Notes the conditions of an object.
    pub fn state(&self, key: &Key, conditions: &[Condition]) {
        self.forget_conditions(key);
        let mut series = self
            .series
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for condition in conditions {
            let label = Resource {
                kind: key.kind.clone(),
                namespace: key.namespace.clone().unwrap_or_default(),
                name: key.name.clone(),
                condition: condition.type_.clone(),
            };
            let value = i64::from(condition.status == "True");
            self.conditions.get_or_create(&label).set(value);
            series.push(label);
        }
    }

    /// Notes what an IngestPipeline's status counts; what is unknown has no series.
    pub fn figures(&self, key: &Key, figures: Figures) {
        let label = pipeline(key);
        let families = [
            (&self.backlog, figures.backlog),
            (&self.dead_letters, figures.dead_letters),
            (&self.rows, figures.rows),
            (&self.rejected, figures.rejected),
        ];
        for (family, figure) in families {
            match figure {
                Some(figure) => drop(family.get_or_create(&label).set(figure)),
                None => drop(family.remove(&label)),
            }
        }
    }

    /// Drops everything about an object that is gone.
    pub fn forget(&self, key: &Key) {
        self.figures(key, Figures::default());
        self.forget_conditions(key);
    }

    fn forget_conditions(&self, key: &Key) {
        let mut series = self
            .series
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        series.retain(|label| {
            let other = label.kind != key.kind
                || label.name != key.name
                || label.namespace != key.namespace.as_deref().unwrap_or_default();
            if !other {
                self.conditions.remove(label);
            }
            other
        });
    }

    /// Notes whether this process leads.
    pub fn lead(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Every metric in OpenMetrics text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

fn pipeline(key: &Key) -> Pipeline {
    Pipeline {
        namespace: key.namespace.clone().unwrap_or_default(),
        name: key.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::{Facts, ready};
    use k8s_openapi::jiff::Timestamp;

    fn key() -> Key {
        Key {
            kind: "CoreDms".into(),
            namespace: Some("n".into()),
            name: "c".into(),
        }
    }

    #[test]
    fn an_object_s_conditions_come_and_go_with_it() {
        let metrics = Metrics::default();
        let conditions = Facts::replacing(ready("")).conditions(&[], None, Timestamp::UNIX_EPOCH);
        metrics.state(&key(), &conditions);
        let line = r#"simbdp_operator_resource_condition{kind="CoreDms",namespace="n",name="c",condition="Ready"} 1"#;
        assert!(metrics.encode().unwrap().contains(line));
        metrics.forget(&key());
        assert!(!metrics.encode().unwrap().contains("condition=\"Ready\""));
    }

    #[test]
    fn a_pipeline_s_figures_come_and_go_with_it() {
        let metrics = Metrics::default();
        let figures = Figures {
            backlog: Some(3),
            dead_letters: Some(2),
            rows: Some(70),
            rejected: None,
        };
        metrics.figures(&key(), figures);
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"simbdp_operator_pipeline_backlog{namespace="n",name="c"} 3"#));
        assert!(
            text.contains(r#"simbdp_operator_pipeline_dead_letters{namespace="n",name="c"} 2"#)
        );
        assert!(text.contains(r#"simbdp_operator_pipeline_rows{namespace="n",name="c"} 70"#));
        assert!(!text.contains("pipeline_rejected{"));
        metrics.forget(&key());
        assert!(!metrics.encode().unwrap().contains("pipeline_rows{"));
    }

    #[test]
    fn errors_are_counted_by_class_and_reason() {
        let metrics = Metrics::default();
        let failure = Failure {
            class: crate::error::Class::Transient,
            reason: "ReadFailed",
            message: String::new(),
        };
        metrics.reconciled("Tenant", Duration::from_millis(3), Some(&failure));
        let text = metrics.encode().unwrap();
        assert!(text.contains(
            r#"reconcile_errors_total{kind="Tenant",class="transient",reason="ReadFailed"} 1"#
        ));
        assert!(text.contains(r#"reconciles_total{kind="Tenant"} 1"#));
    }
}
