//! Dead-letter queues in memory: readers hide what they have read, and give back what they did not remove,
//! however they end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use simbdp_broker::Message;
use simbdp_broker::dead_letters::{
    DeadLetter, DeadLetterError, DeadLetterReader, DeadLetters, LetterTag,
};

use super::fakes::FakePublisher;

/// The dead-letter queues among a publisher's queues.
pub struct FakeDeadLetters {
    publisher: Arc<FakePublisher>,
    pub down: AtomicBool,
    /// Readers that are open.
    pub open: Arc<AtomicUsize>,
    /// How many letters a reader reads before its connection is lost.
    pub cut_after: Mutex<Option<usize>>,
}

impl FakeDeadLetters {
    pub fn over(publisher: Arc<FakePublisher>) -> Arc<Self> {
        Arc::new(Self {
            publisher,
            down: AtomicBool::new(false),
            open: Arc::default(),
            cut_after: Mutex::default(),
        })
    }

    /// Puts a message into a queue.
    pub fn put(&self, queue: &str, message: Message) {
        let mut queues = self.publisher.queues.lock().unwrap();
        queues.entry(queue.to_owned()).or_default().push(message);
    }
}

struct Reader {
    publisher: Arc<FakePublisher>,
    open: Arc<AtomicUsize>,
    queue: String,
    waiting: u64,
    held: BTreeMap<u64, Message>,
    next: u64,
    cut_after: Option<usize>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        let mut queues = self.publisher.queues.lock().unwrap();
        let queue = queues.entry(self.queue.clone()).or_default();
        queue.splice(0..0, std::mem::take(&mut self.held).into_values());
    }
}

impl DeadLetters for FakeDeadLetters {
    fn open<'a>(
        &'a self,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn DeadLetterReader>, DeadLetterError>> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) {
                return Err(DeadLetterError::Unavailable("connection refused".into()));
            }
            self.open.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Reader {
                publisher: Arc::clone(&self.publisher),
                open: Arc::clone(&self.open),
                queue: queue.to_owned(),
                waiting: self.publisher.queue(queue).len() as u64,
                held: BTreeMap::new(),
                next: 0,
                cut_after: *self.cut_after.lock().unwrap(),
            }) as Box<dyn DeadLetterReader>)
        })
    }
}

impl DeadLetterReader for Reader {
    fn waiting(&self) -> u64 {
        self.waiting
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<DeadLetter>, DeadLetterError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self
                .cut_after
                .is_some_and(|most| self.next as usize >= most)
            {
                return Err(DeadLetterError::Unavailable("connection reset".into()));
            }
            let mut queues = self.publisher.queues.lock().unwrap();
            let queue = queues.entry(self.queue.clone()).or_default();
            if queue.is_empty() {
                return Ok(None);
            }
            let message = queue.remove(0);
            self.next += 1;
            self.held.insert(self.next, message.clone());
            Ok(Some(DeadLetter {
                message,
                broker_reason: None,
                tag: LetterTag(self.next),
            }))
        })
    }

    fn remove<'a>(
        &'a mut self,
        letters: &'a [LetterTag],
    ) -> BoxFuture<'a, Result<(), DeadLetterError>> {
        Box::pin(async move {
            for LetterTag(tag) in letters {
                self.held.remove(tag);
            }
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), DeadLetterError>> {
        Box::pin(async move { Ok(()) })
    }
}
