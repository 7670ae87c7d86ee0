//! Extract: who asks, and whether the role allows it.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use simbdp_api::tenant::Role;
use std::time::Duration;

use super::App;
use crate::auth::{self, AuthError, Caller};
use crate::problem::Refusal;

/// Middleware of the public API: authenticates, then takes the request's share of the rate. Strangers
/// do not use up the tenant's rate.
pub async fn authenticate(
    State(gateway): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let users = gateway.config.current().users.clone().ok_or_else(|| {
        Refusal::unavailable(
            "no-users",
            "the users of this tenant are not known yet",
            Duration::from_secs(5),
        )
    })?;
    let header = request.headers().get(header::AUTHORIZATION);
    let caller = gateway
        .auth
        .authenticate(&users, header)
        .await
        .map_err(|error| match error {
            AuthError::Missing | AuthError::Wrong => Refusal::unauthenticated(error.to_string()),
            AuthError::Busy => {
                Refusal::unavailable("busy", error.to_string(), Duration::from_secs(2))
            }
        })?;
    gateway.take_rate()?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Middleware of the internal API.
pub async fn internal(
    State(gateway): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let header = request.headers().get(header::AUTHORIZATION);
    let config = gateway.config.current();
    let token = config.internal_token.as_deref();
    if token.is_some_and(|token| auth::is_internal(header, token)) {
        Ok(next.run(request).await)
    } else {
        Err(Refusal::unauthenticated(
            "this port is for the platform's own programs",
        ))
    }
}

/// A user who may write.
pub struct Writer(pub Caller);

impl<S: Sync> FromRequestParts<S> for Writer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(Refusal::internal)?;
        match caller.role {
            Role::Writer => Ok(Self(caller)),
            Role::Reader => Err(Refusal::forbidden(format!(
                "user `{}` has the role Reader; writing needs the role Writer",
                caller.name
            ))),
        }
    }
}
