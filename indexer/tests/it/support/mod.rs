//! What tests of several subjects share.

pub mod app;
pub mod databases;
pub mod fake;
pub mod market;
pub mod meter;
pub mod payment;
pub mod scenario;
pub mod world;

use std::sync::Arc;

use compute_futures_chain::ChainReader;
use compute_futures_indexer::{
    Config, NetworkConfig,
    follow::{Feed, Follower, Source},
    store::{Row, Store},
};
use compute_futures_protocol::Chain;

/// The suites that say nothing of a chain's own ways run on each.
pub const CHAINS: [Chain; 2] = [Chain::Base, Chain::Solana];

/// Each function as a test on Base and one on Solana.
macro_rules! on_both_chains {
    ($($test:ident),* $(,)?) => {
        mod base {
            $(#[tokio::test] async fn $test() { super::$test(compute_futures_protocol::Chain::Base).await })*
        }
        mod solana {
            $(#[tokio::test] async fn $test() { super::$test(compute_futures_protocol::Chain::Solana).await })*
        }
    };
}
pub(crate) use on_both_chains;

/// As [`config_on`] Base alone.
pub fn config() -> Config {
    config_on(&[Chain::Base])
}

/// The section of a chain.
pub fn section(config: &mut Config, chain: Chain) -> &mut NetworkConfig {
    if chain.evm_chain_id().is_some() { &mut config.base } else { &mut config.solana }
}

/// Settings for a test: no waiting, no margin beyond finality unless a test asks for one.
pub fn config_on(chains: &[Chain]) -> Config {
    let mut config = Config::default();
    config.base.contract = fake::CONTRACT.into();
    config.solana.contract = fake::PROGRAM.into();
    config.base.enabled = false;
    for chain in chains {
        section(&mut config, *chain).enabled = true;
    }
    config.server.bind = "127.0.0.1:0".parse().unwrap();
    config.follow.poll_interval_ms = 10;
    config.follow.extra_window = 8;
    config.follow.events_per_range = 40;
    config
}

/// Follows `chain` into `store` until nothing is left to do.
pub async fn catch_up(store: &Store, chain: &Arc<dyn ChainReader>) {
    follower(store, chain).await.catch_up().await.unwrap();
}

pub async fn follower(store: &Store, chain: &Arc<dyn ChainReader>) -> Follower {
    follower_of(store, Source::from(Arc::clone(chain))).await
}

pub async fn follower_of(store: &Store, source: Source) -> Follower {
    let feed = Feed::new(source.chain.chain());
    Follower::new(store.clone(), source, config(), feed).await.unwrap()
}

/// As [`catch_up`], with the marketplace.
pub async fn catch_up_both(store: &Store, source: &Source) {
    follower_of(store, source.clone()).await.catch_up().await.unwrap();
}

/// Every projection table, as text, in a fixed order. What depends on when one looked (undo, pruned blocks, attempts, the time
/// of a check) is left out; it has tests of its own.
pub async fn dump(store: &Store) -> Vec<String> {
    const TABLES: [(&str, &str); 25] = [
        ("accounts", "SELECT * FROM accounts ORDER BY id"),
        ("operators", "SELECT * FROM operators ORDER BY id"),
        ("terms", "SELECT * FROM terms ORDER BY position"),
        ("deposits", "SELECT * FROM deposits ORDER BY position"),
        ("sweeps", "SELECT * FROM sweeps ORDER BY position"),
        ("recoveries", "SELECT * FROM recoveries ORDER BY position"),
        ("ceilings", "SELECT * FROM ceilings ORDER BY position"),
        ("delegates", "SELECT * FROM delegates ORDER BY position"),
        ("batches", "SELECT * FROM batches ORDER BY position"),
        ("debits", "SELECT * FROM debits ORDER BY position"),
        ("shortfalls", "SELECT * FROM shortfalls ORDER BY position"),
        ("refund_requests", "SELECT * FROM refund_requests ORDER BY position"),
        ("refunds", "SELECT * FROM refunds ORDER BY position"),
        ("withdrawals", "SELECT * FROM withdrawals ORDER BY position"),
        ("discrepancies", "SELECT * FROM discrepancies ORDER BY position, code"),
        ("documents", "SELECT position, operator_index, batch_number FROM documents ORDER BY position"),
        ("market", "SELECT registry, escrow, deployment_block FROM market"),
        ("market_providers", "SELECT * FROM market_providers ORDER BY id"),
        ("market_escrows", "SELECT * FROM market_escrows ORDER BY id"),
        ("market_agents", "SELECT * FROM market_agents ORDER BY escrow_id, agent"),
        ("market_sessions", "SELECT * FROM market_sessions ORDER BY id"),
        ("market_contents", "SELECT * FROM market_contents ORDER BY position"),
        ("market_events", "SELECT * FROM market_events ORDER BY position"),
        ("market_documents", "SELECT position, session_id, meter FROM market_documents ORDER BY position"),
        ("blocks", "SELECT * FROM blocks WHERE has_events = 1 ORDER BY number"),
    ];
    let mut lines = Vec::new();
    for (name, sql) in TABLES {
        for row in store.all(sql, &[]).await.unwrap() {
            lines.push(format!("{name}: {}", text(&row)));
        }
    }
    lines
}

fn text(row: &Row) -> String {
    use sqlx::{Column, Row as _};
    let columns: Vec<String> = match row {
        Row::Sqlite(row) => row.columns().iter().map(|column| column.name().to_owned()).collect(),
        Row::Postgres(row) => row.columns().iter().map(|column| column.name().to_owned()).collect(),
    };
    let value = |column: &str| {
        if let Ok(value) = row.opt_int(column) {
            format!("{value:?}")
        } else if let Ok(value) = row.opt_text(column) {
            format!("{value:?}")
        } else {
            format!("{:02x?}", row.opt_bytes(column).unwrap())
        }
    };
    columns.iter().map(|column| format!("{column}={}", value(column))).collect::<Vec<_>>().join(" ")
}

/// A number out of a query.
pub async fn count(store: &Store, sql: &'static str) -> u64 {
    store.first(sql, &[]).await.unwrap().unwrap().u64("n").unwrap()
}
