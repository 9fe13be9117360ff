//! What does not add up on the marketplace, stored and served as it is.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    Api,
    answer::{Page, Place},
    discrepancies::whole_positions,
    error::{ApiResult, ErrorBody},
    input::{self, Params},
    view::Now,
};
use crate::{
    error::Result,
    store::{Row, Value},
};

/// What the chain or a meter says and the model does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct MarketDiscrepancy {
    /// Stable name.
    #[schema(example = "session_beyond_limit")]
    pub code: String,
    /// Concerned escrow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escrow_id: Option<u64>,
    /// Concerned session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Concerned provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<u64>,
    /// Both figures.
    pub detail: String,
    /// Where it was seen.
    pub at: Place,
}

/// `?network=&escrow=&provider=&cursor=&limit=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct MarketDiscrepancyParams {
    /// CAIP-2 name of the network; needed where several are followed.
    pub network: Option<String>,
    /// Of this escrow only.
    pub escrow: Option<u32>,
    /// Of this provider only.
    pub provider: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Entries on a page: 1 to 500, 50 unless given.
    pub limit: Option<u32>,
}

/// Discrepancies of the marketplace, newest first. Receipts of sessions that were refused are among them, as
/// `session_receipts_refused`.
#[utoipa::path(get, path = "/api/v1/market/discrepancies", tag = "market", params(MarketDiscrepancyParams),
    responses((status = 200, body = Page<MarketDiscrepancy>), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Params(params): Params<MarketDiscrepancyParams>,
) -> ApiResult<Json<Page<MarketDiscrepancy>>> {
    let (before, limit) = input::page(params.cursor.as_deref(), params.limit, i64::MAX.cast_unsigned())?;
    let (mut tx, now) = super::open(api.market(params.network.as_deref())?).await?;
    // Several may stand at one position: a page ends between positions, so that none is skipped.
    let rows = tx
        .all(
            "WITH found AS (
               SELECT position, code, escrow_id, session_id, provider_id, detail FROM market_discrepancies
               UNION ALL
               SELECT d.position, 'session_receipts_refused' AS code, s.escrow_id, s.id AS session_id, s.provider_id,
                      COALESCE(d.reason, '') AS detail
               FROM market_documents d JOIN market_sessions s ON s.id = d.session_id WHERE d.state = 2
             ), asked AS (
               SELECT * FROM found WHERE position < $1 AND ($2 IS NULL OR escrow_id = $2) AND ($3 IS NULL OR provider_id = $3)
             )
             SELECT a.*, b.timestamp FROM asked a LEFT JOIN blocks b ON b.number = a.position / 1048576
             WHERE a.position IN (SELECT DISTINCT position FROM asked ORDER BY position DESC LIMIT $4)
             ORDER BY a.position DESC, a.code",
            &[
                before.into(),
                Value::from(params.escrow.map(u64::from)),
                Value::from(params.provider.map(u64::from)),
                (limit as u64 + 1).into(),
            ],
        )
        .await?;
    let items = rows.iter().map(|row| discrepancy(row, &now)).collect::<Result<Vec<_>>>()?;
    Ok(Json(whole_positions(items, limit, &now)))
}

fn discrepancy(row: &Row, now: &Now) -> Result<(u64, MarketDiscrepancy)> {
    let position = row.u64("position")?;
    let answer = MarketDiscrepancy {
        code: row.text("code")?,
        escrow_id: row.opt_u64("escrow_id")?,
        session_id: row.opt_u64("session_id")?.map(|id| id.to_string()),
        provider_id: row.opt_u64("provider_id")?,
        detail: row.text("detail")?,
        at: Place::new(position, row.opt_u64("timestamp")?, None, now),
    };
    Ok((position, answer))
}
