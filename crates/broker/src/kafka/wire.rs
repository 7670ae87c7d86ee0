//! [IO] One connection to one node: frames, versions, login. What clients of a group or of a topic need beyond
//! that is the business of librdkafka; this is for what it has no safe interface to: users, rights, and the totals
//! of queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::{
    ApiVersionsRequest, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, SASLClient, Session};
use rustls::pki_types::ServerName;
use simbdp_tls::Trust;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::login::{Login, Mechanism};

/// Longest time for a connection to be made, login included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers are lists of topics and of their partitions.
const LARGEST_ANSWER: usize = 64 << 20;
const CLIENT: &str = "simbdp";
/// The error of a login that is refused.
const SASL_AUTHENTICATION_FAILED: i16 = 58;
/// The error of a mechanism that the listener does not have.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// How a login is shown to a listener.
const HANDSHAKE_VERSION: i16 = 1;
const AUTHENTICATE_VERSION: i16 = 1;

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum WireError {
    /// Nobody answers, or no longer.
    #[error("{0}")]
    Unavailable(String),
    /// The login is refused.
    #[error("the login is refused: {0}")]
    LoginRefused(String),
    /// The node does not speak what is needed of it.
    #[error("the node does not know {0}: Kafka 3.7 or later is needed")]
    TooOld(&'static str),
}

/// A connection that is logged in. One request at a time.
pub(super) struct Wire {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    versions: HashMap<i16, (i16, i16)>,
    correlation: i32,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(address: &str, login: &Login) -> Result<Self, WireError> {
        let opened = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| lost(&error))?;
            // A request is one write and waits for its answer.
            stream.set_nodelay(true).map_err(|error| lost(&error))?;
            let mut wire = Self {
                stream: match &login.tls {
                    None => Either::Left(stream),
                    Some(trust) => Either::Right(secured(stream, address, trust).await?),
                },
                versions: HashMap::new(),
                correlation: 0,
            };
            wire.learn_versions().await?;
            wire.log_in(login).await?;
            Ok(wire)
        };
        match timeout(CONNECT_TIMEOUT, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(WireError::Unavailable(format!(
                "no connection to {address} within {CONNECT_TIMEOUT:?}"
            ))),
        }
    }

    /// Sends a request in the newest version that both sides know and that is no newer than `newest`.
    pub(super) async fn ask<R: Request>(
        &mut self,
        request: &R,
        newest: i16,
        what: &'static str,
    ) -> Result<R::Response, WireError> {
        let (min, max) = self.versions.get(&R::KEY).copied().unwrap_or((0, -1));
        let version = max.min(newest).min(R::VERSIONS.max);
        if version < min || version < R::VERSIONS.min {
            return Err(WireError::TooOld(what));
        }
        match timeout(ANSWER_TIMEOUT, self.exchange(request, version)).await {
            Ok(answer) => answer,
            Err(_) => Err(WireError::Unavailable(format!(
                "no answer within {ANSWER_TIMEOUT:?}"
            ))),
        }
    }

    async fn learn_versions(&mut self) -> Result<(), WireError> {
        let request = ApiVersionsRequest::default();
        let answer = self.exchange(&request, 0).await?;
        let versions = answer.api_keys.iter();
        self.versions = versions
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }

    async fn log_in(&mut self, login: &Login) -> Result<(), WireError> {
        let mut session = session(login)?;
        let handshake = SaslHandshakeRequest::default()
            .with_mechanism(StrBytes::from_static_str(login.mechanism.name()));
        let answer = self.exchange(&handshake, HANDSHAKE_VERSION).await?;
        if answer.error_code == UNSUPPORTED_SASL_MECHANISM {
            let there: Vec<&str> = answer.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(WireError::LoginRefused(format!(
                "the listener has no {}, but {}",
                login.mechanism.name(),
                there.join(", ")
            )));
        }
        let mut heard: Option<bytes::Bytes> = None;
        loop {
            let mut said = Vec::new();
            let state = session
                .step(heard.as_deref(), &mut said)
                .map_err(|error| WireError::LoginRefused(error.to_string()))?;
            if !state.is_running() && !state.has_sent_message() {
                return Ok(());
            }
            let request = SaslAuthenticateRequest::default().with_auth_bytes(said.into());
            let answer = self.exchange(&request, AUTHENTICATE_VERSION).await?;
            let message = answer.error_message.map(|text| text.to_string());
            match answer.error_code {
                0 if !state.is_running() => return Ok(()),
                0 => heard = Some(answer.auth_bytes),
                SASL_AUTHENTICATION_FAILED => {
                    return Err(WireError::LoginRefused(message.unwrap_or_default()));
                }
                code => {
                    return Err(WireError::Unavailable(format!(
                        "the login ended with error {code}: {}",
                        message.unwrap_or_default()
                    )));
                }
            }
        }
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, WireError> {
        self.correlation = self.correlation.wrapping_add(1);
        let frame = frame(request, version, self.correlation)?;
        self.stream
            .write_all(&frame)
            .await
            .map_err(|error| lost(&error))?;
        let length = self.stream.read_u32().await.map_err(|error| lost(&error))? as usize;
        if length > LARGEST_ANSWER {
            return Err(WireError::Unavailable(format!(
                "an answer of {length} bytes: this is no Kafka"
            )));
        }
        let mut answer = BytesMut::zeroed(length);
        self.stream
            .read_exact(&mut answer)
            .await
            .map_err(|error| lost(&error))?;
        let mut answer = answer.freeze();
        let header = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut answer, header).map_err(malformed)?;
        if header.correlation_id != self.correlation {
            return Err(WireError::Unavailable(
                "an answer to another request".into(),
            ));
        }
        let decoded = R::Response::decode(&mut answer, version).map_err(malformed)?;
        match answer.has_remaining() {
            true => Err(malformed("it is longer than its content")),
            false => Ok(decoded),
        }
    }
}

fn frame<R: Request>(request: &R, version: i16, correlation: i32) -> Result<BytesMut, WireError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT)));
    let mut content = BytesMut::new();
    header
        .encode(&mut content, R::header_version(version))
        .map_err(malformed)?;
    request.encode(&mut content, version).map_err(malformed)?;
    let length = u32::try_from(content.len()).map_err(malformed)?;
    let mut frame = BytesMut::with_capacity(content.len() + 4);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&content);
    Ok(frame)
}

fn session(login: &Login) -> Result<Session, WireError> {
    let refused = |reason: String| WireError::LoginRefused(reason);
    let Login {
        username,
        password,
        mechanism,
        tls: _,
    } = login;
    let config = SASLConfig::with_credentials(None, username.clone(), password.clone())
        .map_err(|error| refused(error.to_string()))?;
    let name = match mechanism {
        Mechanism::Scram => Mechname::parse(Mechanism::Scram.name().as_bytes()),
        Mechanism::Plain => Mechname::parse(Mechanism::Plain.name().as_bytes()),
    };
    let name = name.map_err(|error| refused(error.to_string()))?;
    SASLClient::new(config)
        .start_suggested(&[name])
        .map_err(|error| refused(error.to_string()))
}

async fn secured(
    stream: TcpStream,
    address: &str,
    trust: &Trust,
) -> Result<TlsStream<TcpStream>, WireError> {
    let unavailable = |error: String| WireError::Unavailable(format!("{address}: {error}"));
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = ServerName::try_from(host.to_owned());
    let host = host.map_err(|error| unavailable(error.to_string()))?;
    let client = trust.client();
    let client = client.map_err(|error| unavailable(error.to_string()))?;
    let shaken = TlsConnector::from(Arc::new(client)).connect(host, stream);
    shaken.await.map_err(|error| unavailable(error.to_string()))
}

fn lost(error: &std::io::Error) -> WireError {
    WireError::Unavailable(error.to_string())
}

fn malformed(error: impl std::fmt::Display) -> WireError {
    WireError::Unavailable(format!("a message that cannot be read: {error}"))
}
