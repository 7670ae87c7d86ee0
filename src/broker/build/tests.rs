use serde::Serialize;
use serde_json::{Value, json};

use super::super::validate::validate;
use super::*;
use crate::objects::apart;

fn prepared(password: &str) -> Resources<Prepared> {
    built(
        json!({"storage": {"size": "1Gi"}, "default": true}),
        password,
    )
}

fn built(spec: Value, password: &str) -> Resources<Prepared> {
    let broker: Broker = serde_json::from_value(json!({
        "metadata": {"name": "default", "uid": "u-1"},
        "spec": spec,
    }))
    .unwrap();
    let platform = Platform {
        namespace: "simbdp-system".into(),
        own: OwnImage {
            image: "r/simbdp:1".into(),
            pull_policy: "IfNotPresent".into(),
        },
        rabbitmq: "r/rabbitmq".into(),
        kafka: "r/kafka".into(),
        version: "0.1.0".into(),
    };
    let credentials = Credentials {
        password: password.into(),
        nodes: format!("nodes-{password}"),
    };
    build(&validate(&broker).unwrap(), &platform, &credentials)
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

#[test]
fn every_object_of_a_kafka_of_three() {
    let spec = json!({"type": "Kafka", "nodes": 3, "storage": {"size": "1Gi"}});
    let Resources {
        account,
        config,
        network,
        nodes_service,
        service,
        budget,
        nodes,
        state: PhantomData,
    } = built(spec, "generated");
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
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let expected = [
        "log4j2.yaml",
        "server-0.properties",
        "server-1.properties",
        "server-2.properties",
    ];
    assert_eq!(names, expected);
    insta::assert_snapshot!(String::from_utf8(files["server-2.properties"].0.clone()).unwrap());
}

#[test]
fn what_three_nodes_of_a_rabbitmq_have_more() {
    let one = prepared("generated");
    let three = built(json!({"nodes": 3, "storage": {"size": "1Gi"}}), "generated");
    let config = |resources: &Resources<Prepared>| {
        let files = resources.config.data.clone().unwrap();
        String::from_utf8(files["rabbitmq.conf"].0.clone()).unwrap()
    };
    let (alone, together) = (config(&one), config(&three));
    insta::assert_snapshot!(together.strip_prefix(&alone).unwrap());
    insta::assert_yaml_snapshot!(text(&three.network));
    let spec = three.nodes.spec.unwrap();
    assert_eq!(spec.replicas, Some(3));
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
    let pod = spec.template.spec.unwrap();
    insta::assert_yaml_snapshot!(text(&pod.containers[0].lifecycle));
}

#[test]
fn nodes_share_a_machine_in_development_alone() {
    let affinity = |profile: &str| {
        let spec = json!({"nodes": 3, "profile": profile, "storage": {"size": "1Gi"}});
        let spec = built(spec, "generated").nodes.spec.unwrap();
        spec.template.spec.unwrap().affinity
    };
    let labels = node_labels(BrokerType::RabbitMQ, "default");
    assert_eq!(affinity("Production"), Some(apart(&labels, true)));
    assert_eq!(affinity("Development"), Some(apart(&labels, false)));
}
