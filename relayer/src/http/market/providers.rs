//! `GET /api/v1/market/providers` and one of them.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::Model;
use serde::Deserialize;

use super::shapes::{Provider, ProviderHealth, ProviderList};
use super::{at, number};
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{invalid, query};
use crate::http::state::AppState;
use crate::market::routing::{self, Candidate, Wants};
use crate::market::{Health, Market, StoredProvider, unknown_provider};
use crate::payment::PaidRequest;

const EXAMPLE: &str =
    "?model=llama-3.3-70b&maxOutputPrice=300&sort=price&limit=20 (prices in micro-USDC per 1,000 tokens)";
const MOST: usize = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Query {
    network: Option<String>,
    model: Option<String>,
    max_input_price: Option<Usdc>,
    max_output_price: Option<Usdc>,
    max_latency_ms: Option<String>,
    min_uptime: Option<String>,
    feature: Option<String>,
    r#type: Option<String>,
    sort: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// What may narrow the list, and in which order it comes.
struct Wanted {
    query: Query,
    latency: Option<u64>,
    /// Hundredths of a percent.
    uptime: Option<u32>,
}

/// Providers that take sessions, filtered and sorted.
pub async fn providers(State(state): State<AppState>, request: PaidRequest) -> ApiResult<Json<ProviderList>> {
    let query: Query = query(&request, EXAMPLE)?;
    let whole = |field: &str, text: &Option<String>, most: usize| {
        let number = text.as_deref().map(|text| text.parse::<usize>().ok().filter(|number| *number <= most));
        number
            .map(|number| number.ok_or_else(|| invalid(format!("`{field}` is not a number up to {most}"), EXAMPLE)))
            .transpose()
    };
    let limit = whole("limit", &query.limit, MOST)?.unwrap_or(50).max(1);
    let start = whole("cursor", &query.cursor, usize::MAX / 2)?.unwrap_or(0);
    let latency = whole("maxLatencyMs", &query.max_latency_ms, 3_600_000)?.map(|number| number as u64);
    let uptime = query.min_uptime.as_deref().map(hundredths).transpose()?;
    if !matches!(query.sort.as_deref(), None | Some("price" | "latency" | "uptime")) {
        return Err(invalid("`sort` is none of price, latency, uptime", EXAMPLE));
    }
    if !matches!(query.r#type.as_deref(), None | Some("self_hosted" | "cloud" | "decentralized")) {
        return Err(invalid("`type` is none of self_hosted, cloud, decentralized", EXAMPLE));
    }
    let wanted = Wanted { query, latency, uptime };
    let mut found = Vec::new();
    for market in markets(&state, wanted.query.network.as_deref())? {
        let health = market.health().await?;
        for provider in market.providers().await? {
            let health = health.get(&provider.id).copied().unwrap_or_default();
            if let Some(price) = wanted.price(&provider, &health) {
                found.push((price, health, view(&market, provider, &health)));
            }
        }
    }
    match wanted.query.sort.as_deref() {
        Some("price") => found.sort_by_key(|(price, ..)| *price),
        Some("latency") => found.sort_by_key(|(_, health, _)| health.average_latency_ms.unwrap_or(u64::MAX)),
        Some("uptime") => found.sort_by_key(|(_, health, _)| Reverse(health.uptime_bps)),
        _ => {}
    }
    let next_cursor = (found.len() > start.saturating_add(limit)).then(|| (start + limit).to_string());
    let providers = found.into_iter().skip(start).take(limit).map(|(.., provider)| provider).collect();
    Ok(Json(ProviderList { providers, next_cursor }))
}

/// The marketplaces that a list is of: the one of the network that is named, else all that are ready.
fn markets(state: &AppState, network: Option<&str>) -> ApiResult<Vec<Market>> {
    if network.is_some() {
        return Ok(vec![at(state, network)?.1]);
    }
    let found: Vec<Market> = state.networks.present().filter_map(|network| network.market.clone()).collect();
    if found.is_empty() {
        // Says whether there is none, or none yet.
        let first = state.networks.chains().next().map(|chain| chain.caip2());
        return Ok(vec![at(state, first)?.1]);
    }
    Ok(found)
}

/// Percent with up to two decimals, in hundredths.
fn hundredths(text: &str) -> ApiResult<u32> {
    let wrong = || invalid("`minUptime` is not a percentage with at most two decimals", "send minUptime=99.5");
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || rest.len() > 2 || !digits(whole) || !digits(rest) {
        return Err(wrong());
    }
    let (whole, rest): (u32, u32) =
        (whole.parse().map_err(|_| wrong())?, format!("{rest:0<2}").parse().map_err(|_| wrong())?);
    Some(whole * 100 + rest).filter(|value| *value <= 10_000).ok_or_else(wrong)
}

impl Wanted {
    /// What 1,000 tokens in and out cost at the cheapest model that fits; `None` when the provider does not fit.
    fn price(&self, provider: &StoredProvider, health: &Health) -> Option<u64> {
        let content = provider.content.as_ref()?;
        let query = &self.query;
        let is_type = |wanted: &str| serde_json::to_value(content.provider_type).is_ok_and(|kind| kind == wanted);
        if query.r#type.as_deref().is_some_and(|wanted| !is_type(wanted))
            || query.feature.as_ref().is_some_and(|feature| !content.features.contains(feature))
            || self.latency.is_some_and(|most| health.average_latency_ms.is_none_or(|latency| latency > most))
            || self.uptime.is_some_and(|least| health.uptime_bps.is_none_or(|uptime| uptime < u64::from(least)))
        {
            return None;
        }
        let fits = |model: &&Model| {
            query.model.as_ref().is_none_or(|name| *name == model.name)
                && query.max_input_price.is_none_or(|most| model.input_price <= most)
                && query.max_output_price.is_none_or(|most| model.output_price <= most)
        };
        let both = |model: &Model| model.input_price.micros().saturating_add(model.output_price.micros());
        content.models.iter().filter(fits).map(both).min()
    }
}

/// One provider.
pub async fn provider(
    State(state): State<AppState>,
    path: Result<Path<String>, PathRejection>,
    request: PaidRequest,
) -> ApiResult<Json<Provider>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Query {
        network: Option<String>,
    }
    let id = number("id", path)?;
    let query: Query = query(&request, "?network=eip155:8453")?;
    let (_, market) = at(&state, query.network.as_deref())?;
    Ok(Json(found(&market, id).await?))
}

/// The provider as it is shown.
///
/// # Errors
/// 404 `unknown_provider`.
pub(super) async fn found(market: &Market, id: u32) -> ApiResult<Provider> {
    let provider = known(market, id).await?;
    let health = market.health().await?.get(&id).copied().unwrap_or_default();
    Ok(view(market, provider, &health))
}

/// The provider as it is stored.
///
/// # Errors
/// 404 `unknown_provider`.
pub(super) async fn known(market: &Market, id: u32) -> ApiResult<StoredProvider> {
    market.provider(id).await?.ok_or_else(|| unknown_provider(id))
}

/// Why it could not be called from here; nothing is asked for it.
pub(super) fn uncallable(market: &Market, provider: &StoredProvider) -> Option<String> {
    match &provider.content {
        _ if provider.retired => Some("it is retired".into()),
        None => Some("what it publishes is no text".into()),
        Some(content) => {
            let why = market.serving.client.callable(&content.endpoint).err();
            why.map(|why| format!("its endpoint cannot be used: {why}"))
        }
    }
}

fn view(market: &Market, provider: StoredProvider, health: &Health) -> Provider {
    let why = uncallable(market, &provider);
    Provider {
        network: market.chain().caip2(),
        provider_id: provider.id,
        owner: provider.owner,
        version: provider.version,
        content_hash: provider.content_hash,
        content: provider.content,
        health: ProviderHealth {
            status: health.standing,
            uptime: health.uptime_percent(),
            average_latency_ms: health.average_latency_ms,
            p95_latency_ms: health.p95_latency_ms,
            requests: health.requests,
            last_seen: health.last_seen_ms.map(|ms| ms / 1000),
        },
        callable: why.is_none(),
        why,
    }
}

/// The provider that routing chooses for a request of this size.
pub(super) async fn best(market: &Market, model: &str, input: u64, output: u64) -> ApiResult<StoredProvider> {
    let (providers, health) = (market.providers().await?, market.health().await?);
    let candidates: Vec<Candidate<'_>> = providers
        .iter()
        .filter_map(|provider| {
            let health = health.get(&provider.id).copied().unwrap_or_default();
            let callable = uncallable(market, provider).is_none();
            Some(Candidate { id: u64::from(provider.id), content: provider.content.as_ref()?, callable, health })
        })
        .collect();
    let wants = Wants { model, input_likely: input, input_most: input, output, max_cost: None };
    let chosen = routing::choose(&candidates, &wants, &market.weights()).map(|chosen| chosen.id);
    providers.into_iter().find(|provider| Some(u64::from(provider.id)) == chosen).ok_or_else(|| {
        ApiError::not_found(
            "no_provider",
            "no provider serves that model here",
            "GET /api/v1/market/providers lists models and prices",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn percentages_are_read_to_the_last_digit() {
        for (text, value) in [("99.87", 9_987), ("99.5", 9_950), ("100", 10_000), ("0", 0)] {
            assert_eq!(hundredths(text).unwrap(), value, "{text}");
        }
        for text in ["", ".5", "100.01", "99.999", "-1", "1e2", "9a"] {
            assert!(hundredths(text).is_err(), "{text}");
        }
    }
}
