//! [pure] Messages to Kafka's records and back.

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, OwnedHeaders, Timestamp};
use simbdp_api::wire::work::headers;

use crate::direct::{self, PREFIX};
use crate::queue::{HeaderValue, Message};

/// Header with the message's id. Whoever publishes straight to a topic may set it.
const ID: &str = "simbdp-id";
/// As long as AMQP has room for: what one broker takes, the other does too.
const LONGEST_ID: usize = 255;

/// The headers of a record; `None` when the id or a header's name is longer than AMQP would carry it.
pub(super) fn record_headers(message: &Message) -> Option<OwnedHeaders> {
    let names = message.headers.iter().map(|(name, _)| name);
    if names
        .chain([&message.id])
        .any(|text| text.len() > LONGEST_ID)
    {
        return None;
    }
    let mut written = OwnedHeaders::new_with_capacity(message.headers.len() + 1).insert(Header {
        key: ID,
        value: Some(message.id.as_str()),
    });
    for (name, value) in &message.headers {
        // Numbers as text: readable with any tool.
        let text = match value {
            HeaderValue::Text(text) => text.clone(),
            HeaderValue::Long(number) => number.to_string(),
        };
        written = written.insert(Header {
            key: name,
            value: Some(text.as_str()),
        });
    }
    Some(written)
}

/// A record as it came, with an identity that it always has.
pub(super) fn message(record: &BorrowedMessage<'_>) -> Message {
    let mut id = None;
    let mut read = Vec::new();
    for header in record.headers().iter().flat_map(|headers| headers.iter()) {
        let text = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        match header.key {
            ID => id = Some(text),
            key => read.push((key.to_owned(), value(key, text))),
        }
    }
    let place = Place {
        partition: record.partition(),
        offset: record.offset(),
        millis: match record.timestamp() {
            Timestamp::CreateTime(millis) | Timestamp::LogAppendTime(millis) => millis,
            Timestamp::NotAvailable => 0,
        },
    };
    let body = Bytes::copy_from_slice(record.payload().unwrap_or_default());
    identified(id, read, body, place)
}

/// Where a record lies, and since when.
#[derive(Clone, Copy)]
struct Place {
    partition: i32,
    offset: i64,
    millis: i64,
}

/// A message that the gateway did not publish has its identity from its id or, without one, from where it lies: that
/// is the same at each delivery. The time is in it, since a topic that is made anew counts its offsets from 0 again.
/// Its version is when the broker took it.
fn identified(
    id: Option<String>,
    mut read: Vec<(String, HeaderValue)>,
    body: Bytes,
    place: Place,
) -> Message {
    let Place {
        partition,
        offset,
        millis,
    } = place;
    if direct::is_direct(&read) {
        let (source, ordinal) = match &id {
            Some(id) => (id.clone(), 0),
            None => (format!("{partition}@{millis}"), offset),
        };
        let identity = direct::Identity {
            source,
            ordinal,
            millis,
        };
        direct::identify(&mut read, identity);
    }
    read.sort_by(|(a, _), (b, _)| a.cmp(b));
    Message {
        id: id.unwrap_or_else(|| format!("{PREFIX}{partition}@{millis}:{offset}")),
        body,
        headers: read,
    }
}

fn value(name: &str, text: String) -> HeaderValue {
    match text.parse() {
        Ok(number) if headers::INTEGERS.contains(&name) => HeaderValue::Long(number),
        _ => HeaderValue::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        partition: 2,
        offset: 40,
        millis: 1_700_000_000_123,
    };

    fn header<'a>(message: &'a Message, name: &str) -> &'a HeaderValue {
        let mut headers = message.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
            .unwrap()
    }

    #[test]
    fn numbers_are_read_as_such_where_they_are_meant() {
        assert_eq!(value(headers::VERSION, "-7".into()), HeaderValue::Long(-7));
        assert_eq!(
            value(headers::VERSION, "x".into()),
            HeaderValue::Text("x".into())
        );
        assert_eq!(
            value(headers::SOURCE, "7".into()),
            HeaderValue::Text("7".into())
        );
    }

    #[test]
    fn a_direct_message_is_identified_by_where_it_lies() {
        let message = identified(None, Vec::new(), Bytes::new(), PLACE);
        assert_eq!(message.id, "direct:2@1700000000123:40");
        assert_eq!(
            header(&message, headers::SOURCE),
            &HeaderValue::Text("direct:2@1700000000123".into())
        );
        assert_eq!(header(&message, headers::ORDINAL), &HeaderValue::Long(40));
        assert_eq!(
            header(&message, headers::VERSION),
            &HeaderValue::Long(1_700_000_000_123_000)
        );
    }

    #[test]
    fn a_direct_message_with_an_id_is_the_same_wherever_it_lies() {
        let forged = vec![(headers::VERSION.to_owned(), HeaderValue::Long(i64::MAX))];
        let message = identified(Some("order-7".into()), forged, Bytes::new(), PLACE);
        assert_eq!(message.id, "order-7");
        assert_eq!(
            header(&message, headers::SOURCE),
            &HeaderValue::Text("direct:order-7".into())
        );
        assert_eq!(header(&message, headers::ORDINAL), &HeaderValue::Long(0));
        assert_eq!(
            header(&message, headers::VERSION),
            &HeaderValue::Long(1_700_000_000_123_000)
        );
        assert_eq!(message.headers.len(), 3);
    }

    #[test]
    fn what_amqp_could_not_carry_is_refused() {
        let message = Message {
            id: "x".repeat(256),
            body: Bytes::new(),
            headers: Vec::new(),
        };
        assert!(record_headers(&message).is_none());
    }
}
