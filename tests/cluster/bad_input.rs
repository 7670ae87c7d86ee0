//! Bad resources and bad files, on the real thing: a clear reason, and nothing else harmed.

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use simbdp_api::IngestPipeline;
use simbdp_api::common::Engine;
use simbdp_api::names::TenantName;
use simbdp_api::wire::rest::FileState;

use crate::harness::{Cluster, QUICK, TestTenant, condition, eventually, small_tenant};

for_each_engine!(
    a_table_change_that_is_not_additive_is_refused_and_alters_nothing,
    every_kind_of_bad_file_fails_with_its_reason_and_the_next_good_one_passes,
);

fn small_table(table: &str) -> Value {
    json!({
        "batch": {},
        "table": {
            "name": table,
            // Reserved words of CQL are good column names.
            "columns": [
                {"name": "select", "type": "int"},
                {"name": "table", "type": "text"},
                {"name": "at", "type": "timestamp"},
            ],
            "primaryKey": {"partition": ["select"]},
        },
    })
}

/// Waits until an object's Ready condition is False for a reason, and returns its message.
async fn not_ready(tenant: &TestTenant, pipeline: &str, reason: &str) -> String {
    eventually(
        &format!("{pipeline} is refused for {reason}"),
        QUICK,
        || async {
            let object = tenant
                .cluster
                .pipelines(&tenant.name)
                .get(pipeline)
                .await
                .unwrap();
            let status = object.status.unwrap_or_default();
            match condition(&status.conditions, "Ready") {
                Some((status, found, message)) if status == "False" && found == reason => {
                    Ok(message)
                }
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

async fn every_kind_of_bad_file_fails_with_its_reason_and_the_next_good_one_passes(
    tenant: TestTenant,
) {
    tenant.pipeline("files", small_table("files")).await;
    let cases: [(&str, &[u8], &str); 7] = [
        ("missing.csv", b"select,table\n1,a\n", "at"),
        (
            "extra.csv",
            b"select,table,at,more\n1,a,2013-01-01T00:00:00Z,x\n",
            "more",
        ),
        ("empty.csv", b"", "empty"),
        (
            "quote.csv",
            b"select,table,at\n1,\"never closed,2013-01-01T00:00:00Z\n",
            "quote",
        ),
        (
            "repeated.csv",
            b"select,select,at\n1,2,2013-01-01T00:00:00Z\n",
            "select",
        ),
        (
            "header-utf8.csv",
            b"select,t\xffable,at\n1,a,2013-01-01T00:00:00Z\n",
            "UTF-8",
        ),
        (
            "nul.csv",
            b"select,table\0,at\n1,a,2013-01-01T00:00:00Z\n",
            "NUL",
        ),
    ];
    for (name, content, reason) in cases {
        let request = tenant
            .request(
                "loader",
                reqwest::Method::PUT,
                &format!("/v1/pipelines/files/files/{name}"),
            )
            .await
            .body(content.to_vec());
        let response = request.send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        // What shows while the file streams in is refused at once; the rest fails in the ledger.
        let error = if status.is_client_error() {
            body["detail"].as_str().unwrap().to_owned()
        } else {
            let record = tenant
                .ended(body["id"].as_str().unwrap().parse().unwrap())
                .await;
            assert_eq!(record.state, FileState::Failed, "{name}: {record:?}");
            record.error.unwrap()
        };
        assert!(
            error.contains(reason),
            "{name}: `{error}` does not name `{reason}`"
        );
    }
    let good = "\u{feff}select,table,at\r\n1,a,2013-01-01T00:00:00+02:00\r\n\
                2,b,2013-02-30T00:00:00Z\r\n99999999999,c,2013-01-01T00:00:00Z\r\n3,d,\r\n";
    let upload = tenant.upload("files", "good.csv", good.as_bytes()).await;
    let record = tenant.ended(upload.id).await;
    assert_eq!(record.state, FileState::Done, "{record:?}");
    assert_eq!((record.accepted, record.rejected), (Some(2), Some(2)));
    let repeated = "select,table,at\n7,first,\n8,other,\n7,last,\n";
    let upload = tenant
        .upload("files", "repeated.csv", repeated.as_bytes())
        .await;
    assert_eq!(tenant.ended(upload.id).await.accepted, Some(3));
    let page: Value = tenant.get("/v1/tables/files/rows?select=7").await;
    assert_eq!(page["rows"].as_array().unwrap().len(), 1, "{page}");
    assert_eq!(page["rows"][0]["table"], "last", "the later row wins");
    let header_only = tenant
        .upload("files", "header.csv", b"select,table,at\n")
        .await;
    let record = tenant.ended(header_only.id).await;
    assert_eq!((record.state, record.accepted), (FileState::Done, Some(0)));
}

async fn a_table_change_that_is_not_additive_is_refused_and_alters_nothing(tenant: TestTenant) {
    tenant.pipeline("additive", small_table("additive")).await;
    let mut wider = small_table("additive");
    wider["table"]["columns"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "added", "type": "double"}));
    tenant.pipeline("additive", wider).await;
    let keyspace = tenant.name.keyspace();
    let database = eventually("a session", QUICK, || tenant.database()).await;
    let before = database.declaration(&keyspace, "additive").await;
    assert!(before.contains("added"), "{before}");

    let mut changed = small_table("additive");
    changed["table"]["columns"][1]["type"] = json!("bigint");
    tenant
        .cluster
        .apply_pipeline(&tenant.name, "additive", changed)
        .await
        .unwrap();
    let message = not_ready(&tenant, "additive", "TableConflict").await;
    assert!(
        message.contains("table") && message.contains("text") && message.contains("bigint"),
        "{message}"
    );
    assert_eq!(database.declaration(&keyspace, "additive").await, before);
}

#[tokio::test]
async fn a_pipeline_wider_than_the_platforms_ceiling_is_refused() {
    let tenant = TestTenant::alpha().await;
    let mut wide = small_table("wide");
    wide["batch"] = json!({"constraints": {"maxFileSize": "2Gi"}});
    tenant
        .cluster
        .apply_pipeline(&tenant.name, "wide", wide)
        .await
        .unwrap();
    let message = not_ready(&tenant, "wide", "AboveCeiling").await;
    assert!(
        message.contains("maxFileSize") && message.contains("268435456"),
        "{message}"
    );
}

#[tokio::test]
async fn a_pipeline_outside_a_tenants_namespace_is_refused() {
    let cluster = Cluster::connect().await;
    let pipelines: Api<IngestPipeline> = Api::namespaced(cluster.client.clone(), "default");
    let object = json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": "IngestPipeline",
        "metadata": {"name": "astray"}, "spec": small_table("astray"),
    });
    let params = PatchParams::apply("cluster-test").force();
    pipelines
        .patch("astray", &params, &Patch::Apply(object))
        .await
        .unwrap();
    let message = eventually("astray is refused", QUICK, || async {
        let status = pipelines
            .get("astray")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match condition(&status.conditions, "Ready") {
            Some((status, _, message)) if status == "False" => Ok(message),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(message.contains("namespace"), "{message}");
    pipelines
        .delete("astray", &Default::default())
        .await
        .unwrap();
    eventually("astray is gone", QUICK, || async {
        match pipelines.get_opt("astray").await.unwrap() {
            None => Ok(()),
            Some(_) => Err("still there".to_owned()),
        }
    })
    .await;
}

#[tokio::test]
async fn bad_tenants_are_refused_with_what_would_be_right() {
    let cluster = Cluster::connect().await;
    let name = TenantName::new("bad-tenant").unwrap();
    let mut two = small_tenant(Engine::Cassandra, "Delete");
    two["coredms"]["replicas"] = json!(2);
    let error = cluster
        .apply_tenant(&name, two)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("replicas"), "{error}");
    let mut users = small_tenant(Engine::Cassandra, "Delete");
    users["users"] = json!([{"name": "a", "role": "Reader"}, {"name": "a", "role": "Writer"}]);
    let error = cluster
        .apply_tenant(&name, users)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.to_lowercase().contains("duplicate"), "{error}");

    for (change, expected) in [
        (json!({"broker": {"ref": {"name": "nowhere"}}}), "nowhere"),
        (json!({"quota": {"pods": 2}}), "pods"),
    ] {
        let mut spec = small_tenant(Engine::Cassandra, "Delete");
        spec.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        cluster.apply_tenant(&name, spec).await.unwrap();
        eventually("the tenant is refused", QUICK, || async {
            let status = cluster
                .tenants()
                .get(name.as_str())
                .await
                .unwrap()
                .status
                .unwrap_or_default();
            match condition(&status.conditions, "Ready") {
                Some((status, _, message)) if status == "False" && message.contains(expected) => {
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        cluster
            .tenants()
            .delete(name.as_str(), &Default::default())
            .await
            .unwrap();
        eventually("the refused tenant is gone", QUICK, || async {
            match cluster.tenants().get_opt(name.as_str()).await.unwrap() {
                None => Ok(()),
                Some(_) => Err("still there".to_owned()),
            }
        })
        .await;
    }
}
