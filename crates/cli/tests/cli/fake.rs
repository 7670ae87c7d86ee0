//! A gateway on loopback that remembers every call and fails those that it is told to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

/// The token that this gateway takes.
pub const TOKEN: &str = "secret-token-of-ann";
/// The password that it takes from `ann`.
pub const PASSWORD: &str = "secret-password-of-ann";

/// What is called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verb {
    Constraints,
    Upload,
    File,
    Messages,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// A problem with this status and, in seconds, `Retry-After`.
    Status(u16, Option<u64>),
    /// The connection is cut before anything was taken.
    Cut,
    /// The call is taken, and the connection cut before the answer.
    CutAfter,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    /// File name, or pipeline for messages.
    pub name: String,
    pub headers: HashMap<String, String>,
    pub body: Bytes,
    pub at: Instant,
}

/// End of a file in the ledger: state, rows accepted and rejected.
pub type End = (&'static str, u64, u64);

#[derive(Default)]
struct World {
    faults: HashMap<Verb, VecDeque<Option<Fault>>>,
    calls: Vec<Call>,
    ends: HashMap<String, End>,
    /// Name and how often it was asked for.
    files: HashMap<Uuid, (String, u32)>,
    /// Bodies by idempotency key.
    messages: HashMap<String, Bytes>,
}

/// The gateway; it ends with the runtime of its test.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    world: Arc<Mutex<World>>,
    called: Arc<Notify>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let fake = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            world: Arc::default(),
            called: Arc::default(),
        };
        let routes = Router::new()
            .route("/v1/pipelines/{pipeline}/constraints", get(constraints))
            .route("/v1/pipelines/{pipeline}/files/{name}", put(upload))
            .route("/v1/pipelines/{pipeline}/messages", post(messages))
            .route("/v1/files/{id}", get(file))
            .route("/v1/tables/readings", get(table))
            .route("/v1/tables/readings/rows", get(rows))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        fake
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The next calls of a verb fail, one after the other; those after them do not.
    pub fn fail(&self, verb: Verb, faults: impl IntoIterator<Item = Fault>) {
        self.world()
            .faults
            .entry(verb)
            .or_default()
            .extend(faults.into_iter().map(Some));
    }

    /// The next calls of a verb go well, before those that fail.
    pub fn pass(&self, verb: Verb, times: usize) {
        let none = std::iter::repeat_n(None, times);
        self.world().faults.entry(verb).or_default().extend(none);
    }

    /// How a file of this name ends; `Done` with one row otherwise.
    pub fn end(&self, name: &str, end: End) {
        self.world().ends.insert(name.to_owned(), end);
    }

    /// Calls of a verb, in order, those that failed included.
    pub fn calls(&self, verb: Verb) -> Vec<Call> {
        let world = self.world();
        world
            .calls
            .iter()
            .filter(|c| c.verb == verb)
            .cloned()
            .collect()
    }

    /// Records that were taken, each key counted once.
    pub fn records(&self) -> Vec<Value> {
        let world = self.world();
        let mut bodies: Vec<_> = world.messages.iter().collect();
        bodies.sort();
        let lines = bodies
            .iter()
            .flat_map(|(_, body)| body.split(|byte| *byte == b'\n'));
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    /// Waits until a verb was called this often.
    pub async fn called(&self, verb: Verb, times: usize) {
        let enough = async {
            loop {
                let next = self.called.notified();
                if self.calls(verb).len() >= times {
                    return;
                }
                next.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough)
            .await
            .unwrap_or_else(|_| panic!("{verb:?} was not called {times} times"));
    }

    /// Remembers a call; an answer when it is to fail.
    fn enter(&self, verb: Verb, name: &str, headers: &HeaderMap, body: Bytes) -> Entered {
        let text = |value: &header::HeaderValue| value.to_str().unwrap().to_owned();
        let mut world = self.world();
        world.calls.push(Call {
            verb,
            name: name.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            body,
            at: Instant::now(),
        });
        let fault = world
            .faults
            .get_mut(&verb)
            .and_then(VecDeque::pop_front)
            .flatten();
        drop(world);
        self.called.notify_waiters();
        if !known(headers) {
            return Entered::Refused(problem(401, None));
        }
        match fault {
            None => Entered::Normally,
            Some(Fault::CutAfter) => Entered::CutAfter,
            Some(Fault::Cut) => Entered::Refused(cut()),
            Some(Fault::Status(status, retry_after)) => {
                Entered::Refused(problem(status, retry_after))
            }
        }
    }
}

enum Entered {
    Normally,
    CutAfter,
    Refused(Response),
}

impl Entered {
    /// Does what was asked unless it is refused.
    fn then(self, answer: impl FnOnce() -> Response) -> Response {
        match self {
            Self::Normally => answer(),
            Self::CutAfter => {
                answer();
                cut()
            }
            Self::Refused(response) => response,
        }
    }
}

fn known(headers: &HeaderMap) -> bool {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("ann:{PASSWORD}"));
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    given.is_some_and(|given| {
        given == format!("Bearer {TOKEN}") || given == format!("Basic {basic}")
    })
}

fn problem(status: u16, retry_after: Option<u64>) -> Response {
    let body = json!({"type": "about:blank", "title": "chosen", "status": status, "detail": format!("chosen to be {status}")});
    let mut response = (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        "application/problem+json".parse().unwrap(),
    );
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// An answer whose body breaks at once: the server closes the connection.
fn cut() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    Response::builder()
        .header(header::CONTENT_LENGTH, 10)
        .body(Body::from_stream(broken))
        .unwrap()
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

fn fields() -> Value {
    json!([
        {"name": "sensor", "column": "sensor", "type": "text", "required": true},
        {"name": "value", "column": "value", "type": "int", "required": false},
    ])
}

/// `readings` takes files, `events` messages.
async fn constraints(
    State(fake): State<Fake>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
) -> Response {
    fake.enter(Verb::Constraints, &pipeline, &headers, Bytes::new())
        .then(|| {
            let mut body = json!({"pipeline": pipeline, "table": pipeline, "fields": fields()});
            match pipeline.as_str() {
                "readings" => {
                    body["batch"] =
                        json!({"formats": ["csv"], "compression": ["none"], "maxFileSize": 1 << 20})
                }
                "events" => body["stream"] = json!({"maxMessageSize": 1 << 20}),
                _ => return problem(404, None),
            }
            answer(StatusCode::OK, &body)
        })
}

async fn upload(
    State(fake): State<Fake>,
    Path((_, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let entered = fake.enter(Verb::Upload, &name, &parts.headers, body.clone());
    entered.then(|| {
        let mut world = fake.world();
        // The same name is the same bytes here.
        let known = world.files.iter().find(|(_, (file, _))| *file == name).map(|(id, _)| *id);
        let id = known.unwrap_or_else(Uuid::new_v4);
        world.files.entry(id).or_insert((name, 0));
        let body = json!({"id": id, "duplicate": known.is_some(), "sha256": "", "bytes": body.len(), "location": ""});
        answer(StatusCode::ACCEPTED, &body)
    })
}

/// A file is queued when it is asked for first, and has ended after that.
async fn file(State(fake): State<Fake>, Path(id): Path<Uuid>, headers: HeaderMap) -> Response {
    fake.enter(Verb::File, &id.to_string(), &headers, Bytes::new()).then(|| {
        let mut world = fake.world();
        let Some((name, asked)) = world.files.get_mut(&id) else {
            return problem(404, None);
        };
        *asked += 1;
        let (name, asked) = (name.clone(), *asked);
        let (state, accepted, rejected) = world.ends.get(&name).copied().unwrap_or(("Done", 1, 0));
        let mut body = json!({
            "id": id, "pipeline": "readings", "name": name, "state": "Queued", "format": "csv", "compression": "none",
            "bytes": 1, "sha256": "", "user": "ann",
            "acceptedAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        });
        if asked > 1 {
            body["state"] = json!(state);
            body["accepted"] = json!(accepted);
            body["rejected"] = json!(rejected);
        }
        answer(StatusCode::OK, &body)
    })
}

async fn messages(
    State(fake): State<Fake>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    fake.enter(Verb::Messages, &pipeline, &headers, body.clone())
        .then(|| {
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            let mut world = fake.world();
            let earlier = world
                .messages
                .entry(key.clone())
                .or_insert_with(|| body.clone());
            if *earlier != body {
                return problem(422, None);
            }
            let records = body.iter().filter(|byte| **byte == b'\n').count();
            answer(
                StatusCode::ACCEPTED,
                &json!({"source": key, "accepted": records, "rejected": 0}),
            )
        })
}

async fn table() -> Response {
    answer(
        StatusCode::OK,
        &json!({"name": "readings", "columns": fields(), "primaryKey": {"partition": ["sensor"], "clustering": []}}),
    )
}

async fn rows() -> Response {
    answer(
        StatusCode::OK,
        &json!({"rows": [{"sensor": "s,1", "value": 5}, {"sensor": "s2", "value": null}]}),
    )
}
