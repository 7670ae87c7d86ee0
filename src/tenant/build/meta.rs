//! Metadata [pure] of the objects in a tenant's namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use simbdp_api::labels;
use simbdp_api::names::{PipelineName, TenantName};

use crate::apply::MANAGED_BY;
use crate::context::Context;

/// What objects need to know of the operator that makes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Platform {
    /// Namespace of the operator and of Brokers' pods.
    pub namespace: String,
    /// ServiceAccount of the operator.
    pub service_account: String,
    /// Image with the four programs.
    pub image: String,
    /// Pull policy of that image.
    pub pull_policy: String,
    /// Version of the operator.
    pub version: String,
    /// Service of the operator.
    pub service: String,
    /// Certificate of the operator's authority; left as it is where it is not known.
    pub authority: Option<String>,
}

impl Platform {
    /// What the operator knows of itself.
    pub fn of(ctx: &Context) -> Self {
        Self {
            namespace: ctx.identity.namespace.clone(),
            service_account: ctx.identity.service_account.clone(),
            image: ctx.config.images.simbdp.clone(),
            pull_policy: ctx.config.image_pull_policy.as_str().to_owned(),
            version: ctx.version().to_owned(),
            service: ctx.identity.service.clone(),
            authority: ctx
                .authority
                .get()
                .map(|authority| authority.certificate().to_owned()),
        }
    }
}

/// Whom objects are made for.
#[derive(Clone, Debug)]
pub struct Owner {
    tenant: TenantName,
    pipeline: Option<PipelineName>,
    version: String,
}

impl Owner {
    /// Objects of a Tenant.
    pub fn tenant(tenant: &TenantName, platform: &Platform) -> Self {
        Self {
            tenant: tenant.clone(),
            pipeline: None,
            version: platform.version.clone(),
        }
    }

    /// Objects of an IngestPipeline of a Tenant.
    pub fn pipeline(tenant: &TenantName, pipeline: &PipelineName, platform: &Platform) -> Self {
        Self {
            pipeline: Some(pipeline.clone()),
            ..Self::tenant(tenant, platform)
        }
    }

    /// The tenant.
    pub fn name(&self) -> &TenantName {
        &self.tenant
    }

    /// Labels by which pods are selected; they never change.
    pub fn selector(&self, component: &str) -> BTreeMap<String, String> {
        let pipeline = self.pipeline.as_ref().map(PipelineName::as_str);
        let mut labels = BTreeMap::from([
            (labels::APP_NAME.to_owned(), "simbdp".to_owned()),
            (labels::APP_COMPONENT.to_owned(), component.to_owned()),
            (labels::TENANT.to_owned(), self.tenant.to_string()),
        ]);
        if let Some(pipeline) = pipeline {
            labels.insert(labels::PIPELINE.to_owned(), pipeline.to_owned());
        }
        labels
    }

    /// Every label of an object.
    pub fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let instance = match &self.pipeline {
            Some(pipeline) => pipeline.as_str(),
            None => self.tenant.as_str(),
        };
        let mut labels = self.selector(component);
        labels.extend([
            (labels::APP_INSTANCE.to_owned(), instance.to_owned()),
            (labels::APP_VERSION.to_owned(), self.version.clone()),
            (labels::APP_PART_OF.to_owned(), "simbdp".to_owned()),
            (labels::APP_MANAGED_BY.to_owned(), MANAGED_BY.to_owned()),
        ]);
        labels
    }

    /// Metadata of an object in the tenant's namespace.
    pub fn meta(&self, name: &str, component: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.tenant.namespace()),
            labels: Some(self.labels(component)),
            ..Default::default()
        }
    }
}

/// Pods with all of these labels.
pub fn pods(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}
