//! A queue, a table, a ledger and a staging area in memory, which keep what real ones promise and
//! fail, wait or break where a test says so. All write into one journal, so that tests see the order.

mod ledger;
mod queue;
mod staging;
mod table;

use std::sync::{Arc, Mutex};

use simbdp_api::wire::rest::FileState;

pub use ledger::FakeLedger;
pub use queue::Queue;
pub use staging::{FakeStaging, Mishap};
pub use table::{FakeTable, Gate, has_key};

/// What happened, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    Wrote(usize),
    Confirmed(String),
    Ended(FileState),
    PutTotals,
    Acked(String),
    HandedBack(String),
    Discarded,
}

#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Event>>>);

impl Journal {
    pub fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
    pub fn position(&self, event: &Event) -> usize {
        let events = self.events();
        let found = events.iter().position(|one| one == event);
        found.unwrap_or_else(|| panic!("{event:?} is not in {events:?}"))
    }
}
