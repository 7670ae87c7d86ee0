//! Keeps one AMQP connection: makes it, notices its loss, makes it again. The one place that spawns
//! for the publisher.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::Event;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::amqp::{LinkOptions, open};
use crate::ConnectionSource;

/// The safety net below the events of the connection.
const STATUS_CHECK: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum State {
    Down(String),
    Up(Arc<lapin::Connection>),
}

/// A connection that comes back. Ends when it is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    _keeper: AbortOnDropHandle<()>,
}

impl Link {
    pub(super) fn new(source: ConnectionSource, options: LinkOptions) -> Self {
        let (sender, state) = watch::channel(State::Down("not connected yet".into()));
        Self {
            state,
            _keeper: AbortOnDropHandle::new(tokio::spawn(keep(source, options, sender))),
        }
    }

    /// The connection that is there now, or why there is none.
    pub(super) fn now(&self) -> Result<Arc<lapin::Connection>, String> {
        match &*self.state.borrow() {
            State::Up(connection) if connection.status().connected() => Ok(connection.clone()),
            State::Up(_) => Err("the connection was lost".into()),
            State::Down(reason) => Err(reason.clone()),
        }
    }

    /// The connection, once it is there; or why there is none after the wait.
    pub(super) async fn within(&self, wait: Duration) -> Result<Arc<lapin::Connection>, String> {
        if let Ok(connection) = self.now() {
            return Ok(connection);
        }
        let mut state = self.state.clone();
        let up = state.wait_for(|state| match state {
            State::Up(connection) => connection.status().connected(),
            State::Down(_) => false,
        });
        // Whether it came or the time ran out is told by the state itself.
        let _ = timeout(wait, up).await;
        self.now()
    }
}

async fn keep(source: ConnectionSource, options: LinkOptions, state: watch::Sender<State>) {
    let mut delays = options.delays();
    loop {
        let reason = match open(&source, &options).await {
            Ok(connection) => {
                tracing::info!(connection = options.name, "connected to the broker");
                delays = options.delays();
                let connection = Arc::new(connection);
                state.send_replace(State::Up(connection.clone()));
                lost(&connection).await
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            connection = options.name,
            error = reason,
            "no connection to the broker"
        );
        state.send_replace(State::Down(reason));
        sleep(delays.next().unwrap_or(options.max_delay)).await;
    }
}

/// Waits until the connection is lost, and says why.
async fn lost(connection: &lapin::Connection) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    let mut check = interval(STATUS_CHECK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Error(error)) if !connection.status().connected() => return error.to_string(),
                Some(_) => {}
                None => return "the connection was closed".into(),
            },
            _ = check.tick() => if !connection.status().connected() {
                return "the connection was closed".into();
            }
        }
    }
}
