//! Plans the deletion of a Tenant [IO]: with Delete nothing stays, with Retain what runs stops and the rest is kept.

use kube::ResourceExt;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::tenant::{DeletionPolicy, Placement};
use simbdp_api::{CoreDms, IngestPipeline, Tenant};

use super::deletion::{database, goes};
use super::error::PlanError;
use super::inventory::{Found, inventory};
use super::losses;
use super::report::{Item, Place, Section};
use super::scene::Scene;
use crate::tenant::namespace::{Claim, Current, claim};

/// What is there of a tenant.
struct Having<'a> {
    tenant: &'a Tenant,
    name: TenantName,
    /// What is in its namespace; nothing where that is not its own.
    parts: Vec<Found>,
    /// Its pipelines.
    pipelines: Vec<IngestPipeline>,
    /// The CoreDms that holds its data.
    coredms: Option<CoreDms>,
    /// The Broker that holds its queues.
    broker: Option<String>,
}

/// Plans a deletion.
pub async fn delete(
    scene: &mut Scene<'_>,
    tenant: &Tenant,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Ok(name) = TenantName::new(tenant.name_any()) else {
        return Ok(());
    };
    let policy = tenant.spec.deletion_policy;
    let retained = policy == DeletionPolicy::Retain;
    scene.leaving.insert(name.to_string(), retained);
    section.note(match policy {
        DeletionPolicy::Delete => "deletionPolicy is Delete: nothing of the tenant stays",
        DeletionPolicy::Retain => {
            "deletionPolicy is Retain: what runs stops, and the same Tenant applied again finds what is kept"
        }
    });
    let having = look(scene, tenant, name, section).await?;
    match policy {
        DeletionPolicy::Delete => lose(&having, section),
        DeletionPolicy::Retain => keep(&having, section),
    }
    Ok(())
}

async fn look<'a>(
    scene: &Scene<'_>,
    tenant: &'a Tenant,
    name: TenantName,
    section: &mut Section,
) -> Result<Having<'a>, PlanError> {
    let namespace = name.namespace();
    let found = scene.namespace(&namespace).await?;
    let status = tenant.status.as_ref();
    let recorded = status.and_then(|status| status.namespace_uid.as_deref());
    let ours = match claim(&name, found.as_ref(), recorded) {
        Ok(claim) => matches!(claim, Claim::Ours { .. } | Claim::Terminating),
        Err(taken) => {
            section.note(taken.to_string());
            false
        }
    };
    let current = Current::of(found.as_ref().filter(|_| ours));
    let (parts, pipelines) = match ours {
        true => (
            inventory(&scene.cluster, &namespace).await?,
            scene.pipelines_of(&namespace).await?,
        ),
        false => (Vec::new(), Vec::new()),
    };
    let coredms = match tenant.spec.coredms.placement {
        Placement::Dedicated => scene.coredms(&namespace, objects::COREDMS).await?,
        Placement::Shared => {
            let mut shared = scene.shared.iter();
            shared
                .find(|one| one.spec.claimed_by(name.as_str()))
                .cloned()
        }
    };
    Ok(Having {
        tenant,
        parts,
        pipelines,
        coredms,
        broker: current
            .broker
            .or_else(|| status.and_then(|status| status.broker.clone())),
        name,
    })
}

impl Having<'_> {
    fn place(&self) -> String {
        let coredms = self.coredms.as_ref();
        coredms.map_or_else(String::new, |coredms| {
            format!(
                "{}/{}",
                coredms.namespace().unwrap_or_default(),
                coredms.name_any()
            )
        })
    }

    fn namespace(&self) -> Option<Item> {
        let there = !self.parts.is_empty();
        there.then(|| Item::object("Namespace", None, self.name.namespace()))
    }
}

/// Everything goes, also what others have put into the namespace.
fn lose(having: &Having<'_>, section: &mut Section) {
    let (engine, name) = (having.tenant.spec.coredms.engine, &having.name);
    section.remove.extend(having.namespace());
    for found in &having.parts {
        goes(found.item.clone(), section);
    }
    if having.coredms.is_some() {
        let place = having.place();
        section.lose.extend(losses::keyspaces(engine, name, &place));
        section.remove.extend(losses::roles(engine, name, &place));
    }
    section
        .lose
        .extend(losses::tables(engine, name, &having.pipelines));
    section
        .lose
        .extend(having.pipelines.iter().filter_map(losses::backlog));
    section
        .remove
        .extend(losses::of_broker(name, having.broker.as_deref()));
    if let (Placement::Shared, Some(_)) = (having.tenant.spec.coredms.placement, &having.coredms) {
        let freed = Item::new(Place::Cluster, "Place", name.as_str());
        section.remove.push(freed.with(format!(
            "in CoreDms {}: free for others then",
            having.place()
        )));
    }
}

/// Gateway, ingest apps and the database's members stop.
fn keep(having: &Having<'_>, section: &mut Section) {
    let (engine, name) = (having.tenant.spec.coredms.engine, &having.name);
    section.keep.extend(having.namespace());
    let own = having
        .coredms
        .as_ref()
        .filter(|_| having.tenant.spec.coredms.placement == Placement::Dedicated);
    let before = section.remove.len();
    if let Some(coredms) = own {
        let item = Item::object(
            "CoreDms",
            coredms.namespace().as_deref(),
            coredms.name_any(),
        );
        section.remove.push(item);
        // As the Tenant's policy says now, whatever the database's own says.
        database(coredms, DeletionPolicy::Retain, &having.parts, section);
    }
    for found in &having.parts {
        let runs = found.is_component("StatefulSet", "gateway")
            || found.is_component("Deployment", "ingest");
        if runs {
            section.remove.push(found.item.clone());
        }
    }
    let gone = section.remove[before..].to_vec();
    for found in &having.parts {
        if !gone.contains(&found.item) && !section.keep.contains(&found.item) {
            section.keep.push(found.item.clone());
        }
    }
    if having.coredms.is_some() {
        let place = having.place();
        section.keep.extend(losses::keyspaces(engine, name, &place));
        let roles = losses::roles(engine, name, &place);
        section.keep.extend(roles.into_iter().map(asleep));
    }
    section
        .keep
        .extend(losses::tables(engine, name, &having.pipelines));
    let broker = losses::of_broker(name, having.broker.as_deref());
    section.keep.extend(broker.into_iter().map(asleep));
    section
        .keep
        .extend(having.pipelines.iter().filter_map(losses::backlog));
}

/// Roles and users that are kept log in no more until the Tenant is applied again.
fn asleep(mut item: Item) -> Item {
    if matches!(item.kind.as_str(), "Role" | "User") {
        let place = item.detail.unwrap_or_default();
        item.detail = Some(format!("{place}, without a login until then"));
    }
    item
}
