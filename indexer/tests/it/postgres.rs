//! The same suite on PostgreSQL: one cluster, many databases.

use super::{
    following::{random_life, two_followers},
    http::{certainty, every_name, every_path, live_balance, paging},
    receipts::{proofs, replaced},
    support::databases::Databases,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_on_postgresql() {
    let Some(databases) = Databases::postgres() else { return };
    for seed in 0..6 {
        random_life(&databases, seed).await;
    }
    two_followers(&databases).await;
    every_name(&databases).await;
    every_path(&databases).await;
    paging(&databases).await;
    certainty(&databases).await;
    live_balance(&databases).await;
    proofs(&databases).await;
    replaced(&databases).await;
}
