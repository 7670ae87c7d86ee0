use serde::Serialize;
use serde_json::{Value, json};

use super::super::validate::validate;
use super::*;

fn prepared(password: &str) -> Resources<Prepared> {
    let broker: Broker = serde_json::from_value(json!({
        "metadata": {"name": "default", "uid": "u-1"},
        "spec": {"storage": {"size": "1Gi"}, "default": true},
    }))
    .unwrap();
    let platform = Platform {
        namespace: "simbdp-system".into(),
        own: OwnImage {
            image: "r/simbdp:1".into(),
            pull_policy: "IfNotPresent".into(),
        },
        repository: "r/rabbitmq".into(),
        version: "0.1.0".into(),
    };
    build(&validate(&broker).unwrap(), &platform, password)
}

fn text(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

#[test]
fn every_object_from_the_least_declaration() {
    let Resources {
        account,
        config,
        network,
        nodes_service,
        service,
        budget,
        nodes,
        state: PhantomData,
    } = prepared("generated");
    insta::assert_yaml_snapshot!(vec![
        text(&account),
        text(&config.metadata),
        text(&network),
        text(&nodes_service),
        text(&service),
        text(&budget),
        text(&nodes),
    ]);
    let files = config.data.unwrap();
    let file = |name: &str| String::from_utf8(files[name].0.clone()).unwrap();
    insta::assert_snapshot!(file("rabbitmq.conf"));
    insta::assert_snapshot!(file("enabled_plugins"));
}

#[test]
fn a_changed_password_does_not_restart_the_node() {
    assert_eq!(text(&prepared("one").nodes), text(&prepared("other").nodes));
}
