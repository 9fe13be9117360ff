//! Deposits and refunds over HTTP, before a relayer that asks for other payments than it should (T-41): nothing is signed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{Address, DepositTerms, EvmAddress, Signer, Usdc, deposit_address, keccak256};
use serde_json::{Value, json};

const KEY: [u8; 32] = [1; 32];
/// USDC on Base.
const TOKEN: &str = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const CONTRACT: EvmAddress = EvmAddress::repeat_byte(0xcf);
const VAULT: EvmAddress = EvmAddress::repeat_byte(0xaa);
const THIEF: EvmAddress = EvmAddress::repeat_byte(0x66);

/// Where a deposit belongs that opens an account of operator 1 with everything to spend.
fn belongs(fee: u64) -> Address {
    let owner = Signer::from_bytes(&KEY).unwrap().address();
    let terms = DepositTerms { operator_index: 1, owner, ceiling: Usdc::MAX, fee: Usdc::from_micros(fee) };
    deposit_address(CONTRACT, VAULT, &terms).into()
}

/// A relayer that asks for what it is told to, and the node beside it.
#[derive(Clone)]
struct World {
    entry: Value,
    paid: Arc<Mutex<Vec<Value>>>,
    url: String,
}

async fn rpc(Json(call): Json<Value>) -> Json<Value> {
    let word = |address: EvmAddress| json!(format!("0x{}{}", "00".repeat(12), hex::encode(address)));
    let input = call.pointer("/params/0/input").and_then(Value::as_str).unwrap_or_default();
    let asks = |name: &str| input.starts_with(&format!("0x{}", hex::encode(&keccak256(name)[..4])));
    let zero = format!("0x{}", "00".repeat(32));
    let result = match call["method"].as_str().unwrap() {
        "eth_chainId" => json!("0x2105"),
        "eth_blockNumber" => json!("0x0"),
        "eth_getCode" => json!("0x60"),
        "eth_getBlockByNumber" => json!({ "number": "0x0", "hash": zero, "parentHash": zero, "timestamp": "0x0" }),
        "eth_call" if asks("token()") => word(TOKEN.parse().unwrap()),
        "eth_call" if asks("vaultImplementation()") => word(VAULT),
        other => panic!("{other} {input}"),
    };
    Json(json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }))
}

async fn paid_endpoint(State(world): State<World>, headers: HeaderMap) -> Response {
    let Some(payment) = headers.get("payment-signature") else {
        let offer = json!({ "x402Version": 2, "accepts": [world.entry] });
        let header = [("payment-required", STANDARD.encode(offer.to_string()))];
        return (StatusCode::PAYMENT_REQUIRED, header, Json(json!({}))).into_response();
    };
    let payment: Value = serde_json::from_slice(&STANDARD.decode(payment.as_bytes()).unwrap()).unwrap();
    world.paid.lock().unwrap().push(payment["payload"]["authorization"].clone());
    let future = json!({ "id": "CFE-00000087", "accountId": "4294967297", "balanceRemaining": "50 USDC" });
    Json(json!({ "computeFuture": future, "refund": { "refundAmount": "1 USDC" } })).into_response()
}

impl World {
    /// Asks for `micros` to `pay_to`.
    async fn asking(micros: u64, pay_to: impl Into<Address>) -> Self {
        Self::offering(json!({
            "scheme": "exact", "network": "eip155:8453", "amount": micros.to_string(), "asset": TOKEN,
            "payTo": pay_to.into(), "maxTimeoutSeconds": 300, "extra": { "name": "USD Coin", "version": "2" },
        }))
        .await
    }

    async fn offering(entry: Value) -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Self { entry, paid: Arc::default(), url };
        let router = Router::new()
            .route("/rpc", post(rpc))
            .route("/api/v1/compute-futures/deposit", post(paid_endpoint))
            .route("/api/v1/compute-futures/refund", post(paid_endpoint))
            .with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        world
    }

    /// The same with one field of what is asked for changed.
    async fn with(self, field: &str, value: Value) -> Self {
        let mut entry = self.entry;
        entry[field] = value;
        Self::offering(entry).await
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compute-futures"));
        command
            .args(["--json", "--network", "base", "--operator", "1", "--contract", &CONTRACT.to_string()])
            .args(["--rpc", &format!("{}/rpc", self.url), "--relayer", &self.url])
            .args(args)
            .env("COMPUTE_FUTURES_KEY", hex::encode(KEY));
        command
    }

    /// What a command answers, or how it fails.
    async fn run(&self, args: &[&str]) -> Result<Value, Value> {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (said, ok) = if output.status.success() { (output.stdout, true) } else { (output.stderr, false) };
        let said = serde_json::from_slice(&said).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said)));
        if ok { Ok(said) } else { Err(said) }
    }

    /// What the tool `deposit` answers to each of these calls in one session of the MCP server.
    async fn deposits(&self, limit: &str, amounts: &[&str]) -> Vec<Value> {
        let mut command = self.command(&["mcp", "--deposit-limit", limit]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let amounts: Vec<String> = amounts.iter().map(|&amount| amount.to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let mut server = command.spawn().unwrap();
            let mut input = server.stdin.take().unwrap();
            let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
            let mut ask = |call: Value| {
                writeln!(input, "{call}").unwrap();
                let line = lines.next().unwrap().unwrap();
                serde_json::from_str::<Value>(&line).unwrap()["result"]["structuredContent"].clone()
            };
            let client = json!({ "name": "test", "version": "1" });
            let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
            ask(json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello }));
            let answers = amounts.iter().enumerate().map(|(id, amount)| {
                let call = json!({ "name": "deposit", "arguments": { "amount": amount, "pay": true } });
                ask(json!({ "jsonrpc": "2.0", "id": id + 1, "method": "tools/call", "params": call }))
            });
            let answers = answers.collect();
            drop(input);
            server.wait().unwrap();
            answers
        })
        .await
        .unwrap()
    }

    /// Payments that arrived: to whom, and how much.
    fn payments(&self) -> Vec<(Address, String)> {
        let paid = self.paid.lock().unwrap();
        paid.iter().map(|signed| (signed["to"].as_str().unwrap().parse().unwrap(), text(&signed["value"]))).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_paid_to_its_own_address_and_to_nobody_else() {
    let deposit = ["deposit", "50", "--x402"];
    let honest = World::asking(50_010_000, belongs(10_000)).await;
    assert_eq!(honest.run(&deposit).await.unwrap()["computeFuture"]["accountId"], "4294967297");
    assert_eq!(honest.payments(), [(belongs(10_000), "50010000".to_owned())]);

    let honest = || World::asking(50_010_000, belongs(10_000));
    for (what, code, liar) in [
        ("to the relayer itself", "untrusted_offer", honest().await.with("payTo", json!(THIEF)).await),
        ("to the address with another fee", "untrusted_offer", honest().await.with("amount", json!("50020000")).await),
        ("less than the deposit", "untrusted_offer", honest().await.with("amount", json!("49000000")).await),
        ("on another chain", "untrusted_offer", honest().await.with("network", json!("eip155:1")).await),
        ("of a token of 18 digits", "untrusted_offer", honest().await.with("asset", json!(THIEF)).await),
        ("with a fee beyond reason", "too_expensive", World::asking(50_100_001, belongs(100_001)).await),
    ] {
        let refused = liar.run(&deposit).await.expect_err(what);
        assert_eq!(refused["code"], code, "{what}: {refused}");
        assert_eq!(liar.payments(), [], "{what}");
    }
    // The ceiling is a part of the address too.
    let other = World::asking(50_010_000, belongs(10_000)).await;
    let refused = other.run(&["deposit", "50", "--x402", "--ceiling", "20"]).await.unwrap_err();
    assert_eq!((&refused["code"], other.payments().len()), (&json!("untrusted_offer"), 0), "{refused}");
    let nothing = World::asking(10_000, belongs(10_000)).await;
    assert_eq!(nothing.run(&["deposit", "0", "--x402"]).await.unwrap_err()["code"], "usage");
    assert_eq!(nothing.payments(), [], "a fee for a deposit of nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_paid_in_usdc_on_this_network_and_only_when_it_is_small() {
    for args in [&["refund", "4294967297"][..], &["deposit", "50", "--gasless"]] {
        let honest = World::asking(10_000, THIEF).await;
        honest.run(args).await.unwrap();
        assert_eq!(honest.payments(), [(THIEF.into(), "10000".to_owned())]);
        for (code, liar) in [
            ("too_expensive", World::asking(100_001, THIEF).await),
            ("untrusted_offer", World::asking(10_000, THIEF).await.with("network", json!("eip155:1")).await),
            ("untrusted_offer", World::asking(10_000, THIEF).await.with("asset", json!(THIEF)).await),
        ] {
            let refused = liar.run(args).await.unwrap_err();
            assert_eq!((&refused["code"], liar.payments().len()), (&json!(code), 0), "{args:?}: {refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mcp_server_counts_deposits_with_their_fees_and_none_of_nothing() {
    let code = |answer: &Value| text(&answer["code"]);
    let world = World::asking(10_010_000, belongs(10_000)).await;
    let answers = world.deposits("20.02", &["10", "10", "10"]).await;
    assert_eq!(answers[1]["computeFuture"]["accountId"], "4294967297", "{answers:?}");
    assert_eq!((code(&answers[2]), world.payments().len()), ("deposit_limit".into(), 2));
    // The amount alone would be within the limit.
    let answers = world.deposits("20", &["10", "10"]).await;
    assert_eq!((code(&answers[1]), world.payments().len()), ("deposit_limit".into(), 3), "{answers:?}");

    let fees = World::asking(10_000, belongs(10_000)).await;
    assert_eq!(code(&fees.deposits("0", &["0"]).await[0]), "deposit_limit");
    assert_eq!(code(&fees.deposits("1", &["0"]).await[0]), "usage");
    let thief = World::asking(10_010_000, THIEF).await;
    let answers = thief.deposits("20", &["10", "10"]).await;
    assert_eq!(
        answers.iter().map(code).collect::<Vec<_>>(),
        ["untrusted_offer"; 2],
        "what was not signed is not counted"
    );
    assert_eq!((fees.payments().len(), thief.payments().len()), (0, 0));
}
