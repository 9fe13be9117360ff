//! Settings of the ledger.

use compute_futures_protocol::Usdc;

/// Where the ledger lives and how much it trusts fresh blocks.
#[derive(Clone, PartialEq, Eq)]
pub struct LedgerConfig {
    /// `sqlite:relayer.db` (one process) or `postgres://user:password@host/database` (any number of relayers).
    pub url: String,
    /// Most connections to the database.
    pub connections: u32,
    /// Deposits of an account that are not yet `safe` are spendable at once while their sum stays at or below this.
    pub trust_latest: Usdc,
    /// Deposits that are not yet `finalized` are spendable once `safe` while their sum stays at or below this.
    pub trust_safe: Usdc,
    /// Seconds after which a relayer that does not answer counts as stopped: its jobs' holds are released. PostgreSQL only;
    /// with SQLite there is one process, and what its predecessor held is released at the start.
    pub lease_seconds: u64,
    /// Seconds after which a hold is released although its process lives: longer than any job may take.
    pub hold_seconds: u64,
    /// Most rows of a batch, where few fit a transaction (Solana).
    pub most_rows: Option<u64>,
    /// Days for which the answer of a job is kept for retries. Receipts are kept for good.
    pub keep_answers_days: u64,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            url: "sqlite:relayer.db".into(),
            connections: 8,
            trust_latest: Usdc::from_micros(100_000_000),
            trust_safe: Usdc::from_micros(10_000_000_000),
            lease_seconds: 60,
            hold_seconds: 3600,
            most_rows: None,
            keep_answers_days: 30,
        }
    }
}

impl std::fmt::Debug for LedgerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerConfig")
            // The URL may hold a password.
            .field("url", &self.url.split(':').next().unwrap_or_default())
            .field("connections", &self.connections)
            .field("trust_latest", &self.trust_latest)
            .field("trust_safe", &self.trust_safe)
            .finish_non_exhaustive()
    }
}
