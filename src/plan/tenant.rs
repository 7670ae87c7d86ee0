//! Plans a Tenant [IO] by its own controller's validation, choice of a place and builders.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::api::ApiResource;
use serde_json::json;
use simbdp_api::common::Engine;
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::wire::config::Users;
use simbdp_api::{CoreDms, Tenant, labels};

use super::ask::{Asked, ask};
use super::built::{Builder, Built};
use super::documents::Document;
use super::error::PlanError;
use super::home::{self, Home};
use super::look::look;
use super::report::{Change, Item, Place, Section};
use super::scene::{Scene, put};
use super::{coredms, pipeline};
use crate::apply::MANAGED_BY;
use crate::coredms::place::DatabasePlace;
use crate::tenant::apply::MANAGER;
use crate::tenant::build::build;
use crate::tenant::build::meta::Owner;
use crate::tenant::build::namespace::{Hosts, namespace, new_namespace, role_binding};
use crate::tenant::build::secrets::{USER_COMPONENT, generated};
use crate::tenant::external::{broker_names, database_names};
use crate::tenant::namespace::{Claim, Current, claim};
use crate::tenant::validate::{self, ValidatedTenant, validate};

/// Plans an apply.
pub async fn apply(
    scene: &mut Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Some(asked) = ask::<Tenant>(scene, document, section).await? else {
        return Ok(());
    };
    let Some(ground) = ground(scene, &asked.wanted, section).await? else {
        return Ok(());
    };
    let Some(home) = home::find(scene, &asked.wanted, &ground.valid, section).await? else {
        return Ok(());
    };
    put(&mut scene.tenants, asked.wanted.clone());
    if ground.there && asked.live.is_none() {
        section.note("what was retained of a Tenant of this name is found and used again");
    }
    let gateway = match ground.there {
        true => gateway(scene, &ground.valid.name).await?,
        false => None,
    };
    if let Some(gateway) = &gateway {
        gateway_changes(gateway, &ground.valid, section);
    }
    let built = built(scene, &ground, &home.place, &credentials(gateway.as_ref()))?;
    let secrets = built.names_of("Secret");
    let own = built.find::<CoreDms>();
    look(scene, built.built, ground.there, section).await?;
    if let Some(own) = own {
        own_database(scene, own, ground.there, section).await?;
    }
    match ground.there {
        true => users_that_leave(scene, &ground.valid.name, &secrets, section).await?,
        false => outside(&ground.valid, &home, section),
    }
    users_that_change(&asked, &ground, section);
    pipelines(scene, &ground, gateway.as_ref(), section).await
}

/// What a Tenant is planned on.
struct Ground {
    valid: ValidatedTenant,
    /// Whether the tenant's namespace is there.
    there: bool,
    /// UID of it.
    uid: String,
}

/// Whose the namespace is, and whether the Tenant can be built; [`None`] where it is refused.
async fn ground(
    scene: &Scene<'_>,
    tenant: &Tenant,
    section: &mut Section,
) -> Result<Option<Ground>, PlanError> {
    let name = match TenantName::new(tenant.name_any()) {
        Ok(name) => name,
        Err(error) => {
            section.refuse("InvalidName", error.to_string());
            return Ok(None);
        }
    };
    let found = scene.namespace(&name.namespace()).await?;
    let recorded = tenant.status.as_ref();
    let recorded = recorded.and_then(|status| status.namespace_uid.as_deref());
    let uid = match claim(&name, found.as_ref(), recorded) {
        Ok(Claim::Ours { uid }) => Some(uid),
        Ok(Claim::Absent | Claim::Forget) => None,
        Ok(Claim::Terminating) => {
            section.note("its namespace is being deleted, and is made anew once it is gone");
            None
        }
        Err(taken) => {
            section.refuse("NamespaceTaken", taken.to_string());
            return Ok(None);
        }
    };
    let current = match &uid {
        Some(_) => Current::of(found.as_ref()),
        None => Current::default(),
    };
    Ok(match validate(tenant, &scene.brokers, &current) {
        Ok(valid) => Some(Ground {
            valid,
            there: uid.is_some(),
            uid: uid.unwrap_or_default(),
        }),
        Err(invalid) => {
            section.refuse(invalid.reason(), invalid.to_string());
            None
        }
    })
}

/// Every object that the controller applies, in its order.
fn built(
    scene: &Scene<'_>,
    ground: &Ground,
    place: &DatabasePlace,
    credentials: &str,
) -> Result<Builder, PlanError> {
    let (valid, platform) = (&ground.valid, scene.platform.of_tenants());
    let owner = Owner::tenant(&valid.name, &platform);
    let hosts = Hosts::of(valid, place);
    let mut builder = Builder::new(MANAGER);
    match ground.there {
        true => builder.add::<Namespace>(&namespace(&owner, &ground.uid, &hosts))?,
        false => builder.add::<Namespace>(&new_namespace(&owner, &hosts))?,
    };
    builder.add(&role_binding(&owner, &platform))?;
    // Nobody reads what is built with these: of Secrets only the names count.
    for secret in generated(&owner, valid, place, &platform, String::new) {
        builder.once(&secret.once)?;
    }
    let (users, replicas) = (Users::default(), valid.gateway.replicas);
    builder.tenant(build(
        valid,
        place,
        credentials,
        &users,
        replicas,
        &platform,
    ))?;
    Ok(builder)
}

/// The tenant's gateway as it is.
pub async fn gateway(
    scene: &Scene<'_>,
    tenant: &TenantName,
) -> Result<Option<StatefulSet>, PlanError> {
    let resource = ApiResource::erase::<StatefulSet>(&());
    let namespace = tenant.namespace();
    let live = scene
        .cluster
        .get(&resource, Some(&namespace), objects::GATEWAY)
        .await?;
    let typed = live.map(|live| serde_json::to_value(live).and_then(serde_json::from_value));
    typed
        .transpose()
        .map_err(PlanError::decoding(format!("the gateway of {tenant}")))
}

/// Digest of the tenant's credentials, as it is on the gateway's pods: a plan changes none and reads none.
pub fn credentials(gateway: Option<&StatefulSet>) -> String {
    let annotations = gateway
        .and_then(|gateway| gateway.spec.as_ref()?.template.metadata.as_ref())
        .and_then(|metadata| metadata.annotations.as_ref());
    let digest = annotations.and_then(|all| all.get(labels::CONFIG_DIGEST));
    digest.cloned().unwrap_or_default()
}

fn gateway_changes(gateway: &StatefulSet, valid: &ValidatedTenant, section: &mut Section) {
    if let Err(invalid) = validate::check_staging(&valid.gateway.staging, gateway) {
        section.refuse(invalid.reason(), invalid.to_string());
    }
    let replicas = gateway.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = valid.gateway.replicas;
    if replicas > Some(i32::from(wanted)) {
        section.note(format!(
            "gateway replicas from number {wanted} on go once nothing is staged on them; their volumes stay"
        ));
    }
}

/// What the controller of the tenant's own CoreDms makes of it.
async fn own_database(
    scene: &mut Scene<'_>,
    built: Built,
    there: bool,
    section: &mut Section,
) -> Result<(), PlanError> {
    let (name, namespace) = (
        built.meta.name.clone().unwrap_or_default(),
        built.meta.namespace.clone(),
    );
    let namespace = namespace.as_deref();
    let live = match there {
        true => scene.cluster.get(&built.resource, namespace, &name).await?,
        false => None,
    };
    let wanted = match live {
        None => built.body.clone(),
        Some(_) => {
            let asked = scene
                .cluster
                .would_apply(
                    &built.resource,
                    namespace,
                    &name,
                    &built.body,
                    built.manager,
                )
                .await;
            // Why it is refused was told before.
            let Ok(wanted) = asked else { return Ok(()) };
            serde_json::to_value(wanted).map_err(PlanError::decoding(name.clone()))?
        }
    };
    let wanted: CoreDms = serde_json::from_value(wanted).map_err(PlanError::decoding(name))?;
    coredms::children(scene, &wanted, there, section).await
}

/// Kinds of a keyspace, of a role and of a table in an engine's own words.
pub fn words(engine: Engine) -> [&'static str; 3] {
    match engine {
        Engine::Cassandra => ["Keyspace", "Role", "Table"],
        Engine::MongoDB => ["Database", "User", "Collection"],
    }
}

/// What a new tenant gets in its database and its broker.
fn outside(valid: &ValidatedTenant, home: &Home, section: &mut Section) {
    let [keyspace, role, _] = words(home.place.engine);
    let (database, broker) = (database_names(&valid.name), broker_names(&valid.name));
    let inside = |kind: &str, name: String| {
        Item::new(Place::Database, kind, name).with(format!("in CoreDms {}", home.place))
    };
    let keyspaces = database.keyspaces.into_iter();
    section
        .create
        .extend(keyspaces.map(|name| inside(keyspace, name)));
    let roles = database.roles.into_iter();
    section.create.extend(roles.map(|name| inside(role, name)));
    let at = format!("in Broker {}", valid.broker.name);
    for (kind, name) in [("VirtualHost", broker.vhost), ("User", broker.username)] {
        let item = Item::new(Place::Broker, kind, name).with(at.clone());
        section.create.push(item);
    }
}

/// Secrets of users that are not declared any more.
async fn users_that_leave(
    scene: &Scene<'_>,
    tenant: &TenantName,
    wanted: &[String],
    section: &mut Section,
) -> Result<(), PlanError> {
    let selector = format!(
        "{}={MANAGED_BY},{}={USER_COMPONENT}",
        labels::APP_MANAGED_BY,
        labels::APP_COMPONENT
    );
    let resource = ApiResource::erase::<Secret>(&());
    let namespace = tenant.namespace();
    let secrets = scene.cluster.list(&resource, Some(&namespace), &selector);
    for secret in secrets.await? {
        let name = secret.name_any();
        if !wanted.contains(&name) {
            let item = Item::object("Secret", Some(&namespace), name);
            let lost = item.with("the user's password and token: the user logs in no more");
            section.lose.push(lost);
        }
    }
    Ok(())
}

/// The gateway's file of users follows the spec; it is not looked into.
fn users_that_change(asked: &Asked<Tenant>, ground: &Ground, section: &mut Section) {
    let before = asked.live.as_ref().map(|live| &live.spec.users);
    if ground.there && before.is_some_and(|before| *before != asked.wanted.spec.users) {
        section.change.push(Change {
            kind: "Secret".to_owned(),
            namespace: Some(ground.valid.name.namespace()),
            name: objects::GATEWAY_USERS.to_owned(),
            path: "data[users.json]".to_owned(),
            from: None,
            to: None,
        });
    }
}

/// The tenant's pipelines follow its ceilings.
async fn pipelines(
    scene: &mut Scene<'_>,
    ground: &Ground,
    gateway: Option<&StatefulSet>,
    section: &mut Section,
) -> Result<(), PlanError> {
    if !ground.there {
        return Ok(());
    }
    let namespace = ground.valid.name.namespace();
    let digest = credentials(gateway);
    for one in scene.pipelines_of(&namespace).await? {
        let name = one.name_any();
        let leaves = one.metadata.deletion_timestamp.is_some();
        if !leaves && !scene.is_document("IngestPipeline", Some(&namespace), &name) {
            let of = pipeline::Of {
                tenant: &ground.valid.name,
                ceilings: &ground.valid.ceilings,
                paused: ground.valid.paused,
                digest: &digest,
                there: true,
            };
            pipeline::follow(scene, &one, of, section).await?;
        }
    }
    Ok(())
}

/// A place that is taken in a shared CoreDms.
pub fn place_taken(coredms: &CoreDms, tenant: &TenantName) -> Change {
    Change {
        kind: "CoreDms".to_owned(),
        namespace: coredms.namespace(),
        name: coredms.name_any(),
        path: format!("spec.claims[{tenant}]"),
        from: None,
        to: Some(json!({"tenant": tenant})),
    }
}
