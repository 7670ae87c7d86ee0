//! The operator's configuration file: read once, at start, into validated values.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use simbdp_api::BrokerSpec;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration {path} is not valid")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_yaml::Error,
    },
    /// A value does not fit.
    #[error("the configuration: {field} {problem}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// What the operator is told by whoever installs it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where images come from.
    pub images: Images,
    /// Pull policy of every image.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// The Broker that is created when none is marked default.
    #[serde(default)]
    pub default_broker: Option<DefaultBroker>,
}

/// Where images come from.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Repository of Cassandra's official image; the tag is the version in the CoreDms.
    pub cassandra: String,
    /// Repository of RabbitMQ's official image; the tag is the version in the Broker, with `-management`.
    pub rabbitmq: String,
    /// This project's own image, with its tag.
    pub simbdp: String,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When it is not there.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The Broker that is created when none is marked default.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct DefaultBroker {
    /// Its name.
    pub name: String,
    /// What is declared of it.
    pub spec: BrokerSpec,
}

impl Config {
    /// Reads and validates a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = serde_yaml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source,
        })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let repositories = [
            ("images.cassandra", &self.images.cassandra),
            ("images.rabbitmq", &self.images.rabbitmq),
        ];
        for (field, repository) in repositories {
            let last = repository.rsplit('/').next().unwrap_or_default();
            if last.is_empty() || last.contains([':', '@']) {
                return Err(ConfigError::Value {
                    field,
                    problem: format!(
                        "is `{repository}`: write a repository without a tag, which comes from spec.version"
                    ),
                });
            }
        }
        if self.images.simbdp.is_empty() {
            return Err(ConfigError::Value {
                field: "images.simbdp",
                problem: "is empty: write the image of this operator with its tag".to_owned(),
            });
        }
        match &self.default_broker {
            Some(broker) if !broker.spec.default => Err(ConfigError::Value {
                field: "defaultBroker.spec.default",
                problem: "is false: the default Broker has to be marked so".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::read(file.path())
    }

    const IMAGES: &str =
        "images: {cassandra: r/cassandra, rabbitmq: 'r:5000/rabbitmq', simbdp: 'r/simbdp:1'}\n";

    #[test]
    fn the_least_file_has_images_alone() {
        let config = read(IMAGES).unwrap();
        assert_eq!(config.image_pull_policy, PullPolicy::IfNotPresent);
        assert_eq!(config.default_broker, None);
    }

    #[test]
    fn a_default_broker_takes_the_api_s_own_defaults() {
        let config = read(&format!(
            "{IMAGES}defaultBroker: {{name: default, spec: {{default: true, storage: {{size: 1Gi}}}}}}"
        ))
        .unwrap();
        assert_eq!(config.default_broker.unwrap().spec.version, "4.0");
    }

    #[test]
    fn an_unknown_field_a_tag_and_an_unmarked_default_are_refused_by_name() {
        let unknown = read(&format!("{IMAGES}imagePulPolicy: Never")).unwrap_err();
        assert!(format!("{:#}", anyhow::Error::from(unknown)).contains("imagePulPolicy"));
        let tagged = IMAGES.replace("r/cassandra", "r/cassandra:5.0");
        assert!(
            read(&tagged)
                .unwrap_err()
                .to_string()
                .contains("images.cassandra")
        );
        let unmarked =
            format!("{IMAGES}defaultBroker: {{name: d, spec: {{storage: {{size: 1Gi}}}}}}");
        assert!(
            read(&unmarked)
                .unwrap_err()
                .to_string()
                .contains("defaultBroker.spec.default")
        );
    }
}
