//! The marketplace of a network as a whole, and whether its vault holds what it owes.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::{
    Api,
    answer::{self, Amount, AsOf},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::Params,
};
use crate::market::MarketSolvency;

/// Totals over all providers and escrows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct MarketTotals {
    /// Providers that ever registered.
    pub providers: u64,
    /// Providers that are not retired.
    pub active_providers: u64,
    /// Escrows ever created.
    pub escrows: u64,
    /// Escrows that were not emptied.
    pub open_escrows: u64,
    /// Sessions ever opened.
    pub sessions: u64,
    /// Sessions that are open.
    pub open_sessions: u64,
    /// Sessions that were closed.
    pub closed_sessions: u64,
    /// Receipts announced at closings.
    pub receipts: u64,
    /// Receipts fetched and verified.
    pub receipts_verified: u64,
    /// Σ fundings.
    pub funded: Amount,
    /// Σ costs of closed sessions.
    pub spent: Amount,
    /// Paid back to creators.
    pub refunded: Amount,
    /// Σ unreserved.
    pub unreserved: Amount,
    /// Σ reserved.
    pub reserved: Amount,
    /// Σ unwithdrawn earnings.
    pub earnings: Amount,
    /// Σ withdrawals.
    pub withdrawn: Amount,
    /// Σ of what meters signed beyond limits, and nobody paid.
    pub uncovered: Amount,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// Totals of the marketplace.
#[utoipa::path(get, path = "/api/v1/market/totals", tag = "market", params(NetworkParams),
    responses((status = 200, body = MarketTotals), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn totals(
    State(api): State<Api>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<MarketTotals>> {
    let (mut tx, now) = super::open(api.market(which.name())?).await?;
    let missing = || crate::IndexerError::Corrupt("no totals".into());
    let escrows = tx
        .first(
            "SELECT COUNT(*) AS escrows, CAST(COALESCE(SUM(1 - emptied), 0) AS BIGINT) AS open_escrows,
             CAST(COALESCE(SUM(funded), 0) AS BIGINT) AS funded, CAST(COALESCE(SUM(spent), 0) AS BIGINT) AS spent,
             CAST(COALESCE(SUM(refunded), 0) AS BIGINT) AS refunded, CAST(COALESCE(SUM(unreserved), 0) AS BIGINT) AS unreserved,
             CAST(COALESCE(SUM(reserved), 0) AS BIGINT) AS reserved, CAST(COALESCE(SUM(session_count), 0) AS BIGINT) AS sessions,
             CAST(COALESCE(SUM(open_sessions), 0) AS BIGINT) AS open_sessions FROM market_escrows",
            &[],
        )
        .await?
        .ok_or_else(missing)?;
    let providers = tx
        .first(
            "SELECT COUNT(*) AS providers, COUNT(content_hash) AS active, CAST(COALESCE(SUM(earned), 0) AS BIGINT) AS earned,
             CAST(COALESCE(SUM(withdrawn), 0) AS BIGINT) AS withdrawn, CAST(COALESCE(SUM(uncovered), 0) AS BIGINT) AS uncovered,
             CAST(COALESCE(SUM(closed), 0) AS BIGINT) AS closed, CAST(COALESCE(SUM(receipts), 0) AS BIGINT) AS receipts
             FROM market_providers",
            &[],
        )
        .await?
        .ok_or_else(missing)?;
    let verified = tx
        .first(
            "SELECT CAST(COALESCE(SUM(s.receipt_count), 0) AS BIGINT) AS n FROM market_documents d
             JOIN market_sessions s ON s.id = d.session_id WHERE d.state = 1",
            &[],
        )
        .await?
        .map_or(Ok(0), |row| row.u64("n"))?;
    let (earned, withdrawn) = (providers.u64("earned")?, providers.u64("withdrawn")?);
    let amount = |column: &str| escrows.u64(column).map(Amount::from);
    Ok(Json(MarketTotals {
        providers: providers.u64("providers")?,
        active_providers: providers.u64("active")?,
        escrows: escrows.u64("escrows")?,
        open_escrows: escrows.u64("open_escrows")?,
        sessions: escrows.u64("sessions")?,
        open_sessions: escrows.u64("open_sessions")?,
        closed_sessions: providers.u64("closed")?,
        receipts: providers.u64("receipts")?,
        receipts_verified: verified,
        funded: amount("funded")?,
        spent: amount("spent")?,
        refunded: amount("refunded")?,
        unreserved: amount("unreserved")?,
        reserved: amount("reserved")?,
        earnings: earned.saturating_sub(withdrawn).into(),
        withdrawn: withdrawn.into(),
        uncovered: providers.u64("uncovered")?.into(),
        as_of: (&now).into(),
    }))
}

/// What the vault holds and what it owes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct MarketSolvencyAnswer {
    /// Whether balance ≥ unreserved + reserved + earnings (I-1).
    pub solvent: bool,
    /// Tokens the vault holds.
    pub balance: Amount,
    /// Σ unreserved.
    pub unreserved: Amount,
    /// Σ reserved.
    pub reserved: Amount,
    /// Σ unwithdrawn earnings.
    pub earnings: Amount,
    /// Checked at the end of this block.
    pub block: u64,
    /// Time of the check, RFC 3339.
    pub checked_at: Option<String>,
    /// Which block the rest of the service speaks of now.
    pub as_of: AsOf,
}

/// The newest solvency check of the marketplace (I-1).
#[utoipa::path(get, path = "/api/v1/market/solvency", tag = "market", params(NetworkParams),
    responses((status = 200, body = MarketSolvencyAnswer), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(in crate::http) async fn solvency(
    State(api): State<Api>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<MarketSolvencyAnswer>> {
    let (mut tx, now) = super::open(api.market(which.name())?).await?;
    let found = MarketSolvency::load(&mut tx).await?.ok_or_else(|| {
        ApiError::unavailable(
            "not_checked_yet",
            "solvency has not been checked yet",
            "it is checked once the indexer has caught up; see /api/v1/status",
        )
    })?;
    Ok(Json(MarketSolvencyAnswer {
        solvent: found.solvent(),
        balance: found.balance.into(),
        unreserved: found.unreserved.into(),
        reserved: found.reserved.into(),
        earnings: found.earnings.into(),
        block: found.block_number,
        checked_at: answer::rfc3339(found.checked_at),
        as_of: (&now).into(),
    }))
}
