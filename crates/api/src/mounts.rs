//! Where pods of the gateway and of ingest apps find what the operator gives them, and the ports
//! that they listen on.

/// Root of Service Binding directories (<https://servicebinding.io/spec/core/1.1.0/>).
pub const SERVICE_BINDING_ROOT: &str = "/bindings";
/// Binding directory of the database, below the root.
pub const COREDMS_BINDING: &str = "coredms";
/// Binding directory of the broker, below the root.
pub const BROKER_BINDING: &str = "broker";
/// Directory of the pipelines' files, `<pipeline>.json` each, a [`crate::wire::config::PipelineConfig`].
pub const PIPELINES: &str = "/etc/simbdp/pipelines";
/// Directory of the users' file, `users.json`, a [`crate::wire::config::Users`].
pub const USERS: &str = "/etc/simbdp/users";
/// Directory of the token between operator, gateway and ingest apps, in the file `token`.
pub const INTERNAL_TOKEN: &str = "/etc/simbdp/internal";
/// Directory of one user's credentials, where isolation is checked with them, in the file `token`.
pub const USER: &str = "/etc/simbdp/user";
/// Directory of what the operator is called with: the gateway's own token in the file `token`, and whose certificates are
/// believed in the file `ca.crt`.
pub const OPERATOR: &str = "/etc/simbdp/operator";
/// The gateway's staging volume.
pub const STAGING: &str = "/var/lib/simbdp/staging";

/// Directory of the socket between the runner and the launcher of a tenant's own program.
pub const APP_SOCKET: &str = "/run/simbdp";
/// Name of that socket.
pub const APP_SOCKET_NAME: &str = "runner.sock";
/// Directory of the file that a tenant's own program reads: written by the runner, read-only for the program.
pub const APP_FILES: &str = "/files";
/// Directory of the launcher in a tenant's own container, and the one that it is copied from in the image `simbdp`.
pub const APP_LAUNCHER: &str = "/opt/simbdp/launcher";
/// Name of the launcher in that directory.
pub const APP_LAUNCHER_NAME: &str = "simbdp-launcher";
/// Directory that a tenant's own program may write to.
pub const APP_SCRATCH: &str = "/tmp";

/// The gateway's public API.
pub const GATEWAY_PORT: u16 = 8080;
/// The gateway's internal API (staged files, rejects, state), for operator and ingest apps.
pub const GATEWAY_INTERNAL_PORT: u16 = 8081;
/// Where gateways wake ingest apps, at the operator; TLS alone.
pub const WAKE_PORT: u16 = 9443;
/// Health, readiness and metrics of every program.
pub const ADMIN_PORT: u16 = 9090;
