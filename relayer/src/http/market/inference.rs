//! `POST /api/v1/market/inference`: one inference on the budget of a session.

use axum::extract::State;
use axum::response::Response;

use crate::http::state::AppState;
use crate::payment::PaidRequest;

/// Answers 402 with what the request may cost, or carries out the order that comes with it.
pub async fn inference(State(state): State<AppState>, request: PaidRequest) -> Response {
    Box::pin(crate::market::inference::serve(&state, &request)).await
}
