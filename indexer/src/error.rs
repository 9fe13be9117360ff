//! What can go wrong inside the indexer, away from HTTP (see `http::error` for what a client sees).

use compute_futures_chain::ChainError;

/// Failure of the indexer.
#[derive(Debug, thiserror::Error)]
pub enum IndexerError {
    /// Settings that cannot work; the message says which and what to write instead.
    #[error("configuration: {0}")]
    Config(String),
    /// The database did not answer or refused.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migrations: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The chain could not be read.
    #[error("chain: {0}")]
    Chain(#[from] ChainError),
    /// A stored row does not decode: the database was changed by something else.
    #[error("a stored row does not decode ({0}); rebuild the database: every row is derived from the chain")]
    Corrupt(String),
    /// The database follows another deployment than the configuration names.
    #[error(
        "the database belongs to another deployment ({0}); use another database, or delete this one: every row is derived from the chain"
    )]
    OtherDeployment(String),
    /// The chain replaced blocks that it had called final.
    #[error(
        "the chain replaced block {block}, beyond the {window} blocks kept for rollback; check the RPC URLs, then delete the database to follow anew"
    )]
    DeepReorg {
        /// Oldest block known to be replaced.
        block: u64,
        /// Blocks kept.
        window: u64,
    },
    /// Another process moved the cursor: this one starts again from where it stands now.
    #[error("another process follows into the same database")]
    CursorMoved,
    /// The address to listen on is taken or not ours.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// `host:port`.
        address: String,
        /// What the system says.
        cause: std::io::Error,
    },
}

impl IndexerError {
    /// Whether waiting may mend it; everything else wants somebody to look.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Chain(cause) => !matches!(cause, ChainError::Config(_)),
            Self::Database(_) | Self::CursorMoved => true,
            _ => false,
        }
    }
}

/// Result of the indexer.
pub type Result<T, E = IndexerError> = std::result::Result<T, E>;
