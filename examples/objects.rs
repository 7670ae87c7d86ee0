//! Writes what the operator makes of the custom resources in a file, as far as it concerns who may reach whom:
//! namespaces, workloads and network policies, as YAML. Each Tenant has one pipeline.
//!
//! `cargo run --example objects -- deploy/connectivity/declared.yaml`

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use simbdp_api::names::TenantName;
use simbdp_api::wire::config::Users;
use simbdp_api::{Broker, CoreDms, IngestPipeline, Tenant, labels};
use simbdp_operator::broker::credentials::Credentials;
use simbdp_operator::coredms::place::DatabasePlace;
use simbdp_operator::objects::OwnImage;
use simbdp_operator::tenant::build::meta::{Owner, Platform};
use simbdp_operator::tenant::build::namespace::{Hosts, namespace};
use simbdp_operator::tenant::namespace::Current;
use simbdp_operator::{broker, coredms, pipeline, tenant};

const NAMESPACE: &str = "simbdp-system";
const VERSION: &str = "0";

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("name a file")?;
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let declared: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
        .map(serde::Deserialize::deserialize)
        .collect::<Result<_, _>>()?;
    let brokers: Vec<Broker> = all(&declared, "Broker")?;
    let shared: Vec<CoreDms> = all(&declared, "CoreDms")?;
    let mut objects = Vec::new();
    for broker in brokers
        .iter()
        .filter(|broker| broker.spec.external.is_none())
    {
        objects.extend(of_broker(broker)?);
    }
    for coredms in &shared {
        objects.extend(of_coredms(coredms)?);
    }
    for tenant in all::<Tenant>(&declared, "Tenant")? {
        objects.extend(of_tenant(&tenant, &brokers, &shared)?);
    }
    for object in objects {
        println!("---\n{}", serde_yaml::to_string(&object)?);
    }
    Ok(())
}

fn all<K: DeserializeOwned>(declared: &[Value], kind: &str) -> anyhow::Result<Vec<K>> {
    declared
        .iter()
        .filter(|object| object["kind"] == kind)
        .map(|object| Ok(serde_json::from_value(object.clone())?))
        .collect()
}

fn own() -> OwnImage {
    OwnImage {
        image: "simbdp".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    }
}

fn of_broker(declared: &Broker) -> anyhow::Result<Vec<Value>> {
    let platform = broker::build::Platform {
        namespace: NAMESPACE.to_owned(),
        own: own(),
        rabbitmq: "rabbitmq".to_owned(),
        kafka: "kafka".to_owned(),
        version: VERSION.to_owned(),
    };
    let valid = broker::validate::validate(declared)?;
    let built = broker::build::build(&valid, &platform, &Credentials::default());
    Ok(vec![
        serde_json::to_value(built.nodes)?,
        serde_json::to_value(built.network)?,
    ])
}

fn of_coredms(declared: &CoreDms) -> anyhow::Result<Vec<Value>> {
    let platform = coredms::build::Platform {
        namespace: NAMESPACE.to_owned(),
        own: own(),
        repository: "engine".to_owned(),
        version: VERSION.to_owned(),
    };
    let fresh = coredms::build::Fresh {
        password: String::new(),
        keyfile: String::new(),
    };
    let valid = coredms::validate::validate(declared)?;
    let built = coredms::build::build(&valid, &platform, fresh, valid.replicas);
    let mut objects = vec![serde_json::to_value(built.members)?];
    if let Some(policy) = built.network {
        objects.push(serde_json::to_value(policy)?);
    }
    Ok(objects)
}

fn of_tenant(
    declared: &Tenant,
    brokers: &[Broker],
    shared: &[CoreDms],
) -> anyhow::Result<Vec<Value>> {
    let platform = Platform {
        namespace: NAMESPACE.to_owned(),
        service_account: "simbdp".to_owned(),
        image: own().image,
        pull_policy: own().pull_policy,
        version: VERSION.to_owned(),
        service: "simbdp-operator".to_owned(),
        authority: None,
    };
    let valid = tenant::validate::validate(declared, brokers, &Current::default())?;
    let reference = declared.spec.coredms.reference.as_ref();
    let place = match reference {
        None => DatabasePlace::dedicated(&valid.name, declared.spec.coredms.engine),
        Some(reference) => {
            let named =
                |coredms: &&CoreDms| coredms.metadata.name.as_ref() == Some(&reference.name);
            let found = shared.iter().find(named);
            DatabasePlace::of(found.context("no such CoreDms in the file")?)
        }
    };
    let owner = Owner::tenant(&valid.name, &platform);
    let users = Users { users: Vec::new() };
    let built = tenant::build::build(&valid, &place, "", &users, 1, &platform);
    let hosts = Hosts::of(&valid, &place);
    let mut objects = vec![
        serde_json::to_value(namespace(&owner, "", &hosts))?,
        serde_json::to_value(built.gateway)?,
        of_pipeline(&valid.name, &platform)?,
    ];
    for policy in built.network_policies {
        objects.push(serde_json::to_value(policy)?);
    }
    if let Some(coredms) = &built.coredms {
        objects.extend(of_coredms(coredms)?);
    }
    Ok(objects)
}

fn of_pipeline(tenant: &TenantName, platform: &Platform) -> anyhow::Result<Value> {
    let declared: IngestPipeline = serde_json::from_value(json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "IngestPipeline",
        "metadata": {"name": "pipeline", "namespace": tenant.namespace(), "labels": {labels::TENANT: tenant}},
        "spec": {"batch": {}, "table": {"name": "t", "columns": [{"name": "k", "type": "int"}]}},
    }))?;
    let ceilings = tenant::validate::ValidatedCeilings::default();
    let valid = pipeline::validate::validate(&declared, tenant, false, &ceilings)?;
    let built = pipeline::build::build(&valid, "", platform);
    Ok(serde_json::to_value(built.ingest)?)
}
