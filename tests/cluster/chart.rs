//! The chart: what it renders is accepted, what it does not know is refused, and the operator's rights end where
//! they should.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, PostParams};
use kube::{Client, Config};
use serde_json::json;
use simbdp_api::CoreDms;

use crate::harness::{Cluster, TestTenant};

const OPERATOR: &str = "system:serviceaccount:simbdp-system:simbdp-operator";

/// Output of a program in the project's directory.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A program that refuses its arguments does not read.
    let _ = writer.join().unwrap();
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A client with the rights of the operator's ServiceAccount.
async fn as_operator() -> Client {
    let _ = Cluster::connect().await;
    let mut config = Config::infer().await.unwrap();
    config.auth_info.impersonate = Some(OPERATOR.to_owned());
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn every_object_that_the_charts_render_is_accepted() {
    for (chart, values) in [
        ("charts/simbdp-crds", &[][..]),
        (
            "charts/simbdp",
            &[
                "--set",
                "networkPolicy.enabled=true,podDisruptionBudget.enabled=true,developerRole.create=true",
            ][..],
        ),
    ] {
        let mut arguments = vec!["template", "simbdp", chart, "--namespace", "simbdp-system"];
        arguments.extend(values);
        let rendered = run("helm", &arguments, b"");
        assert!(rendered.status.success(), "{}", said(&rendered));
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--namespace",
            "simbdp-system",
            "--filename",
            "-",
        ];
        let applied = run("kubectl", &arguments, &rendered.stdout);
        assert!(applied.status.success(), "{chart}: {}", said(&applied));
    }
}

#[tokio::test]
async fn values_that_the_chart_does_not_know_are_refused() {
    for (value, named) in [
        ("replica=3", "replica"),
        ("replicas=none", "replicas"),
        ("defaultBroker.storage.size=[1]", "size"),
    ] {
        let rendered = run("helm", &["template", "charts/simbdp", "--set", value], b"");
        assert!(!rendered.status.success(), "{value} is taken");
        assert!(
            said(&rendered).contains(named),
            "{value}: {}",
            said(&rendered)
        );
    }
}

fn binding(namespace: &str, role: &str, account: &str) -> RoleBinding {
    serde_json::from_value(json!({
        "metadata": {"name": "stolen", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "simbdp-system"}],
    }))
    .unwrap()
}

#[tokio::test]
async fn the_operator_binds_its_role_in_namespaces_of_tenants_alone() {
    let alpha = TestTenant::alpha().await;
    let client = as_operator().await;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let tenants = alpha.name.namespace();
    let create = async |namespace: &str, role: &str, account: &str| {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        let created = api.create(&dry, &binding(namespace, role, account)).await;
        created.map(drop).map_err(|error| error.to_string())
    };
    create(&tenants, "simbdp-tenant", "simbdp-operator")
        .await
        .expect("in a tenant's namespace it may");
    for (namespace, role, account, refusal) in [
        (
            "kube-system",
            "simbdp-tenant",
            "simbdp-operator",
            "only in namespaces of tenants",
        ),
        (
            &*tenants,
            "simbdp-tenant",
            "default",
            "its own ServiceAccount only",
        ),
        (
            &*tenants,
            "cluster-admin",
            "simbdp-operator",
            "not currently held",
        ),
    ] {
        let refused = create(namespace, role, account).await.unwrap_err();
        assert!(refused.contains(refusal), "{namespace} {role}: {refused}");
    }
}

#[tokio::test]
async fn the_operator_reads_secrets_runs_commands_and_scales_of_tenants_alone() {
    let alpha = TestTenant::alpha().await;
    let client = as_operator().await;
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
    let allowed = async |namespace: Option<String>, verb: &str, resource: &str| {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (resource, None),
        };
        let (resource, group) = match resource.split_once('.') {
            Some((resource, group)) => (resource, Some(group.to_owned())),
            None => (resource, None),
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace,
                    group,
                    verb: Some(verb.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await;
        answer.unwrap().status.unwrap().allowed
    };
    for (verb, resource) in [
        ("list", "secrets"),
        ("get", "pods/exec"),
        ("create", "pods/exec"),
        ("patch", "deployments.apps/scale"),
    ] {
        let (own, other) = (alpha.name.namespace(), "kube-system".to_owned());
        assert!(allowed(Some(own), verb, resource).await);
        assert!(!allowed(Some(other), verb, resource).await);
        assert!(!allowed(None, verb, resource).await);
    }
    assert!(allowed(None, "create", "tokenreviews.authentication.k8s.io").await);
}

#[tokio::test]
async fn places_in_shared_databases_are_written_by_the_operator_alone() {
    let _ = Cluster::connect().await;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let create = async |client: Client, claims: serde_json::Value| {
        let api: Api<CoreDms> = Api::namespaced(client, "simbdp-system");
        let coredms = serde_json::from_value(json!({
            "metadata": {"name": "claimed"},
            "spec": {"storage": {"size": "1Gi"}, "maxTenants": 2, "claims": claims},
        }))
        .unwrap();
        let created = api.create(&dry, &coredms).await;
        created.map(drop).map_err(|error| error.to_string())
    };
    let admin = Client::try_from(Config::infer().await.unwrap()).unwrap();
    create(admin.clone(), json!([])).await.expect("no claims");
    let refused = create(admin, json!([{"tenant": "a"}])).await.unwrap_err();
    assert!(
        refused.contains("written by the operator alone"),
        "{refused}"
    );
    create(as_operator().await, json!([{"tenant": "a"}]))
        .await
        .expect("the operator may");
}
