//! A network as a whole: totals over all operators, and whether the contract holds what it owes.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    answer::{self, Amount, AsOf},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::Params,
    view,
};
use crate::solvency::Solvency;

/// Totals over all operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Totals {
    /// Operators.
    pub operators: u64,
    /// Accounts ever opened.
    pub accounts: u64,
    /// Accounts not closed.
    pub open_accounts: u64,
    /// Batches posted.
    pub batches: u64,
    /// Debits.
    pub debits: u64,
    /// Receipts announced with batches.
    pub receipts: u64,
    /// Receipts fetched and verified.
    pub receipts_verified: u64,
    /// Σ deposits.
    pub deposited: Amount,
    /// Σ list amounts.
    pub listed: Amount,
    /// Σ charged.
    pub charged: Amount,
    /// Σ refunds.
    pub refunded: Amount,
    /// Σ of what could not be charged.
    pub uncovered: Amount,
    /// Σ unspent credit.
    pub unspent: Amount,
    /// Σ unwithdrawn earnings.
    pub earnings: Amount,
    /// Σ withdrawals.
    pub withdrawn: Amount,
    /// Σ sweep fees.
    pub fees: Amount,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// Totals over all operators.
#[utoipa::path(get, path = "/api/v1/totals", tag = "service", params(NetworkParams),
    responses((status = 200, body = Totals), (status = 400, body = ErrorBody)))]
pub(super) async fn totals(State(api): State<Api>, Params(which): Params<NetworkParams>) -> ApiResult<Json<Totals>> {
    let (mut tx, now) = view::open(api.named(which.name())?).await?;
    let row = tx
        .first(
            "SELECT COUNT(*) AS operators, CAST(COALESCE(SUM(account_count), 0) AS BIGINT) AS accounts,
             CAST(COALESCE(SUM(open_accounts), 0) AS BIGINT) AS open_accounts, CAST(COALESCE(SUM(last_batch), 0) AS BIGINT) AS batches,
             CAST(COALESCE(SUM(debit_count), 0) AS BIGINT) AS debits, CAST(COALESCE(SUM(receipt_count), 0) AS BIGINT) AS receipts,
             CAST(COALESCE(SUM(deposited), 0) AS BIGINT) AS deposited, CAST(COALESCE(SUM(listed), 0) AS BIGINT) AS listed,
             CAST(COALESCE(SUM(charged), 0) AS BIGINT) AS charged, CAST(COALESCE(SUM(refunded), 0) AS BIGINT) AS refunded,
             CAST(COALESCE(SUM(uncovered), 0) AS BIGINT) AS uncovered, CAST(COALESCE(SUM(unspent), 0) AS BIGINT) AS unspent,
             CAST(COALESCE(SUM(earnings), 0) AS BIGINT) AS earnings, CAST(COALESCE(SUM(withdrawn), 0) AS BIGINT) AS withdrawn,
             CAST(COALESCE(SUM(fees), 0) AS BIGINT) AS fees FROM operators",
            &[],
        )
        .await?
        .ok_or_else(|| crate::IndexerError::Corrupt("no totals".into()))?;
    let verified = tx
        .first(
            "SELECT CAST(COALESCE(SUM(b.receipt_count), 0) AS BIGINT) AS n FROM documents d JOIN batches b ON b.position = d.position WHERE d.state = 1",
            &[],
        )
        .await?
        .map_or(Ok(0), |row| row.u64("n"))?;
    let amount = |column: &str| row.u64(column).map(Amount::from);
    Ok(Json(Totals {
        operators: row.u64("operators")?,
        accounts: row.u64("accounts")?,
        open_accounts: row.u64("open_accounts")?,
        batches: row.u64("batches")?,
        debits: row.u64("debits")?,
        receipts: row.u64("receipts")?,
        receipts_verified: verified,
        deposited: amount("deposited")?,
        listed: amount("listed")?,
        charged: amount("charged")?,
        refunded: amount("refunded")?,
        uncovered: amount("uncovered")?,
        unspent: amount("unspent")?,
        earnings: amount("earnings")?,
        withdrawn: amount("withdrawn")?,
        fees: amount("fees")?,
        as_of: (&now).into(),
    }))
}

/// What the contract holds and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SolvencyAnswer {
    /// Whether balance ≥ unspent + earnings (I-1).
    pub solvent: bool,
    /// Tokens the contract holds.
    pub balance: Amount,
    /// Σ unspent credit.
    pub unspent: Amount,
    /// Σ unwithdrawn earnings.
    pub earnings: Amount,
    /// Checked at the end of this block.
    pub block: u64,
    /// Time of the check, RFC 3339.
    pub checked_at: Option<String>,
    /// Which block the rest of the service speaks of now.
    pub as_of: AsOf,
}

/// The newest solvency check (I-1).
#[utoipa::path(get, path = "/api/v1/solvency", tag = "service", params(NetworkParams),
    responses((status = 200, body = SolvencyAnswer), (status = 503, body = ErrorBody)))]
pub(super) async fn solvency(
    State(api): State<Api>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<SolvencyAnswer>> {
    let network = api.named(which.name())?;
    let (tx, now) = view::open(network).await?;
    drop(tx);
    let found = Solvency::load(&network.store).await?.ok_or_else(|| {
        ApiError::unavailable(
            "not_checked_yet",
            "solvency has not been checked yet",
            "it is checked once the indexer has caught up; see /api/v1/status",
        )
    })?;
    Ok(Json(SolvencyAnswer {
        solvent: found.solvent(),
        balance: found.balance.into(),
        unspent: found.unspent.into(),
        earnings: found.earnings.into(),
        block: found.block_number,
        checked_at: answer::rfc3339(found.checked_at),
        as_of: (&now).into(),
    }))
}
