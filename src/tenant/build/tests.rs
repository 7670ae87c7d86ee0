use k8s_openapi::serde::Serialize;
use simbdp_api::Tenant;
use simbdp_api::common::Engine;
use simbdp_api::tenant::Role;
use simbdp_api::wire::config::UserRecord;

use super::*;
use crate::tenant::namespace::Current;
use crate::tenant::validate::validate;

const SMALLEST: &str = r"
apiVersion: simbdp.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  coredms: {storage: {size: 10Gi}, profile: Development}
  users: [{name: ada, role: Writer}]
  quota: {pods: 10, storage: 1024Gi, requestsPerSecond: 100, stagedFiles: 50}
";

const BROKER: &str = r"
apiVersion: simbdp.dev/v1alpha1
kind: Broker
metadata: {name: main}
spec: {default: true, storage: {size: 1Gi}}
";

fn platform() -> Platform {
    Platform {
        namespace: "simbdp-system".into(),
        service_account: "simbdp".into(),
        image: "example/simbdp:1".into(),
        pull_policy: "IfNotPresent".into(),
        version: "1".into(),
        service: "simbdp-operator".into(),
        authority: Some("certificate".into()),
    }
}

fn tenant() -> ValidatedTenant {
    let tenant: Tenant = serde_yaml::from_str(SMALLEST).unwrap();
    let broker = serde_yaml::from_str(BROKER).unwrap();
    validate(&tenant, &[broker], &Current::default()).unwrap()
}

fn own_place() -> DatabasePlace {
    DatabasePlace::dedicated(&tenant().name, Engine::Cassandra)
}

fn built() -> Resources<Prepared> {
    built_at(&own_place())
}

fn built_at(place: &DatabasePlace) -> Resources<Prepared> {
    let users = Users {
        users: vec![UserRecord {
            name: "ada".into(),
            role: Role::Writer,
            password_hash: "hash".into(),
            token_sha256: "digest".into(),
        }],
    };
    build(&tenant(), place, "digest", &users, 1, &platform())
}

fn owner() -> Owner {
    Owner::tenant(&tenant().name, &platform())
}

/// Objects as one YAML text, which is easier to read than their types.
fn yaml<K: Serialize>(objects: &[K]) -> String {
    let objects = objects
        .iter()
        .map(|object| serde_yaml::to_string(object).unwrap());
    objects.collect::<Vec<_>>().join("---\n")
}

#[test]
fn the_namespace_and_the_operator_s_right_to_it() {
    let hosts = namespace::Hosts::of(&tenant(), &own_place());
    insta::assert_snapshot!(yaml(&[namespace::namespace(&owner(), "uid-1", &hosts)]));
    insta::assert_snapshot!(yaml(&[namespace::role_binding(&owner(), &platform())]));
}

#[test]
fn quota_and_defaults() {
    let built = built();
    insta::assert_snapshot!(yaml(&[built.quota]));
    insta::assert_snapshot!(yaml(&[built.limits]));
}

#[test]
fn network_policies() {
    insta::assert_snapshot!(yaml(&built().network_policies));
}

#[test]
fn gateway_and_ingest_apps_reach_the_one_database_of_the_tenant() {
    let egress = |spec: &str| {
        let text = format!("{{metadata: {{name: c, namespace: simbdp-system}}, spec: {spec}}}");
        let place = DatabasePlace::of(&serde_yaml::from_str(&text).unwrap());
        let policies = built_at(&place).network_policies;
        let names: Vec<_> = policies
            .iter()
            .map(|policy| policy.metadata.name.clone().unwrap())
            .collect();
        assert_eq!(names, ["default-deny", "dns", "gateway", "ingest"]);
        let spec = policies[2].spec.clone().unwrap();
        yaml(&[spec.egress.unwrap()[0].clone()])
    };
    let external = |address: &str| {
        format!("{{external: {{addresses: ['{address}'], secretRef: {{name: s}}}}}}")
    };
    insta::assert_snapshot!(egress("{storage: {size: 1Gi}}"));
    insta::assert_snapshot!(egress(&external("10.0.0.1:9142")));
    insta::assert_snapshot!(egress(&external("db.example:9142")));
}

#[test]
fn generated_secrets() {
    let mut count = 0;
    let fresh = || {
        count += 1;
        format!("fresh-{count}")
    };
    let secrets = secrets::generated(&owner(), &tenant(), &own_place(), &platform(), fresh);
    // As text: a snapshot of base64 shows nothing.
    let readable = |secret: &Secret| {
        let data = secret.data.iter().flatten();
        let data =
            data.map(|(key, bytes)| format!("  {key}: {}", String::from_utf8_lossy(&bytes.0)));
        let name = secret.metadata.name.clone().unwrap_or_default();
        let kind = secret.type_.clone().unwrap_or_default();
        [vec![format!("{name} ({kind})")], data.collect()]
            .concat()
            .join("\n")
    };
    let lines = secrets.iter().flat_map(|secret| {
        let always = secret.always.iter().map(readable);
        std::iter::once(readable(&secret.once)).chain(always)
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn accounts_config_and_database() {
    let built = built();
    insta::assert_snapshot!(yaml(&[built.gateway_account, built.ingest_account]));
    insta::assert_snapshot!(yaml(&[built.pipelines]));
    insta::assert_snapshot!(yaml(&[built.coredms.unwrap()]));
}

#[test]
fn the_gateway() {
    let built = built();
    insta::assert_snapshot!(yaml(&[built.gateway_service, built.gateway_replicas]));
    insta::assert_snapshot!(yaml(&[built.gateway_budget]));
    insta::assert_snapshot!(yaml(&[built.gateway]));
}

#[test]
fn every_object_carries_the_labels_of_its_tenant() {
    let built = built();
    let metas = [
        built.quota.metadata,
        built.limits.metadata,
        built.gateway_account.metadata,
        built.ingest_account.metadata,
        built.pipelines.metadata,
        built.gateway_users.metadata,
        built.coredms.unwrap().metadata,
        built.gateway_service.metadata,
        built.gateway_replicas.metadata,
        built.gateway_budget.metadata,
        built.gateway.metadata,
    ];
    let policies = built
        .network_policies
        .into_iter()
        .map(|policy| policy.metadata);
    for meta in metas.into_iter().chain(policies) {
        let labels = meta.labels.unwrap();
        assert_eq!(labels[simbdp_api::labels::TENANT], "acme");
        assert_eq!(
            labels[simbdp_api::labels::APP_MANAGED_BY],
            "simbdp-operator"
        );
        assert_eq!(meta.namespace.as_deref(), Some("tenant-acme"));
        assert_eq!(
            meta.owner_references, None,
            "what Retain keeps must not die with the Tenant"
        );
    }
}

#[test]
fn the_check_of_isolation() {
    let neighbour = simbdp_api::wire::isolation::Neighbour {
        tenant: "other".into(),
        gateway: "http://gateway.tenant-other.svc:8080".into(),
        internal: "http://gateway-0.gateway-replicas.tenant-other.svc:8081".into(),
        vhost: "other".into(),
        engine: Engine::Cassandra,
        database: vec!["coredms.tenant-other.svc:9042".into()],
        keyspace: "p_other".into(),
        shared: false,
    };
    let job = isolation::job(&owner(), Some("ada"), &[neighbour], &platform());
    insta::assert_snapshot!(yaml(&[job]));
}
