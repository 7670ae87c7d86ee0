//! No tenant reaches another's gateway, virtual host or keyspace with its own credentials.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use reqwest::{Method, StatusCode};
use serde_json::json;
use simbdp_api::names::tenant_objects;

use crate::harness::{QUICK, TestTenant, condition, eventually};

for_each_engine!(the_tenants_own_role_reads_its_tables_and_not_the_ledger);

#[tokio::test]
async fn credentials_of_one_tenant_fail_everywhere_at_another() {
    let (alpha, beta) = (TestTenant::alpha().await, TestTenant::beta().await);

    let beta_gateway = beta
        .cluster
        .service_url(&beta.name.namespace(), tenant_objects::GATEWAY, 8080)
        .await;
    let token = alpha.token("loader").await;
    let answer = alpha
        .cluster
        .http
        .get(format!("{beta_gateway}/v1/pipelines"))
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    let user = alpha
        .secret(tenant_objects::COREDMS_BINDING, "username")
        .await;
    let password = alpha
        .secret(tenant_objects::COREDMS_BINDING, "password")
        .await;
    let refused = beta.database_as(&user, &password).await;
    assert!(refused.is_err(), "alpha's role logs in to beta's database");

    let broker = beta
        .cluster
        .service_url("simbdp-system", "broker-default", 5672)
        .await;
    let address = broker.trim_start_matches("http://").to_owned();
    let broker_user = alpha
        .secret(tenant_objects::BROKER_BINDING, "username")
        .await;
    let broker_password = alpha
        .secret(tenant_objects::BROKER_BINDING, "password")
        .await;
    let open = |vhost: String| {
        let uri = format!("amqp://{broker_user}:{broker_password}@{address}/{vhost}");
        async move { lapin::Connection::connect(&uri, lapin::ConnectionProperties::default()).await }
    };
    let own = open(alpha.name.vhost())
        .await
        .expect("alpha's user opens alpha's virtual host");
    own.close(200, "done".into()).await.unwrap();
    let foreign = open(beta.name.vhost()).await;
    assert!(foreign.is_err(), "alpha's user opens beta's virtual host");
}

/// Waits until the self-test of a tenant says so, about the other one.
async fn verified(tenant: &TestTenant, expected: (&str, &str), other: &str) {
    eventually(&format!("isolation of {}", tenant.name), QUICK, || async {
        let found = tenant.cluster.tenants().get(tenant.name.as_str()).await;
        let status = found.unwrap().status.unwrap_or_default();
        match condition(&status.conditions, "IsolationVerified") {
            Some((holds, reason, message))
                if (holds.as_str(), reason.as_str()) == expected && message.contains(other) =>
            {
                Ok(())
            }
            said => Err(format!("{said:?}")),
        }
    })
    .await;
}

/// Takes the last self-test away, so that the next one is due.
async fn check_again(tenant: &TestTenant) {
    let jobs: Api<Job> = Api::namespaced(tenant.cluster.client.clone(), &tenant.name.namespace());
    let params = DeleteParams::background();
    jobs.delete(tenant_objects::ISOLATION, &params)
        .await
        .unwrap();
}

async fn set_internal_token(tenant: &TestTenant, token: &str) {
    let secrets = tenant.cluster.secrets(&tenant.name.namespace());
    let patch = Patch::Merge(json!({"stringData": {"token": token}}));
    let params = PatchParams::default();
    secrets
        .patch(tenant_objects::INTERNAL, &params, &patch)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_self_test_finds_a_server_that_takes_anothers_credentials() {
    let (alpha, beta) = (TestTenant::alpha().await, TestTenant::beta().await);
    // The network plugin of the local cluster enforces no policies, and that is told.
    let kept_apart = ("True", "CredentialsOnly");
    verified(&beta, kept_apart, "alpha").await;
    check_again(&alpha).await;
    verified(&alpha, kept_apart, "beta").await;

    let own = beta.secret(tenant_objects::INTERNAL, "token").await;
    let foreign = alpha.secret(tenant_objects::INTERNAL, "token").await;
    set_internal_token(&beta, &foreign).await;
    let gateway = tenant_objects::GATEWAY;
    eventually("beta's gateway takes alpha's token", QUICK, || async {
        let pod = beta
            .cluster
            .pods(&beta.name.namespace())
            .get("gateway-0")
            .await;
        let pod = pod.map_err(|error| error.to_string())?;
        let address = pod.status.and_then(|status| status.pod_ip).ok_or(gateway)?;
        let state = format!("http://{address}:8081/internal/state");
        let asked = beta
            .cluster
            .http
            .get(state)
            .bearer_auth(&foreign)
            .send()
            .await;
        match asked.map_err(|error| error.to_string())?.status() {
            StatusCode::OK => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    check_again(&alpha).await;
    verified(&alpha, ("False", "Breached"), "internal API of beta").await;
    set_internal_token(&beta, &own).await;
    beta.cluster.tenant_ready(&beta.name).await;
}

async fn the_tenants_own_role_reads_its_tables_and_not_the_ledger(tenant: TestTenant) {
    let database = eventually("a session", QUICK, || tenant.database()).await;
    let ledger = tenant.name.platform_keyspace();
    let refused = database.try_rows(&ledger, "files", &["id"]).await;
    let refused = refused.unwrap_err().to_lowercase();
    let says = ["permission", "not authorized"];
    assert!(
        says.iter().any(|words| refused.contains(words)),
        "{refused}"
    );
}

#[tokio::test]
async fn a_reader_may_read_and_not_write() {
    let alpha = TestTenant::alpha().await;
    let read = alpha
        .request("analyst", Method::GET, "/v1/pipelines")
        .await
        .send()
        .await
        .unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    let write = alpha
        .request("analyst", Method::PUT, "/v1/pipelines/any/files/a.csv")
        .await
        .body("a\n1\n")
        .send()
        .await
        .unwrap();
    assert_eq!(write.status(), StatusCode::FORBIDDEN);
    let problem: serde_json::Value = write.json().await.unwrap();
    assert!(
        problem["detail"].as_str().unwrap().contains("Writer"),
        "{problem}"
    );
}
