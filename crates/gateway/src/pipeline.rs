//! A pipeline, prepared: what its records and files are checked with.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use simbdp_api::wire::config::{Mode, PipelineConfig};
use simbdp_api::wire::rest::{Fault, PipelineConstraints};
use simbdp_record::schedule::Windows;
use simbdp_record::{FileRules, RowSchema, message};

/// A pipeline and what was prepared for it.
#[derive(Debug)]
pub struct Pipeline {
    /// The configuration as the operator wrote it.
    pub config: PipelineConfig,
    /// Name, shared.
    pub name: Arc<str>,
    /// How records become rows.
    pub schema: RowSchema,
    /// What files conform to; [`None`] for a stream.
    pub rules: Option<FileRules>,
    /// When files are queued; [`None`] for at any time.
    pub windows: Option<Windows>,
}

impl Pipeline {
    /// Prepares a configuration, or says why it cannot be used.
    pub fn prepare(config: PipelineConfig) -> Result<Self, String> {
        let schema = RowSchema::new(&config.table).map_err(|error| error.to_string())?;
        let rules = match &config.mode {
            Mode::Batch(constraints) => {
                Some(FileRules::new(constraints).map_err(|error| error.to_string())?)
            }
            Mode::Stream(_) => None,
        };
        let schedule = match &config.mode {
            Mode::Batch(constraints) => constraints.schedule.as_ref(),
            Mode::Stream(_) => None,
        };
        let windows = schedule.map(Windows::new).transpose();
        let windows = windows.map_err(|error| error.to_string())?;
        Ok(Self {
            name: config.pipeline.as_str().into(),
            schema,
            rules,
            windows,
            config,
        })
    }

    /// Faults of a message; none when it conforms. `record` is its index in the request.
    pub fn faults(&self, record: u64, body: &[u8]) -> Vec<Fault> {
        // What the fields of a message are is the business of the tenant's own program, where there is one.
        let judged = match self.config.app {
            None => message::validate(&self.schema, body),
            Some(_) => message::validate_object(body).map_err(|fault| vec![fault]),
        };
        judged
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| Fault {
                record: Some(record),
                column: fault.column,
                reason: fault.reason,
            })
            .collect()
    }

    /// Until when staged files wait for a window, where they do now. While the pipeline is deleted none waits: its
    /// backlog is what is waited for.
    pub fn held_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.config.closed {
            Some(_) => None,
            None => self.windows.as_ref()?.held_until(now),
        }
    }

    /// What a client is told of it.
    pub fn constraints(&self) -> PipelineConstraints {
        let (batch, stream) = match &self.config.mode {
            Mode::Batch(batch) => (Some(batch.clone()), None),
            Mode::Stream(stream) => (None, Some(stream.clone())),
        };
        PipelineConstraints {
            pipeline: self.config.pipeline.to_string(),
            table: self.config.table.name.clone(),
            batch,
            stream,
            fields: match self.config.app {
                None => self.schema.fields(),
                Some(_) => Vec::new(),
            },
        }
    }
}
