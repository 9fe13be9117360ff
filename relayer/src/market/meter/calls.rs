//! Rows of calls. Whoever changes one holds its session's row.

use compute_futures_protocol::B256;
use compute_futures_protocol::market::SessionId;
use sqlx::AnyConnection;

use super::{Claim, Execution, Hold, Known, NewCall};
use crate::ledger::sql::{Columns, bytes, int, micros};
use crate::ledger::{LedgerError, StoredAnswer};
use crate::market::sessions::session_id;

/// A call as it stands.
pub(super) struct Call {
    id: B256,
    session: SessionId,
    order: Option<B256>,
    state: String,
    answer: Option<Vec<u8>>,
    pub(super) attempt: u64,
}

impl Call {
    /// What it means for an order; `None`: it failed, and the same order may be tried again.
    pub(super) fn known(&self, order: B256) -> Option<Known> {
        if self.order != Some(order) {
            return Some(Known::OtherOrder);
        }
        match (self.state.as_str(), &self.answer) {
            ("done", Some(answer)) => Some(Known::Answered {
                session: self.session,
                answer: StoredAnswer { status: 200, body: answer.clone().into() },
            }),
            ("done", None) => Some(Known::Expired(self.id)),
            ("failed", _) => None,
            _ => Some(Known::Running),
        }
    }
}

pub(super) async fn find(connection: &mut AnyConnection, execution_id: B256) -> Result<Option<Call>, LedgerError> {
    let row =
        sqlx::query("SELECT session, order_hash, state, answer, attempt FROM market_calls WHERE execution_id = $1")
            .bind(bytes(execution_id))
            .fetch_optional(connection)
            .await?;
    row.map(|row| {
        let mut columns = Columns::of(&row);
        Ok(Call {
            id: execution_id,
            session: session_id(columns.int()?)?,
            order: columns.optional_hash()?,
            state: columns.text()?,
            answer: columns.optional_bytes()?.map(std::borrow::Cow::into_owned),
            attempt: columns.int()?,
        })
    })
    .transpose()
}

/// Calls of a session that run now.
pub(super) async fn open_of(connection: &mut AnyConnection, session: SessionId) -> Result<u64, LedgerError> {
    let row = sqlx::query("SELECT COUNT(*) FROM market_calls WHERE session = $1 AND state = 'open'")
        .bind(int(session.get()))
        .fetch_one(connection)
        .await?;
    Columns::of(&row).int()
}

/// Writes an attempt at a call. `false`: somebody else runs it.
pub(super) async fn open(
    connection: &mut AnyConnection,
    call: &NewCall,
    attempt: u64,
    lease: u64,
    now: u64,
) -> Result<bool, LedgerError> {
    let written = sqlx::query(
        "INSERT INTO market_calls (execution_id, session, provider, agent, nonce, order_hash, request_hash, model, state, held, lease, \
         attempt, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10, $11, $12) \
         ON CONFLICT (execution_id) DO UPDATE SET session = excluded.session, provider = excluded.provider, state = 'open', \
         held = excluded.held, lease = excluded.lease, attempt = excluded.attempt, error_json = NULL, created_ms = excluded.created_ms \
         WHERE market_calls.state = 'failed' AND market_calls.attempt < excluded.attempt",
    )
    .bind(bytes(call.execution_id))
    .bind(int(call.session.get()))
    .bind(i64::from(call.provider))
    .bind(call.agent.to_vec())
    .bind(bytes(call.nonce))
    .bind(bytes(call.order))
    .bind(bytes(call.request_hash))
    .bind(call.model.as_str())
    .bind(micros(call.hold))
    .bind(int(lease))
    .bind(int(attempt))
    .bind(int(now))
    .execute(connection)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Ends an attempt without a charge, once.
pub(super) async fn end_failed(connection: &mut AnyConnection, hold: &Hold, code: &str) -> Result<(), LedgerError> {
    let ended = sqlx::query(
        "UPDATE market_calls SET state = 'failed', error_json = $1 WHERE execution_id = $2 AND attempt = $3 AND state = 'open'",
    )
    .bind(super::failure(code).to_string())
    .bind(bytes(hold.call.execution_id))
    .bind(int(hold.attempt))
    .execute(&mut *connection)
    .await?;
    if ended.rows_affected() == 1 {
        sqlx::query("UPDATE market_sessions SET held = held - $1 WHERE id = $2")
            .bind(micros(hold.call.hold))
            .bind(int(hold.call.session.get()))
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Keeps a claim that could not be true.
pub(super) async fn keep_case(
    connection: &mut AnyConnection,
    hold: &Hold,
    execution: &Execution,
    now: u64,
) -> Result<(), LedgerError> {
    let (input, output) = match execution.claim {
        Claim::Tokens { input, output } => (Some(input.to_string()), Some(output.to_string())),
        Claim::None | Claim::Unreadable => (None, None),
    };
    sqlx::query(
        "INSERT INTO market_cases (execution_id, provider, claimed_input, claimed_output, counted_input, counted_output, paid, \
         created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(bytes(hold.call.execution_id))
    .bind(i64::from(hold.call.provider))
    .bind(input)
    .bind(output)
    .bind(i64::from(execution.metered.input))
    .bind(i64::from(execution.metered.output))
    .bind(micros(execution.cost))
    .bind(int(now))
    .execute(connection)
    .await?;
    Ok(())
}
