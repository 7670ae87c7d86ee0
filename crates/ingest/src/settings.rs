//! What the operator gives an ingest app in mounted files, read once: a change rolls the pod.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use simbdp_api::mounts;
use simbdp_api::wire::config::PipelineConfig;
use simbdp_coredms::binding::{self, BindingError};
use simbdp_coredms::{Connection, Options};

use crate::args::RunArgs;

/// A mounted file that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A binding is not as it should be.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// It does not parse.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Everything but the broker's login, which is read at each connect.
pub struct Settings {
    /// The pipeline.
    pub config: PipelineConfig,
    /// The database and the platform's role in it.
    pub coredms: Connection,
    /// What its engine wants to know beside.
    pub coredms_options: Options,
    /// Keyspace of the ledger.
    pub ledger_keyspace: String,
    /// Binding directory of the broker.
    pub broker: PathBuf,
    /// Token for the gateway's internal API.
    pub internal_token: String,
}

impl Settings {
    /// Reads everything that `args` point to.
    pub fn read(args: &RunArgs) -> Result<Self, SettingsError> {
        let file = args.pipelines.join(args.pipeline.config_key());
        let config: PipelineConfig = json(&file)?;
        if config.pipeline != args.pipeline || config.tenant != args.tenant {
            return Err(SettingsError::Content {
                path: file,
                reason: format!(
                    "is of pipeline `{}` of tenant `{}`, this app is for `{}` of `{}`",
                    config.pipeline, config.tenant, args.pipeline, args.tenant
                ),
            });
        }
        let (coredms, coredms_options) =
            binding::read(&args.bindings.join(mounts::COREDMS_BINDING))?;
        Ok(Self {
            coredms,
            coredms_options,
            ledger_keyspace: args.tenant.platform_keyspace(),
            broker: args.bindings.join(mounts::BROKER_BINDING),
            internal_token: text(&args.internal.join("token"))?,
            config,
        })
    }
}

/// A file's text, without the line end that editors add.
fn text(path: &Path) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::Read {
        path: path.to_owned(),
        error,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    serde_json::from_str(&text(path)?).map_err(|error| SettingsError::Content {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// A file of YAML or JSON.
pub fn yaml<T: DeserializeOwned>(path: &Path) -> Result<T, SettingsError> {
    serde_yaml::from_str(&text(path)?).map_err(|error| SettingsError::Content {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
