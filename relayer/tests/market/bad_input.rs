//! Whatever is sent, the answer says what is wrong and what to do; never a 5xx, and nothing reaches the chain.

use serde_json::{Value, json};

use crate::world::{AGENT, Kind, World, patient};

fn is_helpful(what: &str, (status, body): &(u16, Value)) {
    assert!((400..500).contains(status), "{what}: {status} {body}");
    for field in ["error", "code", "hint"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
    }
    let text = body.to_string().to_lowercase();
    assert!(!text.contains("select ") && !text.contains("sqlx"), "{what}: {body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_with_what_to_do() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    let agent = w.address(AGENT).to_string();
    for path in [
        "providers?limit=1000",
        "providers?sort=name",
        "providers?minUptime=lots",
        "providers?maxInputPrice=-1",
        "providers?type=martian",
        "providers?nonsense=1",
        "providers?network=solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        "providers/0",
        "providers/x",
        "providers/99999999999",
        "providers/%ff",
        "sessions/1",
        "sessions/x",
        "sessions/4294967297",
        "sessions/18446744073709551616",
        "sessions/4294967297/receipts",
        "sessions/4294967297/receipts/x",
        "sessions/quote",
        "escrows/0",
        "escrows/99",
        "escrows/1?agent=nobody",
        "escrows/1?agent=9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM",
    ] {
        is_helpful(path, &w.get(&format!("/api/v1/market/{path}")).await);
    }
    let quote = json!({ "escrowId": 1, "agent": agent, "model": "m", "limit": "2000000" });
    let terms = json!(w.terms());
    let mut bodies: Vec<(&str, Value)> = vec![
        ("sessions", json!({})),
        ("sessions", json!({ "open": {}, "signature": "0x" })),
        ("sessions", json!({ "open": null, "signature": 7 })),
        ("sessions/quote", json!([])),
        ("sessions/quote", json!({ "escrowId": 1, "agent": agent, "limit": "2000000" })),
        ("sessions/x/close", json!({})),
        ("sessions/4294967297/close", json!({})),
        ("escrows", json!({ "terms": terms })),
        ("escrows", json!({ "terms": terms, "amount": "0" })),
        ("escrows", json!({ "terms": terms, "amount": "1", "signature": "0x00" })),
        ("escrows", json!({ "terms": terms, "amount": 1.5 })),
        ("escrows", json!({ "terms": {}, "amount": "1" })),
        ("escrows/1/fund", json!({ "payer": "x", "amount": "1" })),
        ("escrows/99/fund", json!({ "payer": agent, "amount": "1" })),
        ("escrows/1/agents", json!({ "agent": agent })),
        ("escrows/99/agents", json!({ "agent": agent, "allowed": true })),
        ("escrows/1/refund", json!({ "amount": "-1" })),
        ("escrows/99/refund", json!({})),
        ("escrows/99/expire", json!({ "relay": true })),
        ("escrows/1/expire", json!({ "relay": true })),
        ("escrows/1/expire", json!({ "relay": "yes" })),
        ("escrows/sweep", json!({ "terms": terms, "relay": true })),
        ("escrows/sweep", json!({ "relay": true })),
    ];
    for (field, bad) in [
        ("escrowId", json!(-1)),
        ("escrowId", json!("1")),
        ("agent", json!("0x00")),
        ("agent", json!(7)),
        ("limit", json!("1.5")),
        ("limit", json!("0")),
        ("limit", json!("99999999999999999999")),
        ("limit", json!(null)),
        ("seconds", json!(u64::MAX)),
        ("maxTokens", json!(-3)),
        ("network", json!("x")),
        ("surprise", json!(1)),
    ] {
        let mut body = quote.clone();
        body[field] = bad;
        bodies.push(("sessions/quote", body));
    }
    for (field, bad) in [
        ("expiry", json!("1")),
        ("expiry", json!("99999999999999999999")),
        ("sessionLimit", json!("0")),
        ("openToAll", json!(true)),
        ("creator", json!("0x0000000000000000000000000000000000000000")),
        ("agents", json!(vec![agent.clone(); 33])),
    ] {
        let mut bad_terms = terms.clone();
        bad_terms[field] = bad;
        bodies.push(("escrows", json!({ "terms": bad_terms, "amount": "1000000" })));
    }
    for (path, body) in &bodies {
        is_helpful(&format!("{path} {body}"), &w.post(&format!("/api/v1/market/{path}"), body).await);
    }
    let chain = w.chain_market.escrow(1).await.unwrap().unwrap().state;
    assert_eq!((chain.session_count, w.chain_market.escrow_count().await.unwrap()), (0, 1));
    w.stop().await;
}

/// Without a marketplace in its settings a relayer says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayer_without_a_marketplace_says_so() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    w.stop().await;
    w.config.base.market_escrow = compute_futures_protocol::Address::ZERO;
    w.config.base.market_registry = compute_futures_protocol::Address::ZERO;
    w.boot().await;
    for path in ["providers", "providers/1", "sessions/4294967297", "escrows/1"] {
        let (status, body) = w.get(&format!("/api/v1/market/{path}")).await;
        assert_eq!((status, body["code"].as_str()), (404, Some("market_not_served")), "{body}");
    }
    w.stop().await;
}
