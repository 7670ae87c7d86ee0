//! The server, a tenancy of one's own for each test, and waiting with a limit.

use std::sync::Arc;
use std::time::Duration;

use simbdp_broker::admin::{
    AdminConnector, BrokerAdmin, ManagementConnection, PipelineQueues, QueueTotals, Tenancy,
    TenancyNames,
};
use simbdp_broker::queue::{HeaderValue, PublishError};
use simbdp_broker::rabbitmq::{
    ConsumerOptions, LinkOptions, PublisherOptions, RabbitConnector, RabbitConsumer,
    RabbitPublisher,
};
use simbdp_broker::{Connection, ConnectionSource, Consumer, Delivery, Message, Publisher};
use simbdp_testkit::rabbitmq::RabbitMq;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

static SERVER: OnceCell<RwLock<RabbitMq>> = OnceCell::const_new();

/// The server behind a lock: who kills it takes it alone.
pub async fn lock() -> &'static RwLock<RabbitMq> {
    SERVER
        .get_or_init(|| async {
            // Shown for a test that fails.
            let _ = tracing_subscriber::fmt().with_test_writer().try_init();
            RwLock::new(RabbitMq::start().await.unwrap())
        })
        .await
}

pub type Server = RwLockReadGuard<'static, RabbitMq>;

pub async fn server() -> Server {
    lock().await.read().await
}

pub async fn admin(management: &ManagementConnection) -> Arc<dyn BrokerAdmin> {
    let connector = RabbitConnector::new().unwrap();
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
    pub admin: Arc<dyn BrokerAdmin>,
    pub connection: Connection,
    pub queues: PipelineQueues,
}

pub fn names() -> (Tenancy, PipelineQueues) {
    let name = format!("tenant-{}", Uuid::new_v4().simple());
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
    };
    (tenancy, queues)
}

impl Tenant {
    pub async fn new(server: &RabbitMq) -> Self {
        let admin = admin(&server.management()).await;
        let (tenancy, queues) = names();
        admin.ensure_tenancy(&tenancy).await.unwrap();
        admin.ensure_queues(&queues).await.unwrap();
        let connection = server.connection(&tenancy.vhost, &tenancy.username, &tenancy.password);
        Self {
            admin,
            connection,
            queues,
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

    pub fn publisher(&self) -> RabbitPublisher {
        publisher(self.source())
    }

    pub fn consumer(&self, prefetch: u16) -> RabbitConsumer {
        consumer(self.source(), &self.queues.queue, prefetch)
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

pub fn publisher(source: ConnectionSource) -> RabbitPublisher {
    let options = PublisherOptions {
        link: LinkOptions::named("test publisher"),
        ..PublisherOptions::default()
    };
    RabbitPublisher::new(source, options)
}

pub fn consumer(source: ConnectionSource, queue: &str, prefetch: u16) -> RabbitConsumer {
    let options = ConsumerOptions {
        link: LinkOptions::named("test consumer"),
        queue: queue.to_owned(),
        prefetch,
    };
    RabbitConsumer::new(source, options)
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
    publisher: &RabbitPublisher,
    queue: &str,
    message: Message,
) -> Result<(), PublishError> {
    let mut results = soon(publisher.publish(queue, vec![message])).await;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

pub async fn take(consumer: &mut RabbitConsumer) -> Delivery {
    soon(consumer.next()).await.unwrap()
}
