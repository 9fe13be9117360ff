//! What does not add up, and is stored and served as it is.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    answer::{Page, Place},
    error::{ApiResult, ErrorBody},
    input::{self, Params},
    view::{self, Now},
};
use crate::{
    error::Result,
    store::{Row, Value},
};

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

/// `?network=&operator=&account=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DiscrepancyParams {
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
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
pub(super) async fn list(
    State(api): State<Api>,
    Params(params): Params<DiscrepancyParams>,
) -> ApiResult<Json<Page<DiscrepancyAnswer>>> {
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let which = params.network.as_deref();
    let (network, account) = match params.account.as_deref() {
        None => (api.named(which)?, None),
        Some(text) => api.account(text, params.operator, which).map(|(network, id)| (network, Some(id)))?,
    };
    let (mut tx, now) = view::open(network).await?;
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
    let items = rows.iter().map(|row| discrepancy(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(whole_positions(items, limit, &now)))
}

fn discrepancy(row: &Row, now: &Now) -> Result<(u64, DiscrepancyAnswer)> {
    let position = row.u64("position")?;
    let answer = DiscrepancyAnswer {
        code: row.text("code")?,
        operator_index: row.opt_u64("operator_index")?,
        account_id: row.opt_u64("account_id")?.map(|id| id.to_string()),
        batch_number: row.opt_u64("batch_number")?,
        detail: row.text("detail")?,
        at: Place::new(position, row.opt_u64("timestamp")?, None, now),
    };
    Ok((position, answer))
}

/// Up to `limit` positions, with everything at each.
pub(super) fn whole_positions<T>(mut items: Vec<(u64, T)>, limit: usize, now: &Now) -> Page<T> {
    let mut positions: Vec<u64> = items.iter().map(|(position, _)| *position).collect();
    positions.dedup();
    let last = positions.get(limit - 1).copied().filter(|_| positions.len() > limit);
    if let Some(last) = last {
        items.retain(|(position, _)| *position >= last);
    }
    Page {
        items: items.into_iter().map(|(_, item)| item).collect(),
        next: last.map(|p| p.to_string()),
        as_of: now.into(),
    }
}
