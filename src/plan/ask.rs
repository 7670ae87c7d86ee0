//! Asks the API server [IO] what applying a document would make of its object, so that schema, rules and admission
//! answer in their own words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::difference::{LAST_APPLIED, declared, differences, three_way};
use super::documents::Document;
use super::error::PlanError;
use super::report::{Action, Change, Section};
use super::scene::Scene;
use crate::apply::Appliable;
use crate::error::ApiError;

/// Who applies what nobody has applied yet.
const MANAGER: &str = "kubectl";
/// Who applies what `kubectl apply` has applied without the server's help.
const CLIENT_SIDE: &str = "kubectl-client-side-apply";

/// An object as it is and as it would be.
pub struct Asked<K> {
    /// As it is; [`None`] while it is not there.
    pub live: Option<K>,
    /// As it would be, with defaults and the status of what is there.
    pub wanted: K,
}

/// Asks, and tells what becomes of the object itself; [`None`] where it is refused.
pub async fn ask<K: Appliable>(
    scene: &Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<Option<Asked<K>>, PlanError> {
    let resource = ApiResource::erase::<K>(&());
    let namespace = document.namespace.as_deref();
    let live = scene
        .cluster
        .get(&resource, namespace, &document.name)
        .await?;
    let answer = match &live {
        None => would_create(scene, document, &resource, section).await,
        Some(live) => would_change(scene, document, &resource, live).await,
    };
    let wanted = match answer {
        Ok(wanted) => wanted,
        Err(error) if refuses(&error) => {
            section.refuse_at_once(ApiError(error).to_string());
            return Ok(None);
        }
        Err(error) => return Err(PlanError::asking(label(document))(error)),
    };
    match &live {
        None => {
            section.action = Action::Create;
            section.create.push(section.item());
        }
        Some(live) => tell_changes(live, &wanted, document, section)?,
    }
    let typed = |object: &DynamicObject| typed::<K>(object, document);
    Ok(Some(Asked {
        wanted: typed(&wanted)?,
        live: live.as_ref().map(typed).transpose()?,
    }))
}

/// In a namespace that another document would make, the object is asked about in the operator's: schema and rules are the
/// same everywhere.
async fn would_create(
    scene: &Scene<'_>,
    document: &Document,
    resource: &ApiResource,
    section: &mut Section,
) -> Result<DynamicObject, kube::Error> {
    let (cluster, name) = (&scene.cluster, document.name.as_str());
    let namespace = document.namespace.as_deref();
    let Some(coming) = namespace.filter(|namespace| scene.is_coming(namespace)) else {
        return cluster
            .would_apply(resource, namespace, name, &document.body, MANAGER)
            .await;
    };
    let elsewhere = scene.platform.namespace.as_str();
    section.note(format!(
        "namespace {coming} is not there yet: the API server was asked in namespace {elsewhere}"
    ));
    let mut body = document.body.clone();
    body["metadata"]["namespace"] = json!(elsewhere);
    let object = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
    let mut made = cluster
        .would_create(resource, Some(elsewhere), &object)
        .await?;
    made.metadata.namespace = Some(coming.to_owned());
    Ok(made)
}

/// An object is changed the way it was applied before: by the server, or as `kubectl apply` does without its help.
async fn would_change(
    scene: &Scene<'_>,
    document: &Document,
    resource: &ApiResource,
    live: &DynamicObject,
) -> Result<DynamicObject, kube::Error> {
    let (cluster, name) = (&scene.cluster, document.name.as_str());
    let namespace = document.namespace.as_deref();
    let managers = live.metadata.managed_fields.as_deref().unwrap_or_default();
    if let Some(manager) = applied_by(managers) {
        return cluster
            .would_apply(resource, namespace, name, &document.body, manager)
            .await;
    }
    let before = live.annotations().get(LAST_APPLIED);
    let before = before.and_then(|text| serde_json::from_str(text).ok());
    let there = serde_json::to_value(live).map_err(kube::Error::SerdeError)?;
    let patch = three_way(&before.unwrap_or(Value::Null), &document.body, &there);
    cluster
        .would_merge(resource, namespace, name, &patch, CLIENT_SIDE)
        .await
}

/// Who applied an object by server-side apply, the operator aside; [`None`] where nobody did.
fn applied_by(managers: &[ManagedFieldsEntry]) -> Option<&str> {
    let applied = |entry: &&ManagedFieldsEntry| {
        entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none()
    };
    let names = managers.iter().filter(applied);
    let mut names = names.filter_map(|entry| entry.manager.as_deref());
    names.find(|name| !name.starts_with("simbdp-"))
}

/// Whether the API server refuses the object, and not the one who asks.
pub fn refuses(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => false,
            // By admission, rather than for want of a right.
            403 => !status.message.contains(" cannot "),
            // What a server-side apply answers to a field that the schema does not have.
            500 => status.message.contains("field not declared in schema"),
            code => (400..500).contains(&code) && code != 429,
        },
        _ => false,
    }
}

fn tell_changes(
    live: &DynamicObject,
    wanted: &DynamicObject,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    let value = |object: &DynamicObject| {
        let value = serde_json::to_value(object);
        value
            .map(|value| declared(&value))
            .map_err(PlanError::decoding(label(document)))
    };
    let found = differences(&value(live)?, &value(wanted)?);
    if !found.is_empty() {
        section.action = Action::Change;
    }
    for difference in found {
        section.change.push(Change {
            kind: section.kind.clone(),
            namespace: section.namespace.clone(),
            name: section.name.clone(),
            path: difference.path,
            from: difference.from,
            to: difference.to,
        });
    }
    if live.metadata.deletion_timestamp.is_some() {
        section.note("it is being deleted: apply it again once it is gone");
    }
    Ok(())
}

fn typed<K: DeserializeOwned>(object: &DynamicObject, document: &Document) -> Result<K, PlanError> {
    serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .map_err(PlanError::decoding(label(document)))
}

fn label(document: &Document) -> String {
    format!("{} {}", document.kind_name, document.name)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn entry(manager: &str, operation: &str) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            ..Default::default()
        }
    }

    #[test]
    fn the_manager_is_the_one_that_applied_before_and_never_the_operator() {
        let managers = [entry("simbdp-tenant", "Apply"), entry("helm", "Update")];
        assert_eq!(applied_by(&managers), None);
        let managers = [entry("simbdp-tenant", "Apply"), entry("argocd", "Apply")];
        assert_eq!(applied_by(&managers), Some("argocd"));
    }

    #[test]
    fn a_missing_right_is_not_a_refusal_of_the_object() {
        let api = |code: u16, message: &str| {
            kube::Error::Api(Status::failure(message, "X").with_code(code).boxed())
        };
        assert!(refuses(&api(422, "spec.engine: immutable")));
        assert!(refuses(&api(
            403,
            "ValidatingAdmissionPolicy 'p' denied request: no"
        )));
        assert!(!refuses(&api(
            403,
            "User \"ada\" cannot patch resource \"tenants\""
        )));
        assert!(!refuses(&api(401, "Unauthorized")) && !refuses(&api(500, "x")));
    }
}
