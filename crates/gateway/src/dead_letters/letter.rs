//! A dead letter [pure]: what is told of it, whether it is asked for, and the message that it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use simbdp_api::wire::dead_letters::{Body, DeadLetter};
use simbdp_api::wire::work::{FileWork, headers};
use simbdp_broker::Message;
use simbdp_broker::dead_letters::DeadLetter as Letter;
use simbdp_broker::queue::HeaderValue;

/// What the ingest app wrote on a letter, and what no message has that is to be ingested.
const OF_THE_LETTER: [&str; 3] = [headers::REASON, headers::ATTEMPTS, headers::CONDEMNED_AT];

fn text<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.iter().find_map(|(key, value)| match value {
        HeaderValue::Text(text) if key == name => Some(text.as_str()),
        _ => None,
    })
}

fn long(message: &Message, name: &str) -> Option<i64> {
    message.headers.iter().find_map(|(key, value)| match value {
        HeaderValue::Long(number) if key == name => Some(*number),
        _ => None,
    })
}

fn time(message: &Message, name: &str) -> Option<DateTime<Utc>> {
    long(message, name).and_then(DateTime::from_timestamp_millis)
}

/// The file that a letter of a batch pipeline is about, where it says so.
pub fn file(letter: &Letter) -> Option<FileWork> {
    serde_json::from_slice(&letter.message.body).ok()
}

/// Attempts before it was given up.
pub fn attempts(letter: &Letter) -> Option<u32> {
    let attempts = long(&letter.message, headers::ATTEMPTS)?;
    Some(u32::try_from(attempts.max(0)).unwrap_or(u32::MAX))
}

/// Whether it was given up before a time. One of which that is not known was.
pub fn is_before(letter: &Letter, before: DateTime<Utc>) -> bool {
    time(&letter.message, headers::CONDEMNED_AT).is_none_or(|at| at < before)
}

/// What is told of a letter.
pub fn described(letter: &Letter, of_files: bool, with_body: bool) -> DeadLetter {
    let message = &letter.message;
    let counted = |name| long(message, name).and_then(|number| u64::try_from(number).ok());
    let last_at = time(message, headers::CONDEMNED_AT);
    DeadLetter {
        id: message.id.clone(),
        reason: reason(letter),
        attempts: attempts(letter),
        first_at: time(message, headers::FIRST_CONDEMNED_AT).or(last_at),
        last_at,
        redriven: redriven(message),
        source: text(message, headers::SOURCE).map(ToOwned::to_owned),
        ordinal: counted(headers::ORDINAL),
        version: long(message, headers::VERSION),
        file: of_files.then(|| file(letter)).flatten().map(|work| work.id),
        bytes: message.body.len() as u64,
        body: with_body.then(|| body(&message.body)),
    }
}

fn reason(letter: &Letter) -> String {
    let own = text(&letter.message, headers::REASON).map(ToOwned::to_owned);
    let brokers = || {
        let reason = letter.broker_reason.as_deref()?;
        Some(format!("the broker itself gave it up: {reason}"))
    };
    own.or_else(brokers)
        .unwrap_or_else(|| "it says no reason: no ingest app put it here".to_owned())
}

fn redriven(message: &Message) -> u32 {
    let times = long(message, headers::REDRIVEN).unwrap_or_default();
    u32::try_from(times.max(0)).unwrap_or(u32::MAX)
}

fn body(bytes: &[u8]) -> Body {
    match std::str::from_utf8(bytes) {
        Ok(text) => Body::Text(text.to_owned()),
        Err(_) => Body::Base64(STANDARD.encode(bytes)),
    }
}

/// The message as it was before it was given up: the same identity and version. It keeps when that was for the
/// first time, and how often it was redriven.
pub fn revived(letter: &Letter) -> Message {
    let mut message = letter.message.clone();
    let first = long(&message, headers::FIRST_CONDEMNED_AT)
        .or_else(|| long(&message, headers::CONDEMNED_AT));
    let times = i64::from(redriven(&message).saturating_add(1));
    let gone = |name: &str| {
        OF_THE_LETTER.contains(&name)
            || name == headers::FIRST_CONDEMNED_AT
            || name == headers::REDRIVEN
    };
    message.headers.retain(|(name, _)| !gone(name));
    let kept = [
        (headers::FIRST_CONDEMNED_AT, first),
        (headers::REDRIVEN, Some(times)),
    ];
    for (name, value) in kept {
        let value = value.map(|value| (name.to_owned(), HeaderValue::Long(value)));
        message.headers.extend(value);
    }
    message
}

#[cfg(test)]
mod tests {
    use simbdp_broker::dead_letters::LetterTag;

    use super::*;

    fn letter(headers: &[(&str, HeaderValue)]) -> Letter {
        Letter {
            message: Message {
                id: "p/ann/k:3".into(),
                body: "{}".into(),
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
            },
            broker_reason: None,
            tag: LetterTag(1),
        }
    }

    fn condemned() -> Letter {
        letter(&[
            (headers::SOURCE, HeaderValue::Text("p/ann/k".into())),
            (headers::ORDINAL, HeaderValue::Long(3)),
            (headers::VERSION, HeaderValue::Long(1_700_000_000_000_003)),
            (headers::REASON, HeaderValue::Text("no such day".into())),
            (headers::ATTEMPTS, HeaderValue::Long(5)),
            (headers::CONDEMNED_AT, HeaderValue::Long(2_000)),
        ])
    }

    #[test]
    fn what_is_told_is_what_the_ingest_app_wrote() {
        let told = described(&condemned(), false, true);
        assert_eq!(
            (told.reason.as_str(), told.attempts),
            ("no such day", Some(5))
        );
        let at = DateTime::from_timestamp_millis(2_000);
        assert_eq!((told.first_at, told.last_at), (at, at));
        assert_eq!((told.ordinal, told.redriven), (Some(3), 0));
        assert_eq!(told.body, Some(Body::Text("{}".into())));
    }

    #[test]
    fn a_letter_of_nobody_says_so_and_one_of_the_broker_why() {
        let mut stranger = letter(&[]);
        assert!(
            described(&stranger, true, false)
                .reason
                .contains("no reason")
        );
        stranger.broker_reason = Some("delivery_limit".into());
        let told = described(&stranger, true, false);
        assert!(told.reason.contains("delivery_limit"), "{}", told.reason);
        assert_eq!((told.attempts, told.file, told.body), (None, None, None));
        assert!(is_before(&stranger, DateTime::UNIX_EPOCH));
    }

    #[test]
    fn bytes_that_are_no_text_are_told_in_base64() {
        assert_eq!(body(&[0xff, 0]), Body::Base64("/wA=".into()));
    }

    #[test]
    fn a_revived_message_is_the_one_that_was_published() {
        let message = revived(&condemned());
        let names: Vec<_> = message
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                headers::SOURCE,
                headers::ORDINAL,
                headers::VERSION,
                headers::FIRST_CONDEMNED_AT,
                headers::REDRIVEN
            ]
        );
        assert_eq!(message.id, condemned().message.id);
        // Given up once more, much later, and redriven again.
        let mut again = Letter {
            message,
            ..condemned()
        };
        let later = (headers::CONDEMNED_AT.to_owned(), HeaderValue::Long(9_000));
        again.message.headers.push(later);
        let told = described(&again, false, false);
        assert_eq!(told.first_at, DateTime::from_timestamp_millis(2_000));
        assert_eq!(told.last_at, DateTime::from_timestamp_millis(9_000));
        assert_eq!((told.redriven, redriven(&revived(&again))), (1, 2));
        let nine = DateTime::from_timestamp_millis(9_000).unwrap();
        assert!(!is_before(&again, nine));
    }
}
