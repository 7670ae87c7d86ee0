//! The API server takes the definitions within its cost budget, and refuses what it should with a
//! message that says what would be right.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::{Value, json};

use crate::server;

/// An API of one of our kinds, in `default` where it is namespaced.
fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (plural, namespaced) = match kind {
        "Tenant" => ("tenants", false),
        "Broker" => ("brokers", false),
        "CoreDms" => ("coredms", true),
        "IngestPipeline" => ("ingestpipelines", true),
        other => unreachable!("{other} is not one of our kinds"),
    };
    let gvk = GroupVersionKind::gvk("simbdp.dev", "v1alpha1", kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    match namespaced {
        true => Api::namespaced_with(client.clone(), "default", &resource),
        false => Api::all_with(client.clone(), &resource),
    }
}

fn object(kind: &str, name: &str, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "simbdp.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// Only asks: nothing is stored.
async fn create(client: &Client, kind: &str, name: &str, spec: Value) -> Result<(), String> {
    let ask = PostParams {
        dry_run: true,
        ..Default::default()
    };
    match api(client, kind)
        .create(&ask, &object(kind, name, spec))
        .await
    {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn pipeline(changes: Value) -> Value {
    let mut spec = json!({
        "batch": {},
        "table": {
            "name": "t",
            "columns": [{"name": "id", "type": "bigint"}, {"name": "at", "type": "timestamp"}],
            "primaryKey": {"partition": ["id"]},
        },
    });
    merge(&mut spec, changes);
    spec
}

/// JSON merge patch: null removes.
fn merge(into: &mut Value, changes: Value) {
    match changes {
        Value::Object(changes) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in changes {
                match value {
                    Value::Null => {
                        into.as_object_mut().unwrap().remove(&key);
                    }
                    value => merge(&mut into[&key], value),
                }
            }
        }
        value => *into = value,
    }
}

fn storage() -> Value {
    json!({"size": "1Gi"})
}

#[tokio::test]
async fn the_smallest_object_of_each_kind_is_accepted() {
    let client = server::client().await;
    for (kind, spec) in [
        ("Tenant", json!({"coredms": {"storage": storage()}})),
        ("Broker", json!({"storage": storage()})),
        ("CoreDms", json!({"storage": storage()})),
        ("IngestPipeline", pipeline(json!({}))),
        (
            "IngestPipeline",
            pipeline(json!({"batch": null, "stream": {}})),
        ),
    ] {
        assert_eq!(create(&client, kind, "small", spec).await, Ok(()), "{kind}");
    }
}

#[tokio::test]
async fn reserved_words_are_accepted_as_names_of_columns() {
    let client = server::client().await;
    let table = json!({"columns": [{"name": "select", "type": "int"}], "primaryKey": {"partition": ["select"]}});
    let spec = pipeline(json!({"table": table}));
    assert_eq!(
        create(&client, "IngestPipeline", "reserved", spec).await,
        Ok(())
    );
}

#[tokio::test]
async fn bad_names_are_refused() {
    let client = server::client().await;
    let long = "a".repeat(41);
    for (kind, spec) in [
        ("Tenant", json!({"coredms": {"storage": storage()}})),
        ("Broker", json!({"storage": storage()})),
        ("CoreDms", json!({"storage": storage()})),
        ("IngestPipeline", pipeline(json!({}))),
    ] {
        for name in ["9lives", "a.b", &long] {
            let error = create(&client, kind, name, spec.clone()).await.unwrap_err();
            assert!(
                error.contains("has 1 to 40 lower-case letters, digits and dashes"),
                "{kind} {name}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn bad_pipelines_are_refused_with_what_would_be_right() {
    let client = server::client().await;
    let columns = |columns: Value| json!({"table": {"columns": columns, "primaryKey": null}});
    let key = |key: Value| json!({"table": {"primaryKey": key}});
    for (changes, message) in [
        (
            json!({"stream": {}}),
            "exactly one of batch and stream must be set",
        ),
        (
            json!({"batch": null}),
            "exactly one of batch and stream must be set",
        ),
        (
            key(json!({"partition": ["nope"]})),
            "primaryKey.partition names a column that is not in columns",
        ),
        (
            key(json!({"partition": ["id"], "clustering": [{"column": "nope"}]})),
            "primaryKey.clustering names a column that is not in columns",
        ),
        (
            key(json!({"partition": ["id"], "clustering": [{"column": "id"}]})),
            "either in primaryKey.partition or in primaryKey.clustering",
        ),
        (
            columns(json!([{"name": "a", "type": "int"}, {"name": "a", "type": "text"}])),
            "Duplicate value",
        ),
        (
            columns(json!([{"name": "simbdp_source", "type": "int"}])),
            "column names that start with simbdp_ are the platform's own",
        ),
        (
            columns(json!([{"name": "a", "type": "int", "timeFormat": "%Y"}])),
            "timeFormat needs a column of type timestamp, date or time",
        ),
        (
            columns(json!([{"name": "a", "type": "varchar"}])),
            "should match",
        ),
        (
            columns(json!([{"name": "A", "type": "int"}])),
            "should match",
        ),
        (columns(json!([])), "should have at least 1 items"),
        (json!({"table": {"ttl": "1w"}}), "should match"),
        (
            json!({"batch": {"schedule": {"cron": "0 2 * * * *", "duration": "4h"}}}),
            "schedule.cron has five fields",
        ),
        (
            json!({"batch": {"schedule": {"cron": "0 2 * * *", "duration": "4w"}}}),
            "should match",
        ),
        (
            json!({"batch": {"schedule": {"cron": "0 2 * * *"}}}),
            "Required value",
        ),
        (
            json!({"app": {"image": "i"}}),
            "spec.app.command: Required value",
        ),
        (
            json!({"app": {"image": "i", "command": ["c"], "env": [{"name": "SIMBDP_TABLE"}]}}),
            "variables that start with SIMBDP_",
        ),
        (
            json!({"app": {"image": "i", "command": ["c"], "timeoutSeconds": 20_000}}),
            "app.timeoutSeconds times delivery.maxAttempts is at most 82800",
        ),
        (
            json!({"delivery": {"maxAttempts": 0}}),
            "should be greater than or equal to 1",
        ),
        (
            json!({"scaling": {"minReplicas": 101}}),
            "should be less than or equal to 100",
        ),
        (
            json!({"scaling": {"minReplicas": 3, "maxReplicas": 2}}),
            "scaling.maxReplicas is less than scaling.minReplicas",
        ),
        (
            json!({"scaling": {"cooldownSeconds": 5}}),
            "should be greater than or equal to 10",
        ),
    ] {
        let error = create(&client, "IngestPipeline", "bad", pipeline(changes))
            .await
            .unwrap_err();
        assert!(error.contains(message), "wanted `{message}`, got: {error}");
    }
}

#[tokio::test]
async fn bad_tenants_are_refused_with_what_would_be_right() {
    let client = server::client().await;
    let tenant = |changes: Value| {
        let mut spec = json!({"coredms": {"storage": storage()}});
        merge(&mut spec, changes);
        spec
    };
    let reader = |name: &str| json!({"name": name, "role": "Reader"});
    for (changes, message) in [
        (
            json!({"coredms": {"replicas": 2}}),
            "should be greater than or equal to 3",
        ),
        (
            json!({"coredms": {"engine": "Oracle"}}),
            "supported values: \"Cassandra\"",
        ),
        (
            json!({"coredms": {"storage": {"size": "big"}}}),
            "should match",
        ),
        (
            json!({"coredms": {"storage": null}}),
            "placement Dedicated needs storage",
        ),
        (
            json!({"coredms": {"placement": "Shared"}}),
            "belong to placement Dedicated: a shared CoreDms has its own, so leave them out",
        ),
        (
            json!({"coredms": {"placement": "Shared", "storage": null, "profile": "Development"}}),
            "belong to placement Dedicated",
        ),
        (
            json!({"coredms": {"ref": {"name": "x"}}}),
            "ref names a shared CoreDms: set placement to Shared",
        ),
        (
            json!({"users": [reader("ada"), reader("ada")]}),
            "Duplicate value",
        ),
        (json!({"users": [reader("Ada")]}), "should match"),
        (
            json!({"users": [{"name": "ada", "role": "Admin"}]}),
            "supported values: \"Writer\", \"Reader\"",
        ),
        (json!({"deletionPolicy": "Maybe"}), "supported values"),
        (
            json!({"gateway": {"replicas": 0}}),
            "should be greater than or equal to 1",
        ),
    ] {
        let error = create(&client, "Tenant", "bad", tenant(changes))
            .await
            .unwrap_err();
        assert!(error.contains(message), "wanted `{message}`, got: {error}");
    }
}

fn external() -> Value {
    json!({"addresses": ["db:9042"], "secretRef": {"name": "login"}})
}

#[tokio::test]
async fn bad_brokers_are_refused_with_what_would_be_right() {
    let client = server::client().await;
    let url = "https://mq.example:15671";
    let rabbitmq = || {
        let mut external = external();
        external["managementUrl"] = json!(url);
        external
    };
    for good in [
        json!({"storage": storage(), "nodes": 3, "profile": "Development"}),
        json!({"external": rabbitmq()}),
        json!({"type": "Kafka", "external": external(), "maxQueueSize": "1Gi", "tenant": "acme"}),
    ] {
        let created = create(&client, "Broker", "good", good.clone()).await;
        assert_eq!(created, Ok(()), "{good}");
    }
    for (spec, message) in [
        (json!({}), "storage is needed"),
        (
            json!({"storage": storage(), "nodes": 2}),
            "Unsupported value: 2",
        ),
        (
            json!({"external": rabbitmq(), "storage": storage()}),
            "belong to a broker that the operator runs",
        ),
        (
            json!({"external": rabbitmq(), "nodes": 3}),
            "belong to a broker that the operator runs",
        ),
        (
            json!({"external": external()}),
            "managementUrl is needed for RabbitMQ",
        ),
        (
            json!({"type": "Kafka", "external": rabbitmq()}),
            "is for RabbitMQ alone",
        ),
        (
            json!({"type": "Kafka", "external": {"addresses": ["kafka"], "secretRef": {"name": "login"}}}),
            "spec.external.addresses[0]",
        ),
        (
            json!({"storage": storage(), "tenant": "acme", "default": true}),
            "default must be false where tenant is set",
        ),
    ] {
        let error = create(&client, "Broker", "bad", spec).await.unwrap_err();
        assert!(error.contains(message), "wanted `{message}`, got: {error}");
    }
}

#[tokio::test]
async fn bad_databases_are_refused_with_what_would_be_right() {
    let client = server::client().await;
    let claims = |tenants: &[&str]| {
        let claims = tenants.iter().map(|tenant| json!({"tenant": tenant}));
        claims.collect::<Vec<_>>()
    };
    for good in [
        json!({"external": external(), "maxTenants": 2}),
        json!({"storage": storage(), "maxTenants": 2, "claims": claims(&["a", "b"])}),
    ] {
        assert_eq!(create(&client, "CoreDms", "good", good).await, Ok(()));
    }
    for (spec, message) in [
        (json!({}), "storage is needed"),
        (
            json!({"external": external(), "storage": storage()}),
            "leave them out with external",
        ),
        (
            json!({"external": external(), "replicas": 3}),
            "leave them out with external",
        ),
        (
            json!({"external": {"addresses": ["db.example"], "secretRef": {"name": "login"}}}),
            "should match",
        ),
        (
            json!({"storage": storage(), "maxTenants": 257}),
            "should be less than or equal to 256",
        ),
        (
            json!({"storage": storage(), "maxTenants": 1, "claims": claims(&["a", "b"])}),
            "claims are more than maxTenants",
        ),
        (
            json!({"storage": storage(), "claims": claims(&["a"])}),
            "claims are more than maxTenants",
        ),
        (
            json!({"storage": storage(), "maxTenants": 2, "claims": claims(&["a", "a"])}),
            "Duplicate value",
        ),
    ] {
        let error = create(&client, "CoreDms", "bad", spec).await.unwrap_err();
        assert!(error.contains(message), "wanted `{message}`, got: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused() {
    let client = server::client().await;
    let storage_rule = "cannot be changed";
    for (kind, spec, change, message) in [
        (
            "Tenant",
            json!({"coredms": {"storage": storage()}}),
            json!({"coredms": {"replicas": 2}}),
            "should be greater than or equal to 3",
        ),
        (
            "Tenant",
            json!({"coredms": {"engine": "MongoDB", "storage": storage()}}),
            json!({"coredms": {"replicas": 4}}),
            "replicas of MongoDB are 3, 5 or 7",
        ),
        (
            "Tenant",
            json!({"coredms": {"storage": storage()}}),
            json!({"coredms": {"storage": {"size": "512Mi"}}}),
            "storage.size can only grow",
        ),
        (
            "Tenant",
            json!({"coredms": {"storage": storage()}}),
            json!({"coredms": {"storage": {"storageClassName": "other"}}}),
            storage_rule,
        ),
        (
            "Tenant",
            json!({"coredms": {"storage": storage()}}),
            json!({"coredms": {"placement": "Shared", "storage": null}}),
            "placement is immutable",
        ),
        (
            "CoreDms",
            json!({"storage": storage()}),
            json!({"storage": null, "external": external()}),
            "cannot change between external",
        ),
        (
            "CoreDms",
            json!({"storage": storage(), "maxTenants": 2, "claims": [{"tenant": "a"}, {"tenant": "b"}]}),
            json!({"maxTenants": 1}),
            "claims are more than maxTenants",
        ),
        (
            "CoreDms",
            json!({"storage": storage(), "replicas": 4}),
            json!({"replicas": 2}),
            "should be greater than or equal to 3",
        ),
        (
            "CoreDms",
            json!({"engine": "MongoDB", "storage": storage(), "replicas": 5}),
            json!({"replicas": 6}),
            "replicas of MongoDB are 3, 5 or 7",
        ),
        (
            "CoreDms",
            json!({"engine": "MongoDB", "storage": storage()}),
            json!({"replicas": 9}),
            "replicas of MongoDB are 3, 5 or 7",
        ),
        (
            "CoreDms",
            json!({"storage": storage()}),
            json!({"storage": {"size": "512Mi"}}),
            "storage.size can only grow",
        ),
        (
            "CoreDms",
            json!({"storage": storage()}),
            json!({"storage": {"storageClassName": "other"}}),
            storage_rule,
        ),
        (
            "Broker",
            json!({"storage": storage()}),
            json!({"storage": {"size": "2Gi"}}),
            storage_rule,
        ),
        (
            "Broker",
            json!({"storage": storage()}),
            json!({"nodes": 3}),
            "nodes cannot be changed",
        ),
        (
            "Broker",
            json!({"type": "Kafka", "storage": storage()}),
            json!({"storage": null, "external": external()}),
            "a broker cannot change between external",
        ),
        (
            "IngestPipeline",
            pipeline(json!({})),
            json!({"batch": null, "stream": {}}),
            "a pipeline cannot change between batch and stream",
        ),
        (
            "IngestPipeline",
            pipeline(json!({})),
            json!({"table": {"name": "other"}}),
            "table.name is immutable",
        ),
    ] {
        let (api, name) = (api(&client, kind), "immutable");
        // The namespaced kinds share a name here, each test case makes and removes its own.
        api.create(&PostParams::default(), &object(kind, name, spec))
            .await
            .unwrap();
        let patch = Patch::Merge(json!({"spec": change}));
        let error = api
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap_err()
            .to_string();
        api.delete(name, &Default::default()).await.unwrap();
        assert!(error.contains(message), "wanted `{message}`, got: {error}");
    }
}
