//! SIGINT and SIGTERM: the ways in which a run is told to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the program is told to end. It listens from the first poll on.
pub async fn interrupted() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    Ok(())
}
