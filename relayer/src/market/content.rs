//! Providers as they stand, and everything that any of them ever published.

use compute_futures_protocol::market::ProviderContent;
use compute_futures_protocol::{Address, B256};

use super::Market;
use crate::ledger::LedgerError;
use crate::ledger::sql::{Columns, int};

/// A provider as the registry says it is, as far as it was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredProvider {
    /// Its id.
    pub id: u32,
    /// Who registered it.
    pub owner: Address,
    /// Counts its changes.
    pub version: u32,
    /// What sessions name.
    pub content_hash: B256,
    /// What it publishes; `None` when that is no text, and nobody can agree to it.
    pub content: Option<ProviderContent>,
    /// Whether it takes sessions no more.
    pub retired: bool,
}

macro_rules! columns {
    () => {
        "id, owner, version, content_hash, content_json, retired"
    };
}

fn read(row: &sqlx::any::AnyRow) -> Result<StoredProvider, LedgerError> {
    let mut columns = Columns::of(row);
    Ok(StoredProvider {
        id: columns.number()?,
        owner: columns.address()?,
        version: columns.number()?,
        content_hash: columns.hash()?,
        content: columns.optional_text()?.as_deref().map(crate::ledger::sql::from_json).transpose()?,
        retired: columns.flag()?,
    })
}

impl Market {
    /// The provider of this id; `None` when none is followed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provider(&self, id: u32) -> Result<Option<StoredProvider>, LedgerError> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM market_providers WHERE id = $1"))
            .bind(i64::from(id))
            .fetch_optional(&self.ledger.db.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Every provider that is not retired, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn providers(&self) -> Result<Vec<StoredProvider>, LedgerError> {
        let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM market_providers WHERE retired = $1 ORDER BY id"))
            .bind(int(0))
            .fetch_all(&self.ledger.db.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// What some provider published under this hash: what sessions that name it are priced at (I-11).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn content(&self, hash: B256) -> Result<Option<ProviderContent>, LedgerError> {
        let row = sqlx::query("SELECT content_json FROM market_contents WHERE hash = $1")
            .bind(hash.to_vec())
            .fetch_optional(&self.ledger.db.pool)
            .await?;
        row.map(|row| Columns::of(&row).json()).transpose()
    }
}
