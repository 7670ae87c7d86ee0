//! The Job [pure] that checks that other tenants' servers refuse this tenant's credentials. Its pod is an ingest app to
//! network policies: what it reaches, they reach.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::core::ObjectMeta;
use simbdp_api::names::tenant_objects as objects;
use simbdp_api::wire::isolation::Neighbour;

use super::meta::{Owner, Platform};
use super::pod::{Mount, Program};
use crate::objects::env;
use crate::tenant::credentials::user_secret;
use crate::tenant::observe::replica_url;

const COMPONENT: &str = "ingest";
/// Longest that the check may take, its pods' starts included.
const DEADLINE_SECONDS: i64 = 300;

/// The Job; `user` is one of the tenant's, whose token is tried as well.
pub fn job(
    owner: &Owner,
    user: Option<&str>,
    neighbours: &[Neighbour],
    platform: &Platform,
) -> Job {
    let user = user.map(|user| Mount::user(&user_secret(user)));
    // Strings alone always serialise.
    let others = serde_json::to_string(neighbours).unwrap_or_default();
    let program = Program {
        name: objects::ISOLATION,
        command: &["simbdp-operator", "check-isolation"],
        account: objects::INGEST,
        ports: &[],
        serves: false,
        env: vec![
            env("SIMBDP_NEIGHBOURS", others),
            env("SIMBDP_GATEWAY", replica_url(owner.name(), 0)),
        ],
        mounts: [Mount::coredms(), Mount::broker(), Mount::internal()]
            .into_iter()
            .chain(user)
            .collect(),
        claims: Vec::new(),
        resources: (
            Quantity("10m".to_owned()),
            Quantity("32Mi".to_owned()),
            Quantity("64Mi".to_owned()),
        ),
    };
    let mut pod = program.pod(owner.name().as_str(), platform);
    pod.restart_policy = Some("Never".to_owned());
    Job {
        metadata: owner.meta(objects::ISOLATION, COMPONENT),
        spec: Some(JobSpec {
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            backoff_limit: Some(2),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(owner.labels(COMPONENT)),
                    ..Default::default()
                }),
                spec: Some(pod),
            },
            ..Default::default()
        }),
        status: None,
    }
}
