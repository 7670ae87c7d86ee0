//! Built objects [pure]: what the controllers' builders give, as one list. Destructured without `..`, so that an object
//! that a plan forgets does not compile.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{ApiResource, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use super::error::PlanError;
use crate::activation::decide::Bounds;
use crate::activation::workload;
use crate::apply::{Appliable, encode};
use crate::{broker, coredms, tenant};

/// How an object is kept as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Upkeep {
    /// It is applied.
    Applied,
    /// It is applied, and made anew around its pods where it cannot be changed.
    Replaced,
    /// It is made once and then left as it is.
    Once,
}

/// An object that a controller would apply.
#[derive(Clone, Debug)]
pub struct Built {
    /// Of its kind.
    pub resource: ApiResource,
    /// Its metadata.
    pub meta: ObjectMeta,
    /// What is applied.
    pub body: Value,
    /// Digest of it.
    pub digest: String,
    /// Field manager of the controller.
    pub manager: &'static str,
    /// How it is kept.
    pub upkeep: Upkeep,
    /// What else to say of it when it is made.
    pub detail: Option<String>,
    /// Claims of the volumes that come with its pods.
    pub claims: Vec<Claim>,
}

/// The claim of a volume that a StatefulSet makes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// Size, and StorageClass where one is named.
    pub size: String,
}

/// Collects what one controller builds.
pub struct Builder {
    manager: &'static str,
    /// What was built so far.
    pub built: Vec<Built>,
}

impl Builder {
    /// For a controller.
    pub fn new(manager: &'static str) -> Self {
        Self {
            manager,
            built: Vec::new(),
        }
    }

    /// An object that is applied.
    pub fn add<K: Appliable>(&mut self, object: &K) -> Result<&mut Built, PlanError> {
        let (body, digest) = encode(object).map_err(PlanError::decoding(object.name_any()))?;
        self.built.push(Built {
            resource: ApiResource::erase::<K>(&()),
            meta: object.meta().clone(),
            body,
            digest,
            manager: self.manager,
            upkeep: Upkeep::Applied,
            detail: None,
            claims: Vec::new(),
        });
        let at = self.built.len() - 1;
        Ok(&mut self.built[at])
    }

    /// An object that is made once.
    pub fn once<K: Appliable>(&mut self, object: &K) -> Result<(), PlanError> {
        self.add(object)?.upkeep = Upkeep::Once;
        Ok(())
    }

    /// A StatefulSet, with the claims of its volumes.
    pub fn stateful(&mut self, object: &StatefulSet, upkeep: Upkeep) -> Result<(), PlanError> {
        let built = self.add(object)?;
        built.upkeep = upkeep;
        built.claims = claims(object);
        built.detail = object
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .map(replicas);
        Ok(())
    }

    /// A Deployment, whose number of replicas follows what waits.
    pub fn deployment(&mut self, object: &Deployment, bounds: &Bounds) -> Result<(), PlanError> {
        let Bounds { min, max, .. } = bounds;
        self.add(object)?.detail = Some(match workload::paused(object) {
            Some(_) => "no replica while it is paused".to_owned(),
            None => format!("{min} to {max} replicas"),
        });
        Ok(())
    }

    /// Names of what was built of a kind.
    pub fn names_of(&self, kind: &str) -> Vec<String> {
        let built = self.built.iter().filter(|one| one.resource.kind == kind);
        built.filter_map(|one| one.meta.name.clone()).collect()
    }

    /// The one object of a kind, where one was built.
    pub fn find<K: Resource<DynamicType = ()>>(&self) -> Option<Built> {
        let mut built = self.built.iter();
        built.find(|one| one.resource.kind == K::kind(&())).cloned()
    }

    /// Every object of a tenant but its namespace, the operator's right to it and the Secrets that are generated.
    pub fn tenant(
        &mut self,
        resources: tenant::build::Resources<tenant::build::Prepared>,
    ) -> Result<(), PlanError> {
        let tenant::build::Resources {
            quota,
            limits,
            network_policies,
            gateway_account,
            ingest_account,
            pipelines,
            trust,
            gateway_users,
            coredms,
            gateway_service,
            gateway_replicas,
            gateway_budget,
            gateway,
            state: _,
        } = resources;
        for policy in &network_policies {
            self.add(policy)?;
        }
        self.add(&quota)?;
        self.add(&limits)?;
        self.add(&gateway_account)?;
        self.add(&ingest_account)?;
        self.add(&pipelines)?;
        if let Some(trust) = &trust {
            self.once(trust)?;
        }
        self.once(&gateway_users)?;
        if let Some(coredms) = &coredms {
            self.add(coredms)?;
        }
        self.add(&gateway_service)?;
        self.add(&gateway_replicas)?;
        self.add(&gateway_budget)?;
        self.stateful(&gateway, Upkeep::Applied)
    }

    /// Every object of a database.
    pub fn coredms(
        &mut self,
        resources: coredms::build::Resources<coredms::build::Prepared>,
    ) -> Result<(), PlanError> {
        let coredms::build::Resources {
            account,
            config,
            superuser,
            network,
            service,
            budget,
            members,
            state: _,
        } = resources;
        self.add(&account)?;
        self.add(&config)?;
        self.once(&superuser)?;
        if let Some(network) = &network {
            self.add(network)?;
        }
        self.add(&service)?;
        self.add(&budget)?;
        self.stateful(&members, Upkeep::Replaced)
    }

    /// Every object of a broker but the Secrets that are generated. Its configuration has the password in it, so it is
    /// only told apart by being there.
    pub fn broker(
        &mut self,
        resources: broker::build::Resources<broker::build::Prepared>,
    ) -> Result<(), PlanError> {
        let broker::build::Resources {
            account,
            config,
            network,
            nodes_service,
            service,
            budget,
            nodes,
            state: _,
        } = resources;
        self.add(&account)?;
        self.once(&config)?;
        self.add(&network)?;
        self.add(&nodes_service)?;
        self.add(&service)?;
        self.add(&budget)?;
        self.stateful(&nodes, Upkeep::Replaced)
    }
}

fn replicas(count: i32) -> String {
    match count {
        1 => "1 replica".to_owned(),
        many => format!("{many} replicas"),
    }
}

/// Claims of a StatefulSet's volumes, as its own controller names them.
fn claims(object: &StatefulSet) -> Vec<Claim> {
    let Some(spec) = &object.spec else {
        return Vec::new();
    };
    let set = object.name_any();
    let templates = spec.volume_claim_templates.as_deref().unwrap_or_default();
    let of_replica = |ordinal: i32| templates.iter().map(move |template| (template, ordinal));
    (0..spec.replicas.unwrap_or(1))
        .flat_map(of_replica)
        .map(|(template, ordinal)| Claim {
            name: format!("{}-{set}-{ordinal}", template.name_any()),
            size: size(template),
        })
        .collect()
}

/// Size of a claim, and its StorageClass where one is named.
pub fn size(claim: &PersistentVolumeClaim) -> String {
    let Some(spec) = &claim.spec else {
        return String::new();
    };
    let requests = spec
        .resources
        .as_ref()
        .and_then(|all| all.requests.as_ref());
    let size = requests.and_then(|requests| requests.get("storage"));
    let size = size.map(|size| size.0.clone()).unwrap_or_default();
    match &spec.storage_class_name {
        Some(class) => format!("{size} of class {class}"),
        None => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_named_as_kubernetes_does_and_have_their_sizes() {
        let text = "
metadata: {name: db, namespace: n}
spec:
  replicas: 2
  serviceName: db
  selector: {}
  template: {}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}
";
        let set: StatefulSet = serde_yaml::from_str(text).unwrap();
        let mut builder = Builder::new("m");
        builder.stateful(&set, Upkeep::Replaced).unwrap();
        let names: Vec<_> = builder.built[0]
            .claims
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        assert_eq!(names, ["data-db-0", "data-db-1"]);
        assert_eq!(builder.built[0].claims[0].size, "1Gi of class fast");
        assert_eq!(builder.built[0].detail.as_deref(), Some("2 replicas"));
    }
}
