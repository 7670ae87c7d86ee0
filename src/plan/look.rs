//! Compares what is built with what is there [IO]: what is missing is created; of what differs, the API server says by a
//! dry run of the controller's own apply what would become of it.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

use super::ask::refuses;
use super::built::{Built, Upkeep};
use super::difference::{Difference, declared, differences};
use super::error::PlanError;
use super::report::{CLAIM, Change, Item, Section};
use super::scene::Scene;
use crate::apply::{ApplyError, check_ours, unchanged};
use crate::error::{ApiError, Classified};

/// Reason of a refusal where an object's name is not free.
const NAME_TAKEN: &str = "NameTaken";

/// Compares every object. `there` says whether its namespace is.
pub async fn look(
    scene: &mut Scene<'_>,
    built: Vec<Built>,
    there: bool,
    section: &mut Section,
) -> Result<(), PlanError> {
    for object in built {
        if belongs_to_another(scene, &object, section) {
            continue;
        }
        let live = match there {
            true => read(scene, &object).await?,
            false => None,
        };
        match live {
            None => section.create.push(item(&object)),
            Some(live) => compare(scene, &object, &live, section).await?,
        }
        claims(scene, &object, there, section).await?;
    }
    Ok(())
}

fn item(object: &Built) -> Item {
    let name = object.meta.name.clone().unwrap_or_default();
    Item {
        detail: object.detail.clone(),
        ..Item::object(
            &object.resource.kind,
            object.meta.namespace.as_deref(),
            name,
        )
    }
}

async fn read(scene: &Scene<'_>, object: &Built) -> Result<Option<DynamicObject>, PlanError> {
    let name = object.meta.name.as_deref().unwrap_or_default();
    let namespace = object.meta.namespace.as_deref();
    scene.cluster.get(&object.resource, namespace, name).await
}

/// Two documents cannot make the same object.
fn belongs_to_another(scene: &mut Scene<'_>, object: &Built, section: &mut Section) -> bool {
    let Item {
        kind,
        namespace,
        name,
        ..
    } = item(object);
    let own = format!("{} {}", section.kind, section.name);
    let key = (kind.clone(), namespace.clone(), name.clone());
    let Some(other) = scene.made_by(key, &own) else {
        return false;
    };
    let place = namespace.map(|namespace| format!(" in namespace {namespace}"));
    section.refuse(
        NAME_TAKEN,
        format!(
            "{kind} `{name}`{} is made for {other} as well: give one of them another name",
            place.unwrap_or_default()
        ),
    );
    true
}

async fn compare(
    scene: &Scene<'_>,
    object: &Built,
    live: &DynamicObject,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Item { kind, name, .. } = item(object);
    match check_ours(live, &object.meta, &format!("{kind} {name}")) {
        Ok(()) => {}
        Err(ApplyError::Replacing { .. }) => {
            replaced(object, live, section);
            return Ok(());
        }
        Err(foreign) => {
            section.refuse(foreign.reason(), foreign.to_string());
            return Ok(());
        }
    }
    if object.upkeep == Upkeep::Once || unchanged(live, &object.body, &object.digest) {
        return Ok(());
    }
    let asked = scene
        .cluster
        .would_apply(
            &object.resource,
            object.meta.namespace.as_deref(),
            &name,
            &object.body,
            object.manager,
        )
        .await;
    match asked {
        Ok(wanted) => tell(object, live, &wanted, section),
        Err(error) if replaces(object, &error) => {
            section.note(format!(
                "{kind} {name} cannot be changed in this: it is made anew, around its pods and volumes"
            ));
            section.restart.push(restart(object));
            Ok(())
        }
        Err(error) if refuses(&error) => {
            let source = ApiError(error);
            let refused = ApplyError::Write {
                object: format!("{kind} {name}"),
                source,
            };
            section.refuse(refused.reason(), refused.to_string());
            Ok(())
        }
        Err(error) => Err(PlanError::asking(format!("{kind} {name}"))(error)),
    }
}

/// It belongs to an owner that is gone, and is made anew; or to one that will not go.
fn replaced(object: &Built, live: &DynamicObject, section: &mut Section) {
    let Item { kind, name, .. } = item(object);
    let wanted = object.meta.owner_references.as_deref().unwrap_or_default();
    let another = live.owner_references().iter().find(|owner| {
        let same = |other: &OwnerReference| other.kind == owner.kind && other.name == owner.name;
        !wanted.iter().any(same)
    });
    match another {
        Some(owner) if live.metadata.deletion_timestamp.is_none() => section.refuse(
            NAME_TAKEN,
            format!(
                "{kind} `{name}` belongs to {} `{}`: choose another name",
                owner.kind, owner.name
            ),
        ),
        _ => {
            section.note(format!("{kind} {name} is being deleted, and is made anew"));
            section.create.push(item(object));
        }
    }
}

fn replaces(object: &Built, error: &kube::Error) -> bool {
    let immutable = matches!(error, kube::Error::Api(status)
        if status.code == 422 && status.message.contains("updates to"));
    object.upkeep == Upkeep::Replaced && immutable
}

fn tell(
    object: &Built,
    live: &DynamicObject,
    wanted: &DynamicObject,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Item {
        kind,
        namespace,
        name,
        ..
    } = item(object);
    let value = |object: &DynamicObject| -> Result<Value, PlanError> {
        let value = serde_json::to_value(object);
        value
            .map(|value| declared(&value))
            .map_err(PlanError::decoding(name.clone()))
    };
    let found = differences(&value(live)?, &value(wanted)?);
    if found.iter().any(|difference| in_pods(&difference.path)) {
        section.restart.push(restart(object));
    }
    section
        .change
        .extend(found.into_iter().map(|difference| Change {
            kind: kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            path: difference.path,
            from: difference.from,
            to: difference.to,
        }));
    Ok(())
}

/// Whether pods are made anew when this differs.
fn in_pods(path: &str) -> bool {
    path.starts_with("spec.template.")
}

fn restart(object: &Built) -> Item {
    let single = object.body["spec"]["replicas"] == 1;
    let how = match object.resource.kind.as_str() {
        "Deployment" => "each new pod comes before an old one goes",
        _ if single => "its one pod is made anew: it does not serve until that is ready",
        _ => "its pods are made anew one by one, each once the others are ready",
    };
    item(object).with(how)
}

/// Volumes that pods of the object claim, where they are not there already.
async fn claims(
    scene: &Scene<'_>,
    object: &Built,
    there: bool,
    section: &mut Section,
) -> Result<(), PlanError> {
    let resource = ApiResource::erase::<PersistentVolumeClaim>(&());
    let namespace = object.meta.namespace.as_deref();
    for claim in &object.claims {
        let found = match there {
            true => scene.cluster.get(&resource, namespace, &claim.name).await?,
            false => None,
        };
        if found.is_none() {
            let claimed = Item::object(CLAIM, namespace, claim.name.clone());
            section.create.push(claimed.with(claim.size.clone()));
        }
    }
    Ok(())
}

/// Fields of one key of a ConfigMap that differ; what changes with every look aside.
pub fn file_differences(key: &str, live: Option<&str>, wanted: &str) -> Vec<Difference> {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::from(text));
    let path = format!("data[{key}]");
    let wanted = parse(wanted);
    let Some(live) = live.map(parse) else {
        return vec![Difference {
            path,
            from: None,
            to: Some(wanted),
        }];
    };
    let found = differences(&live, &wanted).into_iter();
    found
        .filter(|one| !matches!(one.path.as_str(), "uid" | "generation"))
        .map(|one| Difference {
            path: format!("{path}.{}", one.path),
            ..one
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_template_makes_pods_anew() {
        assert!(in_pods("spec.template.spec.containers[db].image"));
        assert!(!in_pods("spec.replicas") && !in_pods("metadata.labels"));
    }

    #[test]
    fn a_file_s_generation_is_no_change_by_itself() {
        let file = |generation: u8, mode: &str| {
            format!("{{\"generation\": {generation}, \"mode\": \"{mode}\"}}")
        };
        let found = file_differences("p.json", Some(&file(1, "a")), &file(2, "a"));
        assert_eq!(found, []);
        let found = file_differences("p.json", Some(&file(1, "a")), &file(2, "b"));
        assert_eq!(found[0].path, "data[p.json].mode");
        assert_eq!(
            file_differences("p.json", None, &file(1, "a"))[0].from,
            None
        );
    }
}
