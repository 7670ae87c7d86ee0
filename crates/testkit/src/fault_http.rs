//! Faults under a Kubernetes client: a tower layer.

use std::future::ready;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::{Body, ClientBuilder};
use tower::{BoxError, Layer, Service};

use crate::fault::{Call, Fate, Faults, Interruption, Operation};

/// A client whose requests go by the faults.
pub fn client(config: kube::Config, faults: &Faults) -> kube::Result<kube::Client> {
    let layer = FaultLayer::new(faults.clone());
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

/// The server's answer, or an injected one.
pub type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Lets requests go by the faults.
#[derive(Clone)]
pub struct FaultLayer {
    faults: Faults,
}

impl FaultLayer {
    /// A layer with these faults.
    pub fn new(faults: Faults) -> Self {
        Self { faults }
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = FaultService<S>;
    fn layer(&self, inner: S) -> FaultService<S> {
        let faults = self.faults.clone();
        FaultService { faults, inner }
    }
}

/// A service whose requests go by the faults.
#[derive(Clone)]
pub struct FaultService<S> {
    faults: Faults,
    inner: S,
}

impl<S, B> Service<Request<Body>> for FaultService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.faults.fate(describe(&request)) {
            Fate::Stop(interruption) => Box::pin(ready(interrupted(interruption))),
            Fate::Go(course) => {
                let sent = self.inner.call(request);
                let answer = async move {
                    let response = sent.await.map_err(Into::into)?;
                    Ok(response.map(boxed))
                };
                Box::pin(course.of(answer, interrupted))
            }
        }
    }
}

fn describe(request: &Request<Body>) -> Call {
    let uri = request.uri();
    let watches = uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    });
    let operation = match *request.method() {
        Method::GET | Method::HEAD if watches => Operation::Watch,
        Method::GET | Method::HEAD => Operation::Read,
        _ => Operation::Write,
    };
    Call::new(operation, format!("{} {}", request.method(), uri.path()))
}

/// A status as the API server itself would send it, or a broken connection.
fn interrupted(interruption: Interruption) -> Result<Answer, BoxError> {
    let Interruption::Status(code) = interruption else {
        let error = io::Error::new(io::ErrorKind::ConnectionReset, interruption.to_string());
        return Err(error.into());
    };
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        403 => "Forbidden",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": interruption.to_string(), "reason": reason, "code": code,
    });
    let response = Response::builder()
        .status(code)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(boxed(Full::from(body.to_string())))?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use kube::api::{ListParams, WatchParams};

    use super::*;
    use crate::fault::{Fault, Filter, Planned};

    /// A server that knows no namespaces, and counts what reaches it.
    fn namespaces(faults: &Faults) -> (Api<Namespace>, Arc<AtomicU32>) {
        let reached = Arc::new(AtomicU32::new(0));
        let counter = reached.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            let list = r#"{"kind":"NamespaceList","apiVersion":"v1","metadata":{},"items":[]}"#;
            std::future::ready(Ok::<_, BoxError>(Response::new(Body::from(
                list.as_bytes().to_vec(),
            ))))
        });
        let client = ClientBuilder::new(server, "default")
            .with_layer(&FaultLayer::new(faults.clone()))
            .build();
        (Api::all(client), reached)
    }

    fn first(fault: Fault) -> Planned {
        let name = "GET /api/v1/namespaces".to_owned();
        Planned {
            name,
            nth: 1,
            fault,
        }
    }

    #[tokio::test]
    async fn a_status_looks_like_the_servers_own() {
        let faults = Faults::new(Filter::requests());
        let (api, reached) = namespaces(&faults);
        faults.inject(first(Fault::Status(409)));
        match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) => {
                assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
            }
            other => panic!("{other:?} is no status"),
        }
        assert_eq!(faults.calls()[0].name, "GET /api/v1/namespaces");
        assert!(api.list(&ListParams::default()).await.is_ok());
        assert_eq!(reached.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn watches_are_told_from_reads() {
        let faults = Faults::new(Filter::requests());
        let (api, _) = namespaces(&faults);
        assert!(api.watch(&WatchParams::default(), "0").await.is_ok());
        assert_eq!(faults.count(), 0);
        faults.inject(first(Fault::CrashBefore));
        assert!(api.list(&ListParams::default()).await.is_err());
        assert!(api.watch(&WatchParams::default(), "0").await.is_err());
    }
}
