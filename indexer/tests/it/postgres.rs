//! The same suite on PostgreSQL: one cluster, many databases.

use super::{
    following::{random_life, two_followers},
    http::{certainty, every_name, every_path, live_balance, paging},
    market, market_http, market_receipts,
    networks::two_networks,
    receipts::{proofs, replaced},
    support::{CHAINS, databases::Databases},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_on_postgresql() {
    let Some(databases) = Databases::postgres() else { return };
    two_followers(&databases).await;
    two_networks(&databases).await;
    for chain in CHAINS {
        for seed in 0..3 {
            random_life(&databases, chain, seed).await;
            market::random_life(&databases, chain, seed).await;
        }
        market_receipts::verified(&databases, chain).await;
        market_receipts::replaced(&databases, chain).await;
        market_receipts::measured(&databases, chain).await;
        market_receipts::outcomes(&databases, chain).await;
        market_http::budget(&databases, chain).await;
        market_http::paging(&databases, chain).await;
        every_name(&databases, chain).await;
        every_path(&databases, chain).await;
        paging(&databases, chain).await;
        certainty(&databases, chain).await;
        live_balance(&databases, chain).await;
        proofs(&databases, chain).await;
        replaced(&databases, chain).await;
    }
}
