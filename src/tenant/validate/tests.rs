use kube::ResourceExt;

use super::*;

const SMALLEST: &str = r"
apiVersion: simbdp.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec:
  coredms: {storage: {size: 10Gi}}
";

fn tenant(edit: impl FnOnce(&mut Tenant)) -> Tenant {
    let mut tenant: Tenant = serde_yaml::from_str(SMALLEST).unwrap();
    edit(&mut tenant);
    tenant
}

fn broker(name: &str, default: bool) -> Broker {
    let mut broker: Broker = serde_yaml::from_str(&format!(
        "{{apiVersion: simbdp.dev/v1alpha1, kind: Broker, metadata: {{name: {name}}}, spec: {{storage: {{size: 1Gi}}}}}}"
    ))
    .unwrap();
    broker.spec.default = default;
    broker
}

fn check(tenant: &Tenant) -> Result<ValidatedTenant, Invalid> {
    validate(tenant, &[broker("main", true)], &Current::default())
}

fn quota(field: &str, value: &str) -> Tenant {
    tenant(|tenant| {
        tenant.spec.quota = serde_yaml::from_str(&format!("{{{field}: {value}}}")).unwrap();
    })
}

#[test]
fn the_smallest_tenant_gets_the_default_broker_and_a_retained_database() {
    let valid = check(&tenant(|_| ())).unwrap();
    assert_eq!(valid.broker.name, "main");
    let coredms = valid.coredms.own().unwrap();
    assert_eq!(coredms.replicas(), 3);
    assert_eq!(coredms.deletion_policy, DeletionPolicy::Retain);
    assert_eq!(valid.gateway.replicas, 1);
}

#[test]
fn a_quota_too_small_for_three_members_and_the_gateway_says_what_would_be_right() {
    for (field, value, message) in [
        (
            "pods",
            "3",
            "spec.quota.pods is 3, but 3 database members and 1 gateway replica need 4: set spec.quota.pods to 4 or more",
        ),
        (
            "storage",
            "39Gi",
            "spec.quota.storage is 39Gi, but 3 database members and 1 gateway replica need 40Gi: set spec.quota.storage to 40Gi or more",
        ),
        (
            "cpu",
            "3",
            "spec.quota.cpu is 3, but 3 database members and 1 gateway replica need 3050m: set spec.quota.cpu to 3050m or more",
        ),
        (
            "memory",
            "12Gi",
            "spec.quota.memory is 12Gi, but 3 database members and 1 gateway replica need 12544Mi: set spec.quota.memory to 12544Mi or more",
        ),
    ] {
        let error = check(&quota(field, value)).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(error.reason(), "QuotaTooSmall");
    }
}

/// A Tenant with this as `spec.coredms`.
fn with_coredms(coredms: &str) -> Tenant {
    tenant(|tenant| tenant.spec.coredms = serde_yaml::from_str(coredms).unwrap())
}

#[test]
fn a_shared_database_takes_nothing_of_the_quota() {
    let mut shared = quota("pods", "1");
    shared.spec.coredms = with_coredms("{placement: Shared}").spec.coredms;
    assert!(check(&shared).unwrap().coredms.own().is_none());
    shared.spec.gateway.replicas = 2;
    assert_eq!(
        check(&shared).unwrap_err().to_string(),
        "spec.quota.pods is 1, but 2 gateway replicas need 2: set spec.quota.pods to 2 or more"
    );
}

#[test]
fn fields_of_the_other_placement_are_refused_with_what_would_be_right() {
    for (coredms, message) in [
        ("{}", "placement Dedicated needs storage"),
        (
            "{storage: {size: 1Gi}, ref: {name: x}}",
            "set placement to Shared, or leave ref out",
        ),
        (
            "{placement: Shared, storage: {size: 1Gi}}",
            "belong to placement Dedicated",
        ),
        (
            "{placement: Shared, profile: Development}",
            "belong to placement Dedicated",
        ),
    ] {
        let error = check(&with_coredms(coredms)).unwrap_err();
        assert!(error.to_string().contains(message), "{coredms}: {error}");
        assert_eq!(error.reason(), "InvalidPlacement");
    }
}

#[test]
fn data_stay_where_they_are_on_record() {
    let at = |coredms: &str, namespace: &str| {
        let current = Current {
            broker: None,
            coredms: Some(ObjectRef {
                namespace: namespace.into(),
                name: "x".into(),
            }),
        };
        validate(&with_coredms(coredms), &[broker("main", true)], &current)
    };
    let (own, shared) = ("{storage: {size: 1Gi}}", "{placement: Shared}");
    assert!(at(own, "tenant-acme").is_ok());
    let recorded = Some("x".to_owned());
    assert!(matches!(
        at(shared, "simbdp-system").unwrap().coredms,
        Database::Shared { recorded: found, .. } if found == recorded
    ));
    let error = at(shared, "tenant-acme").unwrap_err().to_string();
    assert!(
        error.ends_with("`tenant-acme/x` and cannot move: set spec.coredms.placement to Dedicated"),
        "{error}"
    );
    let error = at(own, "simbdp-system").unwrap_err();
    assert!(error.to_string().ends_with("to Shared"), "{error}");
    assert_eq!(error.reason(), "PlacementImmutable");
}

#[test]
fn a_quota_that_fits_exactly_is_accepted() {
    for (field, value) in [
        ("pods", "4"),
        ("storage", "40Gi"),
        ("cpu", "3050m"),
        ("memory", "12544Mi"),
    ] {
        assert!(check(&quota(field, value)).is_ok(), "{field}: {value}");
    }
}

#[test]
fn quantities_that_are_none_are_refused_by_field() {
    let error = check(&quota("storage", "'0'")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("spec.quota.storage: `0` is not a positive quantity")
    );
    let error = check(&tenant(|t| {
        t.spec.constraints.max_file_size = Some("lots".into())
    }))
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("spec.constraints.maxFileSize: `lots`")
    );
}

#[test]
fn names_that_do_not_fit_are_refused() {
    for name in ["", "Acme", "9lives", "a-", "a_b", &"a".repeat(41)] {
        let error = check(&tenant(|t| t.metadata.name = Some(name.to_owned()))).unwrap_err();
        assert_eq!(error.reason(), "InvalidName", "{name}");
    }
    let users = |names: &[&str]| {
        tenant(|t| {
            t.spec.users = names
                .iter()
                .map(|name| {
                    serde_yaml::from_str(&format!("{{name: {name:?}, role: Reader}}")).unwrap()
                })
                .collect();
        })
    };
    let error = check(&users(&["Ada"])).unwrap_err();
    assert!(
        error.to_string().contains("is not a name of a user"),
        "{error}"
    );
    let error = check(&users(&["ada", "ada"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "user `ada` is declared twice: give each user a name of its own"
    );
}

#[test]
fn the_choice_of_a_broker() {
    let choose = |wanted, brokers: &[(&str, bool)], current| {
        let brokers: Vec<Broker> = brokers.iter().map(|(n, d)| broker(n, *d)).collect();
        let tenant = TenantName::new("acme").unwrap();
        let chosen = broker::choose(&tenant, wanted, &brokers, current);
        chosen
            .map(ResourceExt::name_any)
            .map_err(|error| error.to_string())
    };
    let two = [("b", false), ("a", true)];
    assert_eq!(choose(Some("b"), &two, None).as_deref(), Ok("b"));
    assert_eq!(choose(None, &two, None).as_deref(), Ok("a"));
    // Queues stay where they are, whatever the default becomes.
    assert_eq!(choose(None, &two, Some("b")).as_deref(), Ok("b"));
    // They are lost with their Broker: then another may be named.
    assert_eq!(choose(Some("a"), &two, Some("gone")).as_deref(), Ok("a"));
    for (wanted, brokers, current, message) in [
        (
            Some("c"),
            &two[..],
            None,
            "Broker `c` is not there; known are a, b; set spec.broker.ref to an existing one, or create it",
        ),
        (
            Some("c"),
            &[],
            None,
            "Broker `c` is not there; there is no Broker: create one; set spec.broker.ref to an existing one, or create it",
        ),
        (
            None,
            &two[..1],
            None,
            "no Broker is marked default; known are b; name one in spec.broker.ref, or set spec.default of one",
        ),
        (
            None,
            &[("x", true), ("y", true)],
            None,
            "the Brokers x, y are all marked default: name one in spec.broker.ref, or leave the mark on one alone",
        ),
        (
            Some("a"),
            &two[..],
            Some("b"),
            "the tenant's queues are on Broker `b` and cannot move to `a`: set spec.broker.ref to `b`",
        ),
    ] {
        assert_eq!(choose(wanted, brokers, current), Err(message.to_owned()));
    }
}

#[test]
fn a_broker_of_its_own_is_a_tenant_s_alone() {
    let choose = |tenant: &str, wanted, own: &[&str]| {
        let mut brokers = vec![broker("main", true)];
        for name in own {
            let mut own = broker(name, false);
            own.spec.tenant = Some("acme".into());
            brokers.push(own);
        }
        let tenant = TenantName::new(tenant).unwrap();
        let chosen = broker::choose(&tenant, wanted, &brokers, None);
        chosen
            .map(ResourceExt::name_any)
            .map_err(|error| error.to_string())
    };
    assert_eq!(choose("acme", None, &["own"]).as_deref(), Ok("own"));
    assert_eq!(
        choose("acme", Some("main"), &["own"]).as_deref(),
        Ok("main")
    );
    assert_eq!(choose("other", None, &["own"]).as_deref(), Ok("main"));
    assert_eq!(
        choose("other", Some("own"), &["own"]).unwrap_err(),
        "Broker `own` is for tenant `acme` alone: name another one in spec.broker.ref, or leave it out for the default one"
    );
    assert_eq!(
        choose("acme", None, &["own", "also"]).unwrap_err(),
        "the Brokers also, own are all for this tenant alone: name one in spec.broker.ref"
    );
}

#[test]
fn staging_volumes_are_claimed_once() {
    let gateway: StatefulSet = serde_json::from_value(serde_json::json!({"spec": {
        "serviceName": "g", "selector": {}, "template": {},
        "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1Gi"}}}}],
    }}))
    .unwrap();
    let storage = |size: &str, class: Option<&str>| StorageSpec {
        size: size.into(),
        storage_class_name: class.map(str::to_owned),
    };
    assert_eq!(check_staging(&storage("1024Mi", None), &gateway), Ok(()));
    let error = check_staging(&storage("2Gi", Some("fast")), &gateway).unwrap_err();
    assert_eq!(
        error.to_string(),
        "spec.gateway.staging is 2Gi of class fast, but the gateway's volumes are 1Gi and cannot be changed: set it back"
    );
}
