//! Errors of every API as RFC 9457 problem details.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use simbdp_api::wire::rest::{Fault, Problem};

/// Media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Longest text of a foreign error body that is kept as detail.
const MAX_DETAIL: usize = 1024;

/// A request that is refused or failed: what is told to the client.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Fault>,
    retry_after: Option<Duration>,
    authenticate: bool,
}

impl Refusal {
    /// A refusal of a kind, which is the last part of the problem type's URI.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            authenticate: false,
        }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request is not valid",
            detail,
        )
    }

    /// 401: no credentials, or wrong ones.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        let mut refusal = Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Credentials are needed",
            detail,
        );
        refusal.authenticate = true;
        refusal
    }

    /// 403: a role is missing.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "The role does not allow this",
            detail,
        )
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such thing",
            detail,
        )
    }

    /// 413: larger than a limit.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Larger than the limit",
            detail,
        )
    }

    /// 415: a media type or coding that is not taken here.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The content type is not accepted",
            detail,
        )
    }

    /// 422: understood, but its content does not conform.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-content",
            "The content does not conform",
            detail,
        )
    }

    /// 429: too much for now.
    pub fn too_many(kind: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            kind,
            "A limit is reached",
            detail,
        )
        .retry_after(retry_after)
    }

    /// 503: cannot be served now.
    pub fn unavailable(
        kind: &'static str,
        detail: impl Into<String>,
        retry_after: Duration,
    ) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            kind,
            "Cannot be served now",
            detail,
        )
        .retry_after(retry_after)
    }

    /// 500 or 507 after a failure of the staging volume. The cause is for the log, not for the client.
    pub fn storage(error: &std::io::Error) -> Self {
        tracing::error!(%error, "the staging volume failed");
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "staging-full",
                "The staging volume is full",
                "no space is left to stage the file; try again when staged files are ingested",
            )
            .retry_after(Duration::from_secs(30)),
            _ => Self::internal(),
        }
    }

    /// 500 without particulars.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The gateway failed",
            "an internal error, logged with the request id of this answer",
        )
    }

    /// The same with single faults.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// The same with a `Retry-After`.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn problem(self) -> Problem {
        Problem {
            problem_type: format!("https://simbdp.dev/problems/{}", self.kind),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            instance: None,
            errors: self.errors,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, retry_after, authenticate) =
            (self.status, self.retry_after, self.authenticate);
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if let Some(after) = retry_after {
            // Whole seconds, rounded up, so that a client that waits them is not early.
            let seconds = after.as_millis().div_ceil(1000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if authenticate {
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"simbdp\""),
            );
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"simbdp\", charset=\"UTF-8\""),
            );
        }
        let problem = self.problem();
        let mut response = with_body(response, &problem);
        response.extensions_mut().insert(Arc::new(problem));
        response
    }
}

fn with_body(mut response: Response, problem: &Problem) -> Response {
    let (_, body) = Json(problem).into_response().into_parts();
    *response.body_mut() = body;
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

/// Marks an answer whose status is a finding and not an error: it is passed on as it is.
#[derive(Clone, Copy, Debug)]
pub struct Report;

/// Middleware: every error leaves as problem details with the request's path, also those that the
/// router itself makes (404, 405, broken paths and queries).
pub async fn render(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (problem, response) = match response.extensions().get::<Arc<Problem>>() {
        Some(problem) => (Problem::clone(problem), response),
        None if response.extensions().get::<Report>().is_some() => return response,
        None => foreign(response).await,
    };
    with_body(
        response,
        &Problem {
            instance: Some(path),
            ..problem
        },
    )
}

/// An error response that was not made here: its text becomes the detail.
async fn foreign(response: Response) -> (Problem, Response) {
    let (parts, body) = response.into_parts();
    let text = match http_body_util::Limited::new(body, MAX_DETAIL)
        .collect()
        .await
    {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).into_owned(),
        Err(_) => String::new(),
    };
    let status = parts.status;
    let reason = status.canonical_reason().unwrap_or("Error");
    let detail = match (text.is_empty(), status) {
        (false, _) => text,
        (true, StatusCode::METHOD_NOT_ALLOWED) => {
            "this path takes other methods: see the Allow header".to_owned()
        }
        (true, _) => reason.to_owned(),
    };
    let problem = Problem {
        problem_type: "about:blank".to_owned(),
        title: reason.to_owned(),
        status: status.as_u16(),
        detail,
        instance: None,
        errors: Vec::new(),
    };
    (problem, Response::from_parts(parts, Body::empty()))
}

/// Answer to a path that is not served.
pub async fn no_route(uri: axum::http::Uri) -> Refusal {
    Refusal::not_found(format!("nothing is served at `{}`", uri.path()))
}

/// Answer of a handler that panicked; the panic itself is logged.
pub fn after_panic(cause: Box<dyn std::any::Any + Send>) -> Response {
    let error = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(error, "a handler panicked");
    Refusal::internal().into_response()
}
