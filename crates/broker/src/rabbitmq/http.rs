//! [IO] The management HTTP API: requests, answers, errors.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use simbdp_tls::Trust;

use crate::admin::{AdminError, ManagementConnection};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A client with one login.
pub(super) struct Api {
    http: reqwest::Client,
    base: Url,
    username: String,
    password: String,
}

/// What the API says of a refused call.
#[derive(serde::Deserialize)]
struct Problem {
    #[serde(default)]
    reason: Value,
}

/// What the broker answered.
enum Answer {
    Yes(Response),
    NotFound,
}

impl Api {
    pub(super) fn new(
        http: reqwest::Client,
        connection: &ManagementConnection,
    ) -> Result<Self, AdminError> {
        let base = Url::parse(&connection.url)
            .ok()
            .filter(|url| !url.cannot_be_a_base());
        Ok(Self {
            http,
            base: base.ok_or_else(|| AdminError::Refused {
                action: "the connection".into(),
                reason: "the address of its management API is no URL".into(),
            })?,
            username: connection.username.clone(),
            password: connection.password.clone(),
        })
    }

    /// The login's own name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// Reads an object; `None` when it is not there.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, AdminError> {
        let request = self.request(Method::GET, path).query(query);
        match self.send(request, path).await? {
            Answer::NotFound => Ok(None),
            Answer::Yes(response) => response.json().await.map(Some).map_err(unavailable),
        }
    }

    /// Reads an object that is always there.
    pub(super) async fn get_one<T: DeserializeOwned>(
        &self,
        path: &[&str],
    ) -> Result<T, AdminError> {
        self.get(path, &[]).await?.ok_or_else(|| missing(path))
    }

    /// Creates or replaces an object.
    pub(super) async fn put(&self, path: &[&str], body: &Value) -> Result<(), AdminError> {
        let request = self.request(Method::PUT, path).json(body);
        match self.send(request, path).await? {
            Answer::Yes(_) => Ok(()),
            Answer::NotFound => Err(missing(path)),
        }
    }

    /// Deletes an object; already gone is fine.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<(), AdminError> {
        let request = self.request(Method::DELETE, path);
        self.send(request, path).await.map(drop)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        self.http
            .request(method, url)
            .basic_auth(&self.username, Some(&self.password))
    }

    async fn send(&self, request: RequestBuilder, path: &[&str]) -> Result<Answer, AdminError> {
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(Answer::Yes(response));
        }
        if status == StatusCode::NOT_FOUND {
            return Ok(Answer::NotFound);
        }
        let reason = reason(response).await;
        if status == StatusCode::UNAUTHORIZED && !reason.contains("ACCESS_REFUSED") {
            return Err(AdminError::LoginRefused {
                username: self.username.clone(),
            });
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(AdminError::Unavailable(format!("{status}: {reason}")));
        }
        Err(AdminError::Refused {
            action: action(path),
            reason,
        })
    }
}

/// A client for any number of logins.
pub(super) fn client(trust: Option<&Trust>) -> Result<reqwest::Client, AdminError> {
    let tls = trust.unwrap_or(&Trust::Public).client();
    let tls = tls.map_err(|error| AdminError::Tls(error.to_string()))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .build()
        .map_err(|error| AdminError::Refused {
            action: "the start of an HTTP client".into(),
            reason: error.to_string(),
        })
}

async fn reason(response: Response) -> String {
    match response.json::<Problem>().await {
        Ok(Problem {
            reason: Value::String(reason),
        }) => reason,
        Ok(Problem { reason }) => reason.to_string(),
        Err(_) => "it gives no reason".into(),
    }
}

fn action(path: &[&str]) -> String {
    format!("the call to {}", path.join("/"))
}

fn missing(path: &[&str]) -> AdminError {
    AdminError::Refused {
        action: action(path),
        reason: "what it belongs to is not there".into(),
    }
}

/// The whole chain of causes: the first one alone says little.
fn unavailable(error: reqwest::Error) -> AdminError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    AdminError::Unavailable(text)
}
