//! Serves a router: bounded connections, bounded time for headers, and an end that lets requests finish.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How a port is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Connections at a time; others wait in the kernel's backlog.
    pub max_connections: usize,
    /// Longest time from the start of a request, or of an idle connection, to the end of its headers.
    pub header_timeout: Duration,
    /// Longest time for requests in flight once the end is asked for.
    pub grace: Duration,
}

/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_STREAMS: u32 = 64;
/// How often an idle HTTP/2 connection is asked whether somebody is there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pause after a connection could not be accepted, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then lets requests in flight finish within the grace.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(options.max_connections));
    let builder = builder(options.header_timeout);
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &room)).await {
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke");
            }
        });
    }
    drop(listener);
    let left = graceful.count();
    if tokio::time::timeout(options.grace, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            connections = left,
            "requests did not finish within the grace"
        );
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}
