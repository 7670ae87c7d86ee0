//! Plan: what an apply or a deletion of documents would create, change, restart, remove and lose, without doing it.
//! The API server is asked by dry runs; everything else is built by the controllers' own validation and builders.

pub mod ask;
pub mod broker;
pub mod built;
pub mod cluster;
pub mod coredms;
pub mod deletion;
mod deletion_of_tenants;
pub mod difference;
pub mod documents;
pub mod error;
pub mod home;
pub mod inventory;
pub mod look;
mod losses;
pub mod pipeline;
pub mod platform;
pub mod report;
pub mod scene;
pub mod tenant;

use kube::Client;

pub use documents::{Document, parse};
pub use error::PlanError;
pub use platform::Platform;
pub use report::{Plan, Section};

use documents::Kind;
use scene::Scene;

/// What applying the documents would do.
pub async fn apply(
    client: &Client,
    platform: &Platform,
    documents: Vec<Document>,
) -> Result<Plan, PlanError> {
    let mut scene = Scene::new(client, platform, &documents).await?;
    let mut sections = Vec::with_capacity(documents.len());
    for document in documents::in_order_of_apply(documents) {
        let mut section = Section::of(&document);
        if scene.begin(&document, &mut section) {
            match document.kind {
                Kind::Broker => broker::apply(&mut scene, &document, &mut section).await?,
                Kind::CoreDms => coredms::apply(&mut scene, &document, &mut section).await?,
                Kind::Tenant => tenant::apply(&mut scene, &document, &mut section).await?,
                Kind::IngestPipeline => {
                    pipeline::apply(&mut scene, &document, &mut section).await?
                }
                Kind::Other => section.skip(),
            }
        }
        sections.push(section);
    }
    Ok(Plan::of(sections))
}

/// What deleting the documents' objects would do.
pub async fn delete(
    client: &Client,
    platform: &Platform,
    documents: Vec<Document>,
) -> Result<Plan, PlanError> {
    let mut scene = Scene::new(client, platform, &documents).await?;
    let mut sections = Vec::with_capacity(documents.len());
    for document in documents::in_order_of_deletion(documents) {
        let mut section = Section::of(&document);
        if scene.begin(&document, &mut section) {
            deletion::delete(&mut scene, &document, &mut section).await?;
        }
        sections.push(section);
    }
    Ok(Plan::of(sections))
}
