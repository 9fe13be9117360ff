#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{io::ErrorKind, net::SocketAddr, time::Instant};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;

struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    "done"
}

async fn broken() -> &'static str {
    panic!("SECRET in a panic message")
}

/// A server with everything that surrounds the routes, and routes that misbehave.
async fn start(change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = ServerConfig { header_timeout_seconds: 1, body_timeout_seconds: 1, ..ServerConfig::default() };
    change(&mut config);
    let routes: Router<()> = Router::new()
        .route("/slow", get(slow))
        .route("/broken", get(broken))
        .route("/echo", post(|body: String| async { body }))
        .route("/run", post(|body: String| async { body }));
    let app = surround(routes, &config, 1024 * 1024, Limits::new(&config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { serve(listener, app, &config, stop).await }
    });
    Server { addr, stop, task }
}

impl Server {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = reqwest::get(format!("http://{}{path}", self.addr)).await.unwrap();
        let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Sends these bytes and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> (String, Duration) {
        let started = Instant::now();
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        match tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .expect("closed in time")
        {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let server = start(|_| {}).await;
    let (status, body) = server.get("/broken").await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::INTERNAL_SERVER_ERROR, Some("internal")));
    assert!(!body.to_string().contains("SECRET"), "{body}");
    assert_eq!(server.get("/slow").await.0, StatusCode::OK, "the server lives on");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let server = start(|config| config.request_timeout_seconds = 0).await;
    let (status, body) = server.get("/slow").await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::GATEWAY_TIMEOUT, Some("timeout")));
}

/// A client that dribbles holds its connection for a bounded time only.
#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut_off() {
    let server = start(|_| {}).await;
    let (_, took) = server.raw(b"GET /slow HTTP/1.1\r\nHost: x\r\nX-Dribble: ").await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (answer, took) = server.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

/// T-29: one address that dribbles large bodies keeps nobody else from sending theirs.
#[tokio::test]
async fn large_bodies_of_one_address_leave_room_for_others() {
    let server = start(|config| {
        config.body_limit_bytes = 1024;
        config.body_timeout_seconds = 30;
        config.trust_forwarded_for = true;
    })
    .await;
    let request = |address: &str, announced: usize, sent: usize| {
        format!(
            "POST /run HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {address}\r\nContent-Length: {announced}\r\n\r\n{}",
            "a".repeat(sent)
        )
    };
    let dribbles = request("10.0.0.1", 100_000, 2048);
    let slow = ::futures::future::join_all((0..4).map(|_| server.raw(dribbles.as_bytes())));
    let others = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (fifth, _) = server.raw(request("10.0.0.1", 2048, 2048).as_bytes()).await;
        assert!(fifth.starts_with("HTTP/1.1 503") && fifth.contains("busy"), "{fifth}");
        let (other, _) = server.raw(request("10.0.0.2", 2048, 2048).as_bytes()).await;
        assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    };
    let (slow, ()) = tokio::join!(slow, others);
    for (answer, took) in slow {
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("256 KiB a second"), "{answer}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    let (again, _) = server.raw(request("10.0.0.1", 2048, 2048).as_bytes()).await;
    assert!(again.starts_with("HTTP/1.1 200"), "a turn is given back: {again}");
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let server = start(|_| {}).await;
    let addr = server.addr;
    let in_flight =
        tokio::spawn(async move { reqwest::get(format!("http://{addr}/slow")).await.unwrap().text().await.unwrap() });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(addr).await.is_err(), "the port is closed");
    assert_eq!(in_flight.await.unwrap(), "done");
    tokio::time::timeout(Duration::from_secs(5), server.task).await.expect("stopped").unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(|config| config.shutdown_seconds = 0).await;
    let addr = server.addr;
    let in_flight = tokio::spawn(async move { reqwest::get(format!("http://{addr}/slow")).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.stop.cancel();
    tokio::time::timeout(Duration::from_millis(800), server.task).await.expect("stopped").unwrap();
    in_flight.abort();
}

#[tokio::test]
async fn connections_are_counted() {
    let server = start(|config| config.connection_limit = 1).await;
    let first = TcpStream::connect(server.addr).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The second waits until the first ends; the first says nothing, so the header timeout ends it.
    let (answer, took) = server.raw(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(took > Duration::from_millis(500), "{took:?}");
    drop(first);
}
