//! The operator's configuration file: read once, at start, into validated values.

use std::path::{Path, PathBuf};

use k8s_openapi::jiff::SignedDuration;
use serde::Deserialize;
use simbdp_api::common::{Engine, Profile, Resources, StorageSpec};
use simbdp_api::{BrokerSpec, CoreDmsSpec};

use crate::coredms::validate::{member_needs, replicas};

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
    /// Shared CoreDms that are created when every one there is full.
    #[serde(default)]
    pub shared_coredms: SharedCoreDms,
    /// Checks of how tenants are kept apart; none when absent.
    #[serde(default)]
    pub isolation_check: Option<IsolationCheck>,
}

/// How often it is checked that tenants are kept apart.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IsolationCheck {
    /// Hours between two checks of a tenant.
    pub every_hours: u16,
}

impl IsolationCheck {
    /// Time between two checks of a tenant.
    pub fn every(&self) -> SignedDuration {
        SignedDuration::from_hours(self.every_hours.into())
    }
}

/// What a shared CoreDms is like that the operator creates, by engine; none is created where there is none.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedCoreDms {
    /// Of Cassandra.
    #[serde(default)]
    pub cassandra: Option<SharedTemplate>,
    /// Of MongoDB.
    #[serde(default)]
    pub mongodb: Option<SharedTemplate>,
}

impl SharedCoreDms {
    /// What one of an engine is like.
    pub fn template(&self, engine: Engine) -> Option<&SharedTemplate> {
        match engine {
            Engine::Cassandra => self.cassandra.as_ref(),
            Engine::MongoDB => self.mongodb.as_ref(),
        }
    }
}

/// What a shared CoreDms is like that the operator creates.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SharedTemplate {
    /// Most tenants that share it.
    pub max_tenants: u16,
    /// Version of the engine.
    #[serde(default)]
    pub version: Option<String>,
    /// Members.
    #[serde(default)]
    pub replicas: Option<u16>,
    /// Volume of each member.
    pub storage: StorageSpec,
    /// Resources of each member.
    #[serde(default)]
    pub resources: Option<Resources>,
    /// How it is run.
    #[serde(default)]
    pub profile: Option<Profile>,
}

impl SharedTemplate {
    /// What is declared of such a CoreDms.
    pub fn spec(&self, engine: Engine) -> CoreDmsSpec {
        let usual = CoreDmsSpec::managed(engine, self.storage.clone());
        CoreDmsSpec {
            max_tenants: Some(self.max_tenants),
            version: self.version.clone().or(usual.version),
            replicas: self.replicas.or(usual.replicas),
            resources: self.resources.clone(),
            profile: self.profile.or(usual.profile),
            ..usual
        }
    }

    fn validate(&self, field: &'static str, engine: Engine) -> Result<(), ConfigError> {
        let refused = |problem| ConfigError::Value { field, problem };
        if !(1..=256).contains(&self.max_tenants) {
            return Err(refused("has maxTenants below 1 or above 256".to_owned()));
        }
        let spec = self.spec(engine);
        replicas(&spec)
            .and_then(|_| member_needs(&spec))
            .map(drop)
            .map_err(|invalid| refused(format!("cannot be run: {invalid}")))
    }
}

/// Where images come from.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Repository of Cassandra's official image; the tag is the version in the CoreDms.
    pub cassandra: String,
    /// Repository of MongoDB's official image, likewise.
    pub mongodb: String,
    /// Repository of RabbitMQ's official image; the tag is the version in the Broker, with `-management`.
    pub rabbitmq: String,
    /// Repository of Kafka's official image; the tag is the version in the Broker.
    #[serde(default = "default_kafka")]
    pub kafka: String,
    /// This project's own image, with its tag.
    pub simbdp: String,
}

fn default_kafka() -> String {
    "docker.io/apache/kafka".to_owned()
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
            ("images.mongodb", &self.images.mongodb),
            ("images.rabbitmq", &self.images.rabbitmq),
            ("images.kafka", &self.images.kafka),
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
        for (field, engine) in [
            ("sharedCoredms.cassandra", Engine::Cassandra),
            ("sharedCoredms.mongodb", Engine::MongoDB),
        ] {
            if let Some(template) = self.shared_coredms.template(engine) {
                template.validate(field, engine)?;
            }
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

    const IMAGES: &str = "images: {cassandra: r/cassandra, mongodb: r/mongo, rabbitmq: 'r:5000/rabbitmq', simbdp: 'r/simbdp:1'}\n";

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
        assert_eq!(config.default_broker.unwrap().spec.version(), "4.0");
    }

    #[test]
    fn a_template_of_shared_databases_is_one_that_can_be_run() {
        let template = |fields: &str| {
            let template = format!("{{storage: {{size: 1Gi}}, {fields}}}");
            let text = format!("{IMAGES}sharedCoredms: {{cassandra: {template}}}");
            read(&text).map(|config| config.shared_coredms.cassandra.unwrap())
        };
        let spec = template("maxTenants: 10").unwrap().spec(Engine::Cassandra);
        assert_eq!((spec.max_tenants, spec.replicas()), (Some(10), 3));
        let small = "maxTenants: 1, resources: {limits: {memory: 1Mi}}";
        for (fields, problem) in [("maxTenants: 300", "maxTenants"), (small, "too little")] {
            let error = template(fields).unwrap_err().to_string();
            assert!(error.contains("sharedCoredms.cassandra"), "{error}");
            assert!(error.contains(problem), "{error}");
        }
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
