//! [pure] Messages to AMQP's properties and back.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::direct;
use crate::queue::{HeaderValue, Message};

/// Delivery mode of a message that is written to disk.
const PERSISTENT: u8 = 2;
/// How often consumers had the message before (4.3 and later).
const ACQUIRED_COUNT: &str = "x-acquired-count";
/// How often the message came back (until 4.2), or how often it did with its consumer (from 4.3).
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Why the broker itself moved the message to a dead-letter queue.
const DEATH_REASON: &str = "x-first-death-reason";
/// When the broker took the message, milliseconds since 1970: written by its interceptor of incoming messages.
const TAKEN_AT: &str = "timestamp_in_ms";

/// The properties of a message; `None` when its id or the name of a header is longer than the 255
/// bytes that AMQP has for it. The correlation id tells which message of a publish came back.
pub(super) fn properties(message: &Message, index: usize) -> Option<BasicProperties> {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        let value = match value {
            HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
            HeaderValue::Long(number) => AMQPValue::LongLongInt(*number),
        };
        headers.insert(ShortString::try_new(name.as_str()).ok()?, value);
    }
    Some(
        BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(ShortString::try_new(message.id.as_str()).ok()?)
            .with_correlation_id(index.to_string().into())
            .with_headers(headers),
    )
}

/// Which message of a publish came back.
pub(super) fn index(properties: &BasicProperties) -> Option<usize> {
    properties.correlation_id().as_ref()?.as_str().parse().ok()
}

/// A message as it came, without the headers that are the broker's own.
pub(super) fn message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let id = properties.message_id().as_ref();
    let id = id.map(|id| id.as_str().to_owned()).unwrap_or_default();
    let mut headers: Vec<_> = properties
        .headers()
        .iter()
        .flat_map(|table| table.inner())
        .filter(|(name, _)| !is_the_broker_s(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), header(value)?)))
        .collect();
    if direct::is_direct(&headers) {
        identify(&mut headers, &id, properties);
    }
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    Message {
        id,
        body: Bytes::from(body),
        headers,
    }
}

fn is_the_broker_s(header: &str) -> bool {
    header.starts_with("x-") || header == TAKEN_AT
}

/// A message that the gateway did not publish has its identity from its id, and its version from when the broker took it. Without
/// either it has none: ingest says so.
fn identify(headers: &mut Vec<(String, HeaderValue)>, id: &str, properties: &BasicProperties) {
    let Some(millis) = taken_at(properties).filter(|_| !id.is_empty()) else {
        return;
    };
    let identity = direct::Identity {
        source: id.to_owned(),
        ordinal: 0,
        millis,
    };
    direct::identify(headers, identity);
}

/// As the broker's interceptor says, or else as the client does, in seconds.
fn taken_at(properties: &BasicProperties) -> Option<i64> {
    let headers = properties.headers().as_ref();
    let broker = headers.and_then(|headers| headers.inner().get(TAKEN_AT).and_then(integer));
    broker.or_else(|| {
        let seconds = i64::try_from((*properties.timestamp())?).ok()?;
        seconds.checked_mul(1_000)
    })
}

fn header(value: &AMQPValue) -> Option<HeaderValue> {
    match value {
        AMQPValue::LongString(text) => Some(HeaderValue::Text(
            String::from_utf8_lossy(text.as_bytes()).into_owned(),
        )),
        AMQPValue::ShortString(text) => Some(HeaderValue::Text(text.as_str().to_owned())),
        other => integer(other).map(HeaderValue::Long),
    }
}

fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

/// How often the message was delivered before and came back.
pub(super) fn returns(properties: &BasicProperties) -> u32 {
    let Some(headers) = properties.headers() else {
        return 0;
    };
    [ACQUIRED_COUNT, DELIVERY_COUNT]
        .iter()
        .find_map(|name| headers.inner().get(*name).and_then(integer))
        .map_or(0, |count| u32::try_from(count.max(0)).unwrap_or(u32::MAX))
}

/// Why the broker itself gave a message up, where it did.
pub(super) fn death(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    match header(headers.inner().get(DEATH_REASON)?)? {
        HeaderValue::Text(reason) => Some(reason),
        HeaderValue::Long(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        Message {
            id: "source:7".into(),
            body: Bytes::from_static(b"{\"a\":1}"),
            headers: vec![
                ("simbdp-source".into(), HeaderValue::Text("ä".into())),
                ("simbdp-version".into(), HeaderValue::Long(i64::MIN)),
            ],
        }
    }

    #[test]
    fn a_message_survives_the_way_there_and_back() {
        let sent = properties(&sample(), 3).unwrap();
        assert_eq!(index(&sent), Some(3));
        assert_eq!(*sent.delivery_mode(), Some(PERSISTENT));
        assert_eq!(message(&sent, sample().body.to_vec()), sample());
    }

    #[test]
    fn an_id_that_is_too_long_is_refused() {
        let message = Message {
            id: "x".repeat(256),
            ..sample()
        };
        assert!(properties(&message, 0).is_none());
    }

    #[test]
    fn returns_prefer_the_count_of_acquisitions() {
        let with = |pairs: &[(&str, i64)]| {
            let mut table = FieldTable::default();
            for (name, count) in pairs {
                table.insert((*name).into(), AMQPValue::LongLongInt(*count));
            }
            returns(&BasicProperties::default().with_headers(table))
        };
        assert_eq!(returns(&BasicProperties::default()), 0);
        assert_eq!(with(&[]), 0);
        assert_eq!(with(&[(DELIVERY_COUNT, 2)]), 2);
        assert_eq!(with(&[(DELIVERY_COUNT, 2), (ACQUIRED_COUNT, 5)]), 5);
    }

    fn headers(pairs: &[(&str, i64)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in pairs {
            table.insert((*name).into(), AMQPValue::LongLongInt(*value));
        }
        table
    }

    #[test]
    fn headers_of_the_broker_are_left_out() {
        let table = headers(&[(DELIVERY_COUNT, 1), (TAKEN_AT, 7)]);
        let properties = BasicProperties::default().with_headers(table);
        assert!(message(&properties, Vec::new()).headers.is_empty());
    }

    #[test]
    fn a_direct_message_has_its_identity_from_its_id_and_its_version_from_the_broker() {
        let forged = headers(&[("simbdp-version", i64::MAX), (TAKEN_AT, 1_700_000_000_123)]);
        let properties = BasicProperties::default()
            .with_message_id("order-7".into())
            .with_timestamp(5)
            .with_headers(forged);
        let read = message(&properties, Vec::new());
        assert_eq!(read.id, "order-7");
        let expected = [
            ("simbdp-ordinal", HeaderValue::Long(0)),
            ("simbdp-source", HeaderValue::Text("direct:order-7".into())),
            ("simbdp-version", HeaderValue::Long(1_700_000_000_123_000)),
        ];
        assert_eq!(
            read.headers,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }

    #[test]
    fn where_the_broker_says_no_time_the_client_s_counts_and_without_an_id_nothing_does() {
        let timed = BasicProperties::default().with_timestamp(5);
        assert!(message(&timed, Vec::new()).headers.is_empty());
        let named = timed.with_message_id("order-7".into());
        let read = message(&named, Vec::new());
        let version = ("simbdp-version".to_owned(), HeaderValue::Long(5_000_000));
        assert!(read.headers.contains(&version));
        let untimed = BasicProperties::default().with_message_id("order-7".into());
        assert!(message(&untimed, Vec::new()).headers.is_empty());
    }
}
