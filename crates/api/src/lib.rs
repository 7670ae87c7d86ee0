//! Custom resources of the group `simbdp.dev`, the names derived from them, and the shapes
//! that the programs exchange. Pure: no client, no clock, no runtime.

pub mod app;
pub mod broker;
pub mod column_type;
pub mod common;
pub mod coredms;
pub mod labels;
pub mod mounts;
pub mod names;
pub mod pipeline;
pub mod reference;
pub mod tenant;
pub mod wire;

pub use broker::{Broker, BrokerSpec, BrokerStatus};
pub use coredms::{CoreDms, CoreDmsSpec, CoreDmsStatus};
pub use pipeline::{IngestPipeline, IngestPipelineSpec, IngestPipelineStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

/// The API group of every custom resource of this project.
pub const GROUP: &str = "simbdp.dev";
/// The version of the custom resources.
pub const VERSION: &str = "v1alpha1";

/// Every custom resource definition, in the order in which they are installed.
pub fn custom_resource_definitions()
-> Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>
{
    use kube::CustomResourceExt;
    vec![
        Broker::crd(),
        CoreDms::crd(),
        IngestPipeline::crd(),
        Tenant::crd(),
    ]
}
