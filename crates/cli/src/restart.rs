//! `restart`: new pods for a tenant's database, gateway or ingest apps, one after the other and without a gap.

use std::fmt::Debug;
use std::process::ExitCode;

use chrono::{SecondsFormat, Utc};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use simbdp_api::names::{TenantName, tenant_objects};
use simbdp_api::{CoreDms, IngestPipeline, Tenant, labels};

use crate::args::{ConnectionArgs, Output, Restart, RestartPart};
use crate::connect;
use crate::error::CliError;
use crate::output::{Grid, print};

/// What is restarted.
#[derive(Serialize)]
struct Restarted {
    kind: &'static str,
    name: String,
    at: String,
}

/// Runs the verb.
pub async fn run(
    connection: &ConnectionArgs,
    output: Output,
    verb: Restart,
) -> Result<ExitCode, CliError> {
    let tenant = connect::tenant_name(connection)?;
    let client = connect::cluster().await?;
    let at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let (kind, name) = match verb.part {
        RestartPart::Database => {
            let name = tenant_objects::COREDMS.to_owned();
            let api = namespaced::<CoreDms>(client, &tenant);
            ("CoreDms", ask(&api, name, &at).await?)
        }
        RestartPart::Gateway => {
            let api = Api::<Tenant>::all(client);
            ("Tenant", ask(&api, tenant.to_string(), &at).await?)
        }
        RestartPart::Pipeline { name } => {
            let api = namespaced::<IngestPipeline>(client, &tenant);
            ("IngestPipeline", ask(&api, name, &at).await?)
        }
    };
    let restarted = Restarted { kind, name, at };
    let mut grid = Grid::new(["kind", "name", "restarted at"]);
    grid.rows.push(vec![
        kind.to_owned(),
        restarted.name.clone(),
        restarted.at.clone(),
    ]);
    print(output, &restarted, &grid)?;
    Ok(ExitCode::SUCCESS)
}

fn namespaced<K>(client: Client, tenant: &TenantName) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client, &tenant.namespace())
}

/// Leaves word with the operator, which makes the new pods; returns the name.
async fn ask<K>(api: &Api<K>, name: String, at: &str) -> Result<String, CliError>
where
    K: Clone + Debug + DeserializeOwned,
{
    let patch = json!({"metadata": {"annotations": {labels::RESTARTED_AT: at}}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map_err(|source| CliError::Cluster {
            action: format!("annotating {name}"),
            source: Box::new(source),
        })?;
    Ok(name)
}
