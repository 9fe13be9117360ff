//! The meter: every call holds its most on the session, and ends as a receipt or with nothing (I-8, I-10).
//!
//! ```text
//! reserve ── held += hold, call open ──▶ provider ──▶ charge ── held −= hold, cost += cost, receipts += 1, receipt signed, call done
//!                                             └─────▶ fail   ── held −= hold, call failed
//! ```
//! Each arrow is one transaction that takes the session's row first, so calls of one session stand in a line, on one relayer or on
//! several. Receipts are numbered by that row: 1, 2, 3, without gaps. Whoever reserves again after a failure gets a new attempt, and
//! an attempt ends only its own hold.

mod calls;
pub mod orphans;
pub mod tokenizer;
pub mod usage;

use compute_futures_protocol::market::{MarketDomain, SessionId, SessionReceipt};
use compute_futures_protocol::{Address, B256, Signature, Usdc, keccak256};
use serde_json::Value;

pub use usage::{Claim, Count, Metered, Side};

use super::outcomes::Seen;
use super::{ChainStatus, Market, Session, SessionState, outcomes};
use crate::ledger::sql::{bytes, int, micros, to_json};
use crate::ledger::{LedgerError, StoredAnswer, now_ms};

/// A call that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Of the agent and its nonce there is one.
    pub execution_id: B256,
    /// Who pays.
    pub session: SessionId,
    /// Who serves.
    pub provider: u32,
    /// Who asks.
    pub agent: Address,
    /// The order's.
    pub nonce: B256,
    /// Digest of the order: the same nonce under another one is another order.
    pub order: B256,
    /// What is asked.
    pub request_hash: B256,
    /// Name of the model.
    pub model: String,
    /// Most that it can cost.
    pub hold: Usdc,
}

/// A hold on a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The call.
    pub call: NewCall,
    attempt: u64,
}

impl Hold {
    /// What the provider knows this attempt by: the execution, and from the second attempt on keccak256 of it and the attempt's number
    /// (8 bytes, big-endian). A provider takes each name once, and may have answered an attempt whose answer never arrived here: that
    /// must not keep it from the next one.
    #[must_use]
    pub fn ordered_as(&self) -> B256 {
        let execution = self.call.execution_id;
        if self.attempt <= 1 {
            return execution;
        }
        keccak256([execution.as_slice(), &self.attempt.to_be_bytes()].concat())
    }
}

/// What became of a wish to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// Go ahead.
    Held(Box<Hold>),
    /// There was a call of this order before.
    Known(Known),
    /// The session does not take it.
    Refused(Refusal),
}

/// A call that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is not over.
    Running,
    /// It was answered: this is the answer.
    Answered {
        /// The session that paid.
        session: SessionId,
        /// As it was sent.
        answer: StoredAnswer,
    },
    /// It was answered so long ago that only its receipt is kept.
    Expired(B256),
    /// Its nonce stood in another order.
    OtherOrder,
}

/// Why a session does not take a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not ours, or not seen yet.
    Unknown,
    /// Closing, closed, lapsed, or too close to its deadline.
    NotOpen(&'static str),
    /// As many receipts as a session can have.
    Full,
    /// Not enough is left of its limit.
    Exhausted {
        /// What is left.
        available: Usdc,
        /// What the call may cost.
        needed: Usdc,
    },
}

/// What an execution was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Hash of the answer.
    pub output_hash: B256,
    /// What is charged for.
    pub metered: Metered,
    /// What it costs, at most the hold.
    pub cost: Usdc,
    /// From request to whole answer.
    pub latency_ms: u64,
    /// What the provider claimed: kept where it is disputed.
    pub claim: Claim,
}

/// A charge: the receipt, and the answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// What it cost.
    pub receipt: SessionReceipt,
    /// As it is sent.
    pub answer: StoredAnswer,
}

/// Why a call was not charged.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The hold is gone: the call took longer than any may, and was given up.
    #[error("the call was given up before it ended")]
    GivenUp,
    /// The session ended while the call ran.
    #[error("the session ended while the call ran: it is {0}")]
    SessionEnded(&'static str),
}

/// A receipt as it is to be signed, its digest and its signature.
#[derive(Debug, Clone)]
pub struct Signed<'a> {
    /// The receipt.
    pub receipt: &'a SessionReceipt,
    /// What is signed.
    pub digest: B256,
    /// By the meter.
    pub signature: Signature,
}

impl Market {
    /// Whether this order was made before; a failed one counts as not made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known(&self, execution_id: B256, order: B256) -> Result<Option<Known>, LedgerError> {
        let mut connection = self.ledger.db.pool.acquire().await?;
        Ok(calls::find(&mut connection, execution_id).await?.and_then(|call| call.known(order)))
    }

    /// Holds the most that a call can cost, on its session.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reserve(&self, call: NewCall) -> Result<Reservation, LedgerError> {
        let mut tx = self.ledger.db.begin_write().await?;
        let connection = tx.connection();
        let Some(session) = super::sessions::lock(connection, call.session).await? else {
            return Ok(Reservation::Refused(Refusal::Unknown));
        };
        let earlier = calls::find(connection, call.execution_id).await?;
        if let Some(known) = earlier.as_ref().and_then(|earlier| earlier.known(call.order)) {
            return Ok(Reservation::Known(known));
        }
        let now = now_ms();
        if session.provider != call.provider || session.agent != call.agent {
            return Ok(Reservation::Refused(Refusal::Unknown));
        }
        if !session.takes_calls(now / 1000, self.settings.close_margin_seconds) {
            let status = session.status();
            return Ok(Reservation::Refused(Refusal::NotOpen(if status == "open" {
                "about to close"
            } else {
                status
            })));
        }
        if u64::from(session.receipts) + calls::open_of(connection, call.session).await?
            >= u64::from(super::MAX_RECEIPTS)
        {
            return Ok(Reservation::Refused(Refusal::Full));
        }
        if session.available() < call.hold {
            let (available, needed) = (session.available(), call.hold);
            return Ok(Reservation::Refused(Refusal::Exhausted { available, needed }));
        }
        let attempt = earlier.map_or(0, |earlier| earlier.attempt) + 1;
        if !calls::open(connection, &call, attempt, self.ledger.context.lease, now).await? {
            // Two relayers took the same order on two sessions at once; the other one was first.
            return Ok(Reservation::Known(Known::Running));
        }
        sqlx::query("UPDATE market_sessions SET held = held + $1, last_call_ms = $2 WHERE id = $3")
            .bind(micros(call.hold))
            .bind(int(now))
            .bind(int(call.session.get()))
            .execute(connection)
            .await?;
        tx.commit().await?;
        crate::failpoint!("market::after_hold");
        Ok(Reservation::Held(Box::new(Hold { call, attempt })))
    }

    /// Turns a hold into a receipt. `render` makes the answer that is kept next to it.
    ///
    /// # Errors
    /// [`ChargeError`]; nothing was charged then, and unless the database fails the hold is gone.
    pub async fn charge(
        &self,
        hold: &Hold,
        execution: &Execution,
        render: impl FnOnce(Signed<'_>) -> StoredAnswer + Send,
    ) -> Result<Charged, ChargeError> {
        let call = &hold.call;
        crate::failpoint!("market::before_charge");
        let mut tx = self.ledger.db.begin_write().await?;
        let connection = tx.connection();
        let session = super::sessions::lock(connection, call.session).await?;
        let session = session.ok_or_else(|| LedgerError::Corrupt("a call without its session".into()))?;
        let now = now_ms();
        if !may_be_charged(&session) {
            calls::end_failed(connection, hold, "session_ended").await?;
            tx.commit().await.map_err(ChargeError::Ledger)?;
            return Err(ChargeError::SessionEnded(session.status()));
        }
        if execution.cost > call.hold {
            return Err(
                LedgerError::AboveHold { job_id: call.execution_id, charge: execution.cost, hold: call.hold }.into()
            );
        }
        let receipt = SessionReceipt {
            session_id: call.session,
            sequence: session.receipts + 1,
            execution_id: call.execution_id,
            model_hash: keccak256(call.model.as_bytes()),
            request_hash: call.request_hash,
            output_hash: execution.output_hash,
            input_tokens: execution.metered.input,
            output_tokens: execution.metered.output,
            cost: execution.cost,
            latency_ms: u32::try_from(execution.latency_ms).unwrap_or(u32::MAX),
            issued_at: now / 1000,
        };
        let signed = sign(&receipt, &self.domain, &self.meter);
        let signature = signed.signature.to_vec();
        let answer = render(signed);
        let ended = sqlx::query(
            "UPDATE market_calls SET state = 'done', sequence = $1, cost = $2, receipt_json = $3, signature = $4, answer = $5, \
             input_tokens = $6, output_tokens = $7, latency_ms = $8 WHERE execution_id = $9 AND attempt = $10 AND state = 'open'",
        )
        .bind(i64::from(receipt.sequence))
        .bind(micros(receipt.cost))
        .bind(to_json(&receipt)?)
        .bind(signature)
        .bind(answer.body.to_vec())
        .bind(i64::from(receipt.input_tokens))
        .bind(i64::from(receipt.output_tokens))
        .bind(i64::from(receipt.latency_ms))
        .bind(bytes(call.execution_id))
        .bind(int(hold.attempt))
        .execute(&mut *connection)
        .await
        .map_err(LedgerError::from)?;
        if ended.rows_affected() != 1 {
            return Err(ChargeError::GivenUp);
        }
        sqlx::query(
            "UPDATE market_sessions SET held = held - $1, cost = cost + $2, receipts = receipts + 1, last_call_ms = $3 WHERE id = $4",
        )
        .bind(micros(call.hold))
        .bind(micros(receipt.cost))
        .bind(int(now))
        .bind(int(call.session.get()))
        .execute(&mut *connection)
        .await
        .map_err(LedgerError::from)?;
        if execution.metered.disputed {
            calls::keep_case(connection, hold, execution, now).await?;
        }
        outcomes::record(connection, call.provider, now, Seen::Answered(execution.latency_ms)).await?;
        tx.commit().await?;
        crate::failpoint!("market::after_charge");
        Ok(Charged { receipt, answer })
    }

    /// Lets a hold go: nothing is charged. `seen`: what it says about the provider.
    ///
    /// # Errors
    /// When the database fails; the hold is released once this process has ended.
    pub async fn fail(&self, hold: &Hold, code: &str, seen: Option<Seen>) -> Result<(), LedgerError> {
        let mut tx = self.ledger.db.begin_write().await?;
        let connection = tx.connection();
        super::sessions::lock(connection, hold.call.session).await?;
        calls::end_failed(connection, hold, code).await?;
        if let Some(seen) = seen {
            outcomes::record(connection, hold.call.provider, now_ms(), seen).await?;
        }
        tx.commit().await
    }
}

/// Whether a call that ran may still be charged: its session is not signed for, and the chain has not ended it.
fn may_be_charged(session: &Session) -> bool {
    session.chain_status == ChainStatus::Open && session.state != SessionState::Closed && !session.void
}

fn sign<'a>(
    receipt: &'a SessionReceipt,
    domain: &MarketDomain,
    meter: &compute_futures_protocol::Signer,
) -> Signed<'a> {
    let digest = receipt.digest(domain);
    Signed { receipt, digest, signature: meter.sign(digest) }
}

/// What a failed call keeps: a code of ours, never a provider's words.
fn failure(code: &str) -> Value {
    serde_json::json!({ "code": code })
}
