//! A pipeline, prepared: what its records and files are checked with.

use std::sync::Arc;

use simbdp_api::wire::config::{Mode, PipelineConfig};
use simbdp_api::wire::rest::{Fault, PipelineConstraints};
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
        Ok(Self {
            name: config.pipeline.as_str().into(),
            schema,
            rules,
            config,
        })
    }

    /// Faults of a message; none when it conforms. `record` is its index in the request.
    pub fn faults(&self, record: u64, body: &[u8]) -> Vec<Fault> {
        let faults = message::validate(&self.schema, body)
            .err()
            .unwrap_or_default();
        faults
            .into_iter()
            .map(|fault| Fault {
                record: Some(record),
                column: fault.column,
                reason: fault.reason,
            })
            .collect()
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
            fields: self.schema.fields(),
        }
    }
}
