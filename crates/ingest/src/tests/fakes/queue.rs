//! A queue whose consumer loses, and whose publisher refuses, when told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use simbdp_broker::queue::{ConsumeError, Consumer, PublishError, Tag};
use simbdp_broker::{Delivery, Message, Publisher};
use tokio::sync::Notify;

use super::{Event, Journal};

/// One queue with its dead-letter queue. Returned messages come again first, as in a quorum queue.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<QueueState>>,
    changed: Arc<Notify>,
    pub journal: Journal,
}

#[derive(Default)]
struct QueueState {
    ready: VecDeque<(Message, u32)>,
    unacked: BTreeMap<(u64, u64), (Message, u32)>,
    epoch: u64,
    delivered: u64,
    lost: bool,
    prefetches: Vec<u16>,
    dead: Vec<Message>,
    refuse_dead: VecDeque<PublishError>,
}

impl Queue {
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            ..Self::default()
        }
    }
    pub fn put(&self, message: Message, returns: u32) {
        self.state
            .lock()
            .unwrap()
            .ready
            .push_back((message, returns));
        self.changed.notify_waiters();
    }
    pub fn depth(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.ready.len() + state.unacked.len()
    }
    pub fn unacked(&self) -> usize {
        self.state.lock().unwrap().unacked.len()
    }
    pub fn most_returns(&self) -> u32 {
        let state = self.state.lock().unwrap();
        state
            .ready
            .iter()
            .map(|(_, returns)| *returns)
            .max()
            .unwrap_or(0)
    }
    pub fn dead(&self) -> Vec<Message> {
        self.state.lock().unwrap().dead.clone()
    }
    pub fn prefetches(&self) -> Vec<u16> {
        self.state.lock().unwrap().prefetches.clone()
    }
    pub fn refuse_dead_letters(&self, errors: impl IntoIterator<Item = PublishError>) {
        self.state.lock().unwrap().refuse_dead.extend(errors);
    }
    pub fn confirm_dead_letters(&self) {
        self.state.lock().unwrap().refuse_dead.clear();
    }
    pub fn consumer(&self, prefetch: u16) -> Box<dyn Consumer> {
        self.state.lock().unwrap().epoch += 1;
        Box::new(FakeConsumer {
            queue: self.clone(),
            prefetch: usize::from(prefetch),
            stopped: false,
        })
    }
    /// The connection breaks: what is unacknowledged comes again, its tags are void.
    pub fn lose_connection(&self) {
        let mut state = self.state.lock().unwrap();
        state.requeue_all();
        state.epoch += 1;
        state.lost = true;
        drop(state);
        self.changed.notify_waiters();
    }
    /// Waits until nothing is left, acknowledged all.
    pub async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.depth() == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl QueueState {
    fn requeue(&mut self, key: (u64, u64)) -> Option<String> {
        let (message, returns) = self.unacked.remove(&key)?;
        let id = message.id.clone();
        self.ready.push_front((message, returns + 1));
        Some(id)
    }
    fn requeue_all(&mut self) {
        let keys: Vec<_> = self.unacked.keys().rev().copied().collect();
        for key in keys {
            self.requeue(key);
        }
    }
}

struct FakeConsumer {
    queue: Queue,
    prefetch: usize,
    stopped: bool,
}

impl Drop for FakeConsumer {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock().unwrap();
        state.requeue_all();
        state.epoch += 1;
    }
}

impl FakeConsumer {
    fn try_next(&self) -> Option<Result<Delivery, ConsumeError>> {
        let mut state = self.queue.state.lock().unwrap();
        if std::mem::take(&mut state.lost) || self.stopped {
            return Some(Err(ConsumeError::Unavailable("connection lost".into())));
        }
        if state.unacked.len() >= self.prefetch {
            return None;
        }
        let (message, returns) = state.ready.pop_front()?;
        state.delivered += 1;
        let tag = Tag {
            epoch: state.epoch,
            delivery: state.delivered,
        };
        state
            .unacked
            .insert((tag.epoch, tag.delivery), (message.clone(), returns));
        Some(Ok(Delivery {
            message,
            tag,
            returns,
        }))
    }
}

impl Consumer for FakeConsumer {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, ConsumeError>> {
        Box::pin(async move {
            let changed = self.queue.changed.clone();
            loop {
                let notified = changed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if let Some(next) = self.try_next() {
                    return next;
                }
                notified.await;
            }
        })
    }
    fn ack<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move {
            let mut state = self.queue.state.lock().unwrap();
            for tag in tags {
                if let Some((message, _)) = state.unacked.remove(&(tag.epoch, tag.delivery)) {
                    self.queue.journal.note(Event::Acked(message.id));
                }
            }
            drop(state);
            self.queue.changed.notify_waiters();
            Ok(())
        })
    }
    fn hand_back<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Result<(), ConsumeError>> {
        Box::pin(async move {
            let mut tags = tags.to_vec();
            tags.sort_by_key(|tag| std::cmp::Reverse(tag.delivery));
            let mut state = self.queue.state.lock().unwrap();
            for tag in tags {
                if let Some(id) = state.requeue((tag.epoch, tag.delivery)) {
                    self.queue.journal.note(Event::HandedBack(id));
                }
            }
            drop(state);
            self.queue.changed.notify_waiters();
            Ok(())
        })
    }
    fn set_prefetch(&mut self, prefetch: u16) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            let mut state = self.queue.state.lock().unwrap();
            assert!(
                state.unacked.is_empty(),
                "held deliveries are handed back first"
            );
            state.prefetches.push(prefetch);
            self.prefetch = usize::from(prefetch);
            Ok(())
        })
    }
    fn stop(&mut self) -> BoxFuture<'_, Result<(), ConsumeError>> {
        Box::pin(async move {
            self.stopped = true;
            Ok(())
        })
    }
}

impl Publisher for Queue {
    fn publish<'a>(
        &'a self,
        queue: &'a str,
        messages: Vec<Message>,
    ) -> BoxFuture<'a, Vec<Result<(), PublishError>>> {
        Box::pin(async move {
            assert_eq!(queue, "ingest.p.dead");
            let mut state = self.state.lock().unwrap();
            messages
                .into_iter()
                .map(|message| match state.refuse_dead.pop_front() {
                    Some(error) => Err(error),
                    None => {
                        self.journal.note(Event::Confirmed(message.id.clone()));
                        state.dead.push(message);
                        Ok(())
                    }
                })
                .collect()
        })
    }
    fn depth<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<u64, PublishError>> {
        Box::pin(async move { Ok(self.state.lock().unwrap().ready.len() as u64) })
    }
    fn ready(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move { true })
    }
}
