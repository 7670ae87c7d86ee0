//! What a tenant and its pipelines have outside of the API server's objects [pure]: rows, queues, what waits.

use kube::ResourceExt;
use simbdp_api::IngestPipeline;
use simbdp_api::common::Engine;
use simbdp_api::names::{PipelineName, TenantName};

use super::report::{Item, Place};
use super::tenant::words;
use crate::tenant::external::{broker_names, database_names};

/// A table with the rows that its pipelines have written.
pub fn table(engine: Engine, tenant: &TenantName, pipelines: &[&IngestPipeline]) -> Item {
    let [_, _, kind] = words(engine);
    let name = pipelines.first().map(|one| one.spec.table.name.as_str());
    let name = format!("{}.{}", tenant.keyspace(), name.unwrap_or_default());
    let rows = pipelines.iter().map(|one| one.status.as_ref()?.rows);
    let detail = match rows.sum::<Option<i64>>() {
        Some(rows) => format!("{rows} rows written by its pipelines"),
        None => "an unknown number of rows".to_owned(),
    };
    Item::new(Place::Database, kind, name).with(detail)
}

/// Every table of these pipelines, in order.
pub fn tables(engine: Engine, tenant: &TenantName, pipelines: &[IngestPipeline]) -> Vec<Item> {
    let mut names: Vec<_> = pipelines.iter().map(|one| &one.spec.table.name).collect();
    names.sort();
    names.dedup();
    let of = |name: &String| {
        let same = pipelines.iter().filter(|one| one.spec.table.name == *name);
        table(engine, tenant, &same.collect::<Vec<_>>())
    };
    names.into_iter().map(of).collect()
}

/// Keyspaces with all that is in them.
pub fn keyspaces(engine: Engine, tenant: &TenantName, place: &str) -> Vec<Item> {
    let [kind, _, _] = words(engine);
    inside(kind, database_names(tenant).keyspaces, place)
}

/// Roles.
pub fn roles(engine: Engine, tenant: &TenantName, place: &str) -> Vec<Item> {
    let [_, kind, _] = words(engine);
    inside(kind, database_names(tenant).roles, place)
}

fn inside(kind: &str, names: Vec<String>, place: &str) -> Vec<Item> {
    let item = |name| Item::new(Place::Database, kind, name).with(format!("in CoreDms {place}"));
    names.into_iter().map(item).collect()
}

/// The virtual host and the user in a broker.
pub fn of_broker(tenant: &TenantName, broker: Option<&str>) -> Vec<Item> {
    let names = broker_names(tenant);
    let of = |kind: &str, name: String| {
        let item = Item::new(Place::Broker, kind, name);
        match broker {
            Some(broker) => item.with(format!("in Broker {broker}")),
            None => item,
        }
    };
    vec![of("VirtualHost", names.vhost), of("User", names.username)]
}

/// Both queues of a pipeline.
pub fn queues(tenant: &TenantName, pipeline: &PipelineName) -> Vec<Item> {
    let item = |name| {
        Item::new(Place::Broker, "Queue", name).with(format!("in virtual host {}", tenant.vhost()))
    };
    vec![item(pipeline.queue()), item(pipeline.dead_letter_queue())]
}

/// What waits in a pipeline's queue; [`None`] where nothing does.
pub fn backlog(pipeline: &IngestPipeline) -> Option<Item> {
    let status = pipeline.status.as_ref();
    let counted = match status.and_then(|status| status.backlog) {
        Some(0) => return None,
        Some(count) => format!("{count} files or messages"),
        None => "an unknown number of files or messages".to_owned(),
    };
    let kind = match pipeline.spec.batch {
        Some(_) => (Place::Staging, "StagedFiles"),
        None => (Place::Broker, "Messages"),
    };
    let name = format!("backlog of {}", pipeline.name_any());
    Some(Item::new(kind.0, kind.1, name).with(counted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, table: &str, status: &str) -> IngestPipeline {
        let text = format!(
            "{{metadata: {{name: {name}}}, spec: {{stream: {{}}, table: {{name: {table}, columns: []}}}}, status: {status}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn rows_of_a_table_are_those_of_all_its_pipelines() {
        let tenant = TenantName::new("acme").unwrap();
        let all = [
            pipeline("a", "t", "{rows: 2}"),
            pipeline("b", "u", "{}"),
            pipeline("c", "t", "{rows: 3}"),
        ];
        let tables = tables(Engine::Cassandra, &tenant, &all);
        let shown: Vec<_> = tables
            .iter()
            .map(|item| {
                format!(
                    "{} {} {}",
                    item.kind,
                    item.name,
                    item.detail.clone().unwrap()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "Table t_acme.t 5 rows written by its pipelines",
                "Table t_acme.u an unknown number of rows"
            ]
        );
    }

    #[test]
    fn an_empty_backlog_is_no_loss_and_an_unknown_one_is() {
        assert_eq!(backlog(&pipeline("a", "t", "{backlog: 0}")), None);
        let detail = |status| {
            backlog(&pipeline("a", "t", status))
                .unwrap()
                .detail
                .unwrap()
        };
        assert_eq!(detail("{backlog: 7}"), "7 files or messages");
        assert!(detail("{}").contains("unknown"));
    }
}
