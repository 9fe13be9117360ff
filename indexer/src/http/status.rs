//! The whole: how following goes, totals, solvency, discrepancies.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    answer::{self, Amount, AsOf, Page, Place},
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, Params},
};
use crate::{
    error::Result,
    follow::Progress,
    solvency::Solvency,
    store::{Row, Value},
};

/// How following goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    /// CAIP-2 name of the chain.
    #[schema(example = "eip155:8453")]
    pub network: &'static str,
    /// The contract.
    pub contract: String,
    /// USDC.
    pub token: String,
    /// What is stored.
    pub as_of: AsOf,
    /// Newest block seen on the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
    /// Blocks between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Whether the newest look at the chain found nothing left to do.
    pub in_sync: bool,
    /// Times that blocks were replaced and rolled back.
    pub reorgs: u64,
    /// Events written since the process started.
    pub events: u64,
    /// Why following does not progress at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why following has stopped for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Batches whose receipts are still to be fetched.
    pub documents_pending: u64,
    /// Batches whose published receipts do not hold.
    pub documents_refused: u64,
    /// Stored discrepancies.
    pub discrepancies: u64,
}

/// How following goes, which block answers speak of, and what is open.
#[utoipa::path(get, path = "/api/v1/status", tag = "service", responses((status = 200, body = Status)))]
pub(super) async fn status(State(api): State<Api>) -> ApiResult<Json<Status>> {
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
    let mut count =
        async |sql: &'static str| -> Result<u64> { tx.first(sql, &[]).await?.map_or(Ok(0), |row| row.u64("n")) };
    let documents_pending = count("SELECT COUNT(*) AS n FROM documents WHERE state = 0").await?;
    let documents_refused = count("SELECT COUNT(*) AS n FROM documents WHERE state = 2").await?;
    let discrepancies = count("SELECT COUNT(*) AS n FROM discrepancies").await?;
    let follow = api.feed.status();
    let head = follow.head.map(|head| head.number);
    Ok(Json(Status {
        network: api.chain.caip2(),
        contract: answer::address(api.contract),
        token: answer::address(api.token),
        head,
        lag: head.map(|head| head.saturating_sub(progress.block_number)),
        in_sync: follow.in_sync,
        reorgs: progress.reorgs,
        events: follow.events,
        // The cause may name an RPC URL: the log has it.
        failure: follow.failure.map(|_| "the chain or the database does not answer; the log says more".into()),
        halted: follow.halted,
        documents_pending,
        documents_refused,
        discrepancies,
        as_of: (&progress).into(),
    }))
}

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
#[utoipa::path(get, path = "/api/v1/totals", tag = "service", responses((status = 200, body = Totals)))]
pub(super) async fn totals(State(api): State<Api>) -> ApiResult<Json<Totals>> {
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
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
        as_of: (&progress).into(),
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
#[utoipa::path(get, path = "/api/v1/solvency", tag = "service",
    responses((status = 200, body = SolvencyAnswer), (status = 503, body = ErrorBody)))]
pub(super) async fn solvency(State(api): State<Api>) -> ApiResult<Json<SolvencyAnswer>> {
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
    drop(tx);
    let found = Solvency::load(&api.store).await?.ok_or_else(|| {
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
        as_of: (&progress).into(),
    }))
}

/// What the chain or an operator says and the model does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiscrepancyAnswer {
    /// Stable name.
    #[schema(example = "charge")]
    pub code: String,
    /// Concerned operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_index: Option<u64>,
    /// Concerned account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Concerned batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_number: Option<u64>,
    /// Both figures.
    pub detail: String,
    /// Where it was seen.
    pub at: Place,
}

/// `?operator=&account=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DiscrepancyParams {
    /// Of this operator only.
    pub operator: Option<u32>,
    /// Of this account only (account id).
    pub account: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Discrepancies, newest first: charges, discounts, batches and receipts that do not add up. Published receipts that were
/// refused are among them, as `receipts_refused`.
#[utoipa::path(get, path = "/api/v1/discrepancies", tag = "service", params(DiscrepancyParams),
    responses((status = 200, body = Page<DiscrepancyAnswer>), (status = 400, body = ErrorBody)))]
pub(super) async fn discrepancies(
    State(api): State<Api>,
    Params(params): Params<DiscrepancyParams>,
) -> ApiResult<Json<Page<DiscrepancyAnswer>>> {
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let account =
        params.account.as_deref().map(|text| input::account_id(text, params.operator, api.chain)).transpose()?;
    let mut tx = api.store.snapshot().await?;
    let progress = super::progress(&mut tx).await?;
    // Several may stand at one position: a page ends between positions, so that none is skipped.
    let rows = tx
        .all(
            "SELECT x.*, b.timestamp FROM (
               SELECT position, code, operator_index, account_id, batch_number, detail FROM discrepancies
               UNION ALL
               SELECT position, 'receipts_refused' AS code, operator_index, CAST(NULL AS BIGINT) AS account_id, batch_number,
                      COALESCE(reason, '') AS detail FROM documents WHERE state = 2
             ) AS x LEFT JOIN blocks b ON b.number = x.position / 1048576
             WHERE x.position IN (SELECT DISTINCT position FROM (
               SELECT position, operator_index, account_id FROM discrepancies
               UNION ALL SELECT position, operator_index, CAST(NULL AS BIGINT) AS account_id FROM documents WHERE state = 2
             ) AS y WHERE position < $1 AND ($2 IS NULL OR operator_index = $2) AND ($3 IS NULL OR account_id = $3)
               ORDER BY position DESC LIMIT $4)
             AND ($2 IS NULL OR x.operator_index = $2) AND ($3 IS NULL OR x.account_id = $3)
             ORDER BY x.position DESC, x.code",
            &[
                before.into(),
                Value::from(params.operator.map(u64::from)),
                Value::from(account.map(|id| id.get())),
                (limit as u64 + 1).into(),
            ],
        )
        .await?;
    let items = rows.iter().map(|row| discrepancy(row, &progress)).collect::<Result<Vec<_>>>()?;
    Ok(Json(whole_positions(items, limit, &progress)))
}

fn discrepancy(row: &Row, progress: &Progress) -> Result<(u64, DiscrepancyAnswer)> {
    let position = row.u64("position")?;
    let answer = DiscrepancyAnswer {
        code: row.text("code")?,
        operator_index: row.opt_u64("operator_index")?,
        account_id: row.opt_u64("account_id")?.map(|id| id.to_string()),
        batch_number: row.opt_u64("batch_number")?,
        detail: row.text("detail")?,
        at: Place::new(position, row.opt_u64("timestamp")?, None, progress),
    };
    Ok((position, answer))
}

/// Up to `limit` positions, with everything at each.
fn whole_positions(
    mut items: Vec<(u64, DiscrepancyAnswer)>,
    limit: usize,
    progress: &Progress,
) -> Page<DiscrepancyAnswer> {
    let mut positions: Vec<u64> = items.iter().map(|(position, _)| *position).collect();
    positions.dedup();
    let last = positions.get(limit - 1).copied().filter(|_| positions.len() > limit);
    if let Some(last) = last {
        items.retain(|(position, _)| *position >= last);
    }
    Page {
        items: items.into_iter().map(|(_, item)| item).collect(),
        next: last.map(|p| p.to_string()),
        as_of: progress.into(),
    }
}

/// The process answers.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, description = "alive")))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Answers are fresh: the database answers and following is not halted or failing.
#[utoipa::path(get, path = "/ready", tag = "service", responses((status = 200, description = "ready"), (status = 503, body = ErrorBody)))]
pub(super) async fn ready(State(api): State<Api>) -> ApiResult<&'static str> {
    let mut tx = api.store.snapshot().await?;
    super::progress(&mut tx).await?;
    let follow = api.feed.status();
    if let Some(reason) = follow.halted {
        return Err(ApiError::unavailable(
            "halted",
            reason,
            "somebody has to look at it: see docs/operations/indexer.md",
        ));
    }
    if follow.failure.is_some() {
        return Err(ApiError::unavailable(
            "not_following",
            "the chain or the database does not answer",
            "answers are as of the stored block; see /api/v1/status",
        ));
    }
    if !follow.in_sync {
        return Err(ApiError::unavailable(
            "catching_up",
            "the indexer is catching up",
            "answers are as of the stored block; see /api/v1/status",
        ));
    }
    Ok("ready\n")
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "Prometheus text")))]
pub(super) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let content_type = [("content-type", "text/plain; version=0.0.4")];
    match &api.metrics {
        Some(handle) => (StatusCode::OK, content_type, handle.render()),
        None => (StatusCode::OK, content_type, "# collected by the process this indexer runs in\n".into()),
    }
}
