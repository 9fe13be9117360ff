//! `GET /api/v1/compute-futures/pricing`: tiers, and what each job costs at each of them.

use axum::extract::State;
use axum::response::Response;
use compute_futures_protocol::{Tier, hold_amount};
use serde_json::{Value, json};

use super::account::usdc;
use super::balance::read;
use crate::error::ApiResult;
use crate::http::paid::invalid;
use crate::http::state::AppState;
use crate::payment::answer::discount_text;
use crate::payment::gates::refuse;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};

/// Names of the tiers, by place.
const NAMES: [&str; 3] = ["builder", "scale", "enterprise"];

struct Pricing {
    state: AppState,
}

/// Tier discounts, prices by model, and the prices of the calls themselves.
pub async fn pricing(State(state): State<AppState>, request: PaidRequest) -> Response {
    if request.target.contains('?') {
        return refuse(&request, invalid("this call takes no parameters", "leave the query out"));
    }
    match state.gates() {
        Ok(gates) => {
            let price = state.config.gates.pricing;
            let offer = gates.offer("tiers and prices", price, Some(price)).or_by_transfer();
            gates.serve(&request, offer, Pricing { state }).await
        }
        Err(error) => refuse(&request, error),
    }
}

#[async_trait::async_trait]
impl Service for Pricing {
    fn kind(&self) -> &str {
        "pricing"
    }

    async fn authorise(&self, _: &Payer) -> ApiResult<Option<Draw>> {
        Ok(None)
    }

    async fn work(&self, _: &Payer) -> ApiResult<Done> {
        read(self.state.config.gates.pricing, &body(&self.state))
    }
}

fn body(state: &AppState) -> Value {
    let tiers: Vec<Tier> = state
        .config
        .terms
        .tiers
        .iter()
        .map(|tier| Tier { minimum_deposit: tier.minimum_deposit, discount_bps: tier.discount_bps })
        .collect();
    let named = || NAMES.iter().zip(&tiers);
    let models: Vec<Value> = state
        .catalog
        .models()
        .iter()
        .map(|model| {
            let per_call: serde_json::Map<String, Value> = named()
                .map(|(name, tier)| ((*name).to_owned(), json!(hold_amount(model.rate.per_call, tier.discount_bps))))
                .collect();
            json!({
                "id": model.rate.id,
                "type": model.rate.kind.name(),
                "name": model.rate.name,
                "perCall": format!("${}", model.rate.per_call),
                "perCallMicroUsdc": model.rate.per_call,
                "per1kInputTokensMicroUsdc": model.rate.per_1k_input_tokens,
                "per1kOutputTokensMicroUsdc": model.rate.per_1k_output_tokens,
                "perCallMicroUsdcByTier": per_call,
            })
        })
        .collect();
    let gates = &state.config.gates;
    json!({
        "tiers": named().map(|(name, tier)| json!({
            "name": name,
            "minimumDeposit": usdc(tier.minimum_deposit),
            "minimumDepositMicroUsdc": tier.minimum_deposit,
            "discount": discount_text(tier.discount_bps),
            "discountBps": tier.discount_bps,
        })).collect::<Vec<_>>(),
        "minimumDeposit": usdc(state.config.terms.minimum_deposit),
        "minimumDepositMicroUsdc": state.config.terms.minimum_deposit,
        "bulkDiscount": "the total of all deposits to an account decides its tier; a discount never falls",
        "models": models,
        "rateCardHash": state.catalog.rate_card_hash(),
        "gatePricesMicroUsdc": {
            "deposit": gates.deposit,
            "balance": gates.balance,
            "execute": gates.execute,
            "history": gates.history,
            "refund": gates.refund,
            "pricing": gates.pricing,
            "batch": gates.batch,
            "status": gates.status,
            "gpuStatus": gates.gpu_status,
        },
    })
}
