//! What events say about providers and sessions. The same events in the same order give the same rows: a row is folded anew from all its
//! events when one of them comes or goes.

use std::collections::BTreeSet;

use compute_futures_chain::ChainEvent;
use compute_futures_chain::market::MarketEvent;
use compute_futures_protocol::market::{ProviderContent, SessionId};
use compute_futures_protocol::{Address, B256, TransactionId, Usdc};
use sqlx::AnyConnection;

use super::sessions::{self, ChainStatus, session_id};
use crate::ledger::sql::{Columns, int, micros, to_json};
use crate::ledger::{LedgerError, now_ms};

/// Rows that have to be folded anew.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) providers: BTreeSet<u32>,
    pub(super) sessions: BTreeSet<SessionId>,
    pub(super) escrows: BTreeSet<u32>,
}

/// Name under which an event is stored: its tag in JSON.
pub(super) const fn name_of(event: &MarketEvent) -> &'static str {
    match event {
        MarketEvent::ProviderRegistered { .. } => "providerRegistered",
        MarketEvent::ProviderUpdated { .. } => "providerUpdated",
        MarketEvent::ProviderRetired { .. } => "providerRetired",
        MarketEvent::EscrowCreated { .. } => "escrowCreated",
        MarketEvent::EscrowFunded { .. } => "escrowFunded",
        MarketEvent::Swept { .. } => "swept",
        MarketEvent::Recovered { .. } => "recovered",
        MarketEvent::AgentAdded { .. } => "agentAdded",
        MarketEvent::AgentRemoved { .. } => "agentRemoved",
        MarketEvent::SessionOpened { .. } => "sessionOpened",
        MarketEvent::SessionClosed { .. } => "sessionClosed",
        MarketEvent::SessionShortfall { .. } => "sessionShortfall",
        MarketEvent::SessionLapsed { .. } => "sessionLapsed",
        MarketEvent::SessionRejected { .. } => "sessionRejected",
        MarketEvent::EscrowRefunded { .. } => "escrowRefunded",
        MarketEvent::EscrowExpired { .. } => "escrowExpired",
        MarketEvent::EarningsWithdrawn { .. } => "earningsWithdrawn",
    }
}

/// Stores what concerns us, and says which rows it touches. `ours`: the transactions that we sent.
pub(super) async fn store(
    connection: &mut AnyConnection,
    meter: Address,
    events: &[ChainEvent<MarketEvent>],
    ours: &BTreeSet<TransactionId>,
) -> Result<Touched, LedgerError> {
    let mut touched = Touched::default();
    for event in events {
        let mut keep = ours.contains(&event.meta.transaction);
        match &event.kind {
            MarketEvent::ProviderRegistered { provider_id, content_hash, content, .. }
            | MarketEvent::ProviderUpdated { provider_id, content_hash, content, .. } => {
                keep = true;
                touched.providers.insert(*provider_id);
                if let Some(content) = content {
                    keep_content(connection, *content_hash, content).await?;
                }
            }
            MarketEvent::ProviderRetired { provider_id, .. } => {
                keep = true;
                touched.providers.insert(*provider_id);
            }
            MarketEvent::SessionOpened { session, meter: named, .. } if *named == meter => {
                keep = true;
                touched.sessions.insert(*session);
            }
            MarketEvent::SessionClosed { session, .. } | MarketEvent::SessionLapsed { session, .. } => {
                let known = touched.sessions.contains(session) || sessions::load(connection, *session).await?.is_some();
                keep |= known;
                if known {
                    touched.sessions.insert(*session);
                }
            }
            MarketEvent::EscrowExpired { escrow_id, .. } => {
                keep = true;
                touched.escrows.insert(*escrow_id);
            }
            _ => {}
        }
        if keep {
            insert(connection, event).await?;
        }
    }
    Ok(touched)
}

async fn insert(connection: &mut AnyConnection, event: &ChainEvent<MarketEvent>) -> Result<(), LedgerError> {
    let number = |number: Option<u32>| number.map(i64::from);
    sqlx::query(
        "INSERT INTO market_events (block_number, log_index, block_hash, block_timestamp, transaction_hash, provider, escrow, session, \
         kind, event_json) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(int(event.meta.block_number))
    .bind(int(event.meta.log_index))
    .bind(event.meta.block_hash.to_vec())
    .bind(int(event.meta.block_timestamp))
    .bind(event.meta.transaction.to_vec())
    .bind(number(event.kind.provider()))
    .bind(number(event.kind.escrow()))
    .bind(event.kind.session().map(|session| int(session.get())))
    .bind(name_of(&event.kind))
    .bind(to_json(&event.kind)?)
    .execute(connection)
    .await?;
    Ok(())
}

async fn keep_content(
    connection: &mut AnyConnection,
    hash: B256,
    content: &ProviderContent,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT INTO market_contents (hash, content_json) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING")
        .bind(hash.to_vec())
        .bind(to_json(content)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// What events above a block touched, before they are undone.
pub(super) async fn touched_above(connection: &mut AnyConnection, above: i64) -> Result<Touched, LedgerError> {
    let mut touched = Touched::default();
    let rows =
        sqlx::query("SELECT DISTINCT provider, session, escrow, kind FROM market_events WHERE block_number > $1")
            .bind(above)
            .fetch_all(connection)
            .await?;
    for row in &rows {
        let mut columns = Columns::of(row);
        if let Some(provider) = columns.optional_int()? {
            touched.providers.insert(u32::try_from(provider).map_err(corrupt)?);
        }
        if let Some(session) = columns.optional_int()? {
            touched.sessions.insert(session_id(session)?);
        }
        let escrow = columns.optional_int()?;
        if let (Some(escrow), "escrowExpired") = (escrow, columns.text()?.as_str()) {
            touched.escrows.insert(u32::try_from(escrow).map_err(corrupt)?);
        }
    }
    Ok(touched)
}

fn corrupt(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Corrupt(error.to_string())
}

/// Folds every touched row from the events that are stored now.
pub(super) async fn project(connection: &mut AnyConnection, mut touched: Touched) -> Result<(), LedgerError> {
    for escrow in std::mem::take(&mut touched.escrows) {
        let rows = sqlx::query("SELECT id FROM market_sessions WHERE escrow = $1")
            .bind(i64::from(escrow))
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            touched.sessions.insert(session_id(Columns::of(row).int()?)?);
        }
    }
    for provider in touched.providers {
        project_provider(connection, provider).await?;
    }
    for session in touched.sessions {
        project_session(connection, session).await?;
    }
    Ok(())
}

async fn events_of(
    connection: &mut AnyConnection,
    query: &'static str,
    key: i64,
    second: i64,
) -> Result<Vec<(u64, TransactionId, MarketEvent)>, LedgerError> {
    let rows = sqlx::query(query).bind(key).bind(second).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::of(row);
            Ok((columns.int()?, columns.transaction()?, columns.json()?))
        })
        .collect()
}

async fn project_provider(connection: &mut AnyConnection, id: u32) -> Result<(), LedgerError> {
    let events = events_of(
        connection,
        "SELECT block_number, transaction_hash, event_json FROM market_events WHERE provider = $1 AND $2 = 0 AND kind IN \
         ('providerRegistered', 'providerUpdated', 'providerRetired') ORDER BY block_number, log_index",
        i64::from(id),
        0,
    )
    .await?;
    sqlx::query("DELETE FROM market_providers WHERE id = $1").bind(i64::from(id)).execute(&mut *connection).await?;
    let mut published: Option<(Address, u32, B256, Option<ProviderContent>)> = None;
    let mut retired = false;
    for (_, _, event) in events {
        match event {
            MarketEvent::ProviderRegistered { owner, version, content_hash, content, .. }
            | MarketEvent::ProviderUpdated { owner, version, content_hash, content, .. } => {
                published = Some((owner, version, content_hash, content));
                retired = false;
            }
            MarketEvent::ProviderRetired { version, .. } => {
                retired = true;
                if let Some(published) = &mut published {
                    published.1 = version;
                }
            }
            _ => {}
        }
    }
    let Some((owner, version, hash, content)) = published else { return Ok(()) };
    sqlx::query(
        "INSERT INTO market_providers (id, owner, version, content_hash, content_json, retired) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(i64::from(id))
    .bind(owner.to_vec())
    .bind(i64::from(version))
    .bind(hash.to_vec())
    .bind(content.as_ref().map(to_json).transpose()?)
    .bind(i64::from(retired))
    .execute(connection)
    .await?;
    Ok(())
}

/// A session as its events tell it.
struct OnChain {
    agent: Address,
    provider: u32,
    content_hash: B256,
    limit: Usdc,
    deadline: u64,
    opened_block: u64,
    status: ChainStatus,
    paid: Option<Usdc>,
    transaction: Option<TransactionId>,
}

fn fold(events: Vec<(u64, TransactionId, MarketEvent)>) -> Option<OnChain> {
    let mut found: Option<OnChain> = None;
    for (block, transaction, event) in events {
        match (event, &mut found) {
            (MarketEvent::SessionOpened { agent, provider_id, content_hash, limit, deadline, .. }, slot @ None) => {
                *slot = Some(OnChain {
                    agent,
                    provider: provider_id,
                    content_hash,
                    limit,
                    deadline,
                    opened_block: block,
                    status: ChainStatus::Open,
                    paid: None,
                    transaction: None,
                });
            }
            (MarketEvent::SessionClosed { cost, .. }, Some(session)) if session.status == ChainStatus::Open => {
                session.status = ChainStatus::Closed;
                (session.paid, session.transaction) = (Some(cost), Some(transaction));
            }
            (MarketEvent::SessionLapsed { .. } | MarketEvent::EscrowExpired { .. }, Some(session))
                if session.status == ChainStatus::Open =>
            {
                session.status = ChainStatus::Lapsed;
                session.transaction = Some(transaction);
            }
            _ => {}
        }
    }
    found
}

async fn project_session(connection: &mut AnyConnection, id: SessionId) -> Result<(), LedgerError> {
    let events = events_of(
        connection,
        "SELECT block_number, transaction_hash, event_json FROM market_events \
         WHERE session = $1 OR (escrow = $2 AND kind = 'escrowExpired') ORDER BY block_number, log_index",
        int(id.get()),
        i64::from(id.escrow()),
    )
    .await?;
    let Some(now) = fold(events) else {
        sqlx::query(
            "UPDATE market_sessions SET chain_status = 'gone', paid = NULL, transaction_hash = NULL WHERE id = $1",
        )
        .bind(int(id.get()))
        .execute(connection)
        .await?;
        return Ok(());
    };
    let least = least_charge(connection, now.content_hash).await?;
    match sessions::lock(connection, id).await? {
        None => {
            sqlx::query(
                "INSERT INTO market_sessions (id, escrow, agent, provider, content_hash, session_limit, deadline, opened_block, \
                 least_charge, chain_status, state, void, cost, held, receipts, last_call_ms, attempts, retry_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', 'open', 0, 0, 0, 0, $10, 0, 0)",
            )
            .bind(int(id.get()))
            .bind(i64::from(id.escrow()))
            .bind(now.agent.to_vec())
            .bind(i64::from(now.provider))
            .bind(now.content_hash.to_vec())
            .bind(micros(now.limit))
            .bind(int(now.deadline))
            .bind(int(now.opened_block))
            .bind(least)
            .bind(int(now_ms()))
            .execute(&mut *connection)
            .await?;
        }
        Some(known) => {
            let same = (known.agent, known.provider, known.content_hash, known.limit)
                == (now.agent, now.provider, now.content_hash, now.limit);
            let touched = known.receipts > 0 || !known.held.is_zero() || known.signed_cost.is_some();
            if !same && touched {
                tracing::error!(session = %id, "a reorg gave this session's id to another; calls on the first are charged to nobody");
                sqlx::query(
                    "UPDATE market_sessions SET void = 1, state = 'closing', cost = 0, receipts = 0, signed_cost_json = NULL, \
                     purpose = NULL WHERE id = $1",
                )
                .bind(int(id.get()))
                .execute(&mut *connection)
                .await?;
            }
            sqlx::query(
                "UPDATE market_sessions SET agent = $2, provider = $3, content_hash = $4, session_limit = $5, deadline = $6, \
                 opened_block = $7, least_charge = $8 WHERE id = $1",
            )
            .bind(int(id.get()))
            .bind(now.agent.to_vec())
            .bind(i64::from(now.provider))
            .bind(now.content_hash.to_vec())
            .bind(micros(now.limit))
            .bind(int(now.deadline))
            .bind(int(now.opened_block))
            .bind(least)
            .execute(&mut *connection)
            .await?;
        }
    }
    // What is over takes no calls, whoever ended it.
    sqlx::query(
        "UPDATE market_sessions SET chain_status = $2, paid = $3, transaction_hash = $4, \
         state = CASE WHEN state = 'open' AND $5 = 1 THEN 'closing' ELSE state END WHERE id = $1",
    )
    .bind(int(id.get()))
    .bind(now.status.name())
    .bind(now.paid.map(micros))
    .bind(now.transaction.map(|transaction| transaction.to_vec()))
    .bind(i64::from(now.status != ChainStatus::Open))
    .execute(connection)
    .await?;
    Ok(())
}

/// What the cheapest call at these prices costs. Without a minimum charge that is a micro-USDC, and so it is where nobody can read them.
async fn least_charge(connection: &mut AnyConnection, content_hash: B256) -> Result<i64, LedgerError> {
    let row = sqlx::query("SELECT content_json FROM market_contents WHERE hash = $1")
        .bind(content_hash.to_vec())
        .fetch_optional(connection)
        .await?;
    let content: Option<ProviderContent> = row.map(|row| Columns::of(&row).json()).transpose()?;
    Ok(content.map_or(1, |content| micros(content.minimum_charge)).max(1))
}
