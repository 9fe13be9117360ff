//! `GET /api/v1/compute/models`: what is on offer and what it costs.

use axum::{Json, extract::State};
use compute_futures_protocol::{ModelRate, Usdc};

use super::{
    shapes::{ModelList, ModelShape},
    state::AppState,
};
use crate::catalog::Model;

/// Models in file order, with prices and whether they could run now.
pub(super) async fn list(State(app): State<AppState>) -> Json<ModelList> {
    let models = app.catalog.models().iter().map(|model| shape(&app, model)).collect();
    Json(ModelList { models, rate_card_hash: app.catalog.rate_card_hash().to_string() })
}

/// One model, with price and health.
pub(super) fn shape(app: &AppState, model: &Model) -> ModelShape {
    let rate = &model.rate;
    ModelShape {
        id: rate.id.clone(),
        kind: rate.kind.to_string(),
        name: rate.name.clone(),
        description: model.description.clone(),
        providers: model.providers.clone(),
        aliases: model.aliases.clone(),
        configured: model.is_configured(),
        available: app.providers.is_available(model),
        auto: model.auto,
        price: price_for_people(rate),
        per_call_micro_usdc: rate.per_call.micros().to_string(),
        per_1k_input_tokens_micro_usdc: rate.per_1k_input_tokens.micros().to_string(),
        per_1k_output_tokens_micro_usdc: rate.per_1k_output_tokens.micros().to_string(),
        per_image_micro_usdc: rate.per_image.micros().to_string(),
        per_second_micro_usdc: rate.per_second.micros().to_string(),
        per_1k_characters_micro_usdc: rate.per_1k_characters.micros().to_string(),
        context_length: rate.context_length,
        max_output_tokens: rate.max_output_tokens,
    }
}

/// `"$0.03 a call"`, `"$0.0002 per 1k tokens in + $0.0006 per 1k tokens out"`.
fn price_for_people(rate: &ModelRate) -> String {
    let part = |price: Usdc, unit: &str| (!price.is_zero()).then(|| format!("${price} {unit}"));
    let parts = [
        part(rate.per_call, "a call"),
        part(rate.per_1k_input_tokens, "per 1k tokens in"),
        part(rate.per_1k_output_tokens, "per 1k tokens out"),
        part(rate.per_image, "an image"),
        part(rate.per_second, "a second"),
        part(rate.per_1k_characters, "per 1k characters"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
}
