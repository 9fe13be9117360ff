//! `POST /api/v1/gpu/run` and `GET /api/v1/gpu/models`: models of a GPU cloud.

use axum::Json;
use axum::extract::State;
use compute_futures_protocol::JobKind;

use super::models::shape;
use super::shapes::ModelList;
use super::state::AppState;

/// Shortcuts for models, with prices.
pub(super) async fn models(State(state): State<AppState>) -> Json<ModelList> {
    let models = state.catalog.models().iter().filter(|model| model.rate.kind == JobKind::Gpu);
    Json(ModelList {
        models: models.map(|model| shape(&state, model)).collect(),
        rate_card_hash: state.catalog.rate_card_hash().to_string(),
    })
}
