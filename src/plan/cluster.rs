//! The API server as a plan asks it [IO]: it is read, and asked by dry runs; nothing is written. Of Secrets only the
//! metadata is read, so that no plan can show what is in them.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    ValidationDirective,
};
use kube::core::PartialObjectMeta;
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::Value;

use super::error::PlanError;

/// Asks and reads.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// With the rights of this client.
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
        }
    }

    /// The client, for what has an API of its own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn api(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// An object, if it is there; of a Secret its metadata alone.
    pub async fn get(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, PlanError> {
        let api = self.api(resource, namespace);
        let got = match secret(resource) {
            true => api.get_metadata_opt(name).await.map(|got| got.map(partly)),
            false => api.get_opt(name).await,
        };
        got.map_err(PlanError::reading(format!("{} {name}", resource.kind)))
    }

    /// Objects of a kind with all labels of a selector; of Secrets their metadata alone.
    pub async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<DynamicObject>, PlanError> {
        let api = self.api(resource, namespace);
        let params = ListParams::default().labels(selector);
        let listed = match secret(resource) {
            true => api
                .list_metadata(&params)
                .await
                .map(|listed| listed.items.into_iter().map(partly).collect()),
            false => api.list(&params).await.map(|listed| listed.items),
        };
        listed.map_err(PlanError::reading(format!("every {}", resource.kind)))
    }

    /// What a forced server-side apply would make of an object.
    pub async fn would_apply(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        body: &Value,
        manager: &str,
    ) -> Result<DynamicObject, kube::Error> {
        let params = PatchParams {
            force: true,
            ..asking(manager)
        };
        self.patch(resource, namespace, name, &params, &Patch::Apply(body))
            .await
    }

    /// What a merge patch would make of an object.
    pub async fn would_merge(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
        manager: &str,
    ) -> Result<DynamicObject, kube::Error> {
        self.patch(
            resource,
            namespace,
            name,
            &asking(manager),
            &Patch::Merge(patch),
        )
        .await
    }

    async fn patch<P: Serialize + std::fmt::Debug>(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<DynamicObject, kube::Error> {
        let api = self.api(resource, namespace);
        api.patch(name, params, patch).await
    }

    /// What a creation would make.
    pub async fn would_create(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        object: &DynamicObject,
    ) -> Result<DynamicObject, kube::Error> {
        let params = PostParams {
            dry_run: true,
            field_manager: Some("kubectl".to_owned()),
        };
        self.api(resource, namespace).create(&params, object).await
    }

    /// Whether a deletion would be taken.
    pub async fn would_delete(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<(), kube::Error> {
        let params = DeleteParams {
            dry_run: true,
            ..Default::default()
        };
        let api = self.api(resource, namespace);
        api.delete(name, &params).await.map(drop)
    }
}

fn asking(manager: &str) -> PatchParams {
    PatchParams {
        dry_run: true,
        field_manager: Some(manager.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
        ..Default::default()
    }
}

fn secret(resource: &ApiResource) -> bool {
    resource.kind == Secret::kind(&()) && resource.group.is_empty()
}

fn partly(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject {
        types: object.types,
        metadata: object.metadata,
        data: Value::Null,
    }
}
