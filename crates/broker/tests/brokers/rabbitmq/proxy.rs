//! Forwards to the management API and counts the requests that write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use simbdp_broker::admin::ManagementConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    pub management: ManagementConnection,
    writes: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(behind: &ManagementConnection) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = behind.url.trim_start_matches("http://").to_owned();
        let writes = Arc::new(AtomicU64::new(0));
        tokio::spawn(accept(listener, server, writes.clone()));
        let management = ManagementConnection {
            url: format!("http://{address}"),
            ..behind.clone()
        };
        Self { management, writes }
    }

    /// Requests that were not GET, so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, server: String, writes: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&server).await.unwrap();
        tokio::spawn(forward(client, server, writes.clone()));
    }
}

/// The client sends a request only after the answer to the one before, so a request starts a read.
async fn forward(client: TcpStream, server: TcpStream, writes: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length) = from_client.read(&mut buffer).await {
        let bytes = &buffer[..length];
        let methods: [&[u8]; 3] = [b"PUT ", b"POST ", b"DELETE "];
        if methods.iter().any(|method| bytes.starts_with(method)) {
            writes.fetch_add(1, Ordering::SeqCst);
        }
        if length == 0 || to_server.write_all(bytes).await.is_err() {
            return;
        }
    }
}
