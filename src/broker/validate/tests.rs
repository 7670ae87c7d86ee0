use super::*;

fn needs(spec: &str) -> Result<NodeNeeds, Invalid> {
    let text = format!("{{metadata: {{name: b}}, spec: {{{spec}}}}}");
    let broker: Broker = serde_yaml::from_str(&text).unwrap();
    validate(&broker).map(|valid| valid.needs)
}

#[test]
fn a_node_has_sizes_of_its_own() {
    let needs = needs("storage: {size: 1Gi}").unwrap();
    assert_eq!(
        (needs.cpu, needs.memory >> 20, needs.memory_limit >> 20),
        (100, 512, 1024)
    );
}

#[test]
fn what_cannot_run_is_refused_with_what_would_be_right() {
    let cases = [
        (
            "storage: {size: 256Mi}",
            "more than half of spec.storage.size (256Mi)",
        ),
        (
            "storage: {size: 1Gi}, resources: {limits: {memory: 128Mi}}",
            "give it 256Mi or more",
        ),
        (
            "storage: {size: 1Gi}, resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
            "lower the request",
        ),
        (
            "storage: {size: 1Gi}, resources: {requests: {cpu: '2'}, limits: {cpu: '1'}}",
            "limits.cpu (1)",
        ),
        (
            "type: Kafka, storage: {size: 1Gi}, resources: {limits: {memory: 256Mi}}",
            "give it 512Mi or more",
        ),
        (
            "type: Kafka, nodes: 2, storage: {size: 1Gi}",
            "spec.nodes (2) must be 1 or 3",
        ),
        (
            "storage: {size: 1Gi}, maxQueueSize: 0M",
            "write for example 512Mi",
        ),
    ];
    for (spec, message) in cases {
        let error = needs(spec).unwrap_err();
        assert!(error.to_string().contains(message), "{spec}: {error}");
    }
}
