//! No tenant reaches another's gateway, virtual host or keyspace with its own credentials.

use reqwest::{Method, StatusCode};
use simbdp_api::names::tenant_objects;

use crate::harness::TestTenant;

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
    let refused = beta.session_as(&user, &password).await;
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

#[tokio::test]
async fn the_tenants_own_role_reads_its_tables_and_not_the_ledger() {
    let alpha = TestTenant::alpha().await;
    let session = alpha.session().await.unwrap();
    let ledger = format!(
        "SELECT * FROM \"{}\".files LIMIT 1",
        alpha.name.platform_keyspace()
    );
    let refused = session
        .query_unpaged(ledger, ())
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.to_lowercase().contains("permission"), "{refused}");
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
