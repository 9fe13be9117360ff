//! Closing sessions at Σ receipts (I-10, I-7), and lapsing those that were not closed in time.
//!
//! ```text
//! open ─due─▶ closing ─calls ended─▶ closed: cost signed, and queued to be sent, in one transaction ─outbox▶ SessionClosed
//!                                       │ its row was rejected: alone, again, until its deadline
//!                                       └ past its deadline ─outbox▶ SessionLapsed: the creator has its money back
//! ```
//! What is signed never changes. A transaction may be lost, sent twice, or brought by somebody else: the chain closes a session once.

use std::sync::Arc;

use compute_futures_chain::Action;
use compute_futures_chain::market::{MarketAction, SignedCost};
use compute_futures_protocol::market::{MarketDomain, SessionCost, SessionId};
use compute_futures_protocol::{B256, ReceiptTree, Signer, Usdc};
use sqlx::AnyConnection;

use super::sessions::{self, ChainStatus, MAX_RECEIPTS, Session, SessionState, session_id};
use crate::config::MarketConfig;
use crate::ledger::sql::{Columns, int, to_json};
use crate::ledger::{Ledger, LedgerError, now_ms};
use crate::settlement::{Purpose, outbox, purpose};

/// Most sessions in one transaction, where the chain allows more.
pub(super) const MOST_ROWS: u64 = 50;
/// Milliseconds before a session that could not be closed is tried again; doubled with each attempt, up to 32 times.
const RETRY_MS: u64 = 5_000;

/// Closes and lapses.
pub(crate) struct Closer {
    pub(crate) ledger: Ledger,
    pub(crate) domain: MarketDomain,
    pub(crate) settings: Arc<MarketConfig>,
    /// Most sessions in one transaction.
    pub(crate) rows: u64,
}

/// Sessions whose newest transaction, if there was one, is over.
macro_rules! nothing_under_way {
    () => {
        "(purpose IS NULL OR EXISTS (SELECT 1 FROM outbox WHERE outbox.purpose = market_sessions.purpose \
         AND outbox.state IN ('confirmed', 'failed')))"
    };
}

impl Closer {
    /// One look at everything. `chain_time`: that of the newest block followed, unix seconds.
    pub(crate) async fn round(&self, chain_time: u64) -> Result<(), LedgerError> {
        // Past its deadline by either clock, a session can be closed no more.
        let now = chain_time.max(now_ms() / 1000);
        self.end_calls().await?;
        self.close(now).await?;
        self.close_again(now).await?;
        self.lapse(chain_time).await
    }

    fn meter(&self) -> &Signer {
        &self.ledger.identity().signer
    }

    /// Sessions that are due take no calls from now on.
    async fn end_calls(&self) -> Result<(), LedgerError> {
        let now = now_ms();
        let mut tx = self.ledger.db.begin_write().await?;
        let ended = sqlx::query(
            "UPDATE market_sessions SET state = 'closing' WHERE chain_status = 'open' AND state = 'open' AND (deadline <= $1 \
             OR held = 0 AND (last_call_ms <= $2 OR session_limit - cost < least_charge OR receipts >= $3))",
        )
        .bind(int((now / 1000).saturating_add(self.settings.close_margin_seconds)))
        .bind(int(now.saturating_sub(self.settings.idle_seconds.saturating_mul(1000))))
        .bind(i64::from(MAX_RECEIPTS))
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
        if ended.rows_affected() > 0 {
            tracing::info!(sessions = ended.rows_affected(), "sessions take no more calls; closing them");
        }
        Ok(())
    }

    /// Signs what the sessions cost whose calls have ended, and queues them to be closed together.
    async fn close(&self, now: u64) -> Result<(), LedgerError> {
        loop {
            // A call that never ends must not cost its provider all the others: at half the margin they are paid without it.
            let soon = now.saturating_add(self.settings.close_margin_seconds / 2);
            let ids = self
                .ids(
                    "SELECT id FROM market_sessions WHERE chain_status = 'open' AND state = 'closing' \
                     AND (held = 0 OR void = 1 OR deadline <= $1) AND deadline >= $2 ORDER BY id LIMIT $3",
                    int(soon),
                    int(now),
                )
                .await?;
            if ids.is_empty() {
                return Ok(());
            }
            let full = ids.len() as u64 == self.rows;
            let mut tx = self.ledger.db.begin_write().await?;
            let mut closes = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(session) = sessions::lock(tx.connection(), id).await? else { continue };
                let due = session.held.is_zero() || session.void || session.deadline <= soon;
                if session.chain_status == ChainStatus::Open && session.state == SessionState::Closing && due {
                    closes.push((session.attempts, self.sign(tx.connection(), &session).await?));
                }
            }
            let Some((attempts, first)) = closes.first() else { return Ok(()) };
            let (purpose, count) = (close_purpose(first.cost.session_id, attempts + 1), closes.len());
            for (attempts, close) in &closes {
                sqlx::query("UPDATE market_sessions SET state = 'closed', signed_cost_json = $2 WHERE id = $1")
                    .bind(int(close.cost.session_id.get()))
                    .bind(to_json(close)?)
                    .execute(tx.connection())
                    .await?;
                under_way(tx.connection(), close.cost.session_id, &purpose, *attempts).await?;
            }
            let mut closes: Vec<SignedCost> = closes.into_iter().map(|(_, close)| close).collect();
            let action = match (closes.len(), closes.pop()) {
                (1, Some(close)) => MarketAction::CloseSession { close },
                (_, last) => {
                    closes.extend(last);
                    MarketAction::CloseSessions { closes }
                }
            };
            enqueue(tx.connection(), &purpose, action).await?;
            tx.commit().await?;
            crate::failpoint!("market::after_sign");
            metrics::counter!("relayer_market_sessions_total", "network" => self.ledger.network(), "outcome" => "signed")
                .increment(count as u64);
            tracing::info!(%purpose, sessions = count, "session costs signed");
            if !full {
                return Ok(());
            }
        }
    }

    /// The cost of a session: Σ receipts, under their root.
    async fn sign(&self, connection: &mut AnyConnection, session: &Session) -> Result<SignedCost, LedgerError> {
        let receipts = sessions::receipts_of(connection, session.id).await?;
        let micros = receipts.iter().map(|stored| stored.receipt.cost.micros()).fold(0, u64::saturating_add);
        let cost = Usdc::try_from(micros).unwrap_or(Usdc::MAX);
        let in_order = receipts.iter().zip(1..).all(|(stored, place)| stored.receipt.sequence == place);
        if !session.void && (cost != session.cost || receipts.len() != session.receipts as usize || !in_order) {
            // Nobody is paid what no receipt says, and a person has to look.
            metrics::counter!("relayer_ledger_mismatches_total", "network" => self.ledger.network()).increment(1);
            tracing::error!(
                session = %session.id, receipts = receipts.len(), %cost, booked = %session.cost, counted = session.receipts,
                "the session's receipts do not add up to what was booked; it is closed at what they say"
            );
        }
        let digests: Vec<B256> = receipts.iter().map(|stored| stored.receipt.digest(&self.domain)).collect();
        let cost = SessionCost {
            session_id: session.id,
            provider_id: session.provider,
            cost,
            receipt_count: u32::try_from(receipts.len()).unwrap_or(u32::MAX),
            receipts_root: ReceiptTree::new(&digests).map_or(B256::ZERO, |tree| tree.root()),
        };
        let signature = self.meter().sign(cost.digest(&self.domain)).to_vec().into();
        Ok(SignedCost { cost, signature })
    }

    /// Sessions whose row was rejected, or whose transaction was refused: each alone, so that nothing of another stands in its way.
    async fn close_again(&self, now: u64) -> Result<(), LedgerError> {
        let ids = self
            .ids(
                concat!(
                    "SELECT id FROM market_sessions WHERE chain_status = 'open' AND state = 'closed' AND deadline >= $1 AND retry_ms <= $2 AND ",
                    nothing_under_way!(),
                    " ORDER BY id LIMIT $3"
                ),
                int(now),
                int(now_ms()),
            )
            .await?;
        for id in ids {
            let mut tx = self.ledger.db.begin_write().await?;
            let Some(session) = sessions::lock(tx.connection(), id).await? else { continue };
            let (ChainStatus::Open, Some(close)) = (session.chain_status, session.signed_cost) else { continue };
            let purpose = close_purpose(id, session.attempts + 1);
            under_way(tx.connection(), id, &purpose, session.attempts).await?;
            enqueue(tx.connection(), &purpose, MarketAction::CloseSession { close }).await?;
            tx.commit().await?;
            metrics::counter!("relayer_market_sessions_total", "network" => self.ledger.network(), "outcome" => "again")
                .increment(1);
            tracing::warn!(session = %id, attempt = session.attempts + 1, "the session is still open on chain; closing it alone");
        }
        Ok(())
    }

    /// Sessions past their deadline: nobody can be paid any more, and the creator gets its money back.
    async fn lapse(&self, chain_time: u64) -> Result<(), LedgerError> {
        let ids = self
            .ids(
                concat!(
                    "SELECT id FROM market_sessions WHERE chain_status = 'open' AND deadline < $1 AND retry_ms <= $2 AND ",
                    nothing_under_way!(),
                    " ORDER BY id LIMIT $3"
                ),
                int(chain_time),
                int(now_ms()),
            )
            .await?;
        if ids.is_empty() {
            return Ok(());
        }
        let mut tx = self.ledger.db.begin_write().await?;
        let mut over = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(session) = sessions::lock(tx.connection(), id).await? else { continue };
            if session.chain_status == ChainStatus::Open {
                if !session.cost.is_zero() {
                    metrics::counter!("relayer_market_lapsed_micro_usdc_total", "network" => self.ledger.network())
                        .increment(session.cost.micros());
                    tracing::error!(session = %id, cost = %session.cost, "the session was not closed in time; its provider is not paid");
                }
                over.push(session);
            }
        }
        // Those that could not be lapsed together are tried one by one.
        let batches: Vec<Vec<Session>> = match over.iter().all(|session| session.attempts < 2) {
            _ if over.is_empty() => return Ok(()),
            true => vec![over],
            false => over.into_iter().map(|session| vec![session]).collect(),
        };
        for batch in batches {
            let purpose = Purpose::new(
                "market-lapse",
                batch.first().map_or_else(String::new, |first| format!("{}:{}", first.id, first.attempts + 1)),
            );
            for session in &batch {
                sqlx::query("UPDATE market_sessions SET state = 'closing' WHERE id = $1 AND state = 'open'")
                    .bind(int(session.id.get()))
                    .execute(tx.connection())
                    .await?;
                under_way(tx.connection(), session.id, &purpose, session.attempts).await?;
            }
            let action = match batch.as_slice() {
                [only] => MarketAction::LapseSession { session: only.id },
                all => MarketAction::LapseSessions { sessions: all.iter().map(|session| session.id).collect() },
            };
            enqueue(tx.connection(), &purpose, action).await?;
            tracing::info!(%purpose, sessions = batch.len(), "lapsing sessions past their deadline");
        }
        tx.commit().await
    }

    async fn ids(&self, query: &'static str, first: i64, second: i64) -> Result<Vec<SessionId>, LedgerError> {
        let rows =
            sqlx::query(query).bind(first).bind(second).bind(int(self.rows)).fetch_all(&self.ledger.db.pool).await?;
        rows.iter().map(|row| session_id(Columns::of(row).int()?)).collect()
    }
}

fn close_purpose(session: SessionId, attempt: u64) -> Purpose {
    Purpose::new("market-close", format_args!("{session}:{attempt}"))
}

/// Notes which transaction ends the session now, and when to look at it again should that not work.
async fn under_way(
    connection: &mut AnyConnection,
    id: SessionId,
    purpose: &Purpose,
    attempts: u64,
) -> Result<(), LedgerError> {
    let pause = RETRY_MS << attempts.min(5);
    sqlx::query("UPDATE market_sessions SET purpose = $2, attempts = attempts + 1, retry_ms = $3 WHERE id = $1")
        .bind(int(id.get()))
        .bind(purpose.as_str().to_owned())
        .bind(int(now_ms().saturating_add(pause)))
        .execute(connection)
        .await?;
    Ok(())
}

async fn enqueue(connection: &mut AnyConnection, purpose: &Purpose, action: MarketAction) -> Result<(), LedgerError> {
    let action = Action::Market(action);
    let subject = purpose::subject_of(&action, || None);
    outbox::enqueue(connection, purpose, &action, &subject).await
}
