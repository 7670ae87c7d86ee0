//! Over real connections: uploads that are cut or stall, headers that never end, and the end of the process.

use std::net::SocketAddr;
use std::time::Duration;

use simbdp_gateway::server::{ServeOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{CSV, Running, WRITER, World};

const WAIT: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve_public(gateway: &Running, max_connections: usize) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ServeOptions {
        max_connections,
        header_timeout: Duration::from_millis(300),
        grace: Duration::from_secs(10),
    };
    let stop = CancellationToken::new();
    Served {
        address: listener.local_addr().unwrap(),
        task: tokio::spawn(serve(
            listener,
            gateway.public.clone(),
            options,
            stop.clone(),
        )),
        stop,
    }
}

fn head(length: usize) -> String {
    format!(
        "PUT /v1/pipelines/flights/files/a.csv HTTP/1.1\r\nhost: x\r\nauthorization: {WRITER}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let reading = stream.read_to_end(&mut text);
    tokio::time::timeout(WAIT, reading).await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, waiting).await.unwrap();
}

#[tokio::test]
async fn an_upload_cut_in_the_middle_leaves_nothing() {
    let world = World::new();
    let gateway = world.start();
    let served = serve_public(&gateway, 10).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(head(1000).as_bytes()).await.unwrap();
    client.write_all(CSV.as_bytes()).await.unwrap();
    eventually(|| world.staged("incoming").len() == 1).await;
    drop(client);
    eventually(|| world.staged("incoming").is_empty()).await;
    gateway.gateway.tasks.close();
    gateway.gateway.tasks.wait().await;
    assert!(world.staged("staged").is_empty() && world.ledger.claims().is_empty());
    assert!(world.publisher.queue("ingest.flights").is_empty());
}

#[tokio::test]
async fn an_upload_that_stalls_is_cut() {
    let mut world = World::new();
    world.limits.stall = Duration::from_millis(200);
    let gateway = world.start();
    let served = serve_public(&gateway, 10).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(head(1000).as_bytes()).await.unwrap();
    client.write_all(CSV.as_bytes()).await.unwrap();
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(world.staged("incoming").is_empty());
}

#[tokio::test]
async fn headers_that_never_end_are_cut() {
    let world = World::new();
    let served = serve_public(&world.start(), 10).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    let answer = read_all(&mut client).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[tokio::test]
async fn connections_are_bounded_and_others_wait() {
    let world = World::new();
    let served = serve_public(&world.start(), 1).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut first = TcpStream::connect(served.address).await.unwrap();
    first
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0; 1];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(served.address).await.unwrap();
    second.write_all(get.as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(
        early.is_err(),
        "the second connection is not served beside the first"
    );
    drop(first);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_end_waits_for_requests_in_flight_and_takes_no_new_ones() {
    let world = World::new();
    let gateway = world.start();
    let served = serve_public(&gateway, 10).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(head(CSV.len()).as_bytes()).await.unwrap();
    client.write_all(&CSV.as_bytes()[..5]).await.unwrap();
    eventually(|| world.staged("incoming").len() == 1).await;
    served.stop.cancel();
    eventually(|| std::net::TcpStream::connect(served.address).is_err()).await;
    assert!(!served.task.is_finished());
    client.write_all(&CSV.as_bytes()[5..]).await.unwrap();
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    tokio::time::timeout(WAIT, served.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_refused_upload_is_answered_before_its_end() {
    let world = World::new();
    let served = serve_public(&world.start(), 10).await;
    let mut client = TcpStream::connect(served.address).await.unwrap();
    client.write_all(head(2_000_000).as_bytes()).await.unwrap();
    let mut start = [0; 12];
    tokio::time::timeout(WAIT, client.read_exact(&mut start))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_sees_the_refusal() {
    let world = World::new();
    let served = serve_public(&world.start(), 10).await;
    let url = format!("http://{}/v1/pipelines/nope/files/a.csv", served.address);
    let client = reqwest::Client::new();
    for _ in 0..20 {
        let sending = client
            .put(&url)
            .header("authorization", WRITER)
            .body(vec![b'x'; 16 << 20]);
        assert_eq!(sending.send().await.unwrap().status(), 404);
    }
}
