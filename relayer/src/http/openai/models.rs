//! `GET /v1/models`.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::state::AppState;

/// Models that run here now, with what they do.
pub(in crate::http) async fn models(State(state): State<AppState>) -> Json<Value> {
    let models = state.catalog.models().iter().filter(|model| state.providers.is_available(model));
    let data: Vec<Value> = models
        .map(|model| {
            json!({
                "id": model.rate.id,
                "object": "model",
                // Models here have no birthday; clients require a number.
                "created": 0,
                "owned_by": model.routes.first().map_or("", |route| route.provider.as_str()),
                "kind": model.rate.kind,
                "name": model.rate.name,
            })
        })
        .collect();
    Json(json!({ "object": "list", "data": data }))
}
