//! The definitions as a whole, and their rules evaluated as the API server would.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::common::Quantity;
use crate::names::{PipelineName, TenantName};
use crate::pipeline::{IngestPipelineSpec, Ttl};
use crate::tenant::TenantSpec;
use crate::{Broker, CoreDms, IngestPipeline, Tenant};

/// Every schema node below a `properties` map, with its path.
fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, visit);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(&format!("{path}[]"), items, visit);
    }
}

fn spec_schema<T: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(T::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn every_string_and_list_of_a_spec_is_bounded_and_every_field_described() {
    let schemas = [
        ("Tenant", spec_schema::<Tenant>()),
        ("IngestPipeline", spec_schema::<IngestPipeline>()),
        ("CoreDms", spec_schema::<CoreDms>()),
        ("Broker", spec_schema::<Broker>()),
    ];
    let mut faults = Vec::new();
    for (kind, schema) in &schemas {
        walk(kind, schema, &mut |path, node| {
            let bounded = match node["type"].as_str() {
                Some("string") => node.get("maxLength").is_some() || node.get("enum").is_some(),
                Some("array") => node.get("maxItems").is_some(),
                _ => true,
            };
            if !bounded {
                faults.push(format!("{path} has no bound"));
            }
            if path.contains('.') && !path.ends_with("[]") && node.get("description").is_none() {
                faults.push(format!("{path} has no description"));
            }
        });
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn definitions_have_status_category_and_short_names() {
    for (crd, short) in [
        (Tenant::crd(), vec!["tn"]),
        // Kubernetes has its own `ip`, for IPAddress, since 1.33.
        (IngestPipeline::crd(), vec!["ip", "ipl"]),
        (CoreDms::crd(), vec!["cdms"]),
        (Broker::crd(), vec!["bk"]),
    ] {
        let names = &crd.spec.names;
        assert_eq!(names.categories, Some(vec!["simbdp".to_owned()]));
        assert_eq!(
            names.short_names,
            Some(short.iter().map(ToString::to_string).collect())
        );
        let version = &crd.spec.versions[0];
        assert!(version.subresources.as_ref().unwrap().status.is_some());
    }
}

#[test]
fn conditions_are_a_list_map_by_type() {
    let crd = serde_json::to_value(Tenant::crd()).unwrap();
    let conditions = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
        ["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
}

fn pipeline(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "batch": {},
        "table": {
            "name": "flights",
            "columns": [{"name": "id", "type": "bigint"}, {"name": "at", "type": "timestamp"}],
            "primaryKey": {"partition": ["id"], "clustering": [{"column": "at"}]},
        },
    });
    change(&mut spec);
    spec
}

fn refused(new: &Value, old: Option<&Value>) -> String {
    kube::core::cel::validate_cel_schema::<IngestPipelineSpec>(new, old)
        .err()
        .map(|errors| errors.to_string())
        .unwrap_or_default()
}

#[test]
fn a_pipeline_is_either_batch_or_stream() {
    assert_eq!(refused(&pipeline(|_| ()), None), "");
    let both = pipeline(|spec| spec["stream"] = json!({}));
    assert!(refused(&both, None).contains("exactly one of batch and stream"));
    let neither = pipeline(|spec| {
        spec.as_object_mut().unwrap().remove("batch");
    });
    assert!(refused(&neither, None).contains("exactly one of batch and stream"));
}

#[test]
fn keys_name_columns() {
    let partition = pipeline(|s| s["table"]["primaryKey"]["partition"] = json!(["nope"]));
    assert!(refused(&partition, None).contains("primaryKey.partition names a column"));
    let clustering =
        pipeline(|s| s["table"]["primaryKey"]["clustering"] = json!([{"column": "nope"}]));
    assert!(refused(&clustering, None).contains("primaryKey.clustering names a column"));
    let twice = pipeline(|s| s["table"]["primaryKey"]["clustering"] = json!([{"column": "id"}]));
    assert!(refused(&twice, None).contains("either in"));
}

#[test]
fn shard_keys_name_columns_of_the_primary_key() {
    let with = |key: Value| pipeline(|s| s["table"]["shardKey"] = key.clone());
    for good in [
        json!({"hashed": "id"}),
        json!({"hashed": "at"}),
        json!({"ranged": ["id", "at"]}),
    ] {
        assert_eq!(refused(&with(good), None), "");
    }
    let form = "exactly one of shardKey.hashed and shardKey.ranged";
    for (bad, reason) in [
        (json!({}), form),
        (json!({"hashed": "id", "ranged": ["id"]}), form),
        (json!({"hashed": "nope"}), "shardKey.hashed names a column"),
        (
            json!({"ranged": ["id", "nope"]}),
            "shardKey.ranged names a column",
        ),
        (
            json!({"hashed": "simbdp_source"}),
            "shardKey.hashed names a column",
        ),
    ] {
        let text = refused(&with(bad.clone()), None);
        assert!(text.contains(reason), "{bad}: {text}");
    }
    let identity = pipeline(|s| {
        s["table"]["shardKey"] = json!({"hashed": "simbdp_source"});
        s["table"].as_object_mut().unwrap().remove("primaryKey");
    });
    assert_eq!(refused(&identity, None), "");
    let (none, hashed) = (pipeline(|_| ()), with(json!({"hashed": "id"})));
    assert_eq!(refused(&hashed, Some(&none)), "");
    assert!(refused(&none, Some(&hashed)).contains("table.shardKey cannot be removed"));
}

#[test]
fn names_that_fit_are_taken_and_others_refused() {
    for good in ["a", "flights", "a-b-1", &"a".repeat(40)] {
        assert!(TenantName::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "A",
        "1a",
        "a-",
        "-a",
        "a_b",
        "a.b",
        "ä",
        &"a".repeat(41),
    ] {
        let error = TenantName::new(bad).unwrap_err().to_string();
        assert!(
            error.contains("1 to 40 lower-case letters"),
            "{bad}: {error}"
        );
    }
}

#[test]
fn derived_names_stay_within_their_systems_limits() {
    let tenant = TenantName::new("a".repeat(40)).unwrap();
    assert!(tenant.namespace().len() <= 63);
    assert!(tenant.keyspace().len() <= 48 && tenant.platform_keyspace().len() <= 48);
    assert_eq!(
        TenantName::from_namespace(&tenant.namespace()),
        Some(tenant)
    );
    let pipeline = PipelineName::new("p".repeat(40)).unwrap();
    assert!(pipeline.ingest_workload().len() <= 52);
}

#[test]
fn quantities_become_bytes() {
    assert_eq!(Quantity::from("1Ki").bytes(), Ok(1024));
    assert_eq!(Quantity::from("10Gi").bytes(), Ok(10 << 30));
    assert_eq!(Quantity::from("5").bytes(), Ok(5));
    assert!(Quantity::from("0").bytes().is_err());
    assert!(
        Quantity::from("much")
            .bytes()
            .unwrap_err()
            .to_string()
            .contains("512Mi")
    );
}

#[test]
fn times_to_live_become_seconds() {
    assert_eq!(Ttl("90d".into()).seconds(), Ok(7_776_000));
    assert_eq!(Ttl("3600s".into()).seconds(), Ok(3_600));
    for bad in ["0d", "d", "1w", "99999d", "-1s", ""] {
        assert!(Ttl(bad.into()).seconds().is_err(), "{bad}");
    }
}

#[test]
fn a_minimal_tenant_gets_the_documented_defaults() {
    let spec: TenantSpec = serde_yaml::from_str("coredms: {storage: {size: 1Gi}}").unwrap();
    insta::assert_yaml_snapshot!(spec);
}

#[test]
fn quantities_are_written_as_the_api_server_writes_them() {
    for (given, canonical) in [
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("10Gi", "10Gi"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("3050m", "3050m"),
        ("1000M", "1G"),
        ("1500", "1500"),
        ("2000", "2k"),
        ("512", "512"),
        ("lots", "lots"),
    ] {
        assert_eq!(
            Quantity::from(given).canonical(),
            Quantity::from(canonical),
            "{given}"
        );
    }
}

#[test]
fn the_reference_names_every_kind_with_its_fields_and_rules() {
    let page = crate::reference::markdown();
    for part in ["## Tenant", "## IngestPipeline", "## CoreDms", "## Broker"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("| `table.columns[].type` |"), "{page}");
    assert!(page.contains("exactly one of batch and stream must be set"));
    assert!(page.contains("`Development`, `Production`"));
}
