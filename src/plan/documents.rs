//! Documents [pure]: YAML or JSON as people write it → what is planned, in the order in which it depends on each other.

use serde::Deserialize;
use serde_json::Value;
use simbdp_api::{GROUP, VERSION};

/// A kind that can be planned.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Of the cluster.
    Broker,
    /// In a namespace.
    CoreDms,
    /// Of the cluster.
    Tenant,
    /// In a tenant's namespace.
    IngestPipeline,
    /// Anything else.
    Other,
}

impl Kind {
    /// Names of what can be planned.
    pub const NAMES: [&'static str; 4] = ["Broker", "CoreDms", "Tenant", "IngestPipeline"];

    fn of(api_version: &str, kind: &str) -> Self {
        let ours = [
            Self::Broker,
            Self::CoreDms,
            Self::Tenant,
            Self::IngestPipeline,
        ];
        let named = Self::NAMES.iter().position(|name| *name == kind);
        match named.and_then(|at| ours.get(at)) {
            Some(kind) if api_version == format!("{GROUP}/{VERSION}") => *kind,
            _ => Self::Other,
        }
    }

    fn namespaced(self) -> bool {
        matches!(self, Self::CoreDms | Self::IngestPipeline)
    }
}

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its kind.
    pub kind: Kind,
    /// Its kind as written.
    pub kind_name: String,
    /// Its namespace: as written, else the one that is the default.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it, with its namespace.
    pub body: Value,
}

/// A text that is no list of documents.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not YAML.
    #[error("document {number}: {source}")]
    Syntax {
        /// From 1.
        number: usize,
        /// Where and why.
        source: serde_yaml::Error,
    },
    /// Not an object of Kubernetes.
    #[error("document {number}: {field} is missing: write an object as for `kubectl apply`")]
    Missing {
        /// From 1.
        number: usize,
        /// What is missing.
        field: &'static str,
    },
}

/// Reads every document of a text; the items of a `List` count as documents. `namespace` is for those that name none.
pub fn parse(text: &str, namespace: &str) -> Result<Vec<Document>, DocumentError> {
    let mut documents = Vec::new();
    for (number, document) in (1..).zip(serde_yaml::Deserializer::from_str(text)) {
        let body = Value::deserialize(document)
            .map_err(|source| DocumentError::Syntax { number, source })?;
        match (&body["kind"], &body["items"]) {
            // Between two separators may be nothing but comments.
            _ if body.is_null() => {}
            (Value::String(kind), Value::Array(items)) if kind == "List" => {
                for item in items {
                    documents.push(document_of(item.clone(), number, namespace)?);
                }
            }
            _ => documents.push(document_of(body, number, namespace)?),
        }
    }
    Ok(documents)
}

fn document_of(mut body: Value, number: usize, namespace: &str) -> Result<Document, DocumentError> {
    let text = |pointer: &str, field| {
        let text = body.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or(DocumentError::Missing { number, field })
    };
    let api_version = text("/apiVersion", "apiVersion")?;
    let kind_name = text("/kind", "kind")?;
    let name = text("/metadata/name", "metadata.name")?;
    let written = text("/metadata/namespace", "").ok();
    let kind = Kind::of(&api_version, &kind_name);
    let namespace = match kind {
        Kind::Other => written,
        kind => kind
            .namespaced()
            .then(|| written.unwrap_or_else(|| namespace.to_owned())),
    };
    if let (Some(namespace), Some(metadata)) = (
        &namespace,
        body.get_mut("metadata").and_then(Value::as_object_mut),
    ) {
        metadata.insert("namespace".to_owned(), Value::from(namespace.clone()));
    }
    Ok(Document {
        kind,
        kind_name,
        namespace,
        name,
        body,
    })
}

/// What others refer to comes first.
pub fn in_order_of_apply(mut documents: Vec<Document>) -> Vec<Document> {
    documents.sort_by_key(|document| document.kind);
    documents
}

/// Who refers to others comes first.
pub fn in_order_of_deletion(mut documents: Vec<Document>) -> Vec<Document> {
    documents.sort_by_key(|document| std::cmp::Reverse(document.kind));
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVERAL: &str = "\
# Only a comment.
---
apiVersion: simbdp.dev/v1alpha1
kind: IngestPipeline
metadata: {name: planes}
---
apiVersion: v1
kind: List
items:
- {apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {name: acme, namespace: wrong}}
- {apiVersion: v1, kind: Namespace, metadata: {name: n}}
---
apiVersion: other.dev/v1
kind: Broker
metadata: {name: b}
";

    #[test]
    fn documents_are_read_with_their_namespaces_and_ordered_by_need() {
        let documents = parse(SEVERAL, "tenant-acme").unwrap();
        assert_eq!(documents[0].namespace.as_deref(), Some("tenant-acme"));
        assert_eq!(documents[0].body["metadata"]["namespace"], "tenant-acme");
        assert_eq!(documents[1].namespace, None);
        let kinds = |documents: &[Document]| documents.iter().map(|d| d.kind).collect::<Vec<_>>();
        assert_eq!(
            kinds(&in_order_of_apply(documents.clone())),
            [Kind::Tenant, Kind::IngestPipeline, Kind::Other, Kind::Other]
        );
        assert_eq!(
            kinds(&in_order_of_deletion(documents))[2..],
            [Kind::IngestPipeline, Kind::Tenant]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_the_number_of_the_document() {
        let error = |text| parse(text, "default").unwrap_err().to_string();
        assert!(error("a: [").starts_with("document 1: "));
        let unnamed =
            "{apiVersion: v1, kind: A, metadata: {name: n}}\n---\n{apiVersion: v1, kind: A}";
        assert!(error(unnamed).contains("document 2: metadata.name is missing"));
    }
}
