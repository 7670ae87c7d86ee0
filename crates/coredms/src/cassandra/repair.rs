//! Repair [pure]: what a member remembers of the repairs that it was asked for → what is left to be repaired.

use std::collections::BTreeMap;

use scylla::DeserializeRow;

use super::plan::KeyspaceState;
use crate::admin::Unrepaired;

/// Replication of what each member keeps to itself.
const LOCAL: &str = "LocalStrategy";

/// A repair of a keyspace as `system_views.repairs` of Cassandra 4.1 and later has it (CASSANDRA-15399). A member that is
/// started again has forgotten those of before.
#[derive(Clone, Debug, Default, DeserializeRow)]
pub(crate) struct Repair {
    pub keyspace_name: Option<String>,
    pub completed: Option<bool>,
    pub status: Option<String>,
    #[scylla(rename = "type")]
    pub kind: Option<String>,
    pub options_primary_range: Option<bool>,
    pub options_subrange_repair: Option<bool>,
    pub options_force_repair: Option<bool>,
    pub options_column_families: Option<Vec<String>>,
    pub options_data_centers: Option<Vec<String>>,
    pub options_hosts: Option<Vec<String>>,
}

impl Repair {
    fn ended(&self) -> bool {
        self.completed == Some(true)
    }

    /// Whether it has compared all that the member holds of the keyspace with every other replica. One that found
    /// nothing to be compared is skipped.
    fn proves(&self) -> bool {
        let narrowed = [
            self.options_primary_range,
            self.options_subrange_repair,
            self.options_force_repair,
        ];
        let chosen = [
            &self.options_column_families,
            &self.options_data_centers,
            &self.options_hosts,
        ];
        self.ended()
            && matches!(self.status.as_deref(), Some("success" | "skipped"))
            && self.kind.as_deref() == Some("full")
            && narrowed.iter().all(|narrowed| *narrowed != Some(true))
            && chosen
                .iter()
                .all(|chosen| chosen.as_ref().is_none_or(Vec::is_empty))
    }
}

/// Keyspaces that are replicated, without those that were repaired.
pub(crate) fn unrepaired(
    keyspaces: &BTreeMap<String, KeyspaceState>,
    repairs: &[Repair],
) -> Unrepaired {
    let replicated = |state: &KeyspaceState| {
        let class = state.replication.get("class");
        class.is_none_or(|class| !class.ends_with(LOCAL))
    };
    let repaired = |name: &str| {
        let of_it = |repair: &&Repair| repair.keyspace_name.as_deref() == Some(name);
        repairs.iter().filter(of_it).any(Repair::proves)
    };
    let left = keyspaces
        .iter()
        .filter(|(name, state)| replicated(state) && !repaired(name));
    Unrepaired {
        keyspaces: left.map(|(name, _)| name.clone()).collect(),
        under_way: repairs.iter().any(|repair| !repair.ended()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspaces() -> BTreeMap<String, KeyspaceState> {
        let strategies = [
            ("system", "org.apache.cassandra.locator.LocalStrategy"),
            (
                "system_auth",
                "org.apache.cassandra.locator.NetworkTopologyStrategy",
            ),
            ("t_x", "org.apache.cassandra.locator.SimpleStrategy"),
        ];
        let state = |class: &str| KeyspaceState {
            replication: BTreeMap::from([("class".to_owned(), class.to_owned())]),
            durable_writes: true,
        };
        let named = strategies.map(|(name, class)| (name.to_owned(), state(class)));
        named.into()
    }

    /// One of all that a member holds, as a real server told it.
    fn whole(keyspace: &str) -> Repair {
        Repair {
            keyspace_name: Some(keyspace.to_owned()),
            completed: Some(true),
            status: Some("success".to_owned()),
            kind: Some("full".to_owned()),
            options_primary_range: Some(false),
            options_subrange_repair: Some(false),
            options_force_repair: Some(false),
            options_column_families: Some(Vec::new()),
            ..Repair::default()
        }
    }

    fn left(repairs: &[Repair]) -> Vec<String> {
        unrepaired(&keyspaces(), repairs).keyspaces
    }

    #[test]
    fn what_is_replicated_is_left_until_it_was_repaired() {
        assert_eq!(left(&[]), ["system_auth", "t_x"]);
        assert_eq!(left(&[whole("t_x")]), ["system_auth"]);
        let skipped = Repair {
            status: Some("skipped".to_owned()),
            ..whole("system_auth")
        };
        assert!(left(&[whole("t_x"), skipped]).is_empty());
        assert!(!unrepaired(&keyspaces(), &[whole("t_x")]).under_way);
    }

    #[test]
    fn a_repair_that_goes_on_or_has_failed_proves_nothing() {
        let goes_on = Repair {
            completed: Some(false),
            status: Some("repair_start".to_owned()),
            ..whole("t_x")
        };
        let told = unrepaired(&keyspaces(), &[goes_on]);
        assert!(told.under_way);
        assert_eq!(told.keyspaces, ["system_auth", "t_x"]);
        let failed = Repair {
            status: Some("failure".to_owned()),
            ..whole("t_x")
        };
        let told = unrepaired(&keyspaces(), std::slice::from_ref(&failed));
        assert!(!told.under_way);
        assert_eq!(told.keyspaces, ["system_auth", "t_x"]);
        assert_eq!(left(&[failed, whole("t_x")]), ["system_auth"]);
    }

    #[test]
    fn neither_does_one_of_a_part() {
        let some = || Some(vec!["one".to_owned()]);
        let parts = [
            Repair {
                kind: Some("incremental".to_owned()),
                ..whole("t_x")
            },
            Repair {
                options_primary_range: Some(true),
                ..whole("t_x")
            },
            Repair {
                options_subrange_repair: Some(true),
                ..whole("t_x")
            },
            Repair {
                options_force_repair: Some(true),
                ..whole("t_x")
            },
            Repair {
                options_column_families: some(),
                ..whole("t_x")
            },
            Repair {
                options_data_centers: some(),
                ..whole("t_x")
            },
            Repair {
                options_hosts: some(),
                ..whole("t_x")
            },
        ];
        for part in parts {
            assert_eq!(left(std::slice::from_ref(&part)).len(), 2, "{part:?}");
        }
    }
}
