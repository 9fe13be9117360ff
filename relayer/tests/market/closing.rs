//! Sessions are closed at Σ receipts, whoever asks or when they are due, and what cannot be closed lapses.

use compute_futures_chain::market::MarketEvent;
use compute_futures_protocol::market::{SessionCost, SessionStatus};
use compute_futures_protocol::{B256, Usdc};
use compute_futures_relayer::config::MarketConfig;

use crate::world::{AGENT, Kind, PROVIDER, STRANGER, World, patient, usdc};

/// One with receipts, one without: both close, together, and everybody can check what was paid (I-7, I-10).
async fn asked_for(w: &World) {
    let first = w.open(5_000_000, 3_000).await;
    let second = w.open(1_000_000, 3_000).await;
    for cost in [120, 4_000, 37] {
        w.charge(first, cost).await;
    }
    assert_eq!(w.close(first, STRANGER).await.0, 403);
    // A call in flight is waited for.
    w.hold(first, 500).await;
    let (status, closing) = w.close(first, AGENT).await;
    assert_eq!((status, closing["status"].as_str()), (202, Some("closing")), "{closing}");
    assert_eq!(w.close(second, PROVIDER).await.0, 202);
    let empty = w.until(second, |session| session["status"] == "closed").await;
    assert_eq!((empty["cost"].as_str(), empty["receiptCount"].as_u64()), (Some("0"), Some(0)));
    assert_eq!(w.until(first, |_| true).await["status"], "closing");
    w.hold(first, -500).await;
    let closed = w.until(first, |session| session["status"] == "closed").await;
    assert_eq!((closed["cost"].as_str(), closed["available"].as_str()), (Some("4157"), Some("0")), "{closed}");

    let (_, document) = w.get(&format!("/api/v1/market/sessions/{first}/receipts")).await;
    assert_eq!((document["cost"].as_str(), document["receipts"].as_array().unwrap().len()), (Some("4157"), 3));
    assert_eq!(document["receiptsRoot"], closed["receiptsRoot"]);
    let mut sum = Usdc::ZERO;
    for sequence in 1..=3 {
        let (status, one) = w.get(&format!("/api/v1/market/sessions/{first}/receipts/{sequence}")).await;
        assert_eq!(status, 200, "{one}");
        let cost: SessionCost = serde_json::from_value(one["cost"].clone()).unwrap();
        let digest: B256 = serde_json::from_value(one["digest"].clone()).unwrap();
        let proof: Vec<B256> = serde_json::from_value(one["proof"].clone()).unwrap();
        assert!(w.chain_market.verify_receipt(&cost, digest, &proof).await.unwrap(), "I-7");
        sum = sum.checked_add(serde_json::from_value(one["receipt"]["cost"].clone()).unwrap()).unwrap();
        assert_eq!((cost.cost, cost.receipt_count), (usdc(4_157), 3));
    }
    assert_eq!(sum, usdc(4_157));
    assert_eq!(w.get(&format!("/api/v1/market/sessions/{first}/receipts/4")).await.0, 404);
    assert_eq!(w.chain_market.earnings(w.provider).await.unwrap(), usdc(4_157));
    let paid: Vec<MarketEvent> = w.history(first).await;
    assert!(
        matches!(paid.last(), Some(MarketEvent::SessionClosed { cost, receipt_count: 3, .. }) if *cost == usdc(4_157))
    );
    let budget = w.chain_market.escrow(w.escrow).await.unwrap().unwrap().state;
    assert_eq!((budget.reserved, budget.unreserved), (Usdc::ZERO, usdc(100_000_000 - 4_157)));
    // Once more changes nothing.
    assert_eq!(w.close(first, AGENT).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_closed_at_the_sum_of_their_receipts_on_sqlite() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    asked_for(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_closed_at_the_sum_of_their_receipts_on_postgres() {
    let Some(mut w) = World::evm(Kind::Postgres, patient()).await else { return };
    asked_for(&w).await;
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_closed_at_the_sum_of_their_receipts_on_solana() {
    let mut w = World::solana(patient()).await;
    asked_for(&w).await;
    w.stop().await;
}

/// Nobody asks: idle ones, those near their deadline, and those with nothing left are closed by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_closed_by_itself() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    let spent = w.open(4_000, 3_000).await;
    let stays = w.open(1_000_000, 3_000).await;
    w.charge(spent, 3_995).await;
    let ends = w.open(1_000_000, 35).await;
    w.charge(ends, 777).await;
    assert_eq!(w.until(spent, |session| session["status"] == "closed").await["cost"], "3995");
    assert_eq!(w.until(ends, |session| session["status"] == "closed").await["cost"], "777");
    assert_eq!(w.until(stays, |_| true).await["status"], "open");
    w.stop().await;
    w.config.market = MarketConfig { idle_seconds: 2, ..patient() };
    w.boot().await;
    w.until(stays, |session| session["status"] == "closed").await;
    assert_eq!(w.chain_market.earnings(w.provider).await.unwrap(), usdc(3_995 + 777));
    w.stop().await;
}

/// The chain's clock runs ahead: the close is refused, and the creator gets its money back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_closed_lapses() {
    let mut w = World::evm(Kind::Sqlite, patient()).await.unwrap();
    let late = [w.open(2_000_000, 900).await, w.open(3_000_000, 900).await];
    w.charge(late[0], 1_000).await;
    w.stop().await;
    w.advance_time(1_000).await;
    w.config.market = MarketConfig { idle_seconds: 1, ..patient() };
    w.boot().await;
    for id in late {
        w.until(id, |session| session["status"] == "lapsed").await;
        let on_chain = w.chain_market.session(id).await.unwrap().unwrap();
        assert_eq!(on_chain.status, SessionStatus::Lapsed);
    }
    let budget = w.chain_market.escrow(w.escrow).await.unwrap().unwrap().state;
    assert_eq!((budget.reserved, budget.unreserved), (Usdc::ZERO, usdc(100_000_000)));
    w.stop().await;
}

/// The batch is mined after one deadline: that row is rejected, the other is paid, and the first one lapses (I-6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_rejected_blocks_no_other() {
    let mut w = World::evm(Kind::Sqlite, MarketConfig { close_interval_seconds: 3, ..patient() }).await.unwrap();
    let soon = w.open(1_000_000, 60).await;
    let fine = w.open(1_000_000, 3_000).await;
    w.charge(fine, 50).await;
    w.charge(soon, 60).await;
    w.evm_node().set_automine(false).await.unwrap();
    assert_eq!(w.close(soon, AGENT).await.0, 202);
    assert_eq!(w.close(fine, AGENT).await.0, 202);
    // Signed: that is what its root says.
    for id in [soon, fine] {
        w.until(id, |session| session["receiptsRoot"].is_string()).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    w.advance_time(90).await;
    w.evm_node().set_automine(true).await.unwrap();
    assert_eq!(w.until(fine, |session| session["status"] == "closed").await["cost"], "50");
    w.until(soon, |session| session["status"] == "lapsed").await;
    assert_eq!(w.chain_market.earnings(w.provider).await.unwrap(), usdc(50));
    w.stop().await;
}
