//! [pure] How many messages go together.

use crate::queue::Message;

/// Most messages that are published before their confirms are awaited.
const CHUNK_MESSAGES: usize = 256;
/// Most bytes of them, unless one message is larger.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes of the bodies.
pub(crate) fn bytes(messages: &[Message]) -> usize {
    messages.iter().map(|message| message.body.len()).sum()
}

/// How many messages from the start go together.
pub(crate) fn chunk(messages: &[Message]) -> usize {
    let mut total = 0;
    messages
        .iter()
        .take(CHUNK_MESSAGES)
        .take_while(|message| {
            total += message.body.len();
            total <= CHUNK_BYTES
        })
        .count()
        .max(1)
        .min(messages.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: usize) -> Message {
        Message {
            id: "a:0".into(),
            body: vec![0; size].into(),
            headers: Vec::new(),
        }
    }

    #[test]
    fn chunks_are_bounded_by_count_and_bytes() {
        assert_eq!(chunk(&vec![message(1); 1000]), CHUNK_MESSAGES);
        assert_eq!(chunk(&vec![message(CHUNK_BYTES / 4); 8]), 4);
        assert_eq!(chunk(&vec![message(CHUNK_BYTES * 2); 2]), 1);
        assert_eq!(chunk(&[message(5)]), 1);
        assert_eq!(chunk(&[]), 0);
    }
}
