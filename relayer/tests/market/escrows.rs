//! Budgets: what is handed out to be signed does what it says, and what is brought on chain is brought once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use compute_futures_chain::market::MarketAction;
use compute_futures_protocol::solana::SolanaTransaction;
use compute_futures_protocol::{Address, Bytes, Usdc};
use serde_json::{Value, json};

use crate::opening::wallet_signs;
use crate::world::{AGENT, CREATOR, Kind, Node, STRANGER, World, now, patient, usdc};

/// Signs and sends what was handed out, as a wallet does.
async fn send(w: &World, person: u8, transaction: &Value) {
    match &w.node {
        Node::Evm(chain) => {
            let to: Address = transaction["to"].as_str().unwrap().parse().unwrap();
            let data: Bytes = serde_json::from_value(transaction["data"].clone()).unwrap();
            let from = w.address(person).evm().unwrap();
            chain.transact(from, to.evm().unwrap(), data).await.unwrap();
        }
        Node::Solana(chain) => {
            let bytes = BASE64.decode(transaction.as_str().unwrap()).unwrap();
            let mut whole = SolanaTransaction::parse(&bytes).unwrap();
            let wallet = w.address(person).solana().unwrap();
            let place = whole.message.signer_place(&wallet).expect("the wallet signs it");
            whole.signatures[place] = w.signer(person).sign_message(&whole.message.bytes).unwrap();
            let call = json!({
                "jsonrpc": "2.0", "id": 1, "method": "sendTransaction",
                "params": [BASE64.encode(whole.to_bytes()), { "encoding": "base64", "preflightCommitment": "confirmed" }],
            });
            let sent: Value =
                w.client.post(chain.rpc_url.to_string()).json(&call).send().await.unwrap().json().await.unwrap();
            assert!(sent["result"].is_string(), "{sent}");
        }
    }
}

async fn escrow(w: &World, id: u32) -> Value {
    w.get(&format!("/api/v1/market/escrows/{id}?agent={}", w.address(AGENT))).await.1
}

/// Until the chain's escrow is as it should be.
async fn until(w: &World, id: u32, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..200 {
        last = escrow(w, id).await;
        if is_so(&last) {
            return last;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("escrow {id} never got there: {last}");
}

async fn handed_out(w: &World) {
    let mut terms = w.terms();
    terms.session_limit = usdc(7);
    let (status, created) = w.post("/api/v1/market/escrows", &json!({ "terms": terms, "amount": "20000000" })).await;
    assert_eq!(status, 200, "{created}");
    assert_eq!(created["depositAddress"], json!(w.chain_market.deposit_address(&terms).unwrap()));
    if let Some(approve) = created.get("approve") {
        send(w, CREATOR, approve).await;
    }
    send(w, CREATOR, &created["transaction"]).await;
    let there = until(w, 2, |escrow| escrow["unreserved"] == "20000000").await;
    assert_eq!(
        (there["sessionLimit"].as_str(), there["agent"]["allowed"].as_bool()),
        (Some("7"), Some(true)),
        "{there}"
    );

    let removed = w
        .post("/api/v1/market/escrows/2/agents", &json!({ "agent": w.address(AGENT).to_string(), "allowed": false }))
        .await;
    assert_eq!(removed.0, 200, "{}", removed.1);
    send(w, CREATOR, &removed.1["transaction"]).await;
    until(w, 2, |escrow| escrow["agent"]["allowed"] == false).await;
    let added = w
        .post("/api/v1/market/escrows/2/agents", &json!({ "agent": w.address(AGENT).to_string(), "allowed": true }))
        .await;
    send(w, CREATOR, &added.1["transaction"]).await;
    until(w, 2, |escrow| escrow["agent"]["allowed"] == true).await;

    let body = json!({ "payer": w.address(CREATOR).to_string(), "amount": "5000000" });
    let (status, funding) = w.post("/api/v1/market/escrows/2/fund", &body).await;
    assert_eq!(status, 200, "{funding}");
    if let Some(approve) = funding.get("approve") {
        send(w, CREATOR, approve).await;
    }
    send(w, CREATOR, &funding["transaction"]).await;
    until(w, 2, |escrow| escrow["unreserved"] == "25000000").await;

    let (status, refund) = w.post("/api/v1/market/escrows/2/refund", &json!({ "amount": "1000000" })).await;
    assert_eq!((status, &refund["sender"]), (200, &json!(w.address(CREATOR))), "{refund}");
    send(w, CREATOR, &refund["transaction"]).await;
    until(w, 2, |escrow| escrow["unreserved"] == "24000000").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_out_works_when_it_is_signed_on_base() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    handed_out(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handed_out_works_when_it_is_signed_on_solana() {
    let mut w = World::solana(patient()).await;
    handed_out(&w).await;
    w.stop().await;
}

/// A creator without gas: one signature creates, one funds, each once (T-1, I-5).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creator_without_gas_signs_and_the_relayer_brings_it() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    let terms = json!(w.terms());
    let (_, offer) = w.post("/api/v1/market/escrows", &json!({ "terms": terms, "amount": "20000000" })).await;
    let signature = wallet_signs(&w, CREATOR, &offer["typedData"]).await;
    let body = json!({ "terms": terms, "authorization": offer["authorization"], "signature": signature });
    let mut changed = body.clone();
    changed["terms"]["sessionLimit"] = json!("9");
    let (status, refused) = w.post("/api/v1/market/escrows", &changed).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("invalid_signature")), "{refused}");
    for _ in 0..2 {
        let (status, done) = w.post("/api/v1/market/escrows", &body).await;
        assert_eq!(
            (status, done["escrowId"].as_u64(), done["amount"].as_str()),
            (201, Some(2), Some("20000000")),
            "{done}"
        );
    }
    assert_eq!(w.chain_market.escrow_count().await.unwrap(), 2);

    let payer = w.address(CREATOR).to_string();
    let (_, offer) = w.post("/api/v1/market/escrows/2/fund", &json!({ "payer": payer, "amount": "3000000" })).await;
    let signature = wallet_signs(&w, CREATOR, &offer["typedData"]).await;
    let body = json!({ "payer": payer, "authorization": offer["authorization"], "signature": signature });
    for _ in 0..2 {
        assert_eq!(w.post("/api/v1/market/escrows/2/fund", &body).await.0, 201);
    }
    assert_eq!(escrow(&w, 2).await["unreserved"], "23000000");
    // It was for that escrow and no other.
    let (status, refused) = w.post("/api/v1/market/escrows/1/fund", &body).await;
    assert_eq!((status, refused["code"].as_str()), (403, Some("invalid_signature")), "{refused}");
    let (_, small) = w.post("/api/v1/market/escrows/2/fund", &json!({ "payer": payer, "amount": "5" })).await;
    let signature = wallet_signs(&w, CREATOR, &small["typedData"]).await;
    let body = json!({ "payer": payer, "authorization": small["authorization"], "signature": signature });
    assert_eq!(w.post("/api/v1/market/escrows/2/fund", &body).await.1["code"], "too_small");
    w.stop().await;
}

/// Anybody's verbs: sweeping and emptying are brought on chain when there is something in it.
async fn anybodys(w: &World) {
    let mut terms = w.terms();
    terms.expiry = now() + 600;
    let body = json!({ "terms": terms, "relay": true });
    let (status, refused) = w.post("/api/v1/market/escrows/sweep", &body).await;
    assert_eq!((status, refused["code"].as_str()), (400, Some("too_small")), "{refused}");
    let address = w.chain_market.deposit_address(&terms).unwrap();
    match &w.node {
        Node::Evm(chain) => chain.mint(address, usdc(4_000_000)).await.unwrap(),
        Node::Solana(chain) => {
            w.by(STRANGER, MarketAction::OpenDepositAddress { terms: terms.clone() }).await;
            chain.cheats().set_usdc(address, usdc(4_000_000)).await.unwrap();
        }
    }
    let (status, swept) = w.post("/api/v1/market/escrows/sweep", &body).await;
    assert_eq!(
        (status, swept["escrowId"].as_u64(), swept["amount"].as_str()),
        (201, Some(2), Some("4000000")),
        "{swept}"
    );

    let early = w.post("/api/v1/market/escrows/2/expire", &json!({ "relay": true })).await;
    assert_eq!((early.0, early.1["code"].as_str()), (409, Some("refused_by_contract")), "{}", early.1);
    let before = w.reader.token_balance(w.address(CREATOR), None).await.unwrap();
    w.advance_time(700).await;
    for _ in 0..2 {
        let (status, done) = w.post("/api/v1/market/escrows/2/expire", &json!({ "relay": true })).await;
        assert_eq!((status, done["amount"].as_str()), (201, Some("4000000")), "{done}");
    }
    let after = w.reader.token_balance(w.address(CREATOR), None).await.unwrap();
    assert_eq!(after, before.checked_add(usdc(4_000_000)).unwrap());
    assert_ne!(after, Usdc::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeping_and_emptying_are_relayed_on_base() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    anybodys(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweeping_and_emptying_are_relayed_on_solana() {
    let mut w = World::solana(patient()).await;
    anybodys(&w).await;
    w.stop().await;
}
