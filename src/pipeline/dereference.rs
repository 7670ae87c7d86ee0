//! Dereference [IO]: the Tenant in whose namespace a pipeline is, with its database, broker, gateway
//! and Secrets.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use simbdp_api::names::{TenantName, tenant_objects as objects};
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant, labels};

use super::error::Error;
use crate::apply::{Applier, text};
use crate::context::Context;
use crate::tenant::credentials::{PASSWORD, TOKEN, startup_digest};

/// A pipeline in a namespace that is no tenant's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "namespace `{namespace}` is not a tenant's: create the IngestPipeline in the namespace `tenant-<name>` of a Tenant; {}",
    known(tenants)
)]
pub struct Homeless {
    /// Where the pipeline is.
    pub namespace: String,
    /// Names of all Tenants.
    pub tenants: Vec<String>,
}

fn known(tenants: &[String]) -> String {
    match tenants {
        [] => "there is no Tenant".to_owned(),
        tenants => format!("Tenants are {}", tenants.join(", ")),
    }
}

/// Whose the namespace of a pipeline is.
#[derive(Clone, Debug, PartialEq)]
pub enum Home {
    /// A Tenant's that is not there yet with all it needs.
    NotYet {
        /// The Tenant's name.
        tenant: TenantName,
        /// Why.
        message: String,
    },
    /// A Tenant's that is being deleted, or was and is retained.
    Stopped {
        /// The Tenant's name.
        tenant: TenantName,
        /// Why, and what to do.
        message: String,
        /// Whether the Tenant is gone and its namespace stays.
        retained: bool,
    },
    /// A living Tenant's.
    Living(Box<Tenant>, TenantName),
}

/// Tells whose a namespace is [pure]: a tenant's only if its Tenant records its UID, or if it carries
/// the annotation of a Tenant that is gone.
pub fn home(namespace: &Namespace, tenant: Option<&Tenant>) -> Option<Home> {
    let name = TenantName::from_namespace(&namespace.name_any())?;
    let owner = namespace.annotations().get(labels::OWNED_BY_TENANT);
    if owner.map(String::as_str) != Some(name.as_str()) {
        return None;
    }
    // The operator's right to Secrets may go before the pipelines do: nothing is waited for.
    if namespace.metadata.deletion_timestamp.is_some() {
        return Some(Home::Stopped {
            message: format!("namespace `{}` is being deleted", name.namespace()),
            tenant: name,
            retained: false,
        });
    }
    let Some(tenant) = tenant else {
        return Some(Home::Stopped {
            message: format!(
                "Tenant `{name}` is not there and its namespace is retained: apply the Tenant again"
            ),
            tenant: name,
            retained: true,
        });
    };
    if tenant.metadata.deletion_timestamp.is_some() {
        return Some(Home::Stopped {
            message: format!("Tenant `{name}` is being deleted"),
            tenant: name,
            retained: false,
        });
    }
    let recorded = tenant
        .status
        .as_ref()
        .and_then(|status| status.namespace_uid.as_ref());
    match recorded {
        None => Some(Home::NotYet {
            message: format!("Tenant `{name}` is being set up"),
            tenant: name,
        }),
        Some(uid) if Some(uid) == namespace.metadata.uid.as_ref() => {
            Some(Home::Living(Box::new(tenant.clone()), name))
        }
        Some(_) => None,
    }
}

/// Finds whose the namespace of a pipeline is.
pub async fn find_home(ctx: &Context, pipeline: &IngestPipeline) -> Result<Home, Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    let tenants: Api<Tenant> = Api::all(ctx.client.clone());
    let tenant = match TenantName::from_namespace(&namespace) {
        Some(name) => tenants
            .get_opt(name.as_str())
            .await
            .map_err(Error::reading("the Tenant"))?,
        None => None,
    };
    let found = namespaces
        .get_opt(&namespace)
        .await
        .map_err(Error::reading("the pipeline's namespace"))?;
    if let Some(home) = found.and_then(|found| home(&found, tenant.as_ref())) {
        return Ok(home);
    }
    let mut names: Vec<String> = tenants
        .list(&ListParams::default())
        .await
        .map_err(Error::reading("the Tenants"))?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    Err(Homeless {
        namespace,
        tenants: names,
    }
    .into())
}

/// What a pipeline needs of its tenant.
pub struct Found {
    /// The tenant's database.
    pub coredms: Option<CoreDms>,
    /// The Broker that holds the tenant's queues.
    pub broker: Option<Broker>,
    /// Replicas of the tenant's gateway.
    pub gateway_replicas: u16,
    /// The tenant's Secrets, once they are all there.
    pub access: Option<Access>,
}

/// What pods read at their start, and what the gateway is asked with.
pub struct Access {
    /// Between operator, gateway and ingest apps.
    pub internal_token: String,
    /// Digest of what ingest pods read at their start.
    pub digest: String,
}

/// Finds what a pipeline needs of its tenant.
pub async fn dereference(
    ctx: &Context,
    applier: &Applier,
    object: &Tenant,
    tenant: &TenantName,
) -> Result<Found, Error> {
    let namespace = tenant.namespace();
    let namespace = Some(namespace.as_str());
    let gateway = applier
        .get::<StatefulSet>(namespace, objects::GATEWAY)
        .await?;
    Ok(Found {
        coredms: database(applier, object).await?,
        broker: broker(ctx, tenant).await?,
        gateway_replicas: gateway
            .and_then(|gateway| gateway.spec?.replicas)
            .and_then(|replicas| u16::try_from(replicas).ok())
            .unwrap_or_default(),
        access: access(applier, namespace).await?,
    })
}

/// The database that holds the tenant's data, as the Tenant's own controller has decided; [`None`] before it has.
async fn database(applier: &Applier, tenant: &Tenant) -> Result<Option<CoreDms>, Error> {
    let status = tenant.status.as_ref();
    let Some(place) = status.and_then(|status| status.coredms.as_ref()) else {
        return Ok(None);
    };
    Ok(applier
        .get::<CoreDms>(Some(&place.namespace), &place.name)
        .await?)
}

/// The Broker that holds the tenant's queues; [`None`] when it is gone.
pub async fn broker(ctx: &Context, tenant: &TenantName) -> Result<Option<Broker>, Error> {
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    let namespace = namespaces
        .get_opt(&tenant.namespace())
        .await
        .map_err(Error::reading("the tenant's namespace"))?;
    let Some(name) =
        namespace.and_then(|namespace| namespace.annotations().get(labels::BROKER).cloned())
    else {
        return Ok(None);
    };
    let brokers: Api<Broker> = Api::all(ctx.client.clone());
    brokers
        .get_opt(&name)
        .await
        .map_err(Error::reading(format!("Broker {name}")))
}

async fn access(applier: &Applier, namespace: Option<&str>) -> Result<Option<Access>, Error> {
    let mut texts = Vec::new();
    for (name, key) in [
        (objects::INTERNAL, TOKEN),
        (objects::PLATFORM_BINDING, PASSWORD),
        (objects::BROKER_BINDING, PASSWORD),
    ] {
        let secret = applier.get::<Secret>(namespace, name).await?;
        let Some(text) = secret.and_then(|secret| text(&secret, key)) else {
            return Ok(None);
        };
        texts.push(text.trim_end_matches('\n').to_owned());
    }
    Ok(Some(Access {
        digest: startup_digest(&texts[0], &texts[1], &texts[2]),
        internal_token: texts.swap_remove(0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, uid: &str, owner: Option<&str>) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.into());
        namespace.metadata.uid = Some(uid.into());
        namespace.metadata.annotations =
            owner.map(|owner| [(labels::OWNED_BY_TENANT.to_owned(), owner.to_owned())].into());
        namespace
    }

    fn tenant(uid: Option<&str>) -> Tenant {
        let mut tenant: Tenant = serde_yaml::from_str(
            "{apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {name: acme}, spec: {coredms: {storage: {size: 1Gi}}}}",
        )
        .unwrap();
        tenant.status = uid.map(|uid| simbdp_api::TenantStatus {
            namespace_uid: Some(uid.into()),
            ..Default::default()
        });
        tenant
    }

    #[test]
    fn a_namespace_is_a_tenant_s_only_by_uid_and_annotation() {
        let ours = namespace("tenant-acme", "u1", Some("acme"));
        assert!(matches!(
            home(&ours, Some(&tenant(Some("u1")))),
            Some(Home::Living(..))
        ));
        assert!(matches!(
            home(&ours, Some(&tenant(None))),
            Some(Home::NotYet { .. })
        ));
        assert!(matches!(
            home(&ours, None),
            Some(Home::Stopped { retained: true, .. })
        ));
        let mut leaving = ours.clone();
        leaving.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ));
        assert!(matches!(
            home(&leaving, Some(&tenant(Some("u1")))),
            Some(Home::Stopped { .. })
        ));
        assert_eq!(home(&ours, Some(&tenant(Some("u2")))), None);
        assert_eq!(
            home(
                &namespace("tenant-acme", "u1", None),
                Some(&tenant(Some("u1")))
            ),
            None
        );
        assert_eq!(home(&namespace("default", "u1", Some("acme")), None), None);
    }

    #[test]
    fn a_pipeline_elsewhere_is_told_where_it_belongs() {
        let homeless = Homeless {
            namespace: "default".into(),
            tenants: vec!["a".into(), "b".into()],
        };
        assert_eq!(
            homeless.to_string(),
            "namespace `default` is not a tenant's: create the IngestPipeline in the namespace `tenant-<name>` of a Tenant; Tenants are a, b"
        );
    }
}
