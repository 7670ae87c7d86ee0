//! The gateway's API, with retries of what may be retried.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use simbdp_api::wire::rest::Problem;

use crate::error::{Again, CliError};

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
    retries: usize,
}

/// Longest silence of the gateway before a request is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait between two tries of a request. When the gateway asks for more, the request has failed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a request is repeated where nothing else was said.
const RETRIES: usize = 8;

impl Gateway {
    /// A gateway by its URL.
    pub fn new(base: &str, credentials: Credentials) -> Result<Self, CliError> {
        check_url(base)?;
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
            retries: RETRIES,
        })
    }

    /// The same with another number of retries, for a caller who comes back by itself.
    pub fn retries(self, retries: usize) -> Self {
        Self { retries, ..self }
    }

    /// GET of JSON.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<T, CliError> {
        self.json(path, || self.request(Method::GET, path).query(query))
            .await
    }

    /// GET of anything, to be streamed.
    pub async fn stream(&self, path: &str) -> Result<Response, CliError> {
        self.repeated(|| self.answer(self.request(Method::GET, path)))
            .await
    }

    /// The JSON that answers a request, which is made anew for each try.
    pub async fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        build: impl Fn() -> RequestBuilder,
    ) -> Result<T, CliError> {
        self.repeated(|| async {
            let response = self.answer(build()).await?;
            // An answer that is cut is as good as none.
            let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
            serde_json::from_slice(&body).map_err(|e| CliError::Answer {
                url: format!("{}{path}", self.base),
                reason: e.to_string(),
            })
        })
        .await
    }

    async fn repeated<T, F: Future<Output = Result<T, CliError>>>(
        &self,
        attempt: impl FnMut() -> F,
    ) -> Result<T, CliError> {
        attempt
            .retry(
                ExponentialBuilder::default()
                    .with_jitter()
                    .with_min_delay(Duration::from_millis(200))
                    .with_max_delay(Duration::from_secs(10))
                    .with_max_times(self.retries),
            )
            .when(|error: &CliError| match error.again() {
                Again::Soon => true,
                Again::After(asked) => asked <= LONGEST_WAIT,
                Again::Never | Again::Later => false,
            })
            .adjust(|error: &CliError, delay| match error.again() {
                // The gateway knows best, but the number of tries stays bounded.
                Again::After(asked) => delay.map(|_| asked),
                _ => delay,
            })
            .notify(|error: &CliError, delay| {
                tracing::debug!(%error, ?delay, "trying again");
            })
            .await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        refuse(response).await
    }

    /// A request of this gateway, with credentials.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.credentials {
            Credentials::Token(token) => request.bearer_auth(token),
            Credentials::Password { user, password } => request.basic_auth(user, Some(password)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut reason = error.without_url_text();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        if error.is_builder() {
            return CliError::Usage(format!("no request can be made of this: {reason}"));
        }
        CliError::Unreachable {
            url: self.base.clone(),
            reason,
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

async fn refuse(response: Response) -> Result<Response, CliError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = retry_after(response.headers());
    Err(CliError::Problem {
        problem: Box::new(problem(status, response).await),
        retry_after,
    })
}

fn check_url(base: &str) -> Result<(), CliError> {
    let wrong = |reason: &str| {
        CliError::Usage(format!(
            "--server {base}: {reason}; write http://HOST:PORT or https://HOST"
        ))
    };
    let url = reqwest::Url::parse(base).map_err(|e| wrong(&e.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(wrong(&format!("`{other}` is no scheme of a gateway"))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_http_url() {
        assert!(check_url("http://127.0.0.1:8080/").is_ok());
        for wrong in ["127.0.0.1:8080", "localhost:8080", "ftp://host", ""] {
            let error = check_url(wrong).unwrap_err();
            assert!(error.to_string().contains("http://"), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
