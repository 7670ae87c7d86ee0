//! The servers, a tenancy of one's own for each test, and waiting with a limit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use simbdp_broker::admin::{
    AdminConnector, BrokerAdmin, ManagementConnection, PipelineQueues, QueueTotals, Tenancy,
    TenancyNames,
};
use simbdp_broker::queue::{HeaderValue, PublishError};
use simbdp_broker::rabbitmq::LinkOptions;
use simbdp_broker::{
    Connection, ConnectionSource, Connectors, Consumer, DeadLetterReader, DeadLetters, Delivery,
    Message, Publisher, kafka, rabbitmq,
};
use simbdp_testkit::certificates::Authority;
use simbdp_testkit::kafka::Kafka;
use simbdp_testkit::rabbitmq::RabbitMq;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Which broker a case is run with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    RabbitMq,
    Kafka,
}

/// A case for each broker.
macro_rules! each_broker {
    ($($case:ident),+ $(,)?) => {
        mod rabbitmq {
            $(#[tokio::test]
            async fn $case() {
                super::$case($crate::support::Kind::RabbitMq).await;
            })+
        }
        mod kafka {
            $(#[tokio::test]
            async fn $case() {
                super::$case($crate::support::Kind::Kafka).await;
            })+
        }
    };
}
pub(crate) use each_broker;

static RABBITMQ: OnceCell<RwLock<Running>> = OnceCell::const_new();
static KAFKA: OnceCell<RwLock<Running>> = OnceCell::const_new();

/// A server of either kind.
pub enum Running {
    RabbitMq(RabbitMq),
    Kafka(Box<Kafka>),
}

impl Running {
    async fn start(kind: Kind) -> Self {
        match kind {
            Kind::RabbitMq => Self::RabbitMq(RabbitMq::start().await.unwrap()),
            Kind::Kafka => Self::Kafka(Box::new(Kafka::start(1).await.unwrap())),
        }
    }

    /// One of its own, for clients that speak TLS.
    pub async fn start_with_tls(kind: Kind, authority: Authority) -> Self {
        match kind {
            Kind::RabbitMq => Self::RabbitMq(RabbitMq::start_with_tls(&authority).await.unwrap()),
            Kind::Kafka => {
                let started = Kafka::start_with_tls(1, authority).await.unwrap();
                Self::Kafka(Box::new(started))
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::RabbitMq(_) => Kind::RabbitMq,
            Self::Kafka(_) => Kind::Kafka,
        }
    }

    pub fn management(&self) -> ManagementConnection {
        match self {
            Self::RabbitMq(server) => server.management(),
            Self::Kafka(server) => server.management(),
        }
    }

    pub fn connection(&self, vhost: &str, username: &str, password: &str) -> Connection {
        match self {
            Self::RabbitMq(server) => server.connection(vhost, username, password),
            Self::Kafka(server) => server.connection(vhost, username, password),
        }
    }

    /// Waits until a declared queue outlives the death of the server.
    pub async fn until_registered(&self, queues: &PipelineQueues) {
        if let Self::RabbitMq(server) = self {
            let registered = server.until_registered(&queues.vhost, &queues.queue);
            soon(registered).await.unwrap();
        }
    }

    pub async fn kill(&mut self) {
        match self {
            Self::RabbitMq(server) => server.kill().await.unwrap(),
            Self::Kafka(server) => server.kill(0).unwrap(),
        }
    }

    pub async fn run(&mut self) {
        match self {
            Self::RabbitMq(server) => server.run().await.unwrap(),
            Self::Kafka(server) => server.run(0).await.unwrap(),
        }
    }
}

/// The server behind a lock: who kills it takes it alone.
pub async fn lock(kind: Kind) -> &'static RwLock<Running> {
    let cell = match kind {
        Kind::RabbitMq => &RABBITMQ,
        Kind::Kafka => &KAFKA,
    };
    cell.get_or_init(|| async {
        // Shown for a test that fails.
        let _ = tracing_subscriber::fmt().with_test_writer().try_init();
        RwLock::new(Running::start(kind).await)
    })
    .await
}

pub type Server = RwLockReadGuard<'static, Running>;

pub async fn server(kind: Kind) -> Server {
    lock(kind).await.read().await
}

pub async fn admin(management: &ManagementConnection) -> Arc<dyn BrokerAdmin> {
    let connector = Connectors::default();
    connector.connect(management).await.unwrap()
}

/// Whatever is awaited comes within a minute, or the test fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), what)
        .await
        .expect("it does not happen within a minute")
}

/// Waits until the condition holds.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    soon(async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A tenancy with one pipeline's queues, which no other test knows.
pub struct Tenant {
    pub kind: Kind,
    pub admin: Arc<dyn BrokerAdmin>,
    pub connection: Connection,
    pub queues: PipelineQueues,
}

pub fn names() -> (Tenancy, PipelineQueues) {
    let name = format!("tenant-t{}", Uuid::new_v4().simple());
    let tenancy = Tenancy {
        vhost: name.clone(),
        username: name.clone(),
        password: Uuid::new_v4().to_string(),
        max_connections: 20,
        max_queues: 20,
    };
    let queues = PipelineQueues {
        vhost: name,
        queue: "ingest.flights".into(),
        dead_letter_queue: "ingest.flights.dead".into(),
        max_bytes: 64 << 20,
        consumer_timeout_ms: 600_000,
        consumers: 1,
    };
    (tenancy, queues)
}

impl Tenant {
    pub async fn new(server: &Running) -> Self {
        let admin = admin(&server.management()).await;
        let (tenancy, queues) = names();
        admin.ensure_tenancy(&tenancy).await.unwrap();
        admin.ensure_queues(&queues).await.unwrap();
        let connection = server.connection(&tenancy.vhost, &tenancy.username, &tenancy.password);
        Self {
            kind: server.kind(),
            admin,
            connection,
            queues,
        }
    }

    /// Bounds the queue, by whoever sees to that.
    pub async fn limit(&mut self, bytes: u64) {
        self.queues.max_bytes = bytes;
        self.admin.ensure_queues(&self.queues).await.unwrap();
        if self.kind == Kind::Kafka {
            self.connection.max_queue_bytes = Some(bytes);
        }
    }

    pub fn tenancy(&self) -> Tenancy {
        Tenancy {
            vhost: self.connection.vhost.clone(),
            username: self.connection.username.clone(),
            password: self.connection.password.clone(),
            max_connections: 20,
            max_queues: 20,
        }
    }

    pub fn tenancy_names(&self) -> TenancyNames {
        TenancyNames {
            vhost: self.connection.vhost.clone(),
            username: self.connection.username.clone(),
        }
    }

    pub fn source(&self) -> ConnectionSource {
        ConnectionSource::fixed(self.connection.clone())
    }

    pub fn publisher(&self) -> Arc<dyn Publisher> {
        publisher(self.kind, self.source())
    }

    pub fn consumer(&self, prefetch: u16) -> Box<dyn Consumer> {
        consumer(self.kind, self.source(), &self.queues.queue, prefetch)
    }

    pub fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        dead_letters(self.kind, self.source())
    }

    /// Opens the dead-letter queue.
    pub async fn open(&self) -> Box<dyn DeadLetterReader> {
        let letters = self.dead_letters();
        soon(letters.open(&self.queues.dead_letter_queue))
            .await
            .unwrap()
    }

    /// Publishes messages with these ids; each must be confirmed.
    pub async fn fill(&self, ids: &[&str]) {
        let messages = ids.iter().map(|id| message(id)).collect();
        let results = soon(self.publisher().publish(&self.queues.queue, messages)).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    pub async fn totals(&self, queue: &str) -> QueueTotals {
        let totals = self.admin.queue_totals(&self.queues.vhost).await.unwrap();
        let found = totals.into_iter().find(|totals| totals.name == queue);
        found.expect("the queue is in the list")
    }

    /// Waits until the work queue holds so many ready and unacknowledged messages.
    pub async fn until_totals(&self, ready: u64, unacknowledged: u64) {
        until(|| async {
            let totals = self.totals(&self.queues.queue).await;
            (totals.ready, totals.unacknowledged) == (ready, unacknowledged)
        })
        .await;
    }
}

pub fn publisher(kind: Kind, source: ConnectionSource) -> Arc<dyn Publisher> {
    match kind {
        Kind::RabbitMq => {
            let options = rabbitmq::PublisherOptions {
                link: LinkOptions::named("test publisher"),
                ..Default::default()
            };
            Arc::new(rabbitmq::RabbitPublisher::new(source, options))
        }
        Kind::Kafka => {
            let options = kafka::PublisherOptions {
                look: Duration::from_millis(100),
                ..Default::default()
            };
            Arc::new(kafka::KafkaPublisher::new(source, options))
        }
    }
}

pub fn consumer(
    kind: Kind,
    source: ConnectionSource,
    queue: &str,
    prefetch: u16,
) -> Box<dyn Consumer> {
    let (queue, name) = (queue.to_owned(), "test consumer");
    match kind {
        Kind::RabbitMq => {
            let options = rabbitmq::ConsumerOptions {
                link: LinkOptions::named(name),
                queue,
                prefetch,
            };
            Box::new(rabbitmq::RabbitConsumer::new(source, options))
        }
        Kind::Kafka => {
            let options = kafka::ConsumerOptions {
                name: name.into(),
                queue,
                prefetch,
            };
            Box::new(kafka::KafkaConsumer::new(source, options))
        }
    }
}

pub fn dead_letters(kind: Kind, source: ConnectionSource) -> Arc<dyn DeadLetters> {
    match kind {
        Kind::RabbitMq => Arc::new(rabbitmq::RabbitDeadLetters::new(source)),
        Kind::Kafka => Arc::new(kafka::KafkaDeadLetters::new(source)),
    }
}

pub fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        body: format!("{{\"id\":\"{id}\"}}").into(),
        headers: vec![
            ("simbdp-ordinal".into(), HeaderValue::Long(7)),
            ("simbdp-source".into(), HeaderValue::Text(id.to_owned())),
        ],
    }
}

/// A message whose body has this many bytes.
pub fn heavy(id: &str, bytes: usize) -> Message {
    Message {
        body: vec![b'x'; bytes].into(),
        ..message(id)
    }
}

pub async fn publish_one(
    publisher: &Arc<dyn Publisher>,
    queue: &str,
    message: Message,
) -> Result<(), PublishError> {
    let mut results = soon(publisher.publish(queue, vec![message])).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

pub async fn take(consumer: &mut Box<dyn Consumer>) -> Delivery {
    soon(consumer.next()).await.unwrap()
}

pub async fn take_many(consumer: &mut Box<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(take(consumer).await);
    }
    taken
}

pub fn ids(deliveries: &[Delivery]) -> BTreeSet<&str> {
    deliveries.iter().map(|d| d.message.id.as_str()).collect()
}
