//! The operator's API for gateways, over TLS on [`crate::mounts::WAKE_PORT`], with `Authorization: Bearer <token>`, the
//! token being that of the gateway's own ServiceAccount for [`AUDIENCE`]:
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/namespaces/{namespace}/pipelines/{pipeline}/wake` | 204: an ingest app of the pipeline runs, or starts now |
//!
//! 401 says that the token is not of a ServiceAccount, or for another audience; 403 that it is not of the gateway of that
//! namespace; 404 that the pipeline has no ingest app; 409 that it is paused.

use crate::names::{PipelineName, TenantName};

/// Whom the token of a gateway is for: nobody else takes it, and the operator takes no other.
pub const AUDIENCE: &str = "wake.simbdp.dev";
/// Pattern of the path.
pub const ROUTE: &str = "/v1/namespaces/{namespace}/pipelines/{pipeline}/wake";
/// File of the token, in [`crate::mounts::OPERATOR`].
pub const TOKEN: &str = "token";
/// File of the operator's authority, in [`crate::mounts::OPERATOR`].
pub const AUTHORITY: &str = "ca.crt";

/// Path by which a pipeline is woken.
pub fn path(tenant: &TenantName, pipeline: &PipelineName) -> String {
    format!(
        "/v1/namespaces/{}/pipelines/{pipeline}/wake",
        tenant.namespace()
    )
}
