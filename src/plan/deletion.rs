//! Plans deletions [IO], by what each controller's clean-up takes away and keeps. Whose object it is and what is there
//! counts, not what the document says of it.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ApiResource;
use kube::{Resource, ResourceExt};
use simbdp_api::names::{PipelineName, TenantName};
use simbdp_api::tenant::DeletionPolicy;
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant, labels};

use super::ask::refuses;
use super::documents::{Document, Kind};
use super::error::PlanError;
use super::inventory::{Found, inventory};
use super::report::{Action, CLAIM, Item, Section};
use super::scene::Scene;
use super::{deletion_of_tenants, losses};
use crate::apply::Appliable;
use crate::broker::build::node_labels;
use crate::broker::dereference::who_uses;
use crate::coredms::build::member_labels;
use crate::coredms::names;
use crate::error::ApiError;
use crate::pipeline::dereference::{self, Home};
use crate::{broker, coredms};

/// Reason of a refusal while tenants use what is to go.
const IN_USE: &str = "InUse";

/// Plans a deletion.
pub async fn delete(
    scene: &mut Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    match document.kind {
        Kind::Broker => {
            if let Some(broker) = live::<Broker>(scene, document, section).await? {
                of_broker(scene, &broker, section).await?;
            }
        }
        Kind::CoreDms => {
            if let Some(coredms) = live::<CoreDms>(scene, document, section).await? {
                of_coredms(scene, &coredms, section).await?;
            }
        }
        Kind::Tenant => {
            if let Some(tenant) = live::<Tenant>(scene, document, section).await? {
                deletion_of_tenants::delete(scene, &tenant, section).await?;
            }
        }
        Kind::IngestPipeline => {
            if let Some(pipeline) = live::<IngestPipeline>(scene, document, section).await? {
                of_pipeline(scene, &pipeline, section).await?;
            }
        }
        Kind::Other => section.skip(),
    }
    Ok(())
}

/// The object that would be deleted; [`None`] where there is none, or the API server would refuse it.
async fn live<K: Appliable>(
    scene: &Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<Option<K>, PlanError> {
    let resource = ApiResource::erase::<K>(&());
    let (namespace, name) = (document.namespace.as_deref(), document.name.as_str());
    let Some(live) = scene.cluster.get(&resource, namespace, name).await? else {
        section.note("it is not there: there is nothing to delete");
        return Ok(None);
    };
    let what = || format!("{} {name}", document.kind_name);
    match scene.cluster.would_delete(&resource, namespace, name).await {
        Ok(()) => {}
        Err(error) if refuses(&error) => {
            section.refuse_at_once(ApiError(error).to_string());
            return Ok(None);
        }
        Err(error) => return Err(PlanError::asking(what())(error)),
    }
    section.action = Action::Delete;
    section.remove.push(section.item());
    let typed = serde_json::to_value(live).and_then(serde_json::from_value);
    typed.map(Some).map_err(PlanError::decoding(what()))
}

/// It stays until nobody uses it: nothing goes.
fn stays(section: &mut Section, message: String) {
    section.action = Action::Refuse;
    section.remove.clear();
    section.refuse(IN_USE, message);
}

async fn of_broker(
    scene: &Scene<'_>,
    broker: &Broker,
    section: &mut Section,
) -> Result<(), PlanError> {
    let name = broker.name_any();
    let namespaces = scene.namespaces().await?;
    let users = who_uses(&name, &scene.tenants, &namespaces);
    let left: Vec<_> = users.into_iter().filter(|user| !scene.goes(user)).collect();
    if !left.is_empty() {
        stays(section, broker::cleanup::in_use(&left));
        return Ok(());
    }
    if broker.spec.external.is_some() {
        section.note("the broker is external: nothing in it is touched");
        return Ok(());
    }
    let uid = broker.uid().unwrap_or_default();
    let claims = node_labels(broker.spec.broker_type, &name);
    for found in inventory(&scene.cluster, &scene.platform.namespace).await? {
        let claimed = found.item.kind == CLAIM && found.has(&claims);
        if claimed || found.owners.contains(&uid) {
            goes(found.item, section);
        }
    }
    Ok(())
}

async fn of_coredms(
    scene: &Scene<'_>,
    coredms: &CoreDms,
    section: &mut Section,
) -> Result<(), PlanError> {
    let claims = coredms.spec.claims.iter();
    let left: Vec<_> = claims
        .filter(|claim| !scene.goes(&claim.tenant))
        .cloned()
        .collect();
    if !left.is_empty() {
        stays(section, coredms::cleanup::in_use(&left, &scene.tenants));
        return Ok(());
    }
    if coredms.spec.external.is_some() {
        section.note("the database is external: nothing in it is touched");
        return Ok(());
    }
    let namespace = coredms.namespace().unwrap_or_default();
    if let Some(tenant) = TenantName::from_namespace(&namespace)
        && scene
            .tenants
            .iter()
            .any(|one| one.name_any() == tenant.as_str())
    {
        section.note(format!("Tenant `{tenant}` makes its database anew"));
    }
    let parts = inventory(&scene.cluster, &namespace).await?;
    database(coredms, coredms.spec.deletion_policy, &parts, section);
    Ok(())
}

/// What goes and what stays of a database's own objects [pure].
pub fn database(coredms: &CoreDms, policy: DeletionPolicy, parts: &[Found], section: &mut Section) {
    let (uid, name) = (coredms.uid().unwrap_or_default(), coredms.name_any());
    let members = member_labels(coredms.spec.engine, &name);
    let outlives = [names::superuser_secret(&name), names::members(&name)];
    for found in parts {
        if found.owners.contains(&uid) {
            section.remove.push(found.item.clone());
            continue;
        }
        let volume = found.item.kind == CLAIM && found.has(&members);
        let kept = matches!(found.item.kind.as_str(), "Secret" | "ConfigMap")
            && outlives.contains(&found.item.name);
        match policy {
            _ if !(volume || kept) => {}
            DeletionPolicy::Retain => section.keep.push(found.item.clone()),
            DeletionPolicy::Delete => goes(found.item.clone(), section),
        }
    }
}

/// Puts an object where it belongs: data and credentials are gone for good, the rest can be made again.
pub fn goes(item: Item, section: &mut Section) {
    match item.kind.as_str() {
        CLAIM | "Secret" => section.lose.push(item),
        _ => section.remove.push(item),
    }
}

async fn of_pipeline(
    scene: &Scene<'_>,
    pipeline: &IngestPipeline,
    section: &mut Section,
) -> Result<(), PlanError> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let (Some(tenant), Ok(name)) = (
        TenantName::from_namespace(&namespace),
        PipelineName::new(pipeline.name_any()),
    ) else {
        section.note("it is in no tenant's namespace: nothing was made for it");
        return Ok(());
    };
    let owner = scene
        .tenants
        .iter()
        .find(|one| one.name_any() == tenant.as_str());
    let found = scene.namespace(&namespace).await?;
    let home = found.and_then(|found| dereference::home(&found, owner));
    let kind = Deployment::kind(&());
    let ingest = Item::object(&kind, Some(&namespace), name.ingest_workload());
    let resource = ApiResource::erase::<Deployment>(&());
    let cluster = &scene.cluster;
    if cluster
        .get(&resource, Some(&namespace), &ingest.name)
        .await?
        .is_some()
    {
        section.remove.push(ingest);
    }
    section.remove.extend(losses::queues(&tenant, &name));
    let leaves = scene.is_document(&Tenant::kind(&()), None, tenant.as_str());
    let drains = matches!(home, Some(Home::Living(..) | Home::NotYet { .. }))
        && !pipeline.annotations().contains_key(labels::DISCARD_BACKLOG)
        && !leaves;
    match (losses::backlog(pipeline), drains) {
        (Some(backlog), true) => section.note(format!(
            "{} are ingested first: it takes nothing new and goes once that is done",
            backlog.detail.unwrap_or_default()
        )),
        (Some(backlog), false) => section.lose.push(backlog),
        (None, _) => {}
    }
    if leaves {
        section.note(format!(
            "Tenant `{tenant}` goes as well: what waits is not ingested first, and the Tenant's policy decides on the table"
        ));
        return Ok(());
    }
    let engine = owner.map(|owner| owner.spec.coredms.engine);
    let table = losses::table(engine.unwrap_or_default(), &tenant, &[pipeline]);
    section.keep.push(table);
    Ok(())
}
