//! Names [pure] of what a CoreDms has, derived from its own.

use simbdp_api::common::Engine;
use simbdp_coredms::admin::Replication;
use simbdp_coredms::binding::binding_type;

/// Role of the operator in every database.
pub const SUPERUSER: &str = "simbdp_operator";
/// Datacenter of every member of Cassandra.
pub const DATACENTER: &str = "dc1";
/// CQL.
pub const CQL_PORT: u16 = 9042;
/// `batch_size_warn_threshold` of members, in KiB: batches are of rows with the same replicas, which are cheap. They are
/// refused from twice as many on.
pub const BATCH_KIB: u32 = 50;
/// Members of Cassandra among each other.
pub const STORAGE_PORT: u16 = 7000;
/// MongoDB's wire protocol, for clients and among members.
pub const MONGODB_PORT: u16 = 27017;

/// Datacenter of every member, where the engine has such.
pub fn datacenter(engine: Engine) -> Option<String> {
    match engine {
        Engine::Cassandra => Some(DATACENTER.to_owned()),
        Engine::MongoDB => None,
    }
}

/// `app.kubernetes.io/name` of members, which is also their container's name, and the type of bindings.
pub fn application(engine: Engine) -> &'static str {
    binding_type(engine)
}

/// Ports of a member by name, that for clients first.
pub fn ports(engine: Engine) -> &'static [(&'static str, u16)] {
    match engine {
        Engine::Cassandra => &[("cql", CQL_PORT), ("storage", STORAGE_PORT)],
        Engine::MongoDB => &[("mongodb", MONGODB_PORT)],
    }
}

/// Port for clients.
pub fn client_port(engine: Engine) -> u16 {
    match engine {
        Engine::Cassandra => CQL_PORT,
        Engine::MongoDB => MONGODB_PORT,
    }
}

/// Port by which members talk to each other.
pub fn member_port(engine: Engine) -> u16 {
    match engine {
        Engine::Cassandra => STORAGE_PORT,
        Engine::MongoDB => MONGODB_PORT,
    }
}

/// Key of the text in the superuser's Secret by which members of MongoDB know each other.
pub const KEYFILE: &str = "keyfile";

/// Replica set of a MongoDB.
pub fn replica_set(coredms: &str) -> String {
    coredms.to_owned()
}

/// Members that every database has.
const FIRST_MEMBERS: u16 = 3;

/// Addresses of the members, in order.
pub fn member_endpoints(
    engine: Engine,
    coredms: &str,
    namespace: &str,
    members: u16,
) -> Vec<String> {
    (0..members)
        .map(|ordinal| {
            format!(
                "{}:{}",
                member_host(coredms, namespace, ordinal),
                client_port(engine)
            )
        })
        .collect()
}

/// Secret of the superuser.
pub fn superuser_secret(coredms: &str) -> String {
    format!("{coredms}-superuser")
}

/// ConfigMap of the members' configuration.
pub fn config(coredms: &str) -> String {
    format!("{coredms}-config")
}

/// ConfigMap of what is known of members that have joined.
pub fn members(coredms: &str) -> String {
    format!("{coredms}-members")
}

/// Pod of a member.
pub fn member(coredms: &str, ordinal: u16) -> String {
    format!("{coredms}-{ordinal}")
}

/// Name of a member in the cluster's DNS.
pub fn member_host(coredms: &str, namespace: &str, ordinal: u16) -> String {
    format!("{}.{coredms}.{namespace}.svc", member(coredms, ordinal))
}

/// Host of the database: the headless Service.
pub fn host(coredms: &str, namespace: &str) -> String {
    format!("{coredms}.{namespace}.svc")
}

/// Address of the database, for clients.
pub fn endpoint(engine: Engine, coredms: &str, namespace: &str) -> String {
    format!("{}:{}", host(coredms, namespace), client_port(engine))
}

/// Addresses by which clients find the database. A member of MongoDB that is no longer one of the replica set, or not
/// yet, does not know the others, so that there the first ones are named, which always are.
pub fn endpoints(engine: Engine, coredms: &str, namespace: &str) -> Vec<String> {
    match engine {
        Engine::Cassandra => vec![endpoint(engine, coredms, namespace)],
        Engine::MongoDB => member_endpoints(engine, coredms, namespace, FIRST_MEMBERS),
    }
}

/// Replicas of tenants' keyspaces and of roles in a Cassandra: three in a cluster of any size.
pub fn replication(datacenter: String) -> Replication {
    Replication {
        datacenter,
        factor: 3,
    }
}

/// CoreDms that the operator makes for tenants to share, the `ordinal`-th of its engine.
pub fn shared(engine: Engine, ordinal: usize) -> String {
    format!("shared-{}-{ordinal}", application(engine))
}
