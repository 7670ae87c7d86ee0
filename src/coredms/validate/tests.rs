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
    assert_eq!((small.memory_limit >> 20, small.heap >> 20), (900, 258));
    let large = needs("profile: Production").unwrap();
    assert_eq!((large.memory_limit >> 20, large.heap >> 20), (4096, 1856));
    assert_eq!((large.memory, large.cpu), (large.memory_limit, 1000));
}

#[test]
fn the_heap_follows_the_limit_up_to_where_a_larger_one_holds_less() {
    let heap = |limit: &str| {
        needs(&format!("resources: {{limits: {{memory: {limit}}}}}"))
            .unwrap()
            .heap
            >> 20
    };
    assert_eq!(heap("8Gi"), 3904);
    assert_eq!(heap("256Gi"), 31 << 10);
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
