//! Plans a Broker [IO] by its own controller's validation and builders.

use kube::ResourceExt;
use simbdp_api::Broker;

use super::ask::ask;
use super::built::Builder;
use super::documents::Document;
use super::error::PlanError;
use super::look::look;
use super::report::Section;
use super::scene::{Scene, put};
use crate::broker::credentials::Credentials;
use crate::broker::{MANAGER, build::build, credentials, external, validate};
use crate::error::Classified;

/// Plans an apply.
pub async fn apply(
    scene: &mut Scene<'_>,
    document: &Document,
    section: &mut Section,
) -> Result<(), PlanError> {
    let Some(asked) = ask::<Broker>(scene, document, section).await? else {
        return Ok(());
    };
    let broker = asked.wanted;
    put(&mut scene.brokers, broker.clone());
    defaults(scene, &broker, section);
    let valid = match external::validate(&broker) {
        Ok(Some(_)) => {
            section
                .note("the broker is external: nothing is run or made but what tenants need in it");
            return Ok(());
        }
        Ok(None) => validate::validate(&broker),
        Err(invalid) => Err(invalid),
    };
    let valid = match valid {
        Ok(valid) => valid,
        Err(invalid) => {
            section.refuse(invalid.reason(), invalid.to_string());
            return Ok(());
        }
    };
    let platform = scene.platform.of_brokers();
    let mut builder = Builder::new(MANAGER);
    // Nobody reads what is built with these: of Secrets only the names count.
    let secrets = credentials::secrets(&valid, &platform.namespace, &platform.version, String::new);
    for secret in &secrets {
        builder.once(secret)?;
    }
    builder.broker(build(&valid, &platform, &Credentials::default()))?;
    look(scene, builder.built, true, section).await
}

fn defaults(scene: &Scene<'_>, broker: &Broker, section: &mut Section) {
    if !broker.spec.default {
        return;
    }
    let others = scene.brokers.iter().filter(|other| other.spec.default);
    let others = others.map(ResourceExt::name_any);
    let mut others: Vec<_> = others.filter(|name| *name != broker.name_any()).collect();
    others.sort();
    if !others.is_empty() {
        section.note(format!(
            "marked default are also {}: a Tenant that names no Broker is refused then",
            others.join(", ")
        ));
    }
}
