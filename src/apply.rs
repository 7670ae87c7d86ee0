//! Apply [IO]: desired objects → objects as the API server has them. Forced server-side apply by one
//! field manager per controller, and nothing is written when nothing would change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simbdp_api::labels;

use crate::error::{ApiError, Class, Classified};

mod compare;
mod secret;

pub use compare::contains;
pub use secret::{random_text, text};

/// On an applied object: digest of what was applied, so that a field that is no longer declared is noticed.
pub const APPLIED_DIGEST: &str = "simbdp.dev/applied-digest";
/// Value of `app.kubernetes.io/managed-by` on everything that the operator makes.
pub const MANAGED_BY: &str = "simbdp-operator";

/// An object that could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be read.
    #[error("cannot read {object}: {source}")]
    Read {
        /// Kind and name.
        object: String,
        /// Why.
        source: ApiError,
    },
    /// It cannot be written.
    #[error("cannot apply {object}: {source}")]
    Write {
        /// Kind and name.
        object: String,
        /// Why.
        source: ApiError,
    },
    /// It cannot be deleted.
    #[error("cannot delete {object}: {source}")]
    Delete {
        /// Kind and name.
        object: String,
        /// Why.
        source: ApiError,
    },
    /// Somebody else made an object of that name.
    #[error("{object} was not made by this operator: rename or delete it")]
    Foreign {
        /// Kind and name.
        object: String,
    },
    /// Another of this project's objects has an object of that name.
    #[error("{object} belongs to {owner}: give one of them another name")]
    Taken {
        /// Kind and name.
        object: String,
        /// Kind and name of whose it is.
        owner: String,
    },
    /// It is still being deleted, or is made anew because an immutable field changed.
    #[error("{object} is being replaced")]
    Replacing {
        /// Kind and name.
        object: String,
    },
    /// What the API server returned is not of that kind.
    #[error("cannot read {object} as it was returned: {source}")]
    Decode {
        /// Kind and name.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Classified for ApplyError {
    fn class(&self) -> Class {
        match self {
            Self::Write { source, .. } => source.class(),
            Self::Foreign { .. } | Self::Taken { .. } => Class::Invalid,
            Self::Read { .. }
            | Self::Delete { .. }
            | Self::Replacing { .. }
            | Self::Decode { .. } => Class::Transient,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Decode { .. } => "ReadFailed",
            Self::Write { .. } => "ApplyFailed",
            Self::Delete { .. } => "DeleteFailed",
            Self::Foreign { .. } | Self::Taken { .. } => "ObjectNotOurs",
            Self::Replacing { .. } => "Replacing",
        }
    }
}

/// Applies objects in the name of one controller.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    manager: &'static str,
}

/// A kind that can be applied: any of Kubernetes' or of this project's.
pub trait Appliable: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone {}
impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone> Appliable for K {}

impl Applier {
    /// For the controller whose field manager is `manager`.
    pub fn new(client: &Client, manager: &'static str) -> Self {
        Self {
            client: client.clone(),
            manager,
        }
    }

    /// Applies an object and returns it as the API server has it. Reads it first, and writes only a change.
    pub async fn apply<K: Appliable>(&self, desired: &K) -> Result<K, ApplyError> {
        let object = describe(desired);
        let live = self
            .read::<K>(desired.namespace().as_deref(), &desired.name_any())
            .await?;
        let (body, digest) = encode(desired).map_err(|source| ApplyError::Decode {
            object: object.clone(),
            source,
        })?;
        if let Some(live) = &live {
            check_ours(live, desired.meta(), &object)?;
            if unchanged(live, &body, &digest) {
                return decode(live, object);
            }
        }
        self.write::<K>(desired, &body, object).await
    }

    /// Like [`Self::apply`], where there is an object to apply.
    pub async fn apply_some<K: Appliable>(
        &self,
        desired: Option<&K>,
    ) -> Result<Option<K>, ApplyError> {
        match desired {
            Some(desired) => self.apply(desired).await.map(Some),
            None => Ok(None),
        }
    }

    /// Like [`Self::apply`]; when an immutable field changed, deletes the object without its dependents
    /// and says so, so that the next reconcile makes it anew around them.
    pub async fn apply_or_replace<K: Appliable>(&self, desired: &K) -> Result<K, ApplyError> {
        match self.apply(desired).await {
            Err(ApplyError::Write { object, source })
                if source.code() == Some(422) && source.to_string().contains("updates to") =>
            {
                let params = DeleteParams {
                    propagation_policy: Some(PropagationPolicy::Orphan),
                    ..Default::default()
                };
                self.delete_with::<K>(desired.namespace().as_deref(), &desired.name_any(), &params)
                    .await?;
                Err(ApplyError::Replacing { object })
            }
            other => other,
        }
    }

    /// An object by name.
    pub async fn get<K: Appliable>(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<K>, ApplyError> {
        let object = format!("{} {name}", K::kind(&()));
        self.read::<K>(namespace, name)
            .await?
            .map(|live| decode(&live, object))
            .transpose()
    }

    /// Objects with all labels of a selector, e.g. `a=b,c=d`.
    pub async fn list<K: Appliable>(
        &self,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<K>, ApplyError> {
        let object = format!("{} with {selector}", K::kind(&()));
        let listed = self
            .api::<K>(namespace)
            .list(&ListParams::default().labels(selector))
            .await
            .map_err(|error| ApplyError::Read {
                object: object.clone(),
                source: error.into(),
            })?;
        listed
            .items
            .iter()
            .map(|live| decode(live, object.clone()))
            .collect()
    }

    /// Deletes an object with its dependents; true when it is gone already.
    pub async fn delete<K: Appliable>(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<bool, ApplyError> {
        self.delete_with::<K>(namespace, name, &DeleteParams::background())
            .await
    }

    /// Deletes an object that has this owner; one of that name that has not stays. True when there is none.
    pub async fn delete_own<K: Appliable>(
        &self,
        namespace: Option<&str>,
        name: &str,
        owner: &impl Resource<DynamicType = ()>,
    ) -> Result<bool, ApplyError> {
        let own = |found: &K| {
            let mut owners = found.owner_references().iter();
            owners.any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
        };
        match self.get::<K>(namespace, name).await?.filter(own) {
            Some(_) => self.delete::<K>(namespace, name).await,
            None => Ok(true),
        }
    }

    /// Deletes an object unless it is another one by now.
    pub async fn delete_this<K: Appliable>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), ApplyError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..Default::default()
        };
        match self.delete_with::<K>(Some(namespace), name, &params).await {
            Err(ApplyError::Delete { source, .. }) if source.code() == Some(409) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sets an annotation of an object that somebody else made, or takes it away; not of another one of that name.
    pub async fn annotate<K: Appliable>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), ApplyError> {
        let patch = json!({"metadata": {"uid": uid, "annotations": {key: value}}});
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..Default::default()
        };
        self.api::<K>(Some(namespace))
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .map(drop)
            .map_err(|error| ApplyError::Write {
                object: format!("{} {name}", K::kind(&())),
                source: error.into(),
            })
    }

    /// Deletes what has the labels of a selector and is not to be kept; returns the names.
    pub async fn prune<K: Appliable>(
        &self,
        namespace: Option<&str>,
        selector: &str,
        keep: &[String],
    ) -> Result<Vec<String>, ApplyError> {
        let mut gone = Vec::new();
        for orphan in self.list::<K>(namespace, selector).await? {
            let name = orphan.name_any();
            if orphan.meta().deletion_timestamp.is_none() && !keep.contains(&name) {
                self.delete::<K>(namespace, &name).await?;
                gone.push(name);
            }
        }
        Ok(gone)
    }

    fn api<K: Appliable>(&self, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<K>(&());
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    async fn read<K: Appliable>(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        self.api::<K>(namespace)
            .get_opt(name)
            .await
            .map_err(|error| ApplyError::Read {
                object: format!("{} {name}", K::kind(&())),
                source: error.into(),
            })
    }

    async fn write<K: Appliable>(
        &self,
        desired: &K,
        body: &Value,
        object: String,
    ) -> Result<K, ApplyError> {
        let written = self
            .api::<K>(desired.namespace().as_deref())
            .patch(
                &desired.name_any(),
                &PatchParams::apply(self.manager).force(),
                &Patch::Apply(body),
            )
            .await
            .map_err(|error| ApplyError::Write {
                object: object.clone(),
                source: error.into(),
            })?;
        decode(&written, object)
    }

    async fn delete_with<K: Appliable>(
        &self,
        namespace: Option<&str>,
        name: &str,
        params: &DeleteParams,
    ) -> Result<bool, ApplyError> {
        match self
            .api::<K>(namespace)
            .delete(name, params)
            .await
            .map_err(ApiError)
        {
            Ok(_) => Ok(false),
            Err(error) if error.code() == Some(404) => Ok(true),
            Err(source) => Err(ApplyError::Delete {
                object: format!("{} {name}", K::kind(&())),
                source,
            }),
        }
    }
}

fn describe<K: Appliable>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
}

/// The body to apply, with the digest of itself as an annotation.
pub(crate) fn encode<K: Appliable>(desired: &K) -> Result<(Value, String), serde_json::Error> {
    let mut body = serde_json::to_value(desired)?;
    body["apiVersion"] = Value::from(K::api_version(&()).into_owned());
    body["kind"] = Value::from(K::kind(&()).into_owned());
    let digest = hex::encode(&Sha256::digest(body.to_string())[..16]);
    body["metadata"]["annotations"][APPLIED_DIGEST] = Value::from(digest.clone());
    Ok((body, digest))
}

fn decode<K: DeserializeOwned>(live: &DynamicObject, object: String) -> Result<K, ApplyError> {
    serde_json::to_value(live)
        .and_then(serde_json::from_value)
        .map_err(|source| ApplyError::Decode { object, source })
}

/// Whether an object is as it would be applied.
pub(crate) fn unchanged(live: &DynamicObject, body: &Value, digest: &str) -> bool {
    live.annotations().get(APPLIED_DIGEST).map(String::as_str) == Some(digest)
        && serde_json::to_value(live).is_ok_and(|live| contains(&live, body))
}

/// What is there may be taken over when the operator made it, and not for an owner that is gone.
pub(crate) fn check_ours(
    live: &DynamicObject,
    desired: &kube::core::ObjectMeta,
    object: &str,
) -> Result<(), ApplyError> {
    if live.metadata.deletion_timestamp.is_some() {
        return Err(ApplyError::Replacing {
            object: object.to_owned(),
        });
    }
    if live
        .labels()
        .get(labels::APP_MANAGED_BY)
        .map(String::as_str)
        != Some(MANAGED_BY)
    {
        return Err(ApplyError::Foreign {
            object: object.to_owned(),
        });
    }
    match (controller(&live.metadata), controller(desired)) {
        (Some(there), Some(wanted))
            if (&there.kind, &there.name) != (&wanted.kind, &wanted.name) =>
        {
            Err(ApplyError::Taken {
                object: object.to_owned(),
                owner: format!("{} `{}`", there.kind, there.name),
            })
        }
        // Of the one that was there before.
        (Some(there), Some(wanted)) if there.uid != wanted.uid => Err(ApplyError::Replacing {
            object: object.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn controller(meta: &kube::core::ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = meta.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests;
