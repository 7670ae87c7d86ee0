use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;

fn config_map() -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "n", "labels": {"app.kubernetes.io/managed-by": "simbdp-operator"}},
        "data": {"k": "v"},
    }))
    .unwrap()
}

fn live(body: &Value) -> DynamicObject {
    let mut body = body.clone();
    body["metadata"]["resourceVersion"] = json!("7");
    serde_json::from_value(body).unwrap()
}

#[test]
fn what_was_applied_and_is_still_so_is_not_written_again() {
    let (body, digest) = encode(&config_map()).unwrap();
    assert!(unchanged(&live(&body), &body, &digest));
}

#[test]
fn an_edit_by_somebody_else_is_a_change() {
    let (body, digest) = encode(&config_map()).unwrap();
    let mut edited = body.clone();
    edited["data"]["k"] = json!("other");
    assert!(!unchanged(&live(&edited), &body, &digest));
}

#[test]
fn a_field_that_is_no_longer_declared_is_a_change() {
    let (before, _) = encode(&config_map()).unwrap();
    let mut less = config_map();
    less.data = None;
    let (body, digest) = encode(&less).unwrap();
    assert!(contains(
        &live_value(&before),
        &json!({"kind": "ConfigMap"})
    ));
    assert!(!unchanged(&live(&before), &body, &digest));
}

fn live_value(body: &Value) -> Value {
    serde_json::to_value(live(body)).unwrap()
}

#[test]
fn empty_false_and_zero_need_not_be_there_and_list_lengths_matter() {
    assert!(contains(
        &json!({}),
        &json!({"a": {"b": false, "c": [], "d": 0}})
    ));
    assert!(!contains(&json!({}), &json!({"a": true})));
    assert!(contains(
        &json!({"l": [{"n": 1, "x": 2}]}),
        &json!({"l": [{"n": 1}]})
    ));
    assert!(!contains(&json!({"l": [1, 2]}), &json!({"l": [1]})));
}

#[test]
fn another_makers_object_and_another_owners_object_are_not_taken_over() {
    let (mut body, _) = encode(&config_map()).unwrap();
    body["metadata"]["labels"] = json!({});
    let refused = check_ours(&live(&body), &config_map().metadata, "ConfigMap a");
    assert!(matches!(refused, Err(ApplyError::Foreign { .. })));

    let owned = |uid: &str| {
        let mut object = config_map();
        object.metadata.owner_references = Some(vec![
            serde_json::from_value(json!({
                "apiVersion": "simbdp.dev/v1alpha1", "kind": "Broker", "name": "b", "uid": uid, "controller": true,
            }))
            .unwrap(),
        ]);
        object
    };
    let (body, _) = encode(&owned("old")).unwrap();
    let refused = check_ours(&live(&body), &owned("new").metadata, "ConfigMap a");
    assert!(matches!(refused, Err(ApplyError::Replacing { .. })));
    assert!(check_ours(&live(&body), &owned("old").metadata, "ConfigMap a").is_ok());

    let mut of_another = owned("new");
    let owners = of_another.metadata.owner_references.as_mut().unwrap();
    owners[0].kind = "CoreDms".into();
    let taken = check_ours(&live(&body), &of_another.metadata, "ConfigMap a").unwrap_err();
    assert_eq!(
        taken.to_string(),
        "ConfigMap a belongs to Broker `b`: give one of them another name"
    );
}
