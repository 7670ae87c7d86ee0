use super::*;

fn coredms(spec: &str) -> CoreDms {
    let text = format!(
        "{{metadata: {{name: c, namespace: n}}, spec: {{storage: {{size: 1Gi}}, {spec}}}}}"
    );
    serde_yaml::from_str(&text).unwrap()
}

fn needs(spec: &str) -> Result<MemberNeeds, Invalid> {
    validate(&coredms(spec)).map(|valid| valid.needs)
}

#[test]
fn profiles_have_sizes_of_their_own() {
    let small = needs("profile: Development").unwrap();
    assert_eq!((small.memory_limit >> 20, small.share >> 20), (900, 258));
    let large = needs("profile: Production").unwrap();
    assert_eq!((large.memory_limit >> 20, large.share >> 20), (4096, 1856));
    assert_eq!((large.memory, large.cpu), (large.memory_limit, 1000));
}

#[test]
fn the_heap_follows_the_limit_up_to_where_a_larger_one_holds_less() {
    let heap = |limit: &str| {
        needs(&format!("resources: {{limits: {{memory: {limit}}}}}"))
            .unwrap()
            .share
            >> 20
    };
    assert_eq!(heap("8Gi"), 3904);
    assert_eq!(heap("256Gi"), 31 << 10);
}

#[test]
fn a_number_of_members_that_an_engine_cannot_have_is_refused() {
    let replicas = |spec: &str| validate(&coredms(spec)).map(|valid| valid.replicas);
    for (spec, members) in [
        ("engine: Cassandra, replicas: 4", 4),
        ("engine: MongoDB, replicas: 5", 5),
        ("engine: MongoDB", 3),
    ] {
        assert_eq!(replicas(spec), Ok(members), "{spec}");
    }
    for (spec, message) in [
        ("replicas: 2", "spec.replicas (2) is less than 3"),
        ("engine: MongoDB, replicas: 1", "set it to 3 or more"),
        ("engine: MongoDB, replicas: 4", "set it to 3, 5 or 7"),
        ("engine: MongoDB, replicas: 9", "7 voters at most"),
    ] {
        let error = replicas(spec).unwrap_err();
        assert!(error.to_string().contains(message), "{spec}: {error}");
        assert_eq!(error.class(), Class::Invalid);
    }
}

#[test]
fn a_request_above_the_default_raises_the_limit() {
    let needs = needs("profile: Development, resources: {requests: {memory: 2Gi}}").unwrap();
    assert_eq!(needs.memory_limit >> 30, 2);
}

#[test]
fn what_cannot_run_is_refused_with_what_would_be_right() {
    let cases = [
        (
            "resources: {limits: {memory: 500Mi}}",
            "spec.resources.limits.memory (500Mi) is too little for a member: give it 768Mi or more",
        ),
        (
            "resources: {requests: {memory: 5Gi}, limits: {memory: 4Gi}}",
            "lower the request or raise the limit",
        ),
        (
            "resources: {requests: {cpu: '3'}, limits: {cpu: 500m}}",
            "spec.resources.requests.cpu (3) is more than spec.resources.limits.cpu (500m)",
        ),
        (
            "resources: {limits: {cpu: 1Gi}}",
            "write for example 500m or 2",
        ),
        (
            "resources: {limits: {memory: 0Mi}}",
            "write for example 512Mi",
        ),
    ];
    for (spec, message) in cases {
        let error = needs(spec).unwrap_err();
        assert!(error.to_string().contains(message), "{spec}: {error}");
        assert_eq!(error.class(), Class::Invalid);
    }
}
