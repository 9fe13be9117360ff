//! Blocks leave the chain: what they said of sessions is undone, and what we did is done again, once.

use compute_futures_protocol::Usdc;
use serde_json::json;

use crate::opening::{quoted, signed};
use crate::world::{AGENT, Kind, World, patient, usdc};

/// An opening and then a close lose their blocks; both come back by our own hand, and everything is paid once.
async fn comes_back(kind: Kind) {
    let Some(mut w) = World::evm(kind, patient()).await else { return };
    let chain = w.evm_node();
    chain.mine(3).await.unwrap();
    let (status, session) = {
        let quote = quoted(&w, json!({})).await;
        w.post("/api/v1/market/sessions", &signed(&w, &quote, AGENT)).await
    };
    assert_eq!(status, 201, "{session}");
    let id = session["sessionId"].as_str().unwrap().parse().unwrap();
    w.charge(id, 300).await;
    w.evm_node().reorg(2).await.unwrap();
    w.evm_node().mine(2).await.unwrap();
    // The same bytes are broadcast again, and the receipts of the session are still its own.
    for _ in 0..400 {
        if w.chain_market.session(id).await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let back = w.until(id, |session| session["status"] == "open" && session["cost"] == "300").await;
    assert_eq!(back["receiptCount"], 1, "{back}");
    assert!(w.chain_market.session(id).await.unwrap().is_some());

    assert_eq!(w.close(id, AGENT).await.0, 202);
    w.until(id, |session| session["status"] == "closed").await;
    w.evm_node().reorg(1).await.unwrap();
    w.evm_node().mine(1).await.unwrap();
    for _ in 0..400 {
        if w.chain_market.earnings(w.provider).await.unwrap() == usdc(300) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    w.until(id, |session| session["status"] == "closed").await;
    assert_eq!(w.chain_market.earnings(w.provider).await.unwrap(), usdc(300), "once");
    assert_eq!(w.chain_market.escrow(w.escrow).await.unwrap().unwrap().state.reserved, Usdc::ZERO);
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_and_a_close_come_back_on_sqlite() {
    comes_back(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_and_a_close_come_back_on_postgres() {
    comes_back(Kind::Postgres).await;
}

/// An opening that never comes back: the session is gone, takes no calls, and is not closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reorg_took_is_gone() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    w.evm_node().mine(2).await.unwrap();
    let id = w.open(1_000_000, 3_000).await;
    w.charge(id, 5).await;
    w.evm_node().reorg(1).await.unwrap();
    w.evm_node().mine(1).await.unwrap();
    w.until(id, |session| session["status"] == "gone").await;
    assert_eq!(w.close(id, AGENT).await.0, 404);
    // Its number goes to another session, which owes nothing for the first one's calls and is closed at nothing.
    let other = w.request(2_000_000, 3_000);
    w.by(AGENT, compute_futures_chain::market::MarketAction::OpenSession { request: other }).await;
    let closed = w.until(id, |session| session["status"] == "closed").await;
    assert_eq!((closed["cost"].as_str(), closed["receiptCount"].as_u64()), (Some("0"), Some(0)), "{closed}");
    assert_eq!(w.chain_market.earnings(w.provider).await.unwrap(), Usdc::ZERO);
    w.stop().await;
}
