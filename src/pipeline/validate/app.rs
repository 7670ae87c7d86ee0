//! Validate [pure]: the tenant's own program → [`ValidatedApp`], or what is wrong and what would be right.

use simbdp_api::app::{
    AppOutput, AppSpec, AppVariable, DEFAULT_FILE_TIMEOUT_SECONDS, DEFAULT_MESSAGE_TIMEOUT_SECONDS,
    MAX_ATTEMPT_SECONDS, is_own_variable,
};
use simbdp_api::common::{Quantity, QuantityError};
use simbdp_api::wire::config::{AppConfig, Mode};

const MIB: u64 = 1 << 20;
/// Memory of the program's container where nothing is said, and the least of it.
const REQUEST: u64 = 64 * MIB;
const LIMIT: u64 = 256 * MIB;
const LEAST: u64 = 16 * MIB;
/// Thousandths of a CPU where nothing is said.
const CPU: u64 = 100;

/// The tenant's own program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValidatedApp {
    /// Image.
    pub image: String,
    /// Program and all arguments.
    pub command: Vec<String>,
    /// Variables.
    pub env: Vec<AppVariable>,
    /// What its runner needs to know.
    pub config: AppConfig,
    /// Resources of its container.
    pub needs: Needs,
}

/// Resources of a container: bytes, and thousandths of a CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// CPU that is set aside.
    pub cpu: u64,
    /// Most CPU.
    pub cpu_limit: Option<u64>,
    /// Memory that is set aside.
    pub memory: u64,
    /// Most memory.
    pub memory_limit: u64,
}

/// Why the tenant's own program cannot be run.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidApp {
    /// The image has no name.
    #[error("app.image is empty: name an image, for example registry.example/team/app:1")]
    NoImage,
    /// There is no program.
    #[error("app.command is empty: name the program in the image, for example [python3, /app.py]")]
    NoCommand,
    /// A variable of the platform.
    #[error("app.env has `{0}`, which the platform itself sets: give it another name")]
    OwnVariable(String),
    /// A quantity does not parse.
    #[error("app.resources.{field}: {source}")]
    Quantity {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// More is set aside than may be used.
    #[error(
        "app.resources.requests.{what} is {request}, above its limit {limit}: lower the one or raise the other"
    )]
    RequestAboveLimit {
        /// CPU or memory.
        what: &'static str,
        /// What is set aside.
        request: String,
        /// What may be used.
        limit: String,
    },
    /// Nothing runs in so little.
    #[error("app.resources.limits.memory is {0}, in which nothing runs: set 16Mi or more")]
    TooLittleMemory(String),
    /// Attempts that take too long together.
    #[error(
        "app.timeoutSeconds ({timeout}) times delivery.maxAttempts ({attempts}) is above {MAX_ATTEMPT_SECONDS} (23 hours), after which a broker takes work back: lower one of them"
    )]
    TooLong {
        /// Seconds of an attempt.
        timeout: u32,
        /// Attempts.
        attempts: u32,
    },
}

/// Checks a program for files or messages that has so many attempts.
pub fn validate(app: &AppSpec, mode: &Mode, attempts: u32) -> Result<ValidatedApp, InvalidApp> {
    if app.image.trim().is_empty() {
        return Err(InvalidApp::NoImage);
    }
    if app.command.first().is_none_or(String::is_empty) {
        return Err(InvalidApp::NoCommand);
    }
    if let Some(variable) = app.env.iter().find(|one| is_own_variable(&one.name)) {
        return Err(InvalidApp::OwnVariable(variable.name.clone()));
    }
    let timeout = app.timeout_seconds.unwrap_or(match mode {
        Mode::Batch(_) => DEFAULT_FILE_TIMEOUT_SECONDS,
        Mode::Stream(_) => DEFAULT_MESSAGE_TIMEOUT_SECONDS,
    });
    if u64::from(timeout) * u64::from(attempts) > MAX_ATTEMPT_SECONDS {
        return Err(InvalidApp::TooLong { timeout, attempts });
    }
    Ok(ValidatedApp {
        image: app.image.clone(),
        command: app.command.iter().chain(&app.args).cloned().collect(),
        env: app.env.clone(),
        config: AppConfig {
            output: app.output,
            timeout_seconds: timeout,
        },
        needs: needs(app)?,
    })
}

impl ValidatedApp {
    /// Whether it gets the tenant's own login for the database.
    pub fn writes_itself(&self) -> bool {
        self.config.output == AppOutput::None
    }
}

fn needs(app: &AppSpec) -> Result<Needs, InvalidApp> {
    let (requests, limits) = (&app.resources.requests, &app.resources.limits);
    let memory_limit = bytes("limits.memory", limits.memory.as_ref())?;
    let memory = bytes("requests.memory", requests.memory.as_ref())?;
    let cpu_limit = millis("limits.cpu", limits.cpu.as_ref())?;
    let cpu = millis("requests.cpu", requests.cpu.as_ref())?;
    let least_limit = memory.unwrap_or_default().max(LIMIT);
    let needs = Needs {
        cpu: cpu.unwrap_or(cpu_limit.map_or(CPU, |limit| limit.min(CPU))),
        cpu_limit,
        memory: memory.unwrap_or(memory_limit.map_or(REQUEST, |limit| limit.min(REQUEST))),
        memory_limit: memory_limit.unwrap_or(least_limit),
    };
    if needs.memory_limit < LEAST {
        let limit = crate::objects::memory(needs.memory_limit).0;
        return Err(InvalidApp::TooLittleMemory(limit));
    }
    above(
        "memory",
        needs.memory,
        Some(needs.memory_limit),
        crate::objects::memory,
    )?;
    above("cpu", needs.cpu, needs.cpu_limit, crate::objects::cpu)?;
    Ok(needs)
}

type Written = k8s_openapi::apimachinery::pkg::api::resource::Quantity;

fn above(
    what: &'static str,
    request: u64,
    limit: Option<u64>,
    written: fn(u64) -> Written,
) -> Result<(), InvalidApp> {
    match limit {
        Some(limit) if request > limit => Err(InvalidApp::RequestAboveLimit {
            what,
            request: written(request).0,
            limit: written(limit).0,
        }),
        _ => Ok(()),
    }
}

fn bytes(field: &'static str, quantity: Option<&Quantity>) -> Result<Option<u64>, InvalidApp> {
    let parsed = quantity.map(Quantity::bytes).transpose();
    parsed.map_err(|source| InvalidApp::Quantity { field, source })
}

fn millis(field: &'static str, quantity: Option<&Quantity>) -> Result<Option<u64>, InvalidApp> {
    let parsed = quantity.map(Quantity::millis).transpose();
    parsed.map_err(|source| InvalidApp::Quantity { field, source })
}
