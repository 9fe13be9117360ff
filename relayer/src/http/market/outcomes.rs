//! `GET /api/v1/market/providers/{id}/outcomes`: what this meter saw of a provider, hour by hour.

use axum::Json;
use axum::extract::{Path, State, rejection::PathRejection};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::at;
use super::providers::known;
use crate::error::ApiResult;
use crate::http::paid::{invalid, query};
use crate::http::state::AppState;
use crate::ledger::now_ms;
use crate::market::outcomes::Outcomes;
use crate::payment::PaidRequest;

const EXAMPLE: &str = "?network=…&from=495000&to=495023, in hours since 1970";
/// Hours of one answer: a quarter of a year.
const MOST: u64 = 92 * 24;
/// Hours when the query names none: 30 days.
const USUAL: u64 = 30 * 24;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    network: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The meter's own record of a provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct OutcomesAnswer {
    /// Oldest first; hours in which nothing was seen are left out.
    pub outcomes: Vec<Outcomes>,
}

/// Counts of calls and probes in the hours `from..=to`; left out, the last 30 days.
///
/// # Errors
/// 400 for hours that are none, or too many; 404 `unknown_provider`, `market_not_served`.
pub async fn outcomes(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<OutcomesAnswer>> {
    let Asked { network, from, to } = query(&request, EXAMPLE)?;
    let id = id.ok().and_then(|Path(id)| whole(&id)).and_then(|id| u32::try_from(id).ok());
    let id =
        id.ok_or_else(|| invalid("a provider's id is a whole number", "write /api/v1/market/providers/1/outcomes"))?;
    let hour = |name: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match whole(&text) {
            Some(hour) => Ok(Some(hour)),
            None => Err(invalid(format!("`{name}` is not a whole number of hours"), format!("use {EXAMPLE}"))),
        },
    };
    let to = hour("to", to)?.unwrap_or(now_ms() / 3_600_000);
    let from = hour("from", from)?.unwrap_or(to.saturating_sub(USUAL - 1));
    if from > to || to - from >= MOST {
        return Err(invalid(format!("`from` to `to` are not 1 to {MOST} hours"), format!("use {EXAMPLE}")));
    }
    let (_, market) = at(&state, network.as_deref())?;
    known(&market, id).await?;
    Ok(Json(OutcomesAnswer { outcomes: market.outcomes(id, from, to).await? }))
}

/// Digits only, and small enough for any database.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
