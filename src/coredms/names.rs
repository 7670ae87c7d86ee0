//! Names [pure] of what a CoreDms has, derived from its own.

use simbdp_coredms::Connection;

/// Role of the operator in every database.
pub const SUPERUSER: &str = "simbdp_operator";
/// Datacenter of every member.
pub const DATACENTER: &str = "dc1";
/// CQL.
pub const CQL_PORT: u16 = 9042;
/// Members among each other.
pub const STORAGE_PORT: u16 = 7000;
/// Key of the name in the superuser's Secret.
pub const USERNAME: &str = "username";
/// Key of the password in the superuser's Secret.
pub const PASSWORD: &str = "password";

/// Secret of the superuser.
pub fn superuser_secret(coredms: &str) -> String {
    format!("{coredms}-superuser")
}

/// ConfigMap of the members' configuration.
pub fn config(coredms: &str) -> String {
    format!("{coredms}-config")
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
pub fn endpoint(coredms: &str, namespace: &str) -> String {
    format!("{}:{CQL_PORT}", host(coredms, namespace))
}

/// Login of the operator.
pub fn connection(
    coredms: &str,
    namespace: &str,
    username: String,
    password: String,
) -> Connection {
    Connection {
        endpoints: vec![endpoint(coredms, namespace)],
        username,
        password,
    }
}
