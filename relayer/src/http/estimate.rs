//! `POST /api/v1/compute/estimate`: what a job would cost. The catalog's own functions, which also quote and charge.

use axum::{Json, extract::State};
use compute_futures_protocol::{JobKind, Usage, Usdc, hold_amount};
use serde_json::Value;

use super::{
    body::Body,
    shapes::{Candidate, Estimate, PrepaidPrice},
    state::AppState,
};
use crate::{
    catalog::{Catalog, Model},
    error::{ApiError, ApiResult},
    jobs::batch::{Batch, KIND},
    providers::JobInput,
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
    let prices = if body.get("jobs").is_some() || body.get("type").is_some_and(|kind| kind == KIND) {
        batch(catalog, body)?
    } else {
        single(catalog, body)?
    };
    let prepaid = tiers
        .zip(1..)
        .map(|(discount_bps, position)| {
            let price = hold_amount(prices.most, discount_bps);
            PrepaidPrice {
                tier: compute_futures_protocol::Terms::name_of_position(position).to_owned(),
                discount_bps,
                price: dollars(price),
                price_micro_usdc: price.micros().to_string(),
            }
        })
        .collect();
    Ok(Estimate {
        kind: prices.kind,
        model: prices.model,
        candidates: prices.candidates,
        price: dollars(prices.most),
        price_micro_usdc: prices.most.micros().to_string(),
        prepaid,
    })
}

struct Prices {
    kind: String,
    model: String,
    candidates: Vec<Candidate>,
    most: Usdc,
}

fn single(catalog: &Catalog, body: &Value) -> ApiResult<Prices> {
    let kind = kind_of(body)?;
    let job = catalog.parse(kind, body)?;
    let most = catalog.max_price(&job)?;
    let candidates = catalog.candidates(&job).map(|model| candidate(catalog, model, &job)).collect::<ApiResult<_>>()?;
    Ok(Prices { kind: kind.to_string(), model: job.model().to_owned(), candidates, most })
}

/// Of each job the most that it can cost alone; together a tenth less.
fn batch(catalog: &Catalog, body: &Value) -> ApiResult<Prices> {
    let mut fields = body.as_object().cloned().unwrap_or_default();
    fields.remove("type");
    let batch = Batch::new(catalog, &fields)?;
    let candidates = batch
        .jobs
        .iter()
        .zip(&batch.prices)
        .map(|(job, price)| {
            let usage = catalog.candidates(job).map(|model| catalog.max_usage(model, job)).next().unwrap_or_default();
            shape(job.model(), usage, *price)
        })
        .collect();
    Ok(Prices { kind: KIND.to_owned(), model: String::new(), candidates, most: batch.max_list })
}

fn candidate(catalog: &Catalog, model: &Model, job: &JobInput) -> ApiResult<Candidate> {
    Ok(shape(&model.rate.id, catalog.max_usage(model, job), catalog.max_price_on(model, job)?))
}

fn shape(model: &str, usage: Usage, price: Usdc) -> Candidate {
    Candidate {
        model: model.to_owned(),
        max_input_tokens: usage.input_tokens,
        max_output_tokens: usage.output_tokens,
        max_images: usage.images,
        max_seconds: usage.seconds,
        max_characters: usage.characters,
        price_micro_usdc: price.micros().to_string(),
    }
}

/// The kind that `type` names, or that the fields give away.
fn kind_of(body: &Value) -> ApiResult<JobKind> {
    let kinds = || format!("use one of: {}, batch", JobKind::names());
    match (body.get("type"), body.get("input")) {
        (Some(Value::String(name)), _) => name
            .parse()
            .map_err(|_| ApiError::bad_request("unsupported_job_type", "`type` is not a kind of job", kinds())),
        (Some(Value::Null) | None, Some(Value::Object(_))) => Ok(JobKind::Gpu),
        (Some(Value::Null) | None, Some(_)) => Ok(JobKind::Embeddings),
        (Some(Value::Null) | None, None) => Ok(JobKind::TextInference),
        (Some(_), _) => Err(ApiError::bad_request("invalid_request", "`type` is not a string", kinds())),
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
    fn a_batch_is_a_tenth_less_than_its_jobs() {
        let jobs = json!([
            {"type": "text-inference", "messages": [{"role": "user", "content": "hi"}]},
            {"type": "embeddings", "input": ["a"]},
        ]);
        let estimate = run(json!({"jobs": jobs})).unwrap();
        assert_eq!((estimate.kind.as_str(), estimate.price_micro_usdc.as_str()), ("batch", "31500"));
        assert_eq!(estimate.candidates.len(), 2);
        // A tenth of a micro-USDC is rounded up.
        assert_eq!(crate::jobs::batch::discounted(&[Usdc::from_micros(1)]).unwrap(), Usdc::from_micros(1));
    }

    #[test]
    fn refuses_what_the_job_would_be_refused_for() {
        for body in [
            json!({}),
            json!([]),
            json!({"type": 7}),
            json!({"type": "gpu"}),
            json!({"type": "image-generation"}),
            json!({"jobs": []}),
            json!({"jobs": [{"type": "embeddings", "input": []}]}),
            json!({"jobs": vec![json!({"type": "embeddings", "input": ["a"]}); 51]}),
            json!({"input": []}),
        ] {
            assert!(run(body.clone()).is_err_and(|error| error.status.is_client_error()), "{body}");
        }
    }
}
