//! Batches: what was posted, which rows it had, and what became of its receipts.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    answer::{Amount, AsOf, Page, Place},
    choose::NetworkParams,
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, PageParams, Params},
    operators,
    view::{self, Now},
};
use crate::{error::Result, project::Position, receipts::DocumentState, store::Row};

/// A posted batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    /// Operator.
    pub operator_index: u32,
    /// Number, per operator, from 1.
    pub batch_number: u64,
    /// Merkle root of its receipts.
    pub receipts_root: String,
    /// Receipts it announces.
    pub receipt_count: u64,
    /// Rows it had.
    pub row_count: u64,
    /// Σ charged.
    pub charged: Amount,
    /// Whether the published receipts were fetched and hold.
    pub receipts: ReceiptsState,
    /// Where on chain.
    pub at: Place,
    /// Which block this answer speaks of.
    pub as_of: AsOf,
}

/// What became of a batch's published receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptsState {
    /// `none` (announces none), `pending`, `verified` or `refused`.
    pub state: &'static str,
    /// How many times they were asked for.
    pub attempts: u64,
    /// Why they are not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A row of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchRow {
    /// `debit`, `shortfall` (not covered), or `foreign` (another operator's account or none: nothing happened).
    pub kind: String,
    /// Account, as the operator wrote it.
    pub account_id: String,
    /// Before discount.
    pub list_amount: Amount,
    /// Applied discount, in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_bps: Option<u16>,
    /// Charged, or not covered.
    pub amount: Amount,
    /// Index among the block's logs.
    pub log_index: u64,
}

const SELECT: &str = "SELECT b.*, k.timestamp, d.state, d.attempts, d.reason FROM batches b
    LEFT JOIN blocks k ON k.number = b.position / 1048576 LEFT JOIN documents d ON d.position = b.position
    WHERE b.operator_index = $1 AND b.batch_number < $2 ORDER BY b.batch_number DESC LIMIT $3";

fn describe(row: &Row, now: &Now) -> Result<(u64, Batch)> {
    let number = row.u64("batch_number")?;
    let state = match row.opt_u64("state")? {
        None => "none",
        Some(state) => DocumentState::from_u64(state).name(),
    };
    let batch = Batch {
        operator_index: row.u32("operator_index")?,
        batch_number: number,
        receipts_root: row.b256("receipts_root")?.to_string(),
        receipt_count: row.u64("receipt_count")?,
        row_count: row.u64("row_count")?,
        charged: row.u64("charged")?.into(),
        receipts: ReceiptsState {
            state,
            attempts: row.opt_u64("attempts")?.unwrap_or_default(),
            reason: row.opt_text("reason")?,
        },
        at: Place::new(row.u64("position")?, row.opt_u64("timestamp")?, Some(row.transaction("tx")?), now),
        as_of: now.into(),
    };
    Ok((number, batch))
}

/// Batches of an operator, newest first.
#[utoipa::path(get, path = "/api/v1/operators/{index}/batches", tag = "batches", params(("index" = u32, Path), PageParams),
    responses((status = 200, body = Page<Batch>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    At(index): At<String>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<Batch>>> {
    operators::newest(&api, &index, &params, SELECT, describe).await
}

/// A batch.
#[utoipa::path(get, path = "/api/v1/operators/{index}/batches/{number}", tag = "batches",
    params(("index" = u32, Path), ("number" = u64, Path), NetworkParams),
    responses((status = 200, body = Batch), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(api): State<Api>,
    At((index, number)): At<(String, String)>,
    Params(which): Params<NetworkParams>,
) -> ApiResult<Json<Batch>> {
    let (mut tx, now) = view::open(api.named(which.name())?).await?;
    let (_, batch) = find(&mut tx, &index, &number, &now).await?;
    Ok(Json(batch))
}

/// Rows of a batch, in the order they were posted.
#[utoipa::path(get, path = "/api/v1/operators/{index}/batches/{number}/rows", tag = "batches",
    params(("index" = u32, Path), ("number" = u64, Path), PageParams),
    responses((status = 200, body = Page<BatchRow>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn rows(
    State(api): State<Api>,
    At((index, number)): At<(String, String)>,
    Params(params): Params<PageParams>,
) -> ApiResult<Json<Page<BatchRow>>> {
    let (after, limit) = params.read(0)?;
    let (mut tx, now) = view::open(api.named(params.network.as_deref())?).await?;
    let (position, batch) = find(&mut tx, &index, &number, &now).await?;
    // A batch is one transaction: its rows stand in its block, under its number, before it.
    let from = after.max(Position::start_of(Position::from_u64(position).block()).as_u64().saturating_sub(1));
    let low = u64::from(batch.operator_index) << 32;
    let rows = tx
        .all(
            "SELECT * FROM (
               SELECT position, 'debit' AS kind, account_id, list_amount, discount_bps, charged AS amount FROM debits
               WHERE position > $1 AND position < $2 AND batch_number = $3 AND account_id >= $4 AND account_id < $5
               UNION ALL
               SELECT position, CASE WHEN foreign_to IS NULL THEN 'shortfall' ELSE 'foreign' END AS kind, account_id, list_amount,
                      CAST(NULL AS BIGINT) AS discount_bps, uncovered AS amount FROM shortfalls
               WHERE position > $1 AND position < $2 AND batch_number = $3
                 AND (foreign_to = $7 OR (foreign_to IS NULL AND account_id >= $4 AND account_id < $5))
             ) AS r ORDER BY position LIMIT $6",
            &[
                from.into(),
                position.into(),
                batch.batch_number.into(),
                low.into(),
                (low + (1 << 32)).into(),
                (limit as u64 + 1).into(),
                batch.operator_index.into(),
            ],
        )
        .await?;
    let item = |row: &Row| -> Result<(u64, BatchRow)> {
        let position = row.u64("position")?;
        let entry = BatchRow {
            kind: row.text("kind")?,
            account_id: row.u64("account_id")?.to_string(),
            list_amount: row.u64("list_amount")?.into(),
            discount_bps: row.opt_u64("discount_bps")?.and_then(|bps| u16::try_from(bps).ok()),
            amount: row.u64("amount")?.into(),
            log_index: Position::from_u64(position).log_index(),
        };
        Ok((position, entry))
    };
    let items = rows.iter().map(item).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

async fn find(tx: &mut crate::store::Tx, index: &str, number: &str, now: &Now) -> ApiResult<(u64, Batch)> {
    let index: u32 = input::number("operator index", index)?;
    let number: u64 = input::number("batch number", number)?;
    if number > compute_futures_protocol::MAX_BATCH_NUMBER {
        return Err(ApiError::bad_request("invalid_number", "batch numbers have at most 40 bits", "check the number"));
    }
    operators::load(tx, index).await?;
    let row = tx.first(SELECT, &[index.into(), (number + 1).into(), 1u64.into()]).await?;
    match row {
        Some(row) if row.u64("batch_number")? == number => Ok((row.u64("position")?, describe(&row, now)?.1)),
        _ => Err(ApiError::not_found(
            "unknown_batch",
            format!("operator {index} has no batch {number}"),
            format!("list its batches at /api/v1/operators/{index}/batches"),
        )),
    }
}
