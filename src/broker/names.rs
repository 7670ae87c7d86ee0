//! Names [pure] of what a Broker has in the operator's namespace, derived from its own.

/// Administrator of every broker.
pub const ADMIN: &str = "simbdp-operator";
/// AMQP.
pub const AMQP_PORT: u16 = 5672;
/// Management API.
pub const MANAGEMENT_PORT: u16 = 15672;
/// Prometheus metrics.
pub const METRICS_PORT: u16 = 15692;
/// Key of the name in the administrator's Secret.
pub const USERNAME: &str = "username";
/// Key of the password in the administrator's Secret.
pub const PASSWORD: &str = "password";
/// Key of the Erlang cookie in its Secret, and its file's name.
pub const COOKIE: &str = ".erlang.cookie";

/// StatefulSet, Service, ServiceAccount, PodDisruptionBudget, NetworkPolicy.
pub fn workload(broker: &str) -> String {
    format!("broker-{broker}")
}

/// Headless Service that names the nodes.
pub fn nodes(broker: &str) -> String {
    format!("broker-{broker}-nodes")
}

/// Secret of the administrator.
pub fn admin_secret(broker: &str) -> String {
    format!("broker-{broker}-admin")
}

/// Secret of the Erlang cookie.
pub fn cookie_secret(broker: &str) -> String {
    format!("broker-{broker}-erlang-cookie")
}

/// Secret of the configuration, which has the administrator's password in it.
pub fn config_secret(broker: &str) -> String {
    format!("broker-{broker}-config")
}

/// Host of the broker, for clients.
pub fn host(broker: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", workload(broker))
}

/// Address of the broker, for clients.
pub fn endpoint(broker: &str, namespace: &str) -> String {
    format!("{}:{AMQP_PORT}", host(broker, namespace))
}

/// Base URL of the management API.
pub fn management_url(broker: &str, namespace: &str) -> String {
    format!("http://{}:{MANAGEMENT_PORT}", host(broker, namespace))
}
