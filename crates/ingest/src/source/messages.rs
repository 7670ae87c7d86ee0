//! Messages: gathered into parcels that one write takes, by number, bytes and a short linger.

use std::time::Duration;

use simbdp_api::wire::work::headers;
use simbdp_broker::Delivery;
use simbdp_broker::queue::HeaderValue;
use tokio::time::Instant;

/// Bounds of a parcel.
#[derive(Clone, Copy, Debug)]
pub struct ParcelLimits {
    /// Most messages.
    pub messages: usize,
    /// Bytes from which on it is full.
    pub bytes: usize,
    /// How long the first message waits for others.
    pub linger: Duration,
}

/// Identity and version of a message's record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity<'a> {
    /// Source id.
    pub source: &'a str,
    /// Ordinal in its source.
    pub ordinal: u64,
    /// Version, microseconds since 1970.
    pub version: i64,
}

/// Reads identity and version from the headers that the gateway writes, or that were made of what the client set.
pub fn identity(delivery: &Delivery) -> Result<Identity<'_>, String> {
    let missing = |name| {
        format!(
            "the header {name} is missing and cannot be told: set the property message-id, which no other message of the pipeline has, \
             and timestamp where the broker does not say when it took a message; or publish through the gateway"
        )
    };
    let header = |name: &str| {
        let mut headers = delivery.message.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let long = |name| match header(name) {
        Some(HeaderValue::Long(value)) => Ok(*value),
        _ => Err(missing(name)),
    };
    let source = match header(headers::SOURCE) {
        Some(HeaderValue::Text(source)) => source,
        _ => return Err(missing(headers::SOURCE)),
    };
    let ordinal = u64::try_from(long(headers::ORDINAL)?)
        .map_err(|_| format!("the header {} is negative", headers::ORDINAL))?;
    Ok(Identity {
        source,
        ordinal,
        version: long(headers::VERSION)?,
    })
}

/// Messages that wait for their write.
pub struct Gathering {
    limits: ParcelLimits,
    deliveries: Vec<Delivery>,
    bytes: usize,
    due: Option<Instant>,
}

impl Gathering {
    /// Nothing yet.
    pub fn new(limits: ParcelLimits) -> Self {
        Self {
            limits,
            deliveries: Vec::new(),
            bytes: 0,
            due: None,
        }
    }

    /// Adds a message.
    pub fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.message.body.len();
        self.due
            .get_or_insert_with(|| Instant::now() + self.limits.linger);
        self.deliveries.push(delivery);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.deliveries.len() >= self.limits.messages || self.bytes >= self.limits.bytes
    }

    /// Waits until the first message has waited long enough; for ever when there is none.
    pub async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// What was gathered; nothing is left.
    pub fn take(&mut self) -> Vec<Delivery> {
        self.bytes = 0;
        self.due = None;
        std::mem::take(&mut self.deliveries)
    }
}
