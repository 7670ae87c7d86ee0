//! What a pod's status says to a person [pure]: ready, or why not.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// A pod: ready, or why not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodState {
    /// Name.
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not.
    pub problem: Option<Problem>,
}

/// Why a pod is not ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// CamelCase, as Kubernetes says it, e.g. `Unschedulable`, `ImagePullBackOff`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Whether it is more than that the pod takes its time to start.
    pub serious: bool,
}

/// What a pod's status says.
pub fn pod_state(pod: &Pod) -> PodState {
    let ready = condition(pod, "Ready").is_some_and(|(status, _, _)| status == "True");
    let ready = ready && pod.metadata.deletion_timestamp.is_none();
    PodState {
        name: pod.name_any(),
        ready,
        problem: (!ready).then(|| problem(pod)),
    }
}

fn problem(pod: &Pod) -> Problem {
    if pod.metadata.deletion_timestamp.is_some() {
        return said("Terminating", "is being stopped", false);
    }
    if let Some(("False", reason, message)) = condition(pod, "PodScheduled") {
        return said(reason, message, true);
    }
    let status = pod.status.as_ref();
    let inits = status.and_then(|status| status.init_container_statuses.as_deref());
    let servers = status.and_then(|status| status.container_statuses.as_deref());
    let containers = inits.into_iter().chain(servers).flatten();
    containers
        .filter_map(container_problem)
        .next()
        .unwrap_or_else(|| said("Starting", "is starting", false))
}

fn container_problem(container: &ContainerStatus) -> Option<Problem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting
        .reason
        .as_deref()
        .filter(|reason| !ordinary(reason))?;
    let ended = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let ended = ended.map(|ended| {
        let why = ended.reason.as_deref().unwrap_or("Error");
        format!(
            "; it ended with code {} ({why}): see `kubectl logs --previous`",
            ended.exit_code
        )
    });
    let message = format!(
        "{}{}",
        waiting.message.as_deref().unwrap_or_default(),
        ended.unwrap_or_default()
    );
    Some(said(reason, &message, true))
}

/// Not a problem: the pod takes its time.
fn ordinary(reason: &str) -> bool {
    matches!(reason, "PodInitializing" | "ContainerCreating")
}

fn said(reason: &str, message: &str, serious: bool) -> Problem {
    Problem {
        reason: reason.to_owned(),
        message: message.to_owned(),
        serious,
    }
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some((
        &found.status,
        found.reason.as_deref().unwrap_or_default(),
        found.message.as_deref().unwrap_or_default(),
    ))
}

/// Which pods are not ready and why, in one line.
pub fn explain<'a>(pods: impl IntoIterator<Item = &'a PodState>) -> String {
    let lines: Vec<_> = pods
        .into_iter()
        .filter_map(|pod| {
            let problem = pod.problem.as_ref()?;
            Some(match problem.serious {
                true => format!("{}: {}: {}", pod.name, problem.reason, problem.message),
                false => format!("{} {}", pod.name, problem.message),
            })
        })
        .collect();
    lines.join("; ")
}

/// The reason of the first serious problem.
pub fn serious<'a>(pods: impl IntoIterator<Item = &'a PodState>) -> Option<&'a str> {
    let problems = pods.into_iter().filter_map(|pod| pod.problem.as_ref());
    problems
        .filter(|problem| problem.serious)
        .map(|problem| problem.reason.as_str())
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "c-0"}, "status": status})).unwrap()
    }

    #[test]
    fn a_pod_that_fits_on_no_node_says_so() {
        let state = pod_state(&pod(json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
        ]})));
        assert_eq!(
            explain(std::slice::from_ref(&state)),
            "c-0: Unschedulable: 0/1 nodes are available"
        );
        assert_eq!(serious(&[state]), Some("Unschedulable"));
    }

    #[test]
    fn an_image_that_cannot_be_had_and_a_crash_are_named() {
        let pull = pod_state(&pod(json!({"containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
        }]})));
        assert_eq!(explain(&[pull]), "c-0: ImagePullBackOff: not found");
        let crash = pod_state(&pod(json!({"containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]})));
        assert!(explain(&[crash]).contains("code 137 (OOMKilled)"));
    }

    #[test]
    fn a_pod_that_starts_is_no_problem_yet() {
        let state = pod_state(&pod(json!({"containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "PodInitializing"}},
        }]})));
        assert_eq!(explain(std::slice::from_ref(&state)), "c-0 is starting");
        assert_eq!(serious(&[state]), None);
    }

    #[test]
    fn a_ready_pod_has_nothing_to_say() {
        let state = pod_state(&pod(
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
        ));
        assert!(state.ready && explain(&[state]).is_empty());
    }
}
