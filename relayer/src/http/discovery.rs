//! `GET /.well-known/x402.json`: the catalogue for machines, built from the table of endpoints.

use axum::{Json, extract::State};
use compute_futures_protocol::{JobKind, Terms, Usdc};
use serde_json::{Value, json};

use super::{
    endpoints::{ENDPOINTS, Endpoint, Price, Schemes, Shape},
    state::AppState,
};
use crate::catalog::Catalog;
use crate::market::inference::COMPUTE_ESCROW;
use crate::network::Network;
use crate::payment::Asset;

/// The catalogue.
pub(super) async fn x402(State(app): State<AppState>) -> Json<Value> {
    let terms = app.config.terms(app.catalog.rate_card_hash());
    let present: Vec<_> = app.networks.present().collect();
    let networks: Vec<&str> = present.iter().map(|network| network.chain().caip2()).collect();
    let metered = present.iter().filter(|network| network.market.is_some());
    let markets: Vec<&str> = metered.map(|network| network.chain().caip2()).collect();
    let at = |endpoint: &Endpoint| if endpoint.schemes == Schemes::Escrow { &markets } else { &networks };
    let endpoints: Vec<Value> = ENDPOINTS
        .iter()
        .map(|endpoint| describe(endpoint, &app.public_url, &app.catalog, &app.config.gates, at(endpoint)))
        .collect();
    let schemes = [Schemes::ExactAndCredit, Schemes::Escrow].into_iter().flat_map(|schemes| schemes.names());
    let schemes: Vec<&str> =
        schemes.copied().filter(|scheme| *scheme != COMPUTE_ESCROW || !markets.is_empty()).collect();
    let deployments: Vec<Value> = present.iter().map(|network| deployment(network)).collect();
    let mut catalogue = json!({
        "x402Version": 2,
        "x402Versions": [1, 2],
        "name": "compute-futures relayer",
        "description": "Prepaid compute credit: deposit USDC once, draw it down job by job at a volume discount, take back what is left.",
        "url": app.public_url,
        "openapi": format!("{}/openapi.json", app.public_url),
        "networks": networks,
        "schemes": schemes,
        "terms": terms_json(&terms, &app.public_url),
        "endpoints": endpoints,
    });
    // For readers that know one network only.
    if let Some(first) = deployments.first() {
        catalogue["operator"] = first["operator"].clone();
        let fields = ["network", "chainId", "computeFutures", "usdc"];
        catalogue["contracts"] = fields.iter().map(|name| ((*name).to_owned(), first[*name].clone())).collect();
    }
    catalogue["deployments"] = deployments.into();
    Json(catalogue)
}

/// Where everything is on one network.
fn deployment(network: &Network) -> Value {
    let settings = network.gate.settings();
    let mut deployment = json!({
        "network": settings.chain.caip2(),
        "chainId": settings.chain.evm_chain_id(),
        "computeFutures": network.reader.contract().to_string(),
        "usdc": network.reader.token().to_string(),
        "operator": { "index": settings.operator_index, "address": settings.operator.to_string(), "payTo": settings.pay_to.to_string() },
    });
    if let Some(market) = &network.market {
        deployment["providerRegistry"] = json!(market.reader.registry().to_string());
        deployment["computeEscrow"] = json!(market.domain.contract().to_string());
        deployment["meter"] = json!(market.meter_address().to_string());
    }
    if let Asset::Solana { fee_payer, .. } = &settings.token {
        deployment["feePayer"] = json!(fee_payer);
    }
    deployment
}

fn terms_json(terms: &Terms, public_url: &str) -> Value {
    let tiers: Vec<Value> = (1..)
        .zip(&terms.tiers)
        .map(|(position, tier)| {
            json!({
                "name": Terms::name_of_position(position),
                "minimumDeposit": format!("{} USDC", tier.minimum_deposit),
                "minimumDepositMicroUsdc": tier.minimum_deposit.micros().to_string(),
                "discountBps": tier.discount_bps,
            })
        })
        .collect();
    json!({
        "refundDelaySeconds": terms.refund_delay,
        "minimumDeposit": format!("{} USDC", terms.minimum_deposit),
        "minimumDepositMicroUsdc": terms.minimum_deposit.micros().to_string(),
        "rateCardHash": terms.rate_card_hash.to_string(),
        "rateCardUrl": format!("{public_url}/api/v1/rate-cards/{}", terms.rate_card_hash),
        "tiers": tiers,
    })
}

fn describe(
    endpoint: &Endpoint,
    public_url: &str,
    catalog: &Catalog,
    gates: &crate::config::GatesConfig,
    networks: &[&str],
) -> Value {
    let params: Vec<Value> = endpoint
        .params
        .iter()
        .map(|param| json!({ "name": param.name, "in": if param.in_path { "path" } else { "query" }, "required": param.required, "description": param.description }))
        .collect();
    let accepts: Vec<Value> = networks
        .iter()
        .flat_map(|network| {
            endpoint.schemes.names().iter().map(move |scheme| json!({ "scheme": scheme, "network": network }))
        })
        .collect();
    json!({
        "method": endpoint.method.as_str(),
        "path": endpoint.path,
        "url": format!("{public_url}{}", endpoint.path),
        "description": endpoint.summary,
        "price": price(endpoint.price, catalog, gates),
        "accepts": accepts,
        "params": params,
        "mayTakeLong": endpoint.later,
        "extensions": extensions(endpoint),
        "input": endpoint.input.map(inline),
        "output": endpoint.output.map(inline),
    })
}

/// The x402 extensions of an endpoint, without what only a 402 can know.
fn extensions(endpoint: &Endpoint) -> Value {
    if endpoint.schemes.names().is_empty() {
        return json!({});
    }
    let mut extensions = json!({ "bazaar": super::extensions::bazaar(endpoint), "offer-receipt": {} });
    // An order on a session has a nonce of its own.
    if endpoint.price != Price::Session {
        extensions["payment-identifier"] = json!({});
    }
    if endpoint.sign_in {
        extensions[super::siwx::EXTENSION] = json!({});
    }
    extensions
}

fn price(price: Price, catalog: &Catalog, gates: &crate::config::GatesConfig) -> Value {
    let fixed = |amount: Usdc| json!({ "kind": "fixed", "amount": format!("${amount}"), "amountMicroUsdc": amount.micros().to_string() });
    match price {
        Price::Free => json!({ "kind": "free" }),
        Price::Gate(gate) => fixed(gate.price(gates)),
        Price::Job(kind) => by_model(Some(kind), catalog),
        Price::AnyJob => by_model(None, catalog),
        Price::Batch => json!({
            "kind": "batch",
            "discountBps": crate::jobs::batch::DISCOUNT_BPS,
            "atLeast": format!("${}", gates.batch),
            "atLeastMicroUsdc": gates.batch.micros().to_string(),
            "quote": "POST /api/v1/compute/estimate",
        }),
        Price::Session => json!({ "kind": "session", "prices": "GET /api/v1/market/providers" }),
    }
}

/// One price when every model of the kind has the same flat one, else a price by model.
fn by_model(kind: Option<JobKind>, catalog: &Catalog) -> Value {
    let models: Vec<Value> = catalog
        .models()
        .iter()
        .filter(|model| kind.is_none_or(|kind| model.rate.kind == kind))
        .map(|model| {
            json!({
                "model": model.rate.id,
                "perCall": format!("${}", model.rate.per_call),
                "perCallMicroUsdc": model.rate.per_call.micros().to_string(),
                "per1kInputTokensMicroUsdc": model.rate.per_1k_input_tokens.micros().to_string(),
                "per1kOutputTokensMicroUsdc": model.rate.per_1k_output_tokens.micros().to_string(),
                "perImageMicroUsdc": model.rate.per_image.micros().to_string(),
                "perSecondMicroUsdc": model.rate.per_second.micros().to_string(),
                "per1kCharactersMicroUsdc": model.rate.per_1k_characters.micros().to_string(),
                "configured": model.is_configured(),
            })
        })
        .collect();
    json!({ "kind": "by-model", "models": models, "quote": "POST /api/v1/compute/estimate" })
}

/// A schema with everything it refers to, so that it can be read alone.
fn inline(shape: Shape) -> Value {
    let mut schema = serde_json::to_value((shape.schema)()).unwrap_or_default();
    let mut nested = Vec::new();
    (shape.nested)(&mut nested);
    resolve(
        &mut schema,
        &nested.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect(),
    );
    schema
}

fn resolve(schema: &mut Value, known: &std::collections::HashMap<String, Value>) {
    if let Some(found) = schema.get("$ref").and_then(Value::as_str).and_then(|name| known.get(name.rsplit('/').next()?))
    {
        *schema = found.clone();
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(|value| resolve(value, known)),
        Value::Array(items) => items.iter_mut().for_each(|value| resolve(value, known)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::endpoints::Id;
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_endpoint_is_described_with_its_price_and_whole_schemas() {
        let config = Config::default();
        let gates = super::super::endpoints::gate_prices(&config.gates);
        let catalog = Catalog::new(&config.models, gates, &config.limits, 1).unwrap();
        for endpoint in ENDPOINTS {
            let described = describe(endpoint, "https://relayer.example", &catalog, &config.gates, &["eip155:8453"]);
            assert!(!described.to_string().contains("$ref"), "{}", described);
            assert_eq!(
                described["price"]["kind"] == "free",
                described["accepts"].as_array().unwrap().is_empty(),
                "{}",
                endpoint.path
            );
            // To close a session its path and who signed in say all.
            let takes_a_body = endpoint.method.as_str() == "POST" && endpoint.id != Id::MarketClose;
            assert_eq!(takes_a_body, endpoint.input.is_some(), "{}", endpoint.path);
        }
        let prices: Vec<_> = ENDPOINTS
            .iter()
            .filter_map(|endpoint| match endpoint.price {
                Price::Gate(gate) => Some(gate.price(&config.gates).to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(
            prices,
            ["0.001", "0.005", "0.01", "0.001", "0.001", "0.002", "0.01", "0.001"],
            "both statuses, then deposit, balance, execute, history, refund, pricing"
        );
    }
}
