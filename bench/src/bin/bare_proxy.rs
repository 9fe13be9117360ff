//! The least that a paid reverse proxy can do: recover one secp256k1 signature, commit two small rows, forward the request. And the
//! least that a document costs: `--document PATH=FILE` is answered from memory.
//!
//! SQLite with WAL and synchronous=FULL; one writer thread that commits whatever has queued, so concurrent requests share an fsync.

use std::sync::Arc;

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, post},
    serve::ListenerExt,
};
use clap::Parser;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use secp256k1::{
    Message, SECP256K1,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use tokio::sync::{mpsc, oneshot};

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:9102")]
    listen: String,
    #[arg(long, default_value = "127.0.0.1:9101")]
    upstream: String,
    #[arg(long)]
    database: String,
    /// Whatever is asked of PATH is answered with what FILE holds.
    #[arg(long = "document", value_name = "PATH=FILE")]
    documents: Vec<String>,
}

struct Write {
    signer: [u8; 33],
    done: oneshot::Sender<()>,
}

struct Proxy {
    client: Client<HttpConnector, Body>,
    upstream: String,
    writes: mpsc::UnboundedSender<Write>,
}

fn writer(path: String, mut queue: mpsc::UnboundedReceiver<Write>) -> anyhow::Result<()> {
    let mut db = rusqlite::Connection::open(path)?;
    db.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE job(id INTEGER PRIMARY KEY, signer BLOB); CREATE TABLE charge(id INTEGER PRIMARY KEY, amount INTEGER);",
    )?;
    while let Some(first) = queue.blocking_recv() {
        let mut group = vec![first];
        while let Ok(next) = queue.try_recv() {
            group.push(next);
        }
        let transaction = db.transaction()?;
        {
            let mut job = transaction.prepare_cached("INSERT INTO job(signer) VALUES (?1)")?;
            let mut charge = transaction.prepare_cached("INSERT INTO charge(amount) VALUES (27000)")?;
            for write in &group {
                job.execute([&write.signer[..]])?;
                charge.execute([])?;
            }
        }
        transaction.commit()?;
        for write in group {
            let _ = write.done.send(());
        }
    }
    Ok(())
}

fn recover(headers: &HeaderMap) -> Option<[u8; 33]> {
    let hex = headers.get("x-signature")?.to_str().ok()?;
    let bytes: [u8; 65] = alloy_primitives::hex::decode(hex).ok()?.try_into().ok()?;
    let id = RecoveryId::try_from(i32::from(bytes[64])).ok()?;
    let signature = RecoverableSignature::from_compact(&bytes[..64], id).ok()?;
    let digest: [u8; 32] = alloy_primitives::keccak256(b"bench").0;
    Some(SECP256K1.recover_ecdsa(Message::from_digest(digest), &signature).ok()?.serialize())
}

async fn forward(State(proxy): State<Arc<Proxy>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(signer) = recover(&headers) else {
        return StatusCode::PAYMENT_REQUIRED.into_response();
    };
    let (done, committed) = oneshot::channel();
    if proxy.writes.send(Write { signer, done }).is_err() || committed.await.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let uri = format!("http://{}/v1/chat/completions", proxy.upstream);
    let Ok(request) = Request::post(uri).header("content-type", "application/json").body(Body::from(body)) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    match proxy.client.request(request).await {
        Ok(answer) => answer.map(Body::new).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (writes, queue) = mpsc::unbounded_channel();
    let database = args.database.clone();
    std::thread::spawn(move || writer(database, queue));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector);
    let proxy = Arc::new(Proxy { client, upstream: args.upstream, writes });
    let mut app = Router::new().route("/v1/chat/completions", post(forward)).with_state(proxy);
    for document in &args.documents {
        let (path, file) = document.split_once('=').context("--document PATH=FILE")?;
        let content = Bytes::from(std::fs::read(file)?);
        let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], content) };
        app = app.route(path, any(answer));
    }
    let listener = tokio::net::TcpListener::bind(&args.listen).await?.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}
