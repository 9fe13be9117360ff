//! Sessions that we meter, as the ledger holds them.
//!
//! What may be spent: cost + held ≤ limit, always (I-10). A hold and its call are one transaction, a charge and its receipt too, and so
//! are the end of calls and the signed cost: all three change the session's row first, so none overlaps another.

use compute_futures_chain::market::SignedCost;
use compute_futures_protocol::market::{SessionId, SessionReceipt};
use compute_futures_protocol::{Address, B256, Bytes, TransactionId, Usdc};
use sqlx::AnyConnection;

use super::Market;
use crate::ledger::LedgerError;
use crate::ledger::sql::{Columns, from_json, int};

/// Most receipts of one session: what its document and its tree can hold.
pub const MAX_RECEIPTS: u32 = 4_096;

/// What the chain says became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStatus {
    /// Its limit is reserved.
    Open,
    /// Paid.
    Closed,
    /// Not closed in time, or its escrow was emptied.
    Lapsed,
    /// A reorg took its opening away.
    Gone,
}

/// What happens with it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Takes calls.
    Open,
    /// Takes none any more; those in flight may end.
    Closing,
    /// Its cost is signed.
    Closed,
}

/// A session that names our key as its meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who may order calls on it.
    pub agent: Address,
    /// Who serves it.
    pub provider: u32,
    /// The prices agreed to: see [`Market::content`].
    pub content_hash: B256,
    /// Most it may cost.
    pub limit: Usdc,
    /// Last second in which it can be closed.
    pub deadline: u64,
    /// What the chain says.
    pub chain_status: ChainStatus,
    /// What the chain paid, once closed.
    pub paid: Option<Usdc>,
    /// The transaction that closed or lapsed it.
    pub transaction: Option<TransactionId>,
    /// What happens with it here.
    pub state: SessionState,
    /// A reorg gave its id to another session after calls were made: it takes none, and is closed at nothing.
    pub void: bool,
    /// Σ costs of its receipts.
    pub cost: Usdc,
    /// Σ holds of calls in flight.
    pub held: Usdc,
    /// How many receipts.
    pub receipts: u32,
    /// What was signed, once closed here.
    pub signed_cost: Option<SignedCost>,
    /// When it was last called, or seen first, in unix milliseconds.
    pub last_call_ms: u64,
    /// Transactions sent to close or lapse it.
    pub attempts: u64,
}

/// A receipt as the calls hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// What is signed.
    pub receipt: SessionReceipt,
    /// The meter's.
    pub signature: Bytes,
    /// The model's name, which the receipt has the hash of.
    pub model: String,
}

macro_rules! columns {
    () => {
        "id, agent, provider, content_hash, session_limit, deadline, chain_status, paid, transaction_hash, state, void, cost, held, \
         receipts, signed_cost_json, last_call_ms, attempts"
    };
}

pub(super) fn session_id(number: u64) -> Result<SessionId, LedgerError> {
    SessionId::try_from(number).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn read(row: &sqlx::any::AnyRow) -> Result<Session, LedgerError> {
    let mut columns = Columns::of(row);
    Ok(Session {
        id: session_id(columns.int()?)?,
        agent: columns.address()?,
        provider: columns.number()?,
        content_hash: columns.hash()?,
        limit: columns.usdc()?,
        deadline: columns.int()?,
        chain_status: ChainStatus::parse(&columns.text()?)?,
        paid: columns
            .optional_int()?
            .map(Usdc::try_from)
            .transpose()
            .map_err(|_| LedgerError::Corrupt("a session was paid more than there is".into()))?,
        transaction: columns.optional_transaction()?,
        state: SessionState::parse(&columns.text()?)?,
        void: columns.flag()?,
        cost: columns.usdc()?,
        held: columns.usdc()?,
        receipts: columns.number()?,
        signed_cost: columns.optional_text()?.as_deref().map(from_json).transpose()?,
        last_call_ms: columns.int()?,
        attempts: columns.int()?,
    })
}

impl ChainStatus {
    /// As the database and the API call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Lapsed => "lapsed",
            Self::Gone => "gone",
        }
    }

    fn parse(name: &str) -> Result<Self, LedgerError> {
        Ok(match name {
            "open" => Self::Open,
            "closed" => Self::Closed,
            "lapsed" => Self::Lapsed,
            "gone" => Self::Gone,
            other => return Err(LedgerError::Corrupt(format!("a session that is {other:?} on chain"))),
        })
    }
}

impl SessionState {
    fn parse(name: &str) -> Result<Self, LedgerError> {
        Ok(match name {
            "open" => Self::Open,
            "closing" => Self::Closing,
            "closed" => Self::Closed,
            other => return Err(LedgerError::Corrupt(format!("a session in state {other:?}"))),
        })
    }
}

impl Session {
    /// What further calls may still cost.
    #[must_use]
    pub fn available(&self) -> Usdc {
        self.limit.saturating_sub(self.cost).saturating_sub(self.held)
    }

    /// Whether it takes calls at `now` (unix seconds), when it is closed `margin` seconds before its deadline.
    #[must_use]
    pub fn takes_calls(&self, now: u64, margin: u64) -> bool {
        self.chain_status == ChainStatus::Open
            && self.state == SessionState::Open
            && !self.void
            && now.saturating_add(margin) < self.deadline
    }

    /// One word for what became of it.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match (self.chain_status, self.state) {
            (ChainStatus::Open, SessionState::Open) => "open",
            // Signed, and on its way to the chain.
            (ChainStatus::Open, _) => "closing",
            (status, _) => status.name(),
        }
    }
}

/// The session; for reading inside a transaction.
pub(crate) async fn load(connection: &mut AnyConnection, id: SessionId) -> Result<Option<Session>, LedgerError> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM market_sessions WHERE id = $1"))
        .bind(int(id.get()))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The session, held for this transaction: whoever else wants to change it waits.
pub(crate) async fn lock(connection: &mut AnyConnection, id: SessionId) -> Result<Option<Session>, LedgerError> {
    // An update that changes nothing takes the row on both engines.
    sqlx::query("UPDATE market_sessions SET attempts = attempts WHERE id = $1")
        .bind(int(id.get()))
        .execute(&mut *connection)
        .await?;
    load(connection, id).await
}

/// The receipts of a session, in order. A void session has none: what was done on its id was ordered by somebody else.
pub(crate) async fn receipts_of(
    connection: &mut AnyConnection,
    session: SessionId,
) -> Result<Vec<StoredReceipt>, LedgerError> {
    let rows = sqlx::query(
        "SELECT receipt_json, signature, model FROM market_calls \
         JOIN market_sessions ON market_sessions.id = market_calls.session AND market_sessions.void = 0 \
         WHERE session = $1 AND sequence IS NOT NULL ORDER BY sequence",
    )
    .bind(int(session.get()))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok(StoredReceipt {
                receipt: columns.json()?,
                signature: columns.bytes()?.into_owned().into(),
                model: columns.text()?,
            })
        })
        .collect()
}

impl Market {
    /// A session that we meter; `None` when it is not ours, or not followed yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, LedgerError> {
        load(&mut *self.ledger.db.pool.acquire().await?, id).await
    }

    /// Sessions of an agent in an escrow that are open on chain and take calls now, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sessions_of(&self, agent: Address, escrow: u32) -> Result<Vec<Session>, LedgerError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM market_sessions WHERE agent = $1 AND escrow = $2 AND chain_status = 'open' AND state = 'open' ORDER BY id"
        ))
        .bind(agent.to_vec())
        .bind(i64::from(escrow))
        .fetch_all(&self.ledger.db.pool)
        .await?;
        let now = crate::ledger::now_ms() / 1000;
        let mut found = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        found.retain(|session| session.takes_calls(now, self.settings.close_margin_seconds));
        Ok(found)
    }

    /// The receipts of a session, in order (I-7).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receipts_of(&self, session: SessionId) -> Result<Vec<StoredReceipt>, LedgerError> {
        receipts_of(&mut *self.ledger.db.pool.acquire().await?, session).await
    }
}
