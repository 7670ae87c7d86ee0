//! [pure] Messages to AMQP's properties and back.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::queue::{HeaderValue, Message};

/// Delivery mode of a message that is written to disk.
const PERSISTENT: u8 = 2;
/// How often consumers had the message before (4.3 and later).
const ACQUIRED_COUNT: &str = "x-acquired-count";
/// How often the message came back (until 4.2), or how often it did with its consumer (from 4.3).
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Why the broker itself moved the message to a dead-letter queue.
const DEATH_REASON: &str = "x-first-death-reason";

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

/// A message as it came, without the headers that are the broker's own (`x-…`).
pub(super) fn message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let id = properties.message_id().as_ref();
    Message {
        id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        body: Bytes::from(body),
        headers: properties
            .headers()
            .iter()
            .flat_map(|table| table.inner())
            .filter(|(name, _)| !name.as_str().starts_with("x-"))
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), header(value)?)))
            .collect(),
    }
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

    #[test]
    fn headers_of_the_broker_are_left_out() {
        let mut table = FieldTable::default();
        table.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(1));
        let properties = BasicProperties::default().with_headers(table);
        assert!(message(&properties, Vec::new()).headers.is_empty());
    }
}
