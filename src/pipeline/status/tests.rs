use super::*;
use crate::pipeline::dereference::Homeless;

fn pipeline() -> IngestPipeline {
    serde_yaml::from_str(
        "{apiVersion: simbdp.dev/v1alpha1, kind: IngestPipeline, metadata: {name: p}, spec: {stream: {}, table: {name: t, columns: [{name: a, type: int}]}}}",
    )
    .unwrap()
}

fn replica(generation: i64, rows: u64) -> Option<LoadedPipeline> {
    Some(LoadedPipeline {
        name: "p".into(),
        generation,
        rows: Some(rows),
        rejected: Some(1),
        ..Default::default()
    })
}

fn queue(name: &str, ready: u64, unacknowledged: u64) -> QueueTotals {
    QueueTotals {
        name: name.into(),
        ready,
        unacknowledged,
    }
}

fn waiting(unacknowledged: u64) -> Result<Backlog, String> {
    Ok(Backlog {
        work: queue("ingest.p", 0, unacknowledged),
        dead: None,
    })
}

/// Everything as it should be.
fn parts() -> Parts {
    Parts {
        generation: 2,
        table: Stage::Done,
        queues: Stage::Done,
        gateway_replicas: 2,
        loaded: vec![replica(2, 10), replica(2, 12)],
        backlog: waiting(7),
        apps: Apps {
            declared: 1,
            ready: 1,
            ..Apps::default()
        },
        paused: None,
        failure: None,
    }
}

#[test]
fn a_pipeline_that_is_paused_rests_when_its_apps_have_stopped() {
    let paused = |former| Parts {
        paused: Some("set it to false"),
        apps: Apps {
            former,
            ..Apps::default()
        },
        ..parts()
    };
    let facts = |parts| status(&pipeline(), &Ok(Observed::Applied(Box::new(parts)))).1;
    let pausing = facts(paused(1));
    assert_eq!(pausing.get(READY).unwrap().reason, "Pausing");
    assert!(pausing.get(RECONCILING).unwrap().holds && pausing.get(PAUSED).unwrap().holds);
    assert_eq!(pausing.get(PAUSED).unwrap().reason, "Pausing");
    let resting = facts(paused(0));
    assert_eq!(resting.get(READY).unwrap().reason, "Paused");
    for kind in [READY, RECONCILING, STALLED, ACTIVE] {
        assert!(!resting.get(kind).unwrap().holds, "{kind}");
    }
    assert!(resting.get(PAUSED).unwrap().holds && resting.get(ACCEPTING).unwrap().holds);
    assert!(!facts(parts()).get(PAUSED).unwrap().holds);
    // What is wrong beside that is not hidden.
    let broken = Parts {
        table: Stage::waiting("TableConflict", "no"),
        ..paused(0)
    };
    assert_eq!(facts(broken).get(READY).unwrap().reason, "TableConflict");
}

fn ready_reason(parts: Parts) -> String {
    let (_, facts) = status(&pipeline(), &Ok(Observed::Applied(Box::new(parts))));
    facts.get(READY).unwrap().reason.clone()
}

#[test]
fn a_pipeline_is_ready_when_work_is_accepted_and_would_be_consumed() {
    let (status, facts) = status(&pipeline(), &Ok(Observed::Applied(Box::new(parts()))));
    assert!(facts.get(READY).unwrap().holds && facts.get(ACTIVE).unwrap().holds);
    assert_eq!(status.mode.as_deref(), Some("Stream"));
    assert_eq!(
        (
            status.backlog,
            status.replicas,
            status.rows,
            status.rejected
        ),
        (Some(7), Some(1), Some(12), Some(1))
    );
    assert_eq!(status.binding.unwrap().name, "coredms-binding");
}

#[test]
fn whatever_is_missing_is_the_reason_why_it_is_not_ready() {
    let waiting = || Stage::waiting("Missing", "what to do");
    for (parts, reason) in [
        (
            Parts {
                table: waiting(),
                ..parts()
            },
            "Missing",
        ),
        (
            Parts {
                queues: waiting(),
                ..parts()
            },
            "Missing",
        ),
        (
            Parts {
                gateway_replicas: 0,
                loaded: vec![],
                ..parts()
            },
            "GatewayNotReady",
        ),
        (
            Parts {
                loaded: vec![replica(2, 0)],
                ..parts()
            },
            "GatewayNotReady",
        ),
        (
            Parts {
                loaded: vec![replica(2, 0), replica(1, 0)],
                ..parts()
            },
            "GatewayLoading",
        ),
        (
            Parts {
                loaded: vec![replica(2, 0), None],
                ..parts()
            },
            "GatewayLoading",
        ),
        (
            Parts {
                apps: Apps {
                    least: 1,
                    declared: 1,
                    ..Apps::default()
                },
                ..parts()
            },
            "NoIngestApp",
        ),
        (
            Parts {
                apps: Apps {
                    declared: 1,
                    overdue: true,
                    ..Apps::default()
                },
                ..parts()
            },
            "NoIngestApp",
        ),
        (
            Parts {
                apps: Apps {
                    former: 1,
                    ..Apps::default()
                },
                ..parts()
            },
            "RollingOut",
        ),
    ] {
        assert_eq!(ready_reason(parts), reason);
    }
}

#[test]
fn whether_it_is_active_is_no_matter_of_being_ready() {
    let apps = |declared, ready| Apps {
        declared,
        ready,
        ..Apps::default()
    };
    let away = || Err("connection refused".to_owned());
    for (apps, backlog, status, reason, part) in [
        (apps(0, 0), waiting(0), "False", "Idle", "nothing waits"),
        (apps(0, 0), waiting(3), "False", "Waking", "is started"),
        (apps(1, 0), waiting(3), "False", "Starting", "starts"),
        (apps(3, 2), waiting(3), "True", "Ingesting", "2 of 3"),
        (apps(3, 2), away(), "Unknown", "BrokerNotAsked", "3, while"),
    ] {
        let parts = Parts {
            apps,
            backlog,
            ..parts()
        };
        let (_, facts) = super::status(&pipeline(), &Ok(Observed::Applied(Box::new(parts))));
        assert!(facts.get(READY).unwrap().holds, "{reason}");
        let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        let conditions = facts.conditions(&[], None, now);
        let active = crate::conditions::find(&conditions, ACTIVE).unwrap();
        assert_eq!((&*active.status, &*active.reason), (status, reason));
        assert!(active.message.contains(part), "{}", active.message);
    }
}

#[test]
fn figures_that_cannot_be_asked_now_stay() {
    let mut pipeline = pipeline();
    pipeline.status = Some(IngestPipelineStatus {
        backlog: Some(5),
        rows: Some(100),
        rejected: Some(2),
        ..Default::default()
    });
    let parts = Parts {
        backlog: Err("it is away".into()),
        loaded: vec![],
        ..parts()
    };
    let (status, _) = status(&pipeline, &Ok(Observed::Applied(Box::new(parts))));
    assert_eq!(
        (status.backlog, status.rows, status.rejected),
        (Some(5), Some(100), Some(2))
    );
}

#[test]
fn a_conflict_names_the_column_and_the_other_pipeline_and_stalls() {
    let error = Error::TableConflict {
        conflict: "table `t`, column `a`: it is int and cannot become text".into(),
        others: vec!["first".into()],
    };
    let (_, facts) = status(&pipeline(), &Err(error));
    let ready = facts.get(READY).unwrap();
    assert_eq!(ready.reason, "TableConflict");
    assert!(
        ready.message.contains("column `a`") && ready.message.contains("IngestPipeline `first`")
    );
    assert!(facts.get(STALLED).unwrap().holds && !facts.get(TABLE_READY).unwrap().holds);
}

#[test]
fn a_pipeline_outside_of_a_tenant_s_namespace_stalls() {
    let error = Error::from(Homeless {
        namespace: "default".into(),
        tenants: vec![],
    });
    let (_, facts) = status(&pipeline(), &Err(error));
    assert_eq!(facts.get(STALLED).unwrap().reason, "NotATenantNamespace");
    assert!(
        facts
            .get(READY)
            .unwrap()
            .message
            .contains("there is no Tenant")
    );
}

#[test]
fn a_pipeline_whose_tenant_stops_accepts_and_runs_nothing() {
    let (status, facts) = status(
        &pipeline(),
        &Ok(Observed::TenantStopped("apply it again".into())),
    );
    for kind in [READY, ACCEPTING, ACTIVE, RECONCILING] {
        assert!(!facts.get(kind).unwrap().holds, "{kind}");
    }
    assert_eq!(status.replicas, Some(0));
}

#[test]
fn dead_letters_are_counted_and_what_to_do_is_said() {
    let mut pipeline = pipeline();
    pipeline.metadata.namespace = Some("tenant-acme".into());
    let dead = |ready, unacknowledged| Parts {
        backlog: Ok(Backlog {
            work: queue("ingest.p", 3, 4),
            dead: Some(queue("ingest.p.dead", ready, unacknowledged)),
        }),
        ..parts()
    };
    let told = |pipeline: &IngestPipeline, parts: Parts| {
        status(pipeline, &Ok(Observed::Applied(Box::new(parts))))
    };
    let (_, facts) = told(&pipeline, dead(0, 0));
    assert!(!facts.get(POISON_MESSAGES).unwrap().holds);
    // One is being looked at: it is there all the same.
    let (figures, facts) = told(&pipeline, dead(2, 1));
    let fact = facts.get(POISON_MESSAGES).unwrap();
    assert!(fact.holds && facts.get(READY).unwrap().holds);
    assert!(fact.message.starts_with("3 in the dead-letter queue"));
    for verb in ["list p", "redrive p --all", "purge p --all"] {
        let verb = format!("simbdp --tenant acme dlq {verb}");
        assert!(fact.message.contains(&verb), "{}", fact.message);
    }
    // While nobody can count, it is as it was.
    pipeline.status = Some(figures);
    let unknown = Parts {
        backlog: Err("connection refused".into()),
        ..parts()
    };
    let (figures, facts) = told(&pipeline, unknown.clone());
    assert_eq!(figures.dead_letters, Some(3));
    assert!(facts.get(POISON_MESSAGES).unwrap().holds);
    pipeline.status = None;
    assert_eq!(told(&pipeline, unknown).1.get(POISON_MESSAGES), None);
}
