//! Parts that several custom resources share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use kube_quantity::ParsedQuantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A Kubernetes quantity, e.g. `500m`, `2`, `10Gi`; whole and positive where bytes are meant.
/// <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// A quantity that does not parse, or is not a whole positive number of bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a positive quantity; write for example 512Mi, 10Gi or 1000000")]
pub struct QuantityError(pub String);

impl Quantity {
    /// The quantity in bytes, rounded up.
    pub fn bytes(&self) -> Result<u64, QuantityError> {
        let parsed =
            ParsedQuantity::try_from(self.0.as_str()).map_err(|_| QuantityError(self.0.clone()))?;
        match parsed.to_bytes_f64() {
            Some(bytes) if bytes >= 1.0 => Ok(bytes.ceil() as u64),
            _ => Err(QuantityError(self.0.clone())),
        }
    }

    /// The same quantity as the API server writes it: the largest unit of its kind that needs no
    /// fraction. What does not parse stays as it is.
    pub fn canonical(&self) -> Self {
        const BINARY: [(&str, u64); 4] = [
            ("Ti", 1 << 40),
            ("Gi", 1 << 30),
            ("Mi", 1 << 20),
            ("Ki", 1 << 10),
        ];
        const DECIMAL: [(&str, u64); 6] = [
            ("T", 1_000_000_000_000_000),
            ("G", 1_000_000_000_000),
            ("M", 1_000_000_000),
            ("k", 1_000_000),
            ("", 1_000),
            ("m", 1),
        ];
        let (units, whole) = match self.0.ends_with('i') {
            true => (&BINARY[..], self.bytes()),
            false => (&DECIMAL[..], self.millis()),
        };
        let Ok(whole) = whole else {
            return self.clone();
        };
        units
            .iter()
            .find(|(_, unit)| whole >= *unit && whole.is_multiple_of(*unit))
            .map_or_else(
                || Self(whole.to_string()),
                |(suffix, unit)| Self(format!("{}{suffix}", whole / unit)),
            )
    }

    /// The quantity in thousandths, rounded up, as CPU is counted.
    pub fn millis(&self) -> Result<u64, QuantityError> {
        let parsed =
            ParsedQuantity::try_from(self.0.as_str()).map_err(|_| QuantityError(self.0.clone()))?;
        match parsed.to_bytes_f64() {
            // A product of floats may lie a hair above the whole number that is meant.
            Some(whole) if whole > 0.0 => Ok((whole * 1000.0 - 1e-6).ceil() as u64),
            _ => Err(QuantityError(self.0.clone())),
        }
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 24,
            "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$",
        })
    }
}

/// The engine of a coredms.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Engine {
    /// Apache Cassandra.
    #[default]
    Cassandra,
    /// MongoDB, as a replica set.
    MongoDB,
}

impl Engine {
    /// Version that is run when none is asked.
    pub fn default_version(self) -> &'static str {
        match self {
            Self::Cassandra => "5.0",
            Self::MongoDB => "8.0",
        }
    }
}

/// How servers are run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Profile {
    /// Small memory, fast start, replicas may share a node. Loses acknowledged writes when all replicas die at once.
    Development,
    /// The engine's own safe delays, group commit, replicas on distinct nodes.
    #[default]
    Production,
}

/// TLS to servers that the operator does not run.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Certificates, in PEM, of the authorities that the servers' certificates may be of; those that web browsers
    /// trust when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub trust_bundle: Option<String>,
}

/// A volume per replica.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// Size of each replica's volume.
    pub size: Quantity,
    /// StorageClass of the volumes; the cluster's default one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// CPU cores, e.g. `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory in bytes, e.g. `4Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// Resources of a container. Heap and caches are derived from the memory limit.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for the container.
    #[serde(default)]
    pub requests: ResourceList,
    /// What the container may use at most.
    #[serde(default)]
    pub limits: ResourceList,
}

/// A name of something else, in the same or in no namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A name of something in a namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ObjectRef {
    /// Namespace of the object.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// Conditions of an object, one of each type.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
pub struct Conditions {
    /// The latest observations of the object's state.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
