//! What happened to an account, newest first: deposits, debits, shortfalls, ceilings, delegates, refunds.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api, accounts,
    answer::{self, Amount, Page, Place},
    error::{ApiError, ApiResult, ErrorBody},
    input::{self, At, Params},
    view::{self, Now},
};
use crate::{error::Result, store::Row};
use compute_futures_chain::Finality;

/// The kinds a history can be narrowed to.
const KINDS: [&str; 8] = ["deposit", "sweep", "debit", "shortfall", "ceiling", "delegate", "refundRequest", "refund"];

/// One arm a kind, each bounded by itself, so that a page costs a page whatever the account's age.
const HISTORY: &str = "
SELECT h.*, b.timestamp AS timestamp, t.tx AS batch_tx FROM (
  SELECT * FROM (SELECT position, 'deposit' AS kind, amount, CAST(NULL AS BIGINT) AS list_amount, discount_bps, credit AS total,
      CAST(NULL AS BIGINT) AS batch_number, payer AS party, tx, CAST(NULL AS BIGINT) AS extra
    FROM deposits WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'deposit') ORDER BY position DESC LIMIT $3) AS a
  UNION ALL
  SELECT * FROM (SELECT position, 'sweep' AS kind, amount, CAST(NULL AS BIGINT) AS list_amount, CAST(NULL AS BIGINT) AS discount_bps,
      CAST(NULL AS BIGINT) AS total, CAST(NULL AS BIGINT) AS batch_number, deposit_address AS party, tx, fee AS extra
    FROM sweeps WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'sweep') ORDER BY position DESC LIMIT $3) AS b
  UNION ALL
  SELECT * FROM (SELECT position, 'debit' AS kind, charged AS amount, list_amount, discount_bps, total_charged AS total,
      batch_number, CAST(NULL AS BYTEA) AS party, CAST(NULL AS BYTEA) AS tx, remainder AS extra
    FROM debits WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'debit') ORDER BY position DESC LIMIT $3) AS c
  UNION ALL
  SELECT * FROM (SELECT position, 'shortfall' AS kind, uncovered AS amount, list_amount, CAST(NULL AS BIGINT) AS discount_bps,
      CAST(NULL AS BIGINT) AS total, batch_number, CAST(NULL AS BYTEA) AS party, CAST(NULL AS BYTEA) AS tx, CAST(NULL AS BIGINT) AS extra
    FROM shortfalls WHERE account_id = $1 AND foreign_to IS NULL AND position < $2 AND ($5 = '' OR $5 = 'shortfall')
    ORDER BY position DESC LIMIT $3) AS d
  UNION ALL
  SELECT * FROM (SELECT position, 'ceiling' AS kind, ceiling AS amount, CAST(NULL AS BIGINT) AS list_amount, CAST(NULL AS BIGINT) AS discount_bps,
      CAST(NULL AS BIGINT) AS total, CAST(NULL AS BIGINT) AS batch_number, signer AS party, tx, CAST(NULL AS BIGINT) AS extra
    FROM ceilings WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'ceiling') ORDER BY position DESC LIMIT $3) AS e
  UNION ALL
  SELECT * FROM (SELECT position, 'delegate' AS kind, CAST(NULL AS BIGINT) AS amount, CAST(NULL AS BIGINT) AS list_amount,
      CAST(NULL AS BIGINT) AS discount_bps, CAST(NULL AS BIGINT) AS total, CAST(NULL AS BIGINT) AS batch_number, delegate AS party, tx,
      CAST(NULL AS BIGINT) AS extra
    FROM delegates WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'delegate') ORDER BY position DESC LIMIT $3) AS f
  UNION ALL
  SELECT * FROM (SELECT position, 'refundRequest' AS kind, CAST(NULL AS BIGINT) AS amount, CAST(NULL AS BIGINT) AS list_amount,
      CAST(NULL AS BIGINT) AS discount_bps, CAST(NULL AS BIGINT) AS total, CAST(NULL AS BIGINT) AS batch_number, owner AS party, tx,
      refundable_at AS extra
    FROM refund_requests WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'refundRequest') ORDER BY position DESC LIMIT $3) AS g
  UNION ALL
  SELECT * FROM (SELECT position, 'refund' AS kind, amount, CAST(NULL AS BIGINT) AS list_amount, CAST(NULL AS BIGINT) AS discount_bps,
      CAST(NULL AS BIGINT) AS total, CAST(NULL AS BIGINT) AS batch_number, owner AS party, tx, by_operator AS extra
    FROM refunds WHERE account_id = $1 AND position < $2 AND ($5 = '' OR $5 = 'refund') ORDER BY position DESC LIMIT $3) AS i
) AS h
LEFT JOIN blocks b ON b.number = h.position / 1048576
LEFT JOIN batches t ON t.operator_index = $4 AND t.batch_number = h.batch_number
ORDER BY h.position DESC LIMIT $3";

/// One thing that happened. Fields that a kind does not have are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryEntry {
    /// `deposit`, `sweep`, `debit`, `shortfall`, `ceiling`, `delegate`, `refundRequest` or `refund`.
    pub kind: String,
    /// Deposited, charged, not covered, refunded, or the new ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Before discount (debit, shortfall).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_amount: Option<Amount>,
    /// Applied (debit) or earned (deposit), in basis points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_bps: Option<u16>,
    /// Credit after a deposit; total charged after a debit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Amount>,
    /// Batch of a debit or shortfall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_number: Option<u64>,
    /// Payer, deposit address, signer, delegate, or whom a refund was paid to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Kept by the operator (sweep).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee: Option<Amount>,
    /// Carried into the next charge, in 1/10,000 micro-USDC (debit).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remainder: Option<u16>,
    /// When the owner may refund, in seconds since 1970 (refund request).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refundable_at: Option<String>,
    /// Whether the operator agreed to the refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_operator: Option<bool>,
    /// Where on chain.
    pub at: Place,
}

/// `?operator=&network=&kind=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Operator index: needed with a futures id.
    pub operator: Option<u32>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
    /// One kind only.
    pub kind: Option<String>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// History of an account, newest first.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/history", tag = "accounts",
    params(("id" = String, Path, description = "account id, or futures id with ?operator="), HistoryParams),
    responses((status = 200, body = Page<HistoryEntry>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(api): State<Api>,
    At(id): At<String>,
    Params(params): Params<HistoryParams>,
) -> ApiResult<Json<Page<HistoryEntry>>> {
    let (network, id) = api.account(&id, params.operator, params.network.as_deref())?;
    let kind = params.kind.as_deref().unwrap_or_default();
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(ApiError::bad_request(
            "invalid_kind",
            "no such kind of entry",
            format!("pass one of {}", KINDS.join(", ")),
        ));
    }
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let (mut tx, now) = view::open(network).await?;
    accounts::load(&mut tx, id).await?.ok_or_else(|| accounts::unknown(id, Finality::Latest))?;
    let rows = tx
        .all(HISTORY, &[id.into(), before.into(), (limit as u64 + 1).into(), id.operator_index().into(), kind.into()])
        .await?;
    let items = rows.iter().map(|row| entry(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(Page::cut(items, limit, &now)))
}

fn entry(row: &Row, now: &Now) -> Result<(u64, HistoryEntry)> {
    let position = row.u64("position")?;
    let kind = row.text("kind")?;
    let amount = |column: &str| row.opt_u64(column).map(|micros| micros.map(Amount::from));
    let extra = row.opt_u64("extra")?;
    let only = |wanted: &str| extra.filter(|_| kind == wanted);
    let tx = match row.opt_bytes("tx")? {
        Some(_) => Some(row.transaction("tx")?),
        None if row.opt_bytes("batch_tx")?.is_some() => Some(row.transaction("batch_tx")?),
        None => None,
    };
    let entry = HistoryEntry {
        amount: amount("amount")?,
        list_amount: amount("list_amount")?,
        discount_bps: row.opt_u64("discount_bps")?.and_then(|bps| u16::try_from(bps).ok()),
        total: amount("total")?,
        batch_number: row.opt_u64("batch_number")?,
        address: row.opt_address("party")?.map(answer::address),
        fee: only("sweep").map(Amount::from),
        remainder: only("debit").and_then(|remainder| u16::try_from(remainder).ok()),
        refundable_at: only("refundRequest").map(|at| at.to_string()),
        by_operator: only("refund").map(|flag| flag != 0),
        at: Place::new(position, row.opt_u64("timestamp")?, tx, now),
        kind,
    };
    Ok((position, entry))
}
