//! `GET /api/v1/compute/models`: what is on offer and what it costs.

use axum::{Json, extract::State};
use compute_futures_protocol::{ModelRate, Usdc};

use super::{
    shapes::{ModelList, ModelShape},
    state::AppState,
};

/// Models in file order, with prices and whether they could run now.
pub(super) async fn list(State(app): State<AppState>) -> Json<ModelList> {
    let models = app
        .catalog
        .models()
        .iter()
        .map(|model| {
            let rate = &model.rate;
            ModelShape {
                id: rate.id.clone(),
                kind: rate.kind.to_string(),
                name: rate.name.clone(),
                description: model.description.clone(),
                providers: model.routes.iter().map(|route| route.provider.clone()).collect(),
                available: app.providers.is_available(model),
                auto: model.auto,
                price: price_for_people(rate),
                per_call_micro_usdc: rate.per_call.micros().to_string(),
                per_1k_input_tokens_micro_usdc: rate.per_1k_input_tokens.micros().to_string(),
                per_1k_output_tokens_micro_usdc: rate.per_1k_output_tokens.micros().to_string(),
                context_length: rate.context_length,
                max_output_tokens: rate.max_output_tokens,
            }
        })
        .collect();
    Json(ModelList { models, rate_card_hash: app.catalog.rate_card_hash().to_string() })
}

/// `"$0.03 a call"`, `"$0.0002 per 1k tokens in + $0.0006 per 1k tokens out"`.
fn price_for_people(rate: &ModelRate) -> String {
    let part = |price: Usdc, unit: &str| (!price.is_zero()).then(|| format!("${price} {unit}"));
    let parts = [
        part(rate.per_call, "a call"),
        part(rate.per_1k_input_tokens, "per 1k tokens in"),
        part(rate.per_1k_output_tokens, "per 1k tokens out"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
}
