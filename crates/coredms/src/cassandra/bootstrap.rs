//! First login to a new database: roles replicated, the platform's own superuser made, the default one
//! shut out. Each step looks at what is there, so that a crash after any of them is made good.

use std::collections::BTreeMap;
use std::sync::Arc;

use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};
use uuid::Uuid;

use super::connector::CassandraConnector;
use super::error::refused;
use super::observe;
use super::plan::{self, DEFAULT_SUPERUSER, Observed, RoleState, Step};
use super::session::open;
use crate::Connection;
use crate::admin::{AdminError, ClusterSetup, Replication};
use crate::kept::LoginFailure;

/// Applies steps in order; the first failure ends it.
pub(crate) async fn apply(session: &Session, steps: &[Step]) -> Result<(), AdminError> {
    for step in steps {
        tracing::info!(action = step.action, "changing the database");
        let mut statement = Statement::new(step.cql.clone());
        statement.set_is_idempotent(true);
        if step.everywhere {
            statement.set_consistency(Consistency::All);
        }
        session
            .query_unpaged(statement, ())
            .await
            .map_err(|error| refused(&error, &step.action, step.secret.as_deref()))?;
    }
    Ok(())
}

/// Logs in as the platform's superuser, making it first where need be.
pub(crate) async fn run(
    connector: &CassandraConnector,
    own: &Connection,
    setup: &ClusterSetup,
    replication: &Replication,
) -> Result<Arc<Session>, AdminError> {
    let session = match connector.session(own).await {
        Ok(session) => session,
        Err(AdminError::LoginRefused { reason, .. }) => {
            make_superuser(own, setup, replication, &reason).await?;
            connector.session(own).await.map_err(not_yet)?
        }
        Err(error) => return Err(error),
    };
    match settle(&session, setup, replication).await {
        Ok(()) => Ok(session),
        Err(error) => {
            connector.kept.forget_login(own).await;
            Err(error)
        }
    }
}

async fn settle(
    session: &Session,
    setup: &ClusterSetup,
    replication: &Replication,
) -> Result<(), AdminError> {
    let observed = observe_setup(session, setup).await?;
    let random = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    apply(
        session,
        &plan::settle(setup, replication, &observed, &random),
    )
    .await
}

/// Members keep credentials for some seconds, so that a new password is refused until they look again.
fn not_yet(error: AdminError) -> AdminError {
    match error {
        AdminError::LoginRefused { username, reason } => AdminError::Unavailable(format!(
            "the new password of `{username}` has not reached every member yet: {reason}"
        )),
        other => other,
    }
}

async fn make_superuser(
    own: &Connection,
    setup: &ClusterSetup,
    replication: &Replication,
    own_refusal: &str,
) -> Result<(), AdminError> {
    let default = Connection {
        username: DEFAULT_SUPERUSER.to_owned(),
        password: DEFAULT_SUPERUSER.to_owned(),
        ..own.clone()
    };
    let session = match open(&default, &CassandraConnector::options()).await {
        Ok(session) => session,
        // A new database makes the default role some seconds after its start, and says the same of a role that
        // is missing as of one that is shut out: so this may pass by itself, or never.
        Err(LoginFailure::Refused(reason)) => {
            return Err(AdminError::Unavailable(format!(
                "neither `{}` ({own_refusal}) nor the default superuser ({reason}) can log in; a new database makes the default one \
                 some seconds after its start; if this lasts, the password in the Secret is not the one that the database has",
                setup.superuser
            )));
        }
        Err(failure) => return Err(failure.admin_error(DEFAULT_SUPERUSER)),
    };
    let observed = observe_setup(&session, setup).await?;
    apply(&session, &plan::first_login(setup, replication, &observed)).await
}

async fn observe_setup(session: &Session, setup: &ClusterSetup) -> Result<Observed, AdminError> {
    let mut roles = BTreeMap::new();
    for name in [setup.superuser.as_str(), DEFAULT_SUPERUSER] {
        if let Some(row) = observe::role(session, name).await? {
            let state = RoleState {
                can_login: row.can_login.unwrap_or(false),
                is_superuser: row.is_superuser.unwrap_or(false),
                // Only asked where the own superuser was refused just now.
                password_fits: false,
            };
            roles.insert(name.to_owned(), state);
        }
    }
    Ok(Observed {
        keyspaces: observe::keyspaces(session).await?,
        roles,
        ..Observed::default()
    })
}
