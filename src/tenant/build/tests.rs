use k8s_openapi::serde::Serialize;
use simbdp_api::Tenant;
use simbdp_api::tenant::Role;
use simbdp_api::wire::config::UserRecord;

use super::*;
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
    }
}

fn tenant() -> ValidatedTenant {
    let tenant: Tenant = serde_yaml::from_str(SMALLEST).unwrap();
    validate(&tenant, &[serde_yaml::from_str(BROKER).unwrap()], None).unwrap()
}

fn built() -> Resources<Prepared> {
    let users = Users {
        users: vec![UserRecord {
            name: "ada".into(),
            role: Role::Writer,
            password_hash: "hash".into(),
            token_sha256: "digest".into(),
        }],
    };
    build(&tenant(), "digest", &users, 1, &platform())
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
    insta::assert_snapshot!(yaml(&[namespace::namespace(&owner(), "uid-1", "main")]));
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
fn generated_secrets() {
    let mut count = 0;
    let fresh = || {
        count += 1;
        format!("fresh-{count}")
    };
    let secrets = secrets::generated(&owner(), "main", &tenant().users, &platform(), fresh);
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
    insta::assert_snapshot!(yaml(&[built.coredms]));
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
        built.coredms.metadata,
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
