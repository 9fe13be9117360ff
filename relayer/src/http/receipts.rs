//! `GET /api/v1/receipts/{operatorIndex}/{batchNumber}`: the receipts of a batch, for anyone (I-7).

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderName, header},
};
use compute_futures_protocol::{BatchDocument, Chain};

use super::state::AppState;
use crate::error::{ApiError, ApiResult};

/// The batch as it was sealed. It never changes, so it may be cached for ever. Operators and batches are counted on each chain for
/// itself: `network` says on which; left out, it is Base where that is served, else the only one that is.
///
/// # Errors
/// 404 for another operator's batches and for batches that are not sealed yet.
pub(super) async fn batch(
    State(app): State<AppState>,
    RawQuery(query): RawQuery,
    path: Result<Path<(String, String)>, PathRejection>,
) -> ApiResult<([(HeaderName, &'static str); 1], Json<BatchDocument>)> {
    // A path that is not even text is no number either.
    let Path((operator_index, batch_number)) = path.unwrap_or_else(|_| Path(Default::default()));
    // Digits only: whatever else a parser takes (`+1`) would be a second name of the same document.
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let named = (operator_index.parse::<u32>(), batch_number.parse::<u64>());
    let (Ok(operator_index), Ok(batch_number), true, true) =
        (named.0, named.1, digits(&operator_index), digits(&batch_number))
    else {
        return Err(ApiError::bad_request(
            "invalid_request",
            "operator index and batch number are whole numbers",
            "write /api/v1/receipts/1/1",
        ));
    };
    let network = app.networks.get(chain(&app, query.as_deref().unwrap_or_default())?)?;
    let ours = network.operator.operator_index;
    if operator_index != ours {
        return Err(ApiError::not_found(
            "unknown_operator",
            format!("on {} this relayer belongs to operator {ours}", network.chain()),
            "ask the relayer of that operator, or name another `network`",
        ));
    }
    let document = network.ledger.batch_document(batch_number).await?.ok_or_else(|| {
        ApiError::not_found(
            "unknown_batch",
            format!("batch {batch_number} is not sealed on {}", network.chain()),
            "batches count from 1 on each network; the open one is published once it is sealed",
        )
    })?;
    Ok(([(header::CACHE_CONTROL, "public, max-age=31536000, immutable")], Json(document)))
}

/// The chain that a query names, or the first one served: Base, where it is served.
fn chain(app: &AppState, query: &str) -> ApiResult<Chain> {
    match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "network") {
        Some((_, name)) => app.networks.chain_named(&name),
        None => app.networks.chains().next().ok_or_else(crate::payment::gates::no_network),
    }
}
