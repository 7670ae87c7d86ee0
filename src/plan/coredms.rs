//! Plans a CoreDms [IO] by its own controller's validation and builders.

use kube::ResourceExt;
use simbdp_api::CoreDms;

use super::ask::ask;
use super::built::Builder;
use super::documents::Document;
use super::error::PlanError;
use super::look::look;
use super::report::Section;
use super::scene::{Scene, put};
use crate::controller_runtime::Controller;
use crate::coredms::build::{Fresh, build};
use crate::coredms::{CoreDmsController, external, validate};
use crate::error::Classified;

/// Plans an apply.
pub async fn apply(
    scene: &mut Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Some(asked) = ask::<CoreDms>(scene, document, section).await? else {
        return Ok(());
    };
    let coredms = asked.wanted;
    let namespace = coredms.namespace().unwrap_or_default();
    if namespace == scene.platform.namespace {
        put(&mut scene.shared, coredms.clone());
    } else if coredms.spec.max_tenants.is_some() {
        section.note(format!(
            "tenants get places only in CoreDms of namespace {}, and this is in {namespace}",
            scene.platform.namespace
        ));
    }
    let there = !scene.is_coming(&namespace);
    children(scene, &coredms, there, section).await
}

/// What the controller of a CoreDms makes. `there` says whether its namespace is.
pub async fn children(
    scene: &mut Scene<'_>,
    coredms: &CoreDms,
    there: bool,
    section: &mut Section,
) -> Result<(), PlanError> {
    let valid = match external::validate(coredms) {
        Ok(Some(_)) => {
            section.note(
                "the database is external: nothing is run or made but what tenants need in it",
            );
            return Ok(());
        }
        Ok(None) => validate::validate(coredms),
        Err(invalid) => Err(invalid),
    };
    let valid = match valid {
        Ok(valid) => valid,
        Err(invalid) => {
            section.refuse(invalid.reason(), invalid.to_string());
            return Ok(());
        }
    };
    // Nobody reads what is built with these: of Secrets only the names count.
    let nothing = Fresh {
        password: String::new(),
        keyfile: String::new(),
    };
    let platform = scene.platform.of_databases(valid.engine);
    let mut builder = Builder::new(CoreDmsController::MANAGER);
    builder.coredms(build(&valid, &platform, nothing, valid.replicas))?;
    look(scene, builder.built, there, section).await
}
