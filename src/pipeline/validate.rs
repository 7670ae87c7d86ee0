//! Validate [pure]: an IngestPipeline within its Tenant's ceilings → [`ValidatedPipeline`], or what is
//! wrong and what would be right.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use simbdp_api::IngestPipeline;
use simbdp_api::common::{Quantity, QuantityError};
use simbdp_api::names::{NameError, PipelineName, TenantName};
use simbdp_api::pipeline::{
    BatchSpec, DEFAULT_MAX_FILE_SIZE, FileCount, Format, MAX_MESSAGE_SIZE, Period, ScalingSpec,
    ScheduleSpec, StreamSpec, TableSpec, WindowLengthError,
};
use simbdp_api::wire::config::{BatchConstraints, Mode, Schedule, StreamConstraints};
use simbdp_record::constraints::{PatternError, whole_match};
use simbdp_record::schedule::{ScheduleError, Windows};
use simbdp_record::schema::{RowSchema, SchemaError};

use self::app::{InvalidApp, ValidatedApp};
use crate::activation::decide::Bounds;
use crate::activation::workload;
use crate::objects::restarted_at;
use crate::tenant::validate::ValidatedCeilings;

pub mod app;

/// An IngestPipeline that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedPipeline {
    /// Name.
    pub name: PipelineName,
    /// Tenant in whose namespace it is.
    pub tenant: TenantName,
    /// Reference that makes the pipeline the owner of its ingest app.
    pub owner: OwnerReference,
    /// `metadata.generation`.
    pub generation: i64,
    /// Files or messages, within the ceilings.
    pub mode: Mode,
    /// The table.
    pub table: TableSpec,
    /// The tenant's own program; the built-in app when absent.
    pub app: Option<ValidatedApp>,
    /// Attempts at what fails for a reason of its own.
    pub max_attempts: u32,
    /// How many ingest apps run.
    pub bounds: Bounds,
    /// Why no ingest app is to run, and how that ends.
    pub paused: Option<&'static str>,
    /// When a person last asked for a restart of the ingest apps.
    pub restarted_at: Option<String>,
}

/// Why an IngestPipeline cannot be built. Nothing is altered then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// The name does not fit.
    #[error("{0}")]
    Name(#[from] NameError),
    /// Both or neither of batch and stream.
    #[error("exactly one of spec.batch and spec.stream must be set, {0}")]
    Mode(&'static str),
    /// A quantity does not parse.
    #[error("{field}: {source}")]
    Quantity {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// Wider than the platform allows.
    #[error("{field} is {declared}, but the tenant's ceiling is {ceiling}: {right}")]
    AboveCeiling {
        /// Path of the field.
        field: &'static str,
        /// What is declared.
        declared: String,
        /// What is allowed.
        ceiling: String,
        /// What would be right.
        right: String,
    },
    /// Larger than the gateway takes.
    #[error(
        "spec.stream.maxMessageSize is {0}, but a gateway takes messages of at most {limit}Mi: set {limit}Mi or less, or upload files",
        limit = MAX_MESSAGE_SIZE >> 20
    )]
    MessageTooLarge(String),
    /// Not a regular expression.
    #[error("spec.batch.constraints.namePattern: {0}")]
    NamePattern(#[from] PatternError),
    /// The windows cannot be kept.
    #[error("spec.batch.schedule: {0}")]
    Schedule(#[from] ScheduleError),
    /// A window's length.
    #[error("spec.batch.schedule.duration: {0}")]
    WindowLength(#[from] WindowLengthError),
    /// A fault in the table.
    #[error("spec.table: {0}")]
    Table(#[from] SchemaError),
    /// A fault in the tenant's own program.
    #[error("spec.{0}")]
    App(#[from] InvalidApp),
    /// A number of ingest apps that cannot be kept.
    #[error("spec.scaling.{field} is {declared}: {right}")]
    Scaling {
        /// The field.
        field: &'static str,
        /// What is declared.
        declared: u32,
        /// What would be right.
        right: String,
    },
}

impl Invalid {
    /// Reason of conditions, CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidName",
            Self::Mode(_) => "InvalidMode",
            Self::Quantity { .. } => "InvalidQuantity",
            Self::AboveCeiling { .. } => "AboveCeiling",
            Self::MessageTooLarge(_) => "MessageTooLarge",
            Self::NamePattern(_) => "InvalidNamePattern",
            Self::Schedule(_) | Self::WindowLength(_) => "InvalidSchedule",
            Self::Table(_) => "InvalidTable",
            Self::App(_) => "InvalidApp",
            Self::Scaling { .. } => "InvalidScaling",
        }
    }
}

/// Why a pipeline's ingest apps are stopped, and how that ends.
pub fn paused(pipeline: bool, tenant: bool) -> Option<&'static str> {
    match (pipeline, tenant) {
        (true, _) => Some("the pipeline is paused: set its spec.paused to false"),
        (false, true) => Some("the Tenant is paused: set its spec.paused to false"),
        (false, false) => None,
    }
}

/// Checks a pipeline of `tenant`, which may be paused, within its ceilings.
pub fn validate(
    pipeline: &IngestPipeline,
    tenant: &TenantName,
    tenant_paused: bool,
    ceilings: &ValidatedCeilings,
) -> Result<ValidatedPipeline, Invalid> {
    let spec = &pipeline.spec;
    let name = PipelineName::new(pipeline.metadata.name.clone().unwrap_or_default())?;
    let mode = match (&spec.batch, &spec.stream) {
        (Some(batch), None) => Mode::Batch(batch_constraints(batch, ceilings)?),
        (None, Some(stream)) => Mode::Stream(stream_constraints(stream)?),
        (Some(_), Some(_)) => return Err(Invalid::Mode("both are: remove one")),
        (None, None) => return Err(Invalid::Mode("none is: add one, for example `batch: {}`")),
    };
    // The very check of gateway and ingest apps, so that none of them refuses what this accepts.
    RowSchema::new(&spec.table)?;
    check_scaling(&spec.scaling)?;
    let max_attempts = spec.delivery.max_attempts;
    let app = spec.app.as_ref();
    Ok(ValidatedPipeline {
        name,
        tenant: tenant.clone(),
        owner: pipeline.controller_owner_ref(&()).unwrap_or_default(),
        generation: pipeline.metadata.generation.unwrap_or_default(),
        app: app
            .map(|app| app::validate(app, &mode, max_attempts))
            .transpose()?,
        max_attempts,
        mode,
        table: spec.table.clone(),
        bounds: workload::bounds(&spec.scaling, spec.batch.is_some()),
        paused: paused(spec.paused, tenant_paused),
        restarted_at: restarted_at(pipeline),
    })
}

fn check_scaling(scaling: &ScalingSpec) -> Result<(), Invalid> {
    let refuse = |field, declared, right| {
        Err(Invalid::Scaling {
            field,
            declared,
            right,
        })
    };
    let (min, max) = (scaling.min_replicas, scaling.max());
    if max < min.max(1) {
        return refuse(
            "maxReplicas",
            max.into(),
            format!("set {} or more, or lower minReplicas", min.max(1)),
        );
    }
    if scaling.target_backlog == Some(0) {
        return refuse("targetBacklog", 0, "set 1 or more".to_owned());
    }
    match scaling.cooldown_seconds < ScalingSpec::MIN_COOLDOWN_SECONDS {
        true => refuse(
            "cooldownSeconds",
            scaling.cooldown_seconds,
            format!("set {} or more", ScalingSpec::MIN_COOLDOWN_SECONDS),
        ),
        false => Ok(()),
    }
}

fn bytes(field: &'static str, quantity: &Quantity) -> Result<u64, Invalid> {
    quantity
        .bytes()
        .map_err(|source| Invalid::Quantity { field, source })
}

fn batch_constraints(
    batch: &BatchSpec,
    ceilings: &ValidatedCeilings,
) -> Result<BatchConstraints, Invalid> {
    let declared = &batch.constraints;
    let max_file_size = max_file_size(declared.max_file_size.as_ref(), ceilings.max_file_size)?;
    let ceiling = ceilings.formats.as_deref();
    if let Some(formats) = &declared.formats {
        check_formats(formats, ceiling)?;
    }
    let formats = declared.formats.as_deref().or(ceiling);
    if let (Some(count), Some(ceiling)) = (declared.max_files, ceilings.max_files) {
        check_count(count, ceiling)?;
    }
    if let Some(pattern) = &declared.name_pattern {
        whole_match(pattern)?;
    }
    Ok(BatchConstraints {
        formats: formats.map_or_else(Format::all, <[Format]>::to_vec),
        compression: declared.compression.clone(),
        max_file_size,
        max_files: declared.max_files,
        tenant_max_files: ceilings.max_files,
        name_pattern: declared.name_pattern.clone(),
        schedule: batch.schedule.as_ref().map(schedule).transpose()?,
    })
}

fn schedule(declared: &ScheduleSpec) -> Result<Schedule, Invalid> {
    let schedule = Schedule {
        cron: declared.cron.clone(),
        seconds: declared.duration.seconds()?,
    };
    // The gateway's own check, so that it refuses nothing that this accepts.
    Windows::new(&schedule)?;
    Ok(schedule)
}

/// What is declared, within the ceiling; what is not declared is the ceiling.
fn max_file_size(declared: Option<&Quantity>, ceiling: Option<u64>) -> Result<u64, Invalid> {
    const FIELD: &str = "spec.batch.constraints.maxFileSize";
    let Some(declared) = declared else {
        return Ok(ceiling.unwrap_or(DEFAULT_MAX_FILE_SIZE));
    };
    let asked = bytes(FIELD, declared)?;
    match ceiling {
        Some(ceiling) if asked > ceiling => Err(Invalid::AboveCeiling {
            field: FIELD,
            declared: declared.0.clone(),
            ceiling: format!("{ceiling} bytes"),
            right: format!("set {ceiling} or less, or leave it out"),
        }),
        _ => Ok(asked),
    }
}

fn check_formats(declared: &[Format], allowed: Option<&[Format]>) -> Result<(), Invalid> {
    let Some(allowed) = allowed else {
        return Ok(());
    };
    let show = |formats: &[Format]| {
        let names: Vec<String> = formats.iter().map(Format::to_string).collect();
        format!("[{}]", names.join(", "))
    };
    match declared.iter().find(|format| !allowed.contains(format)) {
        None => Ok(()),
        Some(format) => Err(Invalid::AboveCeiling {
            field: "spec.batch.constraints.formats",
            declared: show(declared),
            ceiling: show(allowed),
            right: format!("remove {format}"),
        }),
    }
}

/// Whether a number of files could exceed the ceiling in the longer of both periods.
fn check_count(declared: FileCount, ceiling: FileCount) -> Result<(), Invalid> {
    let most = match (declared.per, ceiling.per) {
        (Period::Day, Period::Hour) => u64::from(ceiling.count) * 24,
        _ => u64::from(ceiling.count),
    };
    let show = |count: FileCount| format!("{} per {:?}", count.count, count.per);
    match u64::from(declared.count) <= most {
        true => Ok(()),
        false => Err(Invalid::AboveCeiling {
            field: "spec.batch.constraints.maxFiles",
            declared: show(declared),
            ceiling: show(ceiling),
            right: format!("set {most} per {:?} or less", declared.per),
        }),
    }
}

fn stream_constraints(stream: &StreamSpec) -> Result<StreamConstraints, Invalid> {
    let max_message_size = bytes("spec.stream.maxMessageSize", &stream.max_message_size)?;
    match max_message_size <= MAX_MESSAGE_SIZE {
        true => Ok(StreamConstraints { max_message_size }),
        false => Err(Invalid::MessageTooLarge(stream.max_message_size.0.clone())),
    }
}

#[cfg(test)]
mod tests;
