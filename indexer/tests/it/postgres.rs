//! The same suite on PostgreSQL: one cluster, many databases.

use super::{
    following::{random_life, two_followers},
    support::databases::Databases,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_on_postgresql() {
    let databases = Databases::postgres();
    for seed in 0..6 {
        random_life(&databases, seed).await;
    }
    two_followers(&databases).await;
}
