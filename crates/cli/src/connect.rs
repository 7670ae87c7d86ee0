//! Finding the gateway and the credentials: from arguments and environment, or through the kubeconfig.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use simbdp_api::names::{TenantName, tenant_objects};
use simbdp_api::tenant::Role;
use simbdp_api::{Tenant, labels, mounts};
use tokio::net::{TcpListener, TcpStream};

use crate::args::ConnectionArgs;
use crate::client::{Credentials, Gateway};
use crate::error::CliError;

/// Connects as a user who has at least the given role.
pub async fn gateway(args: &ConnectionArgs, role: Role) -> Result<Gateway, CliError> {
    let given = given_credentials(args)?;
    if let Some(server) = &args.server {
        let credentials = given.ok_or_else(|| {
            CliError::Usage("--server needs a token (SIMBDP_TOKEN or --token-file), or --user with SIMBDP_PASSWORD or --password-file".into())
        })?;
        return Gateway::new(server, credentials);
    }
    let tenant = tenant_name(args)?;
    let client = cluster().await?;
    let credentials = match given {
        Some(credentials) => credentials,
        None => stored_token(&client, &tenant, args.user.as_deref(), role).await?,
    };
    let local = forward(client, &tenant).await?;
    Gateway::new(&local, credentials)
}

/// The tenant that was named, checked.
pub fn tenant_name(args: &ConnectionArgs) -> Result<TenantName, CliError> {
    let name = args.tenant.as_ref().ok_or_else(|| {
        CliError::Usage(
            "say which gateway: --server URL, or --tenant NAME with a kubeconfig".into(),
        )
    })?;
    TenantName::new(name.clone()).map_err(|e| CliError::Usage(e.to_string()))
}

/// The cluster of the kubeconfig.
pub async fn cluster() -> Result<Client, CliError> {
    Client::try_default()
        .await
        .map_err(|e| CliError::NoCluster(e.to_string()))
}

fn given_credentials(args: &ConnectionArgs) -> Result<Option<Credentials>, CliError> {
    let token = secret("SIMBDP_TOKEN", args.token_file.as_deref())?;
    let password = secret("SIMBDP_PASSWORD", args.password_file.as_deref())?;
    Ok(match (token, &args.user, password) {
        (Some(token), _, _) => Some(Credentials::Token(token)),
        (None, Some(user), Some(password)) => Some(Credentials::Password {
            user: user.clone(),
            password,
        }),
        _ => None,
    })
}

fn secret(variable: &str, file: Option<&Path>) -> Result<Option<String>, CliError> {
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| CliError::File {
            path: path.to_owned(),
            source,
        })?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(std::env::var(variable).ok().filter(|text| !text.is_empty()))
}

/// The token of a user from the Secret in the tenant's namespace.
async fn stored_token(
    client: &Client,
    tenant: &TenantName,
    user: Option<&str>,
    role: Role,
) -> Result<Credentials, CliError> {
    let user = match user {
        Some(user) => user.to_owned(),
        None => first_user(client, tenant, role).await?,
    };
    let name = format!("{}{user}", tenant_objects::USER_PREFIX);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &tenant.namespace());
    let secret = secrets
        .get(&name)
        .await
        .map_err(|source| CliError::Cluster {
            action: format!("reading Secret {name} in {}", tenant.namespace()),
            source: Box::new(source),
        })?;
    let token = secret.data.as_ref().and_then(|data| data.get("token"));
    token
        .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok())
        .map(Credentials::Token)
        .ok_or_else(|| CliError::Usage(format!("Secret {name} has no key `token`")))
}

async fn first_user(client: &Client, tenant: &TenantName, role: Role) -> Result<String, CliError> {
    let tenants: Api<Tenant> = Api::all(client.clone());
    let object = tenants
        .get(tenant.as_str())
        .await
        .map_err(|source| CliError::Cluster {
            action: format!("reading Tenant {tenant}"),
            source: Box::new(source),
        })?;
    let users = &object.spec.users;
    users
        .iter()
        .find(|user| user.role == role)
        .or_else(|| users.iter().find(|user| user.role == Role::Writer))
        .map(|user| user.name.clone())
        .ok_or_else(|| {
            CliError::Usage(format!(
                "Tenant {tenant} has no user with the role {role:?}; add one to spec.users"
            ))
        })
}

/// Listens on a free loopback port and carries each connection to a ready gateway pod.
async fn forward(client: Client, tenant: &TenantName) -> Result<String, CliError> {
    let pods: Api<Pod> = Api::namespaced(client, &tenant.namespace());
    let pod = ready_gateway(&pods, tenant).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (pods, pod) = (pods.clone(), pod.clone());
            tokio::spawn(async move {
                if let Err(error) = carry(&pods, &pod, connection).await {
                    tracing::debug!(%error, pod, "port-forward ended");
                }
            });
        }
    });
    Ok(format!("http://{address}"))
}

async fn ready_gateway(pods: &Api<Pod>, tenant: &TenantName) -> Result<String, CliError> {
    let selector = format!("{}=gateway", labels::APP_COMPONENT);
    let list = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|source| CliError::Cluster {
            action: format!("listing pods in {}", tenant.namespace()),
            source: Box::new(source),
        })?;
    let ready = |pod: &&Pod| {
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    list.iter()
        .find(ready)
        .map(ResourceExt::name_any)
        .ok_or_else(|| CliError::Unreachable {
            url: format!("tenant {tenant}"),
            reason: format!(
                "no gateway pod is ready in {}; see `simbdp --tenant {tenant} status`",
                tenant.namespace()
            ),
        })
}

async fn carry(pods: &Api<Pod>, pod: &str, mut connection: TcpStream) -> Result<(), anyhow::Error> {
    let port = mounts::GATEWAY_PORT;
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let mut upstream = forwarder
        .take_stream(port)
        .ok_or_else(|| anyhow::anyhow!("the API server opened no stream for port {port}"))?;
    tokio::io::copy_bidirectional(&mut connection, &mut upstream).await?;
    drop(upstream);
    forwarder.join().await?;
    Ok(())
}
