//! Settings of settlement.

use compute_futures_protocol::Usdc;

use crate::follow::FollowConfig;

/// When batches are posted, what is paid for it, and how far work may run ahead of the chain.
#[derive(Debug, Clone)]
pub struct SettlementConfig {
    /// Post when this many receipts wait.
    pub max_receipts: u64,
    /// Post when this much (net) waits.
    pub max_value: Usdc,
    /// Post when the oldest receipt has waited this many seconds.
    pub max_age_seconds: u64,
    /// Post when this many rows wait; an account is one row, rarely two.
    pub max_rows: u64,
    /// Seconds without a confirmation before a transaction is sent again with higher fees.
    pub rebroadcast_seconds: u64,
    /// Never pay more than this per gas, in wei.
    pub max_fee_wei: u128,
    /// Milliseconds between two looks at the chain and the outbox.
    pub poll_ms: u64,
    /// New holds are refused (503) while more than this (net) waits for the chain: the operator's risk when posting fails.
    pub most_unposted: Usdc,
    /// The same for the age of the oldest receipt that waits, in seconds.
    pub most_unposted_seconds: u64,
    /// Seconds that a stop waits for the last batch to be confirmed.
    pub flush_seconds: u64,
    /// Seconds that a refund with consent waits for jobs in flight and for the chain.
    pub refund_seconds: u64,
    /// How the chain is followed.
    pub follow: FollowConfig,
}

impl Default for SettlementConfig {
    fn default() -> Self {
        Self {
            max_receipts: 1_000,
            max_value: Usdc::from_micros(50_000_000),
            max_age_seconds: 300,
            max_rows: 200,
            rebroadcast_seconds: 30,
            max_fee_wei: 50_000_000_000,
            poll_ms: 1_000,
            most_unposted: Usdc::from_micros(1_000_000_000),
            most_unposted_seconds: 3_600,
            flush_seconds: 60,
            refund_seconds: 60,
            follow: FollowConfig::default(),
        }
    }
}
