use k8s_openapi::api::core::v1::Namespace;
use serde_json::json;
use simbdp_api::Tenant;
use simbdp_broker::admin::AdminError;

use super::super::Seen;
use super::super::dereference::who_uses;
use super::*;
use crate::pods::{PodState, Problem};

fn broker(default: bool) -> Broker {
    serde_json::from_value(json!({
        "metadata": {"name": "b"}, "spec": {"storage": {"size": "1Gi"}, "default": default},
    }))
    .unwrap()
}

fn seen(answer: Option<Result<String, AdminError>>, others: &[&str]) -> Seen {
    Seen::Nodes(observed(answer, others))
}

fn observed(answer: Option<Result<String, AdminError>>, others: &[&str]) -> Observed {
    Observed {
        wanted: 1,
        nodes: vec![PodState {
            name: "broker-b-0".into(),
            ready: answer.is_some(),
            problem: answer.is_none().then(|| Problem {
                reason: "ImagePullBackOff".into(),
                message: "not found".into(),
                serious: true,
            }),
        }],
        answer,
        endpoint: "broker-b.simbdp-system.svc:5672".into(),
        other_defaults: others.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[test]
fn a_broker_that_answers_is_ready_and_says_what_one_node_survives() {
    let (status, facts) = status(&broker(true), &Ok(seen(Some(Ok("4.0.5".into())), &[])));
    let ready = facts.get(READY).unwrap();
    assert!(ready.holds && ready.message.contains("4.0.5") && ready.message.contains("one node"));
    assert!(facts.get(DEFAULT).unwrap().holds);
    assert_eq!(status.nodes.as_deref(), Some("1/1"));
}

#[test]
fn a_broker_with_less_than_most_of_its_nodes_is_not_ready() {
    let of_three = |ready: usize| {
        let mut seen = observed(Some(Ok("4.0.5".into())), &[]);
        seen.wanted = 3;
        seen.nodes = (0..3)
            .map(|node| PodState {
                name: format!("broker-b-{node}"),
                ready: node < ready,
                problem: (node >= ready).then(|| Problem {
                    reason: "Starting".into(),
                    message: "is starting".into(),
                    serious: false,
                }),
            })
            .collect();
        let (_, facts) = status(&broker(true), &Ok(Seen::Nodes(seen)));
        let ready = facts.get(READY).unwrap();
        (ready.holds, ready.reason.clone(), ready.message.clone())
    };
    let (holds, reason, message) = of_three(1);
    assert_eq!((holds, reason.as_str()), (false, "NoQuorum"));
    assert!(message.contains("1 of 3") && message.contains("broker-b-2"));
    let (holds, _, message) = of_three(2);
    assert!(holds && message.contains("not all of its nodes"));
    assert!(of_three(3).2.contains("survive any one node"));
}

#[test]
fn two_defaults_name_each_other() {
    let (_, facts) = status(&broker(true), &Ok(seen(Some(Ok("4".into())), &["other"])));
    let default = facts.get(DEFAULT).unwrap();
    assert!(!default.holds && default.message.starts_with("other is marked default, too"));
    let (_, facts) = status(&broker(false), &Ok(seen(Some(Ok("4".into())), &[])));
    assert!(facts.get(DEFAULT).is_none());
}

#[test]
fn a_node_that_does_not_start_or_does_not_answer_is_named() {
    let (_, facts) = status(&broker(false), &Ok(seen(None, &[])));
    assert_eq!(facts.get(READY).unwrap().reason, "ImagePullBackOff");
    let refused = AdminError::LoginRefused {
        username: "simbdp-operator".into(),
    };
    let (_, facts) = status(&broker(false), &Ok(seen(Some(Err(refused)), &[])));
    assert_eq!(facts.get(READY).unwrap().reason, "LoginRefused");
}

#[test]
fn a_broker_in_use_stays_ready_while_its_deletion_waits() {
    let outcome = Ok(Teardown::Pending {
        stage: IN_USE,
        message: "a, b".into(),
        again: std::time::Duration::from_secs(60),
    });
    let (_, facts) = teardown_status(&broker(false), &outcome);
    assert!(facts.get(READY).is_none());
    assert_eq!(facts.get(TEARING_DOWN).unwrap().reason, IN_USE);
}

fn tenant(name: &str, status: Option<&str>, asked: Option<&str>) -> Tenant {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"coredms": {"storage": {"size": "1Gi"}}, "broker": {"ref": asked.map(|name| json!({"name": name}))}},
        "status": {"broker": status},
    }))
    .unwrap()
}

#[test]
fn who_has_queues_in_a_broker_is_found_by_status_by_spec_and_by_what_was_retained() {
    let namespace = |tenant: &str| -> Namespace {
        serde_json::from_value(json!({"metadata": {
            "name": format!("tenant-{tenant}"),
            "annotations": {"simbdp.dev/broker": "b", "simbdp.dev/owned-by-tenant": tenant},
        }}))
        .unwrap()
    };
    let tenants = [
        tenant("a", Some("b"), None),
        tenant("c", None, Some("b")),
        tenant("d", Some("other"), None),
    ];
    let namespaces = [namespace("a"), namespace("z")];
    assert_eq!(
        who_uses("b", &tenants, &namespaces),
        ["a", "c", "z (retained)"]
    );
    assert!(who_uses("unused", &tenants, &namespaces).is_empty());
}
