//! What a plan is made in: objects that are there, and those that documents before would have made.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use simbdp_api::names::TenantName;
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant};

use super::cluster::Cluster;
use super::documents::{Document, Kind};
use super::error::PlanError;
use super::platform::Platform;
use super::report::{Action, Section};
use crate::controller_runtime::Managed;
use crate::triggers::MANAGED;

/// Kind, namespace and name of an object.
pub type Key = (String, Option<String>, String);

/// What a plan is made in.
pub struct Scene<'a> {
    /// The API server.
    pub cluster: Cluster,
    /// The operator.
    pub platform: &'a Platform,
    /// Every Tenant, also those that are planned.
    pub tenants: Vec<Tenant>,
    /// Every Broker, also those that are planned.
    pub brokers: Vec<Broker>,
    /// Every CoreDms of the operator's namespace, also those that are planned.
    pub shared: Vec<CoreDms>,
    /// Pipelines that are planned.
    pub pipelines: Vec<IngestPipeline>,
    /// Tenants that are planned to go, and whether what they have is kept.
    pub leaving: BTreeMap<String, bool>,
    /// Objects of the documents themselves.
    documents: BTreeSet<Key>,
    /// Those that were looked at.
    begun: BTreeSet<Key>,
    /// Namespaces of tenants that are planned, and not there.
    coming: BTreeSet<String>,
    /// What makes which object.
    makers: BTreeMap<Key, String>,
}

impl<'a> Scene<'a> {
    /// Looks at what is there.
    pub async fn new(
        client: &Client,
        platform: &'a Platform,
        documents: &[Document],
    ) -> Result<Self, PlanError> {
        let mut scene = Self {
            cluster: Cluster::new(client),
            platform,
            tenants: every(client, None, "the Tenants").await?,
            brokers: every(client, None, "the Brokers").await?,
            shared: every(client, Some(&platform.namespace), "the shared CoreDms").await?,
            pipelines: Vec::new(),
            leaving: BTreeMap::new(),
            documents: documents.iter().map(key).collect(),
            begun: BTreeSet::new(),
            coming: BTreeSet::new(),
            makers: BTreeMap::new(),
        };
        let tenants = documents.iter().filter(|one| one.kind == Kind::Tenant);
        for name in tenants.filter_map(|one| TenantName::new(one.name.clone()).ok()) {
            if scene.namespace(&name.namespace()).await?.is_none() {
                scene.coming.insert(name.namespace());
            }
        }
        Ok(scene)
    }

    /// Begins with a document. False, and refused, where its object is declared by another one as well, or is made for one.
    pub fn begin(&mut self, document: &Document, section: &mut Section) -> bool {
        let key = key(document);
        if !self.begun.insert(key.clone()) {
            section.action = Action::Refuse;
            section.refuse(
                "DeclaredTwice",
                "another document declares the same object: leave one of them out",
            );
            return false;
        }
        let own = format!("{} {}", document.kind_name, document.name);
        self.made_by(key, &own);
        true
    }

    /// Whether a namespace is planned, and not there.
    pub fn is_coming(&self, namespace: &str) -> bool {
        self.coming.contains(namespace)
    }

    /// Whether an object is one of the documents.
    pub fn is_document(&self, kind: &str, namespace: Option<&str>, name: &str) -> bool {
        let key = (
            kind.to_owned(),
            namespace.map(str::to_owned),
            name.to_owned(),
        );
        self.documents.contains(&key)
    }

    /// A namespace, if it is there.
    pub async fn namespace(&self, name: &str) -> Result<Option<Namespace>, PlanError> {
        let api: Api<Namespace> = Api::all(self.cluster.client().clone());
        api.get_opt(name)
            .await
            .map_err(PlanError::reading(format!("namespace {name}")))
    }

    /// Every namespace of a tenant's, retained ones as well.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>, PlanError> {
        let api: Api<Namespace> = Api::all(self.cluster.client().clone());
        let listed = api.list(&ListParams::default().labels(MANAGED)).await;
        Ok(listed
            .map_err(PlanError::reading("the tenants' namespaces"))?
            .items)
    }

    /// A CoreDms, if it is there.
    pub async fn coredms(&self, namespace: &str, name: &str) -> Result<Option<CoreDms>, PlanError> {
        let api: Api<CoreDms> = Api::namespaced(self.cluster.client().clone(), namespace);
        api.get_opt(name)
            .await
            .map_err(PlanError::reading(format!("CoreDms {namespace}/{name}")))
    }

    /// Whether a Tenant is planned to go with all that it has.
    pub fn goes(&self, tenant: &str) -> bool {
        self.leaving.get(tenant) == Some(&false)
    }

    /// Pipelines of a namespace that are there.
    pub async fn pipelines_of(&self, namespace: &str) -> Result<Vec<IngestPipeline>, PlanError> {
        every(
            self.cluster.client(),
            Some(namespace),
            "the IngestPipelines",
        )
        .await
    }

    /// Puts on record who makes an object; returns who else does.
    pub fn made_by(&mut self, object: Key, maker: &str) -> Option<String> {
        let other = self.makers.get(&object).filter(|other| *other != maker);
        let other = other.cloned();
        self.makers
            .entry(object)
            .or_insert_with(|| maker.to_owned());
        other
    }
}

fn key(document: &Document) -> Key {
    (
        document.kind_name.clone(),
        document.namespace.clone(),
        document.name.clone(),
    )
}

async fn every<K: Managed>(
    client: &Client,
    namespace: Option<&str>,
    what: &str,
) -> Result<Vec<K>, PlanError> {
    let listed = K::api(client, namespace).list(&ListParams::default()).await;
    Ok(listed.map_err(PlanError::reading(what))?.items)
}

/// Puts an object in the place of the one of its name, or beside the others.
pub fn put<K: ResourceExt>(all: &mut Vec<K>, object: K) {
    let same = |other: &K| {
        other.name_any() == object.name_any() && other.namespace() == object.namespace()
    };
    all.retain(|other| !same(other));
    all.push(object);
}
