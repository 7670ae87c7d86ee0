//! Labels, annotations and finalizers of this project's group, and the recommended ones of
//! Kubernetes (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).

/// Name of the tenant that an object belongs to.
pub const TENANT: &str = "simbdp.dev/tenant";
/// Name of the ingest pipeline that an object belongs to.
pub const PIPELINE: &str = "simbdp.dev/pipeline";
/// Name of the CoreDms that an object belongs to; as an annotation of a tenant's namespace, the CoreDms that holds the
/// tenant's data, `<namespace>/<name>`.
pub const COREDMS: &str = "simbdp.dev/coredms";
/// Name of the Broker that an object belongs to.
pub const BROKER: &str = "simbdp.dev/broker";
/// On a namespace, written by the operator alone: the Tenant that it belongs to, also when retained.
pub const OWNED_BY_TENANT: &str = "simbdp.dev/owned-by-tenant";
/// On an IngestPipeline: delete it without waiting for its backlog.
pub const DISCARD_BACKLOG: &str = "simbdp.dev/discard-backlog";
/// On a pod template: digest of the configuration that the pod reads at its start.
pub const CONFIG_DIGEST: &str = "simbdp.dev/config-digest";
/// On a Tenant, CoreDms or IngestPipeline: when a person last asked for a restart of its pods; also on their template.
pub const RESTARTED_AT: &str = "simbdp.dev/restarted-at";
/// On the Deployment of an ingest app: none is to run, and why.
pub const PAUSED: &str = "simbdp.dev/paused";
/// On a gateway pod: revision of the pipelines that it should load; changing it makes the kubelet
/// refresh the mounted ConfigMap at once.
pub const PIPELINES_REVISION: &str = "simbdp.dev/pipelines-revision";
/// On the claim of a member's volume: the member goes. `leaving` while it hands its data over, which is then gone through
/// with whatever is asked meanwhile; `left` when the others have them: such a volume never serves again.
pub const DEPARTURE: &str = "simbdp.dev/departure";
/// On the claim of a member's volume: others have taken over a part of its data, which is still on it.
pub const TO_CLEAN: &str = "simbdp.dev/to-clean";
/// On the claim of a member's volume: its member took the place of one whose volume was lost, and may lack what one replica
/// alone has.
pub const TO_REPAIR: &str = "simbdp.dev/to-repair";
/// Finalizer of every custom resource whose teardown is ordered.
pub const FINALIZER: &str = "simbdp.dev/teardown";

/// `app.kubernetes.io/name`.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// `app.kubernetes.io/instance`.
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
/// `app.kubernetes.io/version`.
pub const APP_VERSION: &str = "app.kubernetes.io/version";
/// `app.kubernetes.io/component`.
pub const APP_COMPONENT: &str = "app.kubernetes.io/component";
/// `app.kubernetes.io/part-of`.
pub const APP_PART_OF: &str = "app.kubernetes.io/part-of";
/// `app.kubernetes.io/managed-by`.
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
