use super::*;

/// A shared CoreDms that is ready, with so many of its places taken by others.
fn shared(name: &str, taken: usize, places: u16) -> CoreDms {
    let claims: Vec<_> = (0..taken)
        .map(|index| format!("{{tenant: other-{name}-{index}}}"))
        .collect();
    let text = format!(
        "{{metadata: {{name: {name}, namespace: simbdp-system}}, spec: {{storage: {{size: 1Gi}}, maxTenants: {places}, claims: [{}]}}, \
         status: {{conditions: [{{type: Ready, status: 'True', reason: Ready, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}}}",
        claims.join(", ")
    );
    serde_yaml::from_str(&text).unwrap()
}

fn starting(mut coredms: CoreDms, message: &str) -> CoreDms {
    let status = coredms.status.as_mut().unwrap();
    status.conditions.conditions[0].status = "False".into();
    status.conditions.conditions[0].message = message.into();
    coredms
}

fn leaves(mut coredms: CoreDms) -> CoreDms {
    coredms.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
    coredms
}

fn held_by(mut coredms: CoreDms, tenant: &str) -> CoreDms {
    coredms.spec.claims.push(simbdp_api::coredms::Claim {
        tenant: tenant.into(),
    });
    coredms
}

fn acme() -> TenantName {
    TenantName::new("acme").unwrap()
}

/// What is chosen for `acme`, in a word or two.
fn chosen(
    reference: Option<&str>,
    recorded: Option<&str>,
    all: &[CoreDms],
    can_create: bool,
) -> String {
    let asked = Asked {
        tenant: &acme(),
        engine: Engine::Cassandra,
        reference,
        recorded,
        namespace: "simbdp-system",
    };
    match choose(asked, all, can_create) {
        Ok(Choice::Has(one)) => format!("has {}", one.name_any()),
        Ok(Choice::Take(one, why)) => {
            assert!(why.starts_with(&format!("{}: ", one.name_any())), "{why}");
            format!("take {why}")
        }
        Ok(Choice::Wait(message)) => format!("wait {message}"),
        Ok(Choice::Create(name)) => format!("create {name}"),
        Err(error) => format!("{} {error}", error.reason()),
    }
}

#[test]
fn the_emptiest_ready_one_with_room_is_taken_then_the_first_by_name() {
    let all = [
        shared("d", 3, 10),
        shared("a", 10, 10),
        shared("c", 3, 10),
        shared("b", 4, 10),
        starting(shared("e", 0, 10), ""),
        leaves(shared("f", 0, 10)),
    ];
    let take = "take c: 3 of 10 places taken; emptiest of 3";
    assert_eq!(chosen(None, None, &all, true), take);
    let only = "take a: 0 of 1 places taken; the only one with room";
    assert_eq!(chosen(None, None, &[shared("a", 0, 1)], true), only);
}

#[test]
fn of_two_with_as_many_tenants_the_one_with_less_data_is_taken() {
    let with_data = |name, data: &str| {
        let mut coredms = shared(name, 3, 10);
        coredms.status.as_mut().unwrap().data = Some(data.into());
        coredms
    };
    let all = [
        with_data("a", "2048Mi"),
        with_data("b", "40Mi"),
        with_data("c", "41Mi"),
    ];
    let take = "take b: 3 of 10 places taken, 40Mi of data; emptiest of 3";
    assert_eq!(chosen(None, None, &all, true), take);
}

#[test]
fn who_has_a_place_keeps_it_whatever_becomes_of_the_database() {
    let full = held_by(shared("b", 9, 10), "acme");
    for own in [
        full.clone(),
        starting(full.clone(), "down"),
        leaves(full.clone()),
    ] {
        let all = [shared("a", 0, 10), own];
        assert_eq!(chosen(None, None, &all, true), "has b");
        assert_eq!(chosen(Some("b"), Some("b"), &all, true), "has b");
    }
    let moved = chosen(Some("a"), None, &[shared("a", 0, 10), full], true);
    assert!(
        moved.starts_with("CoreDmsImmutable") && moved.contains("`b` and cannot move to `a`"),
        "{moved}"
    );
}

#[test]
fn a_place_on_record_is_taken_again_and_no_other() {
    let all = [shared("a", 0, 10), shared("b", 5, 10)];
    assert_eq!(
        chosen(None, Some("b"), &all, true),
        "take b: 5 of 10 places taken; on record to hold the tenant's data"
    );
    assert!(chosen(Some("a"), Some("b"), &all, true).starts_with("CoreDmsImmutable"));
    assert!(chosen(None, Some("gone"), &all, true).starts_with("CoreDmsNotFound"));
}

#[test]
fn the_one_that_is_asked_for_or_why_not() {
    let mut unshared = shared("private", 0, 1);
    unshared.spec.max_tenants = None;
    let all = [
        shared("a", 1, 10),
        shared("full", 2, 2),
        unshared,
        leaves(shared("leaving", 0, 10)),
        starting(shared("new", 0, 10), "1 of 3 members are ready"),
    ];
    for (name, outcome) in [
        (
            "a",
            "take a: 1 of 10 places taken; named in spec.coredms.ref",
        ),
        (
            "nope",
            "CoreDmsNotFound spec.coredms.ref: CoreDms `nope` is not in namespace simbdp-system; shared are a, full, leaving, new",
        ),
        (
            "private",
            "CoreDmsNotShared spec.coredms.ref: CoreDms `private` is not shared: set its spec.maxTenants, or name another one",
        ),
        (
            "full",
            "CoreDmsFull spec.coredms.ref: each of the 2 places of CoreDms `full` is taken: raise its spec.maxTenants, or name another one",
        ),
        (
            "leaving",
            "CoreDmsLeaving spec.coredms.ref: CoreDms `leaving` is being deleted: name another one",
        ),
        (
            "new",
            "wait CoreDms `new` has room and is not ready yet: 1 of 3 members are ready",
        ),
    ] {
        assert_eq!(chosen(Some(name), None, &all, true), outcome);
    }
}

#[test]
fn a_new_one_is_made_only_when_each_is_full_and_none_starts() {
    let name = |ordinal: usize| names::shared(Engine::Cassandra, ordinal);
    assert_eq!(chosen(None, None, &[], true), format!("create {}", name(1)));
    let full = [shared(&name(1), 2, 2), shared(&name(3), 2, 2)];
    assert_eq!(
        chosen(None, None, &full, true),
        format!("create {}", name(2))
    );
    let beside = [leaves(shared(&name(1), 0, 2)), full[1].clone()];
    assert_eq!(
        chosen(None, None, &beside, true),
        format!("create {}", name(2))
    );
    let begun = [full[0].clone(), starting(shared(&name(2), 0, 2), "")];
    assert_eq!(
        chosen(None, None, &begun, true),
        "wait CoreDms `shared-cassandra-2` has room and is not ready yet: it is being created"
    );
    let told = chosen(None, None, &full, false);
    assert!(
        told.contains(
            "(shared-cassandra-1: 2 of 2 places taken, shared-cassandra-3: 2 of 2 places taken)"
        ) && told.contains("set sharedCoredms in the operator's configuration"),
        "{told}"
    );
    assert!(chosen(None, None, &[], false).contains("(there is none)"));
}

#[test]
fn one_made_from_the_template_is_shared_and_ours() {
    let template: SharedTemplate =
        serde_yaml::from_str("{maxTenants: 5, storage: {size: 2Gi}, profile: Development}")
            .unwrap();
    let made = from_template(
        Engine::Cassandra,
        "shared-cassandra-1",
        "simbdp-system",
        &template,
    );
    insta::assert_yaml_snapshot!(made);
}
