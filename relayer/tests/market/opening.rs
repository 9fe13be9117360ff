//! Providers on offer, quotes, and openings that are brought on chain: once, and only for whoever may.

use compute_futures_chain::market::MarketAction;
use compute_futures_protocol::B256;
use compute_futures_protocol::market::OpenSession;
use compute_futures_relayer::config::MarketConfig;
use serde_json::{Value, json};

use crate::world::{AGENT, Kind, PROVIDER, STRANGER, World, content, patient, usdc};

/// A quote, with these changes to what is asked for.
pub async fn quoted(w: &World, changes: Value) -> Value {
    let (status, quote) = ask(w, changes).await;
    assert_eq!(status, 200, "{quote}");
    quote
}

async fn ask(w: &World, changes: Value) -> (u16, Value) {
    let mut body = json!({ "escrowId": w.escrow, "agent": w.address(AGENT).to_string(), "model": "m", "limit": "2000000", "seconds": 3000 });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    w.post("/api/v1/market/sessions/quote", &body).await
}

/// The quote's opening with somebody's signature.
pub fn signed(w: &World, quote: &Value, person: u8) -> Value {
    let digest: B256 = serde_json::from_value(quote["digest"].clone()).unwrap();
    let open: OpenSession = serde_json::from_value(quote["open"].clone()).unwrap();
    assert_eq!(open.digest(&w.chain_market.domain()), digest);
    json!({ "open": quote["open"], "signature": format!("0x{}", hex::encode(w.signer(person).sign(digest))) })
}

async fn opened(w: &World) {
    let quote = quoted(w, json!({ "maxTokens": 1000 })).await;
    assert_eq!(quote["estimate"]["cost"], "4000", "1,000 tokens in, 1,000 out: {quote}");
    assert_eq!(quote["estimate"]["calls"], 500);
    assert_eq!(quote["provider"]["providerId"], w.provider);
    let body = signed(w, &quote, AGENT);
    let (first, second) =
        tokio::join!(w.post("/api/v1/market/sessions", &body), w.post("/api/v1/market/sessions", &body));
    assert_eq!((first.0, second.0), (201, 201), "{first:?} {second:?}");
    assert_eq!(first.1["sessionId"], second.1["sessionId"], "one signature, one session");
    assert_eq!((first.1["status"].as_str(), first.1["limit"].as_str()), (Some("open"), Some("2000000")));
    assert!(first.1["transaction"].is_string());
    let count = || async { w.chain_market.escrow(w.escrow).await.unwrap().unwrap().state.session_count };
    assert_eq!(count().await, 1);
    // The next one has the next nonce; the old signature opens nothing more.
    let next = quoted(w, json!({})).await;
    assert_eq!(next["open"]["nonce"], 1);
    assert_eq!(w.post("/api/v1/market/sessions", &body).await.1["sessionId"], first.1["sessionId"]);
    assert_eq!(count().await, 1);
    // What somebody else brought is found.
    let open: OpenSession = serde_json::from_value(next["open"].clone()).unwrap();
    let brought = signed(w, &next, AGENT);
    let signature = serde_json::from_value(brought["signature"].clone()).unwrap();
    w.by(STRANGER, MarketAction::OpenSessionWithSignature { open, signature }).await;
    let mut found = (0, Value::Null);
    for _ in 0..100 {
        found = w.post("/api/v1/market/sessions", &brought).await;
        if found.0 == 201 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(found.0, 201, "{}", found.1);
    assert_eq!(count().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_is_brought_on_chain_once_on_base() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    opened(&w).await;
    typed_data_is_what_is_signed(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_is_brought_on_chain_once_on_postgres() {
    let Some(mut w) = World::evm(Kind::Postgres, patient()).await else { return };
    opened(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_is_brought_on_chain_once_on_solana() {
    let mut w = World::solana(patient()).await;
    opened(&w).await;
    w.stop().await;
}

/// What a wallet makes of the typed data is the signature that counts: the node signs it as wallets do.
async fn typed_data_is_what_is_signed(w: &World) {
    let quote = quoted(w, json!({})).await;
    let signature = wallet_signs(w, AGENT, &quote["typedData"]).await;
    let (status, session) =
        w.post("/api/v1/market/sessions", &json!({ "open": quote["open"], "signature": signature })).await;
    assert_eq!(status, 201, "{session}");
}

pub async fn wallet_signs(w: &World, person: u8, typed: &Value) -> Value {
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": "eth_signTypedData_v4", "params": [w.address(person).to_string(), typed],
    });
    let rpc = w.evm_node().rpc_url.to_string();
    let answer: Value = w.client.post(rpc).json(&call).send().await.unwrap().json().await.unwrap();
    assert!(answer["result"].is_string(), "{answer}");
    answer["result"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_opened_is_refused_before_it_costs_anything() {
    let settings = MarketConfig { relays_per_hour_each: 1, ..patient() };
    let mut w = World::evm(Kind::Sqlite, settings).await.unwrap();
    let refused = async |changes: Value, status: u16, code: &str| {
        let (found, body) = ask(&w, changes).await;
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{body}");
    };
    refused(json!({ "escrowId": 99 }), 404, "unknown_escrow").await;
    refused(json!({ "agent": w.address(STRANGER).to_string() }), 403, "not_agent").await;
    refused(json!({ "providerId": 99 }), 404, "unknown_provider").await;
    refused(json!({ "model": "gpt" }), 404, "no_provider").await;
    refused(json!({ "limit": "10000001" }), 409, "escrow_refuses").await;
    refused(json!({ "seconds": 30 }), 400, "invalid_request").await;
    refused(json!({ "network": "eip155:1" }), 400, "network_not_served").await;

    let quote = quoted(&w, json!({})).await;
    let post = async |body: Value, status: u16, code: &str| {
        let (found, answer) = w.post("/api/v1/market/sessions", &body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{answer}");
    };
    post(signed(&w, &quote, STRANGER), 403, "invalid_signature").await;
    let mut changed = signed(&w, &quote, AGENT);
    changed["open"]["limit"] = json!("3000000");
    post(changed, 403, "invalid_signature").await;
    let mut small = quote.clone();
    small["open"]["limit"] = json!("99999");
    let resigned = |mut quote: Value| {
        let open: OpenSession = serde_json::from_value(quote["open"].clone()).unwrap();
        quote["digest"] = json!(open.digest(&w.chain_market.domain()));
        signed(&w, &quote, AGENT)
    };
    post(resigned(small), 400, "limit_too_small").await;
    let mut other = quote.clone();
    other["open"]["meter"] = json!(w.address(PROVIDER).to_string());
    post(resigned(other), 400, "not_our_meter").await;
    let mut ahead = quote.clone();
    ahead["open"]["nonce"] = json!(5);
    post(resigned(ahead), 409, "wrong_nonce").await;
    assert_eq!(w.chain_market.escrow(w.escrow).await.unwrap().unwrap().state.session_count, 0);

    // One an hour: the next has to wait, the same is answered still.
    let body = signed(&w, &quote, AGENT);
    assert_eq!(w.post("/api/v1/market/sessions", &body).await.0, 201);
    post(signed(&w, &quoted(&w, json!({})).await, AGENT), 429, "relay_limit").await;
    assert_eq!(w.post("/api/v1/market/sessions", &body).await.0, 201);

    // The price changes between asking and opening (I-11).
    w.by(PROVIDER, MarketAction::Update { provider_id: w.provider, content: content(2_000) }).await;
    let stale = quote.clone();
    for _ in 0..100 {
        if w.get("/api/v1/market/providers/1").await.1["version"] == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut stale = stale;
    stale["open"]["nonce"] = json!(1);
    post(resigned(stale), 409, "provider_changed").await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_are_listed_as_they_stand() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    let mut dear = content(9_000);
    (dear.models[0].name, dear.features) = ("big".into(), vec![]);
    dear.endpoint = "ftp://nowhere".into();
    w.by(PROVIDER, MarketAction::Register { content: dear }).await;
    let list = async |query: &str| {
        let (status, body) = w.get(&format!("/api/v1/market/providers{query}")).await;
        assert_eq!(status, 200, "{body}");
        body["providers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|provider| provider["providerId"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    for _ in 0..100 {
        if list("").await.len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(list("?sort=price").await, [1, 2]);
    assert_eq!(list("?model=big").await, [2]);
    assert_eq!(list("?model=m&feature=streaming&type=cloud&maxOutputPrice=3000").await, [1]);
    assert_eq!(list("?maxOutputPrice=2999").await, [0_u64; 0]);
    assert_eq!(list("?type=self_hosted").await, [0_u64; 0]);
    assert_eq!(list("?minUptime=1").await, [0_u64; 0], "nothing is known of them");
    let (_, page) = w.get("/api/v1/market/providers?limit=1").await;
    assert_eq!((page["providers"].as_array().unwrap().len(), page["nextCursor"].as_str()), (1, Some("1")));
    assert_eq!(list("?limit=1&cursor=1").await, [2]);
    let (_, second) = w.get("/api/v1/market/providers/2").await;
    assert_eq!((second["callable"].as_bool(), second["health"]["status"].as_str()), (Some(false), Some("unknown")));
    assert_eq!(second["content"]["models"][0]["outputPrice"], usdc(27_000).micros().to_string());
    w.by(PROVIDER, MarketAction::Retire { provider_id: 2 }).await;
    for _ in 0..100 {
        if list("").await == [1] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(list("").await, [1]);
    assert_eq!(w.get("/api/v1/market/providers/2").await.1["why"], "it is retired");
    assert_eq!(w.get("/api/v1/market/providers/3").await.0, 404);
    w.stop().await;
}
