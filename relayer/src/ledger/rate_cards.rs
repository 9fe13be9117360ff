//! Rate cards by hash. The terms on chain name a card by its hash; what it says is kept here, for good: prices of accounts that
//! were opened under it never rise above it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use compute_futures_protocol::{B256, RateCard, keccak256};

use super::db::Db;
use super::sql::{Columns, bytes, int};
use super::{Context, Ledger, LedgerError, now_ms};

/// Cards that were read once. An operator has few, and they never change.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    known: RwLock<HashMap<B256, Arc<RateCard>>>,
}

impl Cards {
    pub(crate) fn get(&self, hash: B256) -> Option<Arc<RateCard>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    fn insert(&self, hash: B256, card: RateCard) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(hash, Arc::new(card));
    }
}

impl Ledger {
    /// Keeps a card, before the terms that name it go on chain. Keeping it again changes nothing.
    ///
    /// # Errors
    /// Database.
    pub async fn keep_rate_card(&self, card: &RateCard) -> Result<B256, LedgerError> {
        let text = card.canonical().map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let hash = keccak256(&text);
        let mut tx = self.db.begin_write().await?;
        sqlx::query(
            "INSERT INTO rate_cards (hash, version, card, kept_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(bytes(hash))
        .bind(i64::from(card.version))
        .bind(text)
        .bind(int(now_ms()))
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        self.context.cards.insert(hash, card.clone());
        Ok(hash)
    }

    /// The card with that hash as it is published: canonical JSON whose keccak256 is the hash.
    ///
    /// # Errors
    /// Database.
    pub async fn rate_card(&self, hash: B256) -> Result<Option<Vec<u8>>, LedgerError> {
        read(&self.db, hash).await
    }
}

/// Makes sure that the card of these terms is known, where it was ever kept: another relayer may have kept it since.
pub(super) async fn require(db: &Db, context: &Context, terms_version: u32) -> Result<(), LedgerError> {
    let Some(hash) = hash_of(context, terms_version) else { return Ok(()) };
    if context.cards.get(hash).is_some() {
        return Ok(());
    }
    match read(db, hash).await?.map(|text| serde_json::from_slice::<RateCard>(&text)) {
        Some(Ok(card)) => context.cards.insert(hash, card),
        Some(Err(error)) => return Err(LedgerError::Corrupt(format!("rate card {hash}: {error}"))),
        // Terms that were set from elsewhere: nobody here can say what they promised.
        None => tracing::debug!(%hash, terms_version, "the rate card of these terms was never kept here"),
    }
    Ok(())
}

/// The card that accounts of these terms were opened under.
pub(super) fn of_terms(context: &Context, terms_version: u32) -> Option<Arc<RateCard>> {
    context.cards.get(hash_of(context, terms_version)?)
}

fn hash_of(context: &Context, terms_version: u32) -> Option<B256> {
    let known = context.terms.read().unwrap_or_else(PoisonError::into_inner);
    known.get(&terms_version).map(|terms| terms.rate_card_hash)
}

async fn read(db: &Db, hash: B256) -> Result<Option<Vec<u8>>, LedgerError> {
    let row =
        sqlx::query("SELECT card FROM rate_cards WHERE hash = $1").bind(bytes(hash)).fetch_optional(&db.pool).await?;
    row.map(|row| Ok(Columns::of(&row).bytes()?.into_owned())).transpose()
}
