//! The gateway's API, with retries of what may be retried.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use simbdp_api::wire::rest::Problem;

use crate::error::CliError;

/// Who calls.
pub enum Credentials {
    /// A token.
    Token(String),
    /// User and password.
    Password { user: String, password: String },
}

/// A tenant's gateway.
pub struct Gateway {
    base: String,
    credentials: Credentials,
    http: reqwest::Client,
}

/// Longest silence of the gateway before a request is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A failed call, and when it may be repeated.
struct Failure {
    error: CliError,
    again: Again,
}

enum Again {
    Never,
    Soon,
    After(Duration),
}

impl Gateway {
    /// A gateway by its URL.
    pub fn new(base: &str, credentials: Credentials) -> Result<Self, CliError> {
        let http = reqwest::Client::builder()
            .read_timeout(READ_TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("simbdp/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| CliError::Usage(e.to_string()))?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            credentials,
            http,
        })
    }

    /// GET of JSON.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<T, CliError> {
        let response = self
            .send(|| self.request(Method::GET, path).query(query))
            .await?;
        self.json(path, response).await
    }

    /// GET of anything, to be streamed.
    pub async fn stream(&self, path: &str) -> Result<Response, CliError> {
        self.send(|| self.request(Method::GET, path)).await
    }

    /// A request that is made anew for each try.
    pub async fn send(&self, build: impl Fn() -> RequestBuilder) -> Result<Response, CliError> {
        let attempt = || async {
            let response = build().send().await.map_err(|e| self.unreachable(&e))?;
            refuse(response).await
        };
        attempt
            .retry(
                ExponentialBuilder::default()
                    .with_jitter()
                    .with_min_delay(Duration::from_millis(200))
                    .with_max_delay(Duration::from_secs(10))
                    .with_max_times(8),
            )
            .when(|failure: &Failure| !matches!(failure.again, Again::Never))
            .adjust(|failure: &Failure, delay| match failure.again {
                // The gateway knows best, but the number of tries stays bounded.
                Again::After(asked) => {
                    delay.map(|own| asked.clamp(own.min(asked), Duration::from_secs(30)))
                }
                _ => delay,
            })
            .notify(|failure: &Failure, delay| {
                tracing::debug!(error = %failure.error, ?delay, "trying again");
            })
            .await
            .map_err(|failure| failure.error)
    }

    /// A request of this gateway, with credentials.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::Token(token) => request.bearer_auth(token),
            Credentials::Password { user, password } => request.basic_auth(user, Some(password)),
        }
    }

    /// The JSON of an answer.
    pub async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        response: Response,
    ) -> Result<T, CliError> {
        let body = response
            .bytes()
            .await
            .map_err(|e| self.unreachable(&e).error)?;
        serde_json::from_slice(&body).map_err(|e| CliError::Answer {
            url: format!("{}{path}", self.base),
            reason: e.to_string(),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut reason = error.without_url_text();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        let error = CliError::Unreachable {
            url: self.base.clone(),
            reason,
        };
        Failure {
            error,
            again: Again::Soon,
        }
    }
}

trait WithoutUrl {
    fn without_url_text(&self) -> String;
}

impl WithoutUrl for reqwest::Error {
    fn without_url_text(&self) -> String {
        self.to_string()
            .split(" for url")
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}

async fn refuse(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let again = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            retry_after(response.headers()).map_or(Again::Soon, Again::After)
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Again::Soon,
        _ => Again::Never,
    };
    Err(Failure {
        error: CliError::Problem(Box::new(problem(status, response).await)),
        again,
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn problem(status: StatusCode, response: Response) -> Problem {
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/problem+json"));
    let url = response.url().path().to_owned();
    let body = response.bytes().await.unwrap_or_default();
    let parsed = if is_problem {
        serde_json::from_slice(&body).ok()
    } else {
        None
    };
    parsed.unwrap_or_else(|| Problem {
        problem_type: "about:blank".into(),
        title: status.to_string(),
        status: status.as_u16(),
        detail: format!("{url} answered {status}: is this a simbdp gateway?"),
        instance: None,
        errors: Vec::new(),
    })
}
