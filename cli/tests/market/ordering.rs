//! Inferences on a session, before a relayer that meters and, when told to, lies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::market::{MarketDomain, OpenSession, SessionCall, SessionId, SessionReceipt};
use compute_futures_protocol::{ReceiptTree, Signer, Usdc, canonical_json_hash, keccak256, request_hash, signer_among};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AGENT, CONTENT, CREATOR, METER, PROVIDER, STRANGER, number, text};
use crate::support::{Mcp, Side};

/// What the relayer lies about.
#[derive(Clone, Copy, PartialEq)]
enum Lie {
    None,
    Price,
    Answer,
    Signature,
    Documents,
}

#[derive(Clone)]
struct Relayer {
    domain: MarketDomain,
    meter: Signer,
    /// The session that pays when the order names none.
    session: SessionId,
    provider: u32,
    lie: Arc<Mutex<Lie>>,
    receipts: Arc<Mutex<Vec<(SessionReceipt, String)>>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Relayer {
    fn lie(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }

    fn lies(&self, lie: Lie) -> bool {
        *self.lie.lock().unwrap() == lie
    }

    fn saw(&self, what: &str, value: Value) {
        self.seen.lock().unwrap().push((what.to_owned(), value));
    }

    fn last(&self, what: &str) -> Value {
        let seen = self.seen.lock().unwrap();
        seen.iter().rev().find(|(name, _)| name == what).unwrap_or_else(|| panic!("no {what}")).1.clone()
    }

    async fn start(&self) -> String {
        let app = Router::new()
            .route("/api/v1/market/inference", post(inference))
            .route("/api/v1/market/sessions/quote", post(quote))
            .route("/api/v1/market/sessions", post(open))
            .route("/api/v1/market/sessions/{id}/close", post(close))
            .route("/api/v1/market/sessions/{id}/receipts", get(receipts))
            .route("/api/v1/market/providers", get(providers))
            .route("/api/v1/market/providers/{id}/metrics", get(metrics))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }
}

async fn inference(State(relayer): State<Relayer>, headers: HeaderMap, body: Bytes) -> Response {
    let entry = json!({
        "scheme": "compute-escrow", "network": relayer.domain.network(), "amount": "400", "asset": "USDC",
        "payTo": relayer.domain.contract(), "maxTimeoutSeconds": 300,
        "extra": { "meter": relayer.meter.address(), "escrowContract": relayer.domain.contract() },
    });
    let Some(payment) = headers.get("payment-signature") else {
        let offer = STANDARD.encode(json!({ "x402Version": 2, "accepts": [entry] }).to_string());
        return (StatusCode::PAYMENT_REQUIRED, [("payment-required", offer)], Json(json!({}))).into_response();
    };
    let payment: Value = serde_json::from_slice(&STANDARD.decode(payment.as_bytes()).unwrap()).unwrap();
    assert_eq!(payment["accepted"], entry);
    let call = SessionCall::deserialize(&payment["payload"]["authorization"]).unwrap();
    let signature: compute_futures_protocol::Bytes =
        serde_json::from_value(payment["payload"]["signature"].clone()).unwrap();
    signer_among(call.digest(&relayer.domain), &signature, &[call.agent]).expect("signed by its agent");
    let hash = request_hash("POST", "/api/v1/market/inference", &body);
    assert_eq!(call.request_hash, hash, "over the very bytes");
    let asked: Value = serde_json::from_slice(&body).unwrap();
    relayer.saw("order", asked.clone());
    if call.max_cost < Usdc::from_micros(400) {
        let refusal = json!({ "error": "too low", "code": "max_cost_too_low", "hint": "sign more" });
        return (StatusCode::PAYMENT_REQUIRED, Json(refusal)).into_response();
    }
    let mut answer = json!({
        "id": call.execution_id(),
        "model": asked["model"],
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": "Metered." }, "finishReason": "stop" }],
        "usage": { "promptTokens": 1_000, "completionTokens": 1_000, "totalTokens": 2_000 },
    });
    let mut stored = relayer.receipts.lock().unwrap();
    let receipt = SessionReceipt {
        session_id: call.session_id.unwrap_or(relayer.session),
        sequence: stored.len() as u32 + 1,
        execution_id: call.execution_id(),
        model_hash: keccak256(asked["model"].as_str().unwrap()),
        request_hash: hash,
        output_hash: canonical_json_hash(&answer),
        input_tokens: 1_000,
        output_tokens: if relayer.lies(Lie::Price) { 990 } else { 1_000 },
        cost: Usdc::from_micros(400),
        latency_ms: 7,
        issued_at: 1_800_000_000,
    };
    if relayer.lies(Lie::Price) {
        // Fewer tokens for the same money, said consistently.
        answer["usage"]["completionTokens"] = json!(990);
    }
    let receipt = SessionReceipt { output_hash: canonical_json_hash(&answer), ..receipt };
    let by = if relayer.lies(Lie::Signature) { Signer::from_bytes(&[9; 32]).unwrap() } else { relayer.meter.clone() };
    let signature = compute_futures_protocol::Bytes::from(by.sign(receipt.digest(&relayer.domain)).to_vec());
    answer["receipt"] = json!(receipt);
    answer["receiptSignature"] = json!(signature);
    answer["cost"] =
        json!({ "amount": receipt.cost, "usdc": "0.0004", "transaction": null, "sessionId": receipt.session_id });
    answer["providerId"] = json!(relayer.provider);
    if relayer.lies(Lie::Answer) {
        answer["choices"][0]["message"]["content"] = json!("Something else.");
    }
    if relayer.lies(Lie::None) {
        stored.push((receipt, asked["model"].as_str().unwrap().to_owned()));
    }
    Json(answer).into_response()
}

async fn quote(State(relayer): State<Relayer>, Json(asked): Json<Value>) -> Json<Value> {
    relayer.saw("quote", asked.clone());
    // Prices, nonce and limit are not taken from here.
    let open = json!({
        "escrowId": asked["escrowId"], "agent": asked["agent"], "nonce": 77, "providerId": relayer.provider,
        "contentHash": keccak256("another content"), "meter": relayer.meter.address(), "limit": "999999999", "deadline": "1",
    });
    Json(json!({ "open": open, "provider": {}, "estimate": null }))
}

async fn open(State(relayer): State<Relayer>, Json(body): Json<Value>) -> Response {
    let pending = relayer.seen.lock().unwrap().iter().filter(|(what, _)| what == "open").count() == 0;
    relayer.saw("open", body.clone());
    if pending {
        return (StatusCode::ACCEPTED, Json(json!({ "status": "pending" }))).into_response();
    }
    let open: OpenSession = serde_json::from_value(body["open"].clone()).unwrap();
    let answer = json!({ "sessionId": relayer.session, "limit": open.limit, "transaction": "0x", "providerId": open.provider_id });
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn close(State(relayer): State<Relayer>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let proof = STANDARD.decode(headers["sign-in-with-x"].as_bytes()).unwrap();
    relayer.saw("close", serde_json::from_slice(&proof).unwrap());
    (StatusCode::ACCEPTED, Json(json!({ "sessionId": id, "status": "closing", "cost": "800" }))).into_response()
}

async fn receipts(State(relayer): State<Relayer>, Path(id): Path<String>) -> Json<Value> {
    let stored = relayer.receipts.lock().unwrap();
    let skipped = usize::from(relayer.lies(Lie::Documents));
    let entries = stored.iter().take(stored.len() - skipped).map(|(receipt, model)| {
        let digest = receipt.digest(&relayer.domain);
        let signature = compute_futures_protocol::Bytes::from(relayer.meter.sign(digest).to_vec());
        json!({ "receipt": receipt, "model": model, "digest": digest, "signature": signature })
    });
    let entries: Vec<Value> = entries.collect();
    Json(json!({ "sessionId": id, "cost": (400 * entries.len()).to_string(), "receipts": entries }))
}

async fn providers(State(relayer): State<Relayer>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    relayer.saw("providers", json!(query));
    Json(json!({ "providers": [{ "providerId": relayer.provider }], "nextCursor": null }))
}

async fn metrics(
    State(relayer): State<Relayer>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    relayer.saw("metrics", json!({ "id": id, "query": query }));
    Json(json!({ "series": [] }))
}

/// Orders are signed for the very bytes, and answers believed whose receipt holds, at the prices and for the session on chain.
pub(crate) async fn ordering(net: &Side<'_>) {
    let content = net.file("ordering.toml", CONTENT);
    let provider = number(&net.ok(PROVIDER, &["provider", "register", &content])["providerId"]);
    let (agent, meter) = (net.address(AGENT), net.address(METER));
    let create =
        ["escrow", "create", "20", "--session-limit", "5", "--for", "2h", "--agent", &agent, "--meter", &meter];
    let escrow = number(&net.ok(CREATOR, &create)["escrowId"]);
    let open = ["session", "open", &escrow, "--provider", &provider, "--limit", "1"];
    let session = text(&net.ok(AGENT, &open), "/sessionId").to_owned();
    let relayer = Relayer {
        domain: net.market(),
        meter: net.key(METER),
        session: session.parse().unwrap(),
        provider: provider.parse().unwrap(),
        lie: Arc::new(Mutex::new(Lie::None)),
        receipts: Arc::default(),
        seen: Arc::default(),
    };
    let url = relayer.start().await;
    let with = |args: &[&str]| -> Vec<String> {
        ["--relayer", &url, "--indexer", &url].iter().chain(args).map(|arg| (*arg).to_owned()).collect()
    };
    let ok = |by: usize, args: &[&str]| {
        let args = with(args);
        net.ok(by, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused = |by: usize, args: &[&str]| {
        let args = with(args);
        net.refused(by, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let receipt = net.file("receipt.json", "");
    let run =
        ["session", "run", &escrow, "--model", "m", "--prompt", "Hello.", "--session", &session, "--max-tokens", "9"];
    let answer = ok(AGENT, &[&run[..], &["--receipt", &receipt]].concat());
    assert_eq!(text(&answer, "/choices/0/message/content"), "Metered.");
    assert_eq!((&answer["receiptChecked"], &answer["pricesChecked"]), (&json!(true), &json!(true)), "{answer}");
    let order = relayer.last("order");
    assert_eq!((&order["maxTokens"], &order["sessionId"]), (&json!(9), &json!(session)), "{order}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&receipt).unwrap()).unwrap();
    assert_eq!(kept["receipt"], answer["receipt"]);
    let any = ["session", "run", &escrow, "--model", "m", "--prompt", "Hello.", "--provider", &provider];
    assert_eq!(ok(AGENT, &any)["receiptChecked"], true, "the escrow names the meter");
    assert_eq!(relayer.last("order")["providerId"], json!(relayer.provider));
    for lie in [Lie::Price, Lie::Answer, Lie::Signature] {
        relayer.lie(lie);
        assert_eq!(refused(AGENT, &run), "bad_receipt");
    }
    relayer.lie(Lie::None);
    assert_eq!(refused(AGENT, &[&run[..], &["--max-cost", "0.000399"]].concat()), "max_cost_too_low");
    let elsewhere = ["session", "run", "1", "--model", "m", "--prompt", "Hello.", "--session", &session];
    assert_eq!(refused(AGENT, &elsewhere), "session_not_open");

    // The relayer chooses, the agent reads prices and nonce from the chain and signs its own limit.
    let relayed = ["session", "open", &escrow, "--model", "m", "--limit", "0.5", "--for", "1h", "--relay"];
    assert_eq!(text(&ok(AGENT, &relayed), "/limit"), "500000");
    let sent: Value = relayer.last("open");
    let signed: OpenSession = serde_json::from_value(sent["open"].clone()).unwrap();
    assert_eq!((signed.limit, signed.nonce, signed.provider_id), (Usdc::from_micros(500_000), 0, relayer.provider));
    let shown = net.ok(AGENT, &["provider", "show", &provider]);
    assert_eq!(json!(signed.content_hash), shown["contentHash"]);
    let signature: compute_futures_protocol::Bytes = serde_json::from_value(sent["signature"].clone()).unwrap();
    signer_among(signed.digest(&relayer.domain), &signature, &[net.key(AGENT).address()]).unwrap();
    assert_eq!(refused(STRANGER, &relayed), "not_agent");

    as_tools(net, &relayer, &url, &escrow, &session);

    // Receipts, before and after the session is closed on chain.
    let before = ok(STRANGER, &["session", "receipts", &session]);
    assert_eq!((&before["checked"]["signatures"], &before["checked"]["onChain"]), (&json!(3), &json!(false)));
    let asked = ok(AGENT, &["session", "close", &session, "--ask"]);
    assert_eq!(text(&asked, "/status"), "closing");
    let proof = relayer.last("close");
    assert_eq!(text(&proof, "/uri"), format!("{url}/api/v1/market/sessions/{session}/close"));
    let digests: Vec<_> =
        relayer.receipts.lock().unwrap().iter().map(|(receipt, _)| receipt.digest(&relayer.domain)).collect();
    let root = ReceiptTree::new(&digests).unwrap().root().to_string();
    net.ok(METER, &["session", "close", &session, "--cost", "0.0012", "--receipts", "3", "--root", &root]);
    assert_eq!(ok(STRANGER, &["session", "receipts", &session])["checked"]["onChain"], true);
    relayer.lie(Lie::Documents);
    assert_eq!(refused(STRANGER, &["session", "receipts", &session]), "receipts_do_not_hold");

    let list = ["provider", "list", "--model", "m", "--max-output-price", "0.0003", "--sort", "price", "--limit", "3"];
    assert_eq!(ok(STRANGER, &list)["providers"][0]["providerId"], json!(relayer.provider));
    let query = relayer.last("providers");
    assert_eq!(
        (&query["maxOutputPrice"], &query["sort"], &query["limit"], &query["network"]),
        (&json!("300"), &json!("price"), &json!("3"), &json!(relayer.domain.network()))
    );
    ok(STRANGER, &["provider", "metrics", &provider, "--interval", "hour", "--from", "1", "--to", "2"]);
    assert_eq!(relayer.last("metrics")["query"]["interval"], "hour");
    assert_eq!(refused(STRANGER, &["provider", "metrics", &provider, "--from", "2", "--to", "2"]), "usage");
}

/// The same as tools, within what the run may spend.
fn as_tools(net: &Side<'_>, relayer: &Relayer, url: &str, escrow: &str, session: &str) {
    let mut mcp = Mcp::start(net, AGENT, &["--relayer", url, "mcp", "--limit", "0.0006"]);
    let escrow: u32 = escrow.parse().unwrap();
    let providers = mcp.ok("market_providers", json!({ "model": "m", "maxOutputPrice": "300" }));
    assert_eq!(providers["providers"][0]["providerId"], json!(relayer.provider));
    assert_eq!(relayer.last("providers")["maxOutputPrice"], "300");
    let run = json!({ "escrow": escrow, "session": session, "model": "m", "prompt": "Hello." });
    relayer.lie(Lie::Answer);
    let before = relayer.receipts.lock().unwrap().len();
    let mut liar = Mcp::start(net, AGENT, &["--relayer", url, "mcp", "--limit", "0.0004"]);
    assert_eq!(liar.refused("market_run", run.clone()), "bad_receipt");
    assert_eq!(liar.refused("market_run", run.clone()), "session_limit", "its charge is unknown: all of it counts");
    relayer.lie(Lie::None);
    let answer = mcp.ok("market_run", run.clone());
    assert_eq!(answer.pointer("/choices/0/message/content"), Some(&json!("Metered.")), "{answer}");
    assert_eq!((&answer["session"]["spentUsdc"], &answer["session"]["leftUsdc"]), (&json!("0.0004"), &json!("0.0002")));
    assert_eq!(mcp.refused("market_run", run.clone()), "session_limit");
    let dear = json!({ "escrow": escrow, "model": "m", "limit": "0.0003" });
    assert_eq!(mcp.refused("market_open", dear), "session_limit", "no more is reserved than may be spent");
    let opened = mcp.ok("market_open", json!({ "escrow": escrow, "model": "m", "limit": "0.0002" }));
    assert_eq!(text(&opened, "/limit"), "200");
    assert_eq!(mcp.refused("market_open", json!({ "escrow": escrow, "limit": "0.0001" })), "usage");
    assert_eq!(mcp.refused("market_run", json!({ "escrow": escrow, "model": "m" })), "usage");
    assert_eq!(mcp.refused("market_session", json!({ "session": "7" })), "invalid_session_id");
    assert_eq!(text(&mcp.ok("market_close", json!({ "session": session })), "/status"), "closing");
    assert_eq!(relayer.receipts.lock().unwrap().len(), before + 1);
}
