//! `POST /api/v1/compute/estimate`: what a job would cost. The catalog's own functions, which also quote and charge.

use axum::{Json, extract::State};
use compute_futures_protocol::{JobKind, Usdc, hold_amount};
use serde_json::Value;

use super::{
    body::Body,
    shapes::{Candidate, Estimate, PrepaidPrice},
    state::AppState,
};
use crate::{
    catalog::Catalog,
    error::{ApiError, ApiResult},
};

/// Estimates the job in the body.
///
/// # Errors
/// 400 for what the job's own endpoint would refuse too.
pub(super) async fn estimate(State(app): State<AppState>, body: Body) -> ApiResult<Json<Estimate>> {
    let tiers = app.config.terms.tiers.iter().map(|tier| tier.discount_bps);
    Ok(Json(of_body(&app.catalog, tiers, &body.json()?)?))
}

fn of_body(catalog: &Catalog, tiers: impl Iterator<Item = u16>, body: &Value) -> ApiResult<Estimate> {
    let kind = kind_of(body)?;
    let job = catalog.parse(kind, body)?;
    let most = catalog.max_price(&job)?;
    let candidates = catalog
        .candidates(&job)
        .map(|model| {
            let usage = catalog.max_usage(model, &job);
            let price = catalog.max_price_on(model, &job)?;
            Ok(Candidate {
                model: model.rate.id.clone(),
                max_input_tokens: usage.input_tokens,
                max_output_tokens: usage.output_tokens,
                price_micro_usdc: price.micros().to_string(),
            })
        })
        .collect::<ApiResult<_>>()?;
    let prepaid = tiers
        .zip(1..)
        .map(|(discount_bps, position)| {
            let price = hold_amount(most, discount_bps);
            PrepaidPrice {
                tier: compute_futures_protocol::Terms::name_of_position(position).to_owned(),
                discount_bps,
                price: dollars(price),
                price_micro_usdc: price.micros().to_string(),
            }
        })
        .collect();
    Ok(Estimate {
        kind: kind.to_string(),
        model: job.model().to_owned(),
        candidates,
        price: dollars(most),
        price_micro_usdc: most.micros().to_string(),
        prepaid,
    })
}

/// The kind that `type` names, or that the fields give away.
fn kind_of(body: &Value) -> ApiResult<JobKind> {
    match (body.get("type"), body.get("input")) {
        (Some(Value::String(name)), _) => name.parse().map_err(|_| {
            let error = "`type` is not a kind of job";
            ApiError::bad_request("unsupported_job_type", error, "use \"text-inference\" or \"embeddings\"")
        }),
        (Some(Value::Null) | None, Some(_)) => Ok(JobKind::Embeddings),
        (Some(Value::Null) | None, None) => Ok(JobKind::TextInference),
        (Some(_), _) => Err(ApiError::bad_request(
            "invalid_request",
            "`type` is not a string",
            "use \"text-inference\" or \"embeddings\"",
        )),
    }
}

fn dollars(amount: Usdc) -> String {
    format!("${amount}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn run(body: Value) -> ApiResult<Estimate> {
        let config = Config::default();
        let catalog = Catalog::new(&config.models, Default::default(), &config.limits, 1).unwrap();
        of_body(&catalog, [500, 1000, 1500].into_iter(), &body)
    }

    #[test]
    fn says_what_is_charged_at_each_tier() {
        let estimate = run(json!({"type": "text-inference", "messages": [{"role": "user", "content": "hi"}]})).unwrap();
        assert_eq!(
            (estimate.price.as_str(), estimate.price_micro_usdc.as_str(), estimate.model.as_str()),
            ("$0.03", "30000", "auto")
        );
        let tiers: Vec<_> = estimate.prepaid.iter().map(|tier| (tier.tier.as_str(), tier.price.as_str())).collect();
        assert_eq!(tiers, [("builder", "$0.0285"), ("scale", "$0.027"), ("enterprise", "$0.0255")]);
        assert_eq!(run(json!({"input": "a text"})).unwrap().kind, "embeddings");
    }

    #[test]
    fn refuses_what_the_job_would_be_refused_for() {
        for body in [
            json!({}),
            json!([]),
            json!({"type": 7}),
            json!({"type": "gpu"}),
            json!({"type": "image-generation"}),
            json!({"input": []}),
        ] {
            assert!(run(body.clone()).is_err_and(|error| error.status.is_client_error()), "{body}");
        }
    }
}
