//! Command line and environment → settings.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use simbdp_api::mounts;
use simbdp_api::names::{TenantName, tenant_objects};

use crate::config::Paths;
use crate::gateway::{Limits, Settings};
use crate::server::ServeOptions;
use crate::wake::Operator;

const EXAMPLES: &str = "\
Examples:
  # As the operator starts it, in a pod of the StatefulSet `gateway`:
  simbdp-gateway --tenant flights --pod-name gateway-0 --namespace tenant-flights

  # On a workstation, with directories of one's own:
  simbdp-gateway --tenant flights --pod-name gateway-0 --staging ./staging \\
    --pipelines ./pipelines --users ./users --internal ./internal --bindings ./bindings \\
    --log-format text";

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The REST front end of one tenant.
#[derive(Clone, Debug, Parser)]
#[command(name = "simbdp-gateway", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Name of the tenant.
    #[arg(long, env = "SIMBDP_TENANT")]
    pub tenant: String,
    /// Name of this pod, `gateway-<ordinal>`.
    #[arg(long, env = "SIMBDP_POD_NAME")]
    pub pod_name: String,
    /// Namespace of this pod; that of the tenant when absent.
    #[arg(long, env = "SIMBDP_NAMESPACE")]
    pub namespace: Option<String>,
    /// Replicas of this gateway, among which quotas are shared out evenly.
    #[arg(long, env = "SIMBDP_GATEWAY_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub replicas: u32,
    /// Requests per second that the tenant may make; not limited when absent.
    #[arg(long, env = "SIMBDP_REQUESTS_PER_SECOND")]
    pub requests_per_second: Option<NonZeroU32>,
    /// Files of the tenant that may wait in staging; not limited when absent.
    #[arg(long, env = "SIMBDP_STAGED_FILES")]
    pub staged_files: Option<NonZeroU32>,
    /// Base URL of this replica's internal API, as ingest apps reach it; derived from the pod when absent.
    #[arg(long, env = "SIMBDP_REPLICA_URL")]
    pub replica_url: Option<String>,
    /// Staging volume.
    #[arg(long, env = "SIMBDP_STAGING", default_value = mounts::STAGING)]
    pub staging: PathBuf,
    /// Directory of the pipelines' files.
    #[arg(long, env = "SIMBDP_PIPELINES", default_value = mounts::PIPELINES)]
    pub pipelines: PathBuf,
    /// Directory of the users' file.
    #[arg(long, env = "SIMBDP_USERS", default_value = mounts::USERS)]
    pub users: PathBuf,
    /// Directory of the internal token.
    #[arg(long, env = "SIMBDP_INTERNAL", default_value = mounts::INTERNAL_TOKEN)]
    pub internal: PathBuf,
    /// Base URL of the operator's API for gateways, https alone; ingest apps are not woken when it is absent.
    #[arg(long, env = "SIMBDP_OPERATOR")]
    pub operator: Option<String>,
    /// Directory of what the operator is called with.
    #[arg(long, env = "SIMBDP_OPERATOR_DIRECTORY", default_value = mounts::OPERATOR)]
    pub operator_directory: PathBuf,
    /// Directory of Service Bindings.
    #[arg(long, env = "SERVICE_BINDING_ROOT", default_value = mounts::SERVICE_BINDING_ROOT)]
    pub bindings: PathBuf,
    /// Address of the public API.
    #[arg(long, env = "SIMBDP_LISTEN", default_value_t = any(mounts::GATEWAY_PORT))]
    pub listen: SocketAddr,
    /// Address of the internal API.
    #[arg(long, env = "SIMBDP_INTERNAL_LISTEN", default_value_t = any(mounts::GATEWAY_INTERNAL_PORT))]
    pub internal_listen: SocketAddr,
    /// Address of health, readiness and metrics.
    #[arg(long, env = "SIMBDP_ADMIN_LISTEN", default_value_t = any(mounts::ADMIN_PORT))]
    pub admin_listen: SocketAddr,
    /// Largest body of a request other than an upload, in bytes.
    #[arg(long, env = "SIMBDP_MAX_BODY", default_value_t = Limits::default().max_body)]
    pub max_body: usize,
    /// Uploads that are received at a time.
    #[arg(long, env = "SIMBDP_MAX_UPLOADS", default_value_t = Limits::default().max_uploads)]
    pub max_uploads: usize,
    /// Connections of the public API at a time.
    #[arg(long, env = "SIMBDP_MAX_CONNECTIONS", default_value_t = 512)]
    pub max_connections: usize,
    /// Seconds that requests in flight may take once the process is told to end.
    #[arg(long, env = "SIMBDP_GRACE_SECONDS", default_value_t = 15)]
    pub grace_seconds: u64,
    /// How log lines are written.
    #[arg(long, env = "SIMBDP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged (https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html).
    #[arg(long, env = "SIMBDP_LOG", default_value = "info")]
    pub log: String,
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

impl Args {
    /// Checks the arguments.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let tenant = TenantName::new(self.tenant.as_str())?;
        let namespace = self.namespace.clone().unwrap_or_else(|| tenant.namespace());
        let (set, ordinal) = self
            .pod_name
            .rsplit_once('-')
            .and_then(|(set, ordinal)| Some((set, ordinal.parse::<u32>().ok()?)))
            .with_context(|| {
                format!(
                    "`{}` is not the name of a pod of a StatefulSet, for example gateway-0",
                    self.pod_name
                )
            })?;
        let url = |ordinal: u32| {
            let (service, port) = (
                tenant_objects::GATEWAY_REPLICAS,
                mounts::GATEWAY_INTERNAL_PORT,
            );
            format!("http://{set}-{ordinal}.{service}.{namespace}.svc:{port}")
        };
        let peers = (0..self.replicas).filter(|other| *other != ordinal);
        Ok(Settings {
            replica: self.replica_url.clone().unwrap_or_else(|| url(ordinal)),
            peers: peers.map(url).collect(),
            staging: self.staging.clone(),
            paths: Paths {
                pipelines: self.pipelines.clone(),
                users: self.users.clone(),
                internal: self.internal.clone(),
            },
            operator: self.operator()?,
            limits: self.limits(),
            tenant,
        })
    }

    /// A token is never sent in the clear.
    fn operator(&self) -> anyhow::Result<Option<Operator>> {
        let Some(url) = &self.operator else {
            return Ok(None);
        };
        anyhow::ensure!(
            url.starts_with("https://"),
            "--operator is `{url}`: write an address that begins with https://"
        );
        Ok(Some(Operator {
            url: url.clone(),
            directory: self.operator_directory.clone(),
        }))
    }

    fn limits(&self) -> Limits {
        // Rounded up: every replica takes at least one.
        let share = |quota: NonZeroU32| quota.get().div_ceil(self.replicas);
        Limits {
            requests_per_second: self
                .requests_per_second
                .and_then(|quota| NonZeroU32::new(share(quota))),
            staged_files: self.staged_files.map(|quota| u64::from(share(quota))),
            max_body: self.max_body,
            max_uploads: self.max_uploads,
            ..Limits::default()
        }
    }

    /// How the public API is served.
    pub fn serve_options(&self) -> ServeOptions {
        ServeOptions {
            max_connections: self.max_connections,
            header_timeout: Duration::from_secs(15),
            grace: Duration::from_secs(self.grace_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> Args {
        let given = [
            "simbdp-gateway",
            "--tenant",
            "flights",
            "--pod-name",
            "gateway-1",
        ];
        Args::try_parse_from(given.iter().chain(more)).unwrap()
    }

    #[test]
    fn derives_addresses_and_shares() {
        let settings = args(&[
            "--replicas",
            "3",
            "--requests-per-second",
            "100",
            "--staged-files",
            "2",
        ])
        .settings()
        .unwrap();
        assert_eq!(
            settings.replica,
            "http://gateway-1.gateway-replicas.tenant-flights.svc:8081"
        );
        assert_eq!(
            settings.peers,
            [
                "http://gateway-0.gateway-replicas.tenant-flights.svc:8081",
                "http://gateway-2.gateway-replicas.tenant-flights.svc:8081",
            ]
        );
        assert_eq!(settings.limits.requests_per_second, NonZeroU32::new(34));
        assert_eq!(settings.limits.staged_files, Some(1));
    }

    #[test]
    fn refuses_what_is_no_pod_and_no_tenant() {
        let mut wrong = args(&[]);
        wrong.pod_name = "gateway".into();
        assert!(
            wrong
                .settings()
                .unwrap_err()
                .to_string()
                .contains("gateway-0")
        );
        let mut wrong = args(&[]);
        wrong.operator = Some("http://simbdp-operator.simbdp-system.svc:9443".into());
        let refused = wrong.settings().unwrap_err().to_string();
        assert!(refused.contains("https://"), "{refused}");
        let mut wrong = args(&[]);
        wrong.tenant = "Flights".into();
        assert!(wrong.settings().is_err());
    }
}
