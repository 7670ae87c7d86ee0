//! Plans an IngestPipeline [IO] by its own controller's validation and builders.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::ApiResource;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::{IngestPipeline, Tenant};
use simbdp_coredms::declaration::compatible;

use super::ask::ask;
use super::built::Builder;
use super::documents::Document;
use super::error::PlanError;
use super::look::{file_differences, look};
use super::losses;
use super::report::{Change, Item, Place, Section};
use super::scene::{Scene, put};
use super::tenant::{credentials, gateway, words};
use crate::conditions::holds;
use crate::error::Classified;
use crate::pipeline::apply::MANAGER;
use crate::pipeline::build::build;
use crate::pipeline::dereference::{self, Homeless};
use crate::pipeline::error::Error;
use crate::pipeline::status::{QUEUES_READY, TABLE_READY};
use crate::pipeline::validate::{ValidatedPipeline, validate};
use crate::tenant::validate::{ValidatedCeilings, ceilings};

/// Whose a pipeline is.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    /// The tenant.
    pub tenant: &'a TenantName,
    /// Its ceilings.
    pub ceilings: &'a ValidatedCeilings,
    /// Whether all of its pipelines are paused.
    pub paused: bool,
    /// Digest of its credentials.
    pub digest: &'a str,
    /// Whether its namespace is there.
    pub there: bool,
}

/// Plans an apply.
pub async fn apply(
    scene: &mut Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Some(asked) = ask::<IngestPipeline>(scene, document, section).await? else {
        return Ok(());
    };
    let pipeline = asked.wanted;
    let Some((name, tenant)) = home(scene, &pipeline, section).await? else {
        return Ok(());
    };
    let ceilings = match ceilings(&tenant) {
        Ok(ceilings) => ceilings,
        Err(invalid) => {
            let error = Error::Ceilings(invalid);
            section.refuse(error.reason(), error.to_string());
            return Ok(());
        }
    };
    let there = !scene.is_coming(&name.namespace());
    let others = others(scene, &pipeline, there).await?;
    let digest = match there {
        true => credentials(gateway(scene, &name).await?.as_ref()),
        false => String::new(),
    };
    let of = Of {
        tenant: &name,
        ceilings: &ceilings,
        paused: tenant.spec.paused,
        digest: &digest,
        there,
    };
    let live = asked.live.as_ref();
    if let Some(conflict) = conflict(&pipeline, live, &others) {
        section.refuse(conflict.reason(), conflict.to_string());
        if live.is_some() {
            section.note("the pipeline goes on as it was declared before");
        }
        return Ok(());
    }
    put(&mut scene.pipelines, pipeline.clone());
    let valid = follow(scene, &pipeline, of, section).await?;
    if let Some(valid) = valid {
        outside(&tenant, &valid, live, &others, section);
    }
    Ok(())
}

/// The Tenant in whose namespace the pipeline is; [`None`] where it is refused.
async fn home(
    scene: &Scene<'_>,
    pipeline: &IngestPipeline,
    section: &mut Section,
) -> Result<Option<(TenantName, Tenant)>, PlanError> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let name = TenantName::from_namespace(&namespace);
    let tenant = name.as_ref().and_then(|name| {
        let mut tenants = scene.tenants.iter();
        tenants.find(|tenant| tenant.name_any() == name.as_str())
    });
    let found = scene.namespace(&namespace).await?;
    let home = found.and_then(|found| dereference::home(&found, tenant));
    match (home, name, tenant) {
        (Some(dereference::Home::Stopped { message, .. }), _, _) => {
            section.note(format!("nothing of it runs: {message}"));
            Ok(None)
        }
        (Some(_), Some(name), Some(tenant)) => Ok(Some((name, tenant.clone()))),
        (None, Some(name), Some(tenant)) if scene.is_coming(&namespace) => {
            Ok(Some((name, tenant.clone())))
        }
        (_, Some(name), None) if scene.is_document("Tenant", None, name.as_str()) => {
            section.refuse("TenantNotReady", format!("its Tenant `{name}` is refused"));
            Ok(None)
        }
        _ => {
            let mut tenants: Vec<_> = scene.tenants.iter().map(ResourceExt::name_any).collect();
            tenants.sort();
            let homeless = Error::Homeless(Homeless { namespace, tenants });
            section.refuse(homeless.reason(), homeless.to_string());
            Ok(None)
        }
    }
}

/// Other pipelines with the same table, those that are planned before those that are there.
async fn others(
    scene: &Scene<'_>,
    pipeline: &IngestPipeline,
    there: bool,
) -> Result<Vec<IngestPipeline>, PlanError> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let mut all = match there {
        true => scene.pipelines_of(&namespace).await?,
        false => Vec::new(),
    };
    for planned in &scene.pipelines {
        put(&mut all, planned.clone());
    }
    let same = |other: &IngestPipeline| {
        other.namespace().as_ref() == Some(&namespace)
            && other.name_any() != pipeline.name_any()
            && other.spec.table.name == pipeline.spec.table.name
    };
    Ok(all.into_iter().filter(same).collect())
}

/// A table that cannot be had by adding to the one that is there, as far as pipelines have declared it.
fn conflict(
    pipeline: &IngestPipeline,
    live: Option<&IngestPipeline>,
    others: &[IngestPipeline],
) -> Option<Error> {
    let mut before = live.into_iter().chain(others).filter(|one| made(one));
    let conflict =
        before.find_map(|one| compatible(&one.spec.table, &pipeline.spec.table).err())?;
    let mut others: Vec<_> = others.iter().map(ResourceExt::name_any).collect();
    others.sort();
    Some(Error::TableConflict {
        conflict: conflict.to_string(),
        others,
    })
}

/// Whether a pipeline's table was made as it declares, or is planned to be.
fn made(pipeline: &IngestPipeline) -> bool {
    let status = pipeline.status.as_ref();
    status.is_none_or(|status| holds(&status.conditions.conditions, TABLE_READY))
}

/// What its controller makes of a pipeline; [`None`] where it would refuse it.
pub async fn follow(
    scene: &mut Scene<'_>,
    pipeline: &IngestPipeline,
    of: Of<'_>,
    section: &mut Section,
) -> Result<Option<ValidatedPipeline>, PlanError> {
    let valid = match validate(pipeline, of.tenant, of.paused, of.ceilings) {
        Ok(valid) => valid,
        Err(invalid) => {
            let about = match section.kind == "IngestPipeline" {
                true => String::new(),
                false => format!("IngestPipeline {}: ", pipeline.name_any()),
            };
            section.refuse(invalid.reason(), format!("{about}{invalid}"));
            return Ok(None);
        }
    };
    let resources = build(&valid, of.digest, &scene.platform.of_tenants());
    let crate::pipeline::build::Resources {
        config,
        ingest,
        state: _,
    } = resources;
    let mut builder = Builder::new(MANAGER);
    builder.deployment(&ingest, &valid.bounds)?;
    look(scene, builder.built, of.there, section).await?;
    file(scene, &config, of.there, section).await?;
    Ok(Some(valid))
}

/// The pipeline's file for gateway and ingest apps, in the ConfigMap of all pipelines.
async fn file(
    scene: &Scene<'_>,
    wanted: &ConfigMap,
    there: bool,
    section: &mut Section,
) -> Result<(), PlanError> {
    let namespace = wanted.namespace();
    let resource = ApiResource::erase::<ConfigMap>(&());
    let live = match there {
        true => {
            let cluster = &scene.cluster;
            cluster
                .get(&resource, namespace.as_deref(), objects::PIPELINES)
                .await?
        }
        false => None,
    };
    for (key, file) in wanted.data.iter().flatten() {
        let before = live
            .as_ref()
            .and_then(|live| live.data["data"][key].as_str());
        let found = file_differences(key, before, file);
        section.change.extend(found.into_iter().map(|one| Change {
            kind: "ConfigMap".to_owned(),
            namespace: namespace.clone(),
            name: objects::PIPELINES.to_owned(),
            path: one.path,
            from: one.from,
            to: one.to,
        }));
    }
    Ok(())
}

/// What a pipeline gets in the tenant's database and broker.
fn outside(
    tenant: &Tenant,
    valid: &ValidatedPipeline,
    live: Option<&IngestPipeline>,
    others: &[IngestPipeline],
    section: &mut Section,
) {
    let held = |one: &IngestPipeline, kind: &str| {
        let status = one.status.as_ref();
        status.is_some_and(|status| holds(&status.conditions.conditions, kind))
    };
    let [_, _, table] = words(tenant.spec.coredms.engine);
    if !live
        .into_iter()
        .chain(others)
        .any(|one| held(one, TABLE_READY))
    {
        let name = format!("{}.{}", valid.tenant.keyspace(), valid.table.name);
        let item = Item::new(Place::Database, table, name);
        section
            .create
            .push(item.with("unless it is there from before"));
    }
    if !live.is_some_and(|live| held(live, QUEUES_READY)) {
        section
            .create
            .extend(losses::queues(&valid.tenant, &valid.name));
    }
}
