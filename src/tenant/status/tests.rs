use kube::core::ObjectMeta;

use super::*;
use crate::conditions::{RECONCILING, STALLED};
use crate::tenant::namespace::Taken;
use crate::tenant::validate::Invalid;

fn tenant() -> Tenant {
    serde_yaml::from_str(
        "{apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {name: acme}, spec: {coredms: {storage: {size: 1Gi}}}}",
    )
    .unwrap()
}

fn parts(database: Stage, broker: Stage, gateway: Stage) -> Result<Observed, Error> {
    Ok(Observed::Applied(Box::new(Parts {
        namespace_uid: "u1".into(),
        broker_name: "main".into(),
        coredms: ObjectRef {
            namespace: "tenant-acme".into(),
            name: "coredms".into(),
        },
        placement: None,
        members: Some("3/3".into()),
        database,
        broker,
        gateway,
        isolation: None,
        failure: None,
    })))
}

/// `Type=reason` of every fact that holds, `!Type=reason` of every other.
fn told(facts: &Facts) -> Vec<String> {
    facts
        .iter()
        .map(|fact| {
            format!(
                "{}{}={}",
                if fact.holds { "" } else { "!" },
                fact.kind,
                fact.reason
            )
        })
        .collect()
}

#[test]
fn a_tenant_is_ready_when_each_of_its_parts_is() {
    let (status, facts) = status(&tenant(), &parts(Stage::Done, Stage::Done, Stage::Done));
    assert_eq!(
        told(&facts),
        [
            "Ready=Ready",
            "!Reconciling=Ready",
            "!Stalled=Ready",
            "DatabaseReady=Ready",
            "BrokerReady=Ready",
            "GatewayReady=Ready",
            "CredentialsReady=Ready",
        ]
    );
    assert_eq!(status.database.as_deref(), Some("coredms 3/3"));
    assert_eq!(status.broker.as_deref(), Some("main"));
    assert_eq!(status.namespace_uid.as_deref(), Some("u1"));
    assert_eq!(
        status.endpoint.as_deref(),
        Some("http://gateway.tenant-acme.svc:8080")
    );
}

#[test]
fn the_first_part_that_is_not_ready_says_why_the_tenant_is_not() {
    let waiting = |reason: &str| Stage::waiting(reason, format!("{reason}, and what to do"));
    for (database, broker, gateway, first) in [
        (
            waiting("DatabaseNotReady"),
            waiting("BrokerNotReady"),
            waiting("GatewayNotReady"),
            "DatabaseNotReady",
        ),
        (
            Stage::Done,
            waiting("BrokerNotReady"),
            waiting("GatewayNotReady"),
            "BrokerNotReady",
        ),
        (
            Stage::Done,
            Stage::Done,
            waiting("GatewayNotReady"),
            "GatewayNotReady",
        ),
    ] {
        let (_, facts) = status(&tenant(), &parts(database, broker, gateway));
        let ready = facts.get(READY).unwrap();
        assert!(!ready.holds);
        assert_eq!(ready.reason, first);
        assert_eq!(ready.message, format!("{first}, and what to do"));
        assert!(facts.get(RECONCILING).unwrap().holds && !facts.get(STALLED).unwrap().holds);
    }
}

#[test]
fn an_unknown_broker_is_told_at_broker_ready_as_well() {
    let error = Error::from(Invalid::BrokerNotFound {
        wanted: Some("nope".into()),
        known: vec!["main".into()],
    });
    let (_, facts) = status(&tenant(), &Err(error));
    assert_eq!(
        told(&facts),
        [
            "!Ready=BrokerNotFound",
            "!Reconciling=Stalled",
            "Stalled=BrokerNotFound",
            "!BrokerReady=NotFound"
        ]
    );
    assert!(
        facts
            .get(BROKER_READY)
            .unwrap()
            .message
            .contains("known are main")
    );
}

#[test]
fn somebody_else_s_namespace_stalls_the_tenant() {
    let (_, facts) = status(&tenant(), &Err(Taken::Foreign("tenant-acme".into()).into()));
    assert!(facts.get(STALLED).unwrap().holds);
    assert_eq!(facts.get(READY).unwrap().reason, "NamespaceTaken");
}

#[test]
fn what_may_pass_is_tried_again_and_does_not_stall() {
    let error = Error::Broker(simbdp_broker::admin::AdminError::Unavailable(
        "no route".into(),
    ));
    let (_, facts) = status(&tenant(), &Err(error));
    assert!(!facts.get(STALLED).unwrap().holds && facts.get(RECONCILING).unwrap().holds);
    assert!(
        facts
            .get(READY)
            .unwrap()
            .message
            .ends_with("it is tried again")
    );
}

#[test]
fn a_namespace_that_is_gone_is_forgotten_and_nothing_else_is() {
    let mut tenant = tenant();
    tenant.status = Some(TenantStatus {
        namespace_uid: Some("u1".into()),
        broker: Some("main".into()),
        ..Default::default()
    });
    let (status, _) = status(&tenant, &Ok(Observed::NamespaceGone));
    assert_eq!(status.namespace_uid, None);
    assert_eq!(status.broker.as_deref(), Some("main"));
}

#[test]
fn a_teardown_tells_its_stage_and_remembers_what_it_discards() {
    let pending = |stage, message: &str| {
        Ok::<_, Error>(Teardown::Pending {
            stage,
            message: message.into(),
            again: std::time::Duration::ZERO,
        })
    };
    let facts = teardown_facts(&pending(DISCARDING, "3 messages and 1 files"));
    assert_eq!(
        told(&facts),
        [
            "!Ready=TearingDown",
            "Reconciling=TearingDown",
            "!Stalled=Progressing",
            "TearingDown=DiscardingBacklog",
            "BacklogDiscarded=Delete",
        ]
    );
    let later = teardown_facts(&pending("StoppingWorkloads", "1 pod"));
    assert_eq!(later.get(TEARING_DOWN).unwrap().message, "1 pod");
    let before = facts.conditions(&[], Some(1), k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    let after = later.conditions(&before, Some(1), k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(
        find(&after, BACKLOG_DISCARDED).unwrap().message,
        "3 messages and 1 files"
    );
}

#[test]
fn a_database_s_own_words_are_passed_on() {
    let mut coredms: CoreDms = serde_yaml::from_str(
        "{apiVersion: simbdp.dev/v1alpha1, kind: CoreDms, metadata: {name: coredms, generation: 2}, spec: {storage: {size: 1Gi}}}",
    )
    .unwrap();
    assert!(
        matches!(database_stage(&coredms), Stage::Waiting { message, .. } if message.contains("being created"))
    );
    let mut say = |generation, facts: Vec<Fact>| {
        let conditions =
            Facts::replacing(facts).conditions(&[], None, k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        coredms.status = Some(simbdp_api::CoreDmsStatus {
            observed_generation: Some(generation),
            conditions: simbdp_api::common::Conditions { conditions },
            ..Default::default()
        });
        database_stage(&coredms)
    };
    let starting = say(2, reconciling("Starting", "1 of 3 members are ready"));
    assert_eq!(
        starting,
        Stage::waiting("DatabaseNotReady", "1 of 3 members are ready")
    );
    assert!(
        matches!(say(1, ready("")), Stage::Waiting { .. }),
        "about an older generation"
    );
    assert_eq!(say(2, ready("")), Stage::Done);
}

#[test]
fn a_gateway_is_ready_when_all_its_replicas_run_the_newest_template() {
    let mut resources = Resources {
        gateway: StatefulSet {
            metadata: ObjectMeta {
                generation: Some(2),
                ..Default::default()
            },
            ..Default::default()
        },
        ..empty()
    };
    let mut stage = |replicas: i32, ready: i32, seen: i64, current: &str, asked: u16| {
        let json = serde_json::json!({
            "observedGeneration": seen, "readyReplicas": ready, "replicas": replicas,
            "currentRevision": current, "updateRevision": "new",
        });
        resources.gateway.status = serde_json::from_value(json).unwrap();
        resources.gateway.spec = Some(k8s_openapi::api::apps::v1::StatefulSetSpec {
            replicas: Some(replicas),
            ..Default::default()
        });
        gateway_stage(&resources, asked)
    };
    assert_eq!(stage(2, 2, 2, "new", 2), Stage::Done);
    for (replicas, ready, seen, current) in [(2, 1, 2, "new"), (2, 2, 1, "new"), (2, 2, 2, "old")] {
        assert!(matches!(
            stage(replicas, ready, seen, current, 2),
            Stage::Waiting { .. }
        ));
    }
    assert!(
        matches!(stage(2, 1, 2, "new", 1), Stage::Waiting { reason, .. } if reason == "FilesStaged"),
        "one that is to go need not be ready"
    );
}

/// Applied resources of which nothing is known but the gateway.
fn empty() -> Resources<Applied> {
    Resources {
        quota: Default::default(),
        limits: Default::default(),
        network_policies: Vec::new(),
        gateway_account: Default::default(),
        ingest_account: Default::default(),
        pipelines: Default::default(),
        trust: None,
        gateway_users: Default::default(),
        coredms: None,
        gateway_service: Default::default(),
        gateway_replicas: Default::default(),
        gateway_budget: Default::default(),
        gateway: Default::default(),
        state: std::marker::PhantomData,
    }
}
