//! `provider list`, `provider metrics`: whom to choose, as the relayer sees them, and what an indexer has counted.

use compute_futures_protocol::Usdc;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::market_args::{Interval, ListArgs, Sort};
use crate::output::{Report, facts, usdc_text};

pub(super) async fn list(context: &Context, args: &ListArgs) -> Outcome<()> {
    let mut query = Serializer::new(String::new());
    let micros = |price: Option<Usdc>| price.map(|price| price.micros().to_string());
    let sort = args.sort.map(|sort| match sort {
        Sort::Price => "price",
        Sort::Latency => "latency",
        Sort::Uptime => "uptime",
    });
    for (name, value) in [
        ("model", args.model.clone()),
        ("maxInputPrice", micros(args.max_input_price)),
        ("maxOutputPrice", micros(args.max_output_price)),
        ("maxLatencyMs", args.max_latency_ms.map(|most| most.to_string())),
        ("minUptime", args.min_uptime.clone()),
        ("feature", args.feature.clone()),
        ("sort", sort.map(str::to_owned)),
        ("limit", Some(args.limit.to_string())),
    ] {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let path = context.here(&format!("/api/v1/market/providers?{}", query.finish()));
    let answer = context.relayer()?.get(&path).await?;
    let providers = answer["providers"].as_array().map(Vec::as_slice).unwrap_or_default();
    context.output.result(&answer, || {
        if providers.is_empty() {
            return "no provider is like that".into();
        }
        providers.iter().map(line).collect::<Vec<_>>().join("\n\n")
    });
    Ok(())
}

/// One provider for people.
fn line(provider: &Value) -> String {
    let text = |pointer: &str| match provider.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "unknown".into(),
        Some(other) => other.to_string(),
    };
    let mut health = text("/health/status");
    if let Some(uptime) = provider.pointer("/health/uptime").and_then(Value::as_str) {
        health.push_str(&format!(", uptime {uptime} %"));
    }
    if let Some(latency) = provider.pointer("/health/averageLatencyMs").and_then(Value::as_u64) {
        health.push_str(&format!(", {latency} ms"));
    }
    let mut rows = vec![
        ("provider".to_owned(), text("/providerId")),
        ("endpoint".to_owned(), text("/content/endpoint")),
        ("health".to_owned(), health),
    ];
    let models = provider.pointer("/content/models").and_then(Value::as_array);
    for model in models.into_iter().flatten() {
        let price = |name: &str| usdc_text(&model[name]);
        let prices = format!("{} in, {} out (per 1,000 tokens)", price("inputPrice"), price("outputPrice"));
        rows.push((model["name"].as_str().unwrap_or("?").to_owned(), prices));
    }
    facts(rows)
}

/// What an indexer has counted of a provider, hour by hour or day by day.
///
/// # Errors
/// When no indexer is named, or it refuses.
pub(crate) async fn metrics(
    context: &Context,
    id: u32,
    interval: Interval,
    from: Option<u64>,
    to: Option<u64>,
) -> Outcome<Report> {
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err(Failure::new("usage", "`from` is not before `to`", "name the earlier second first"));
    }
    let interval = match interval {
        Interval::Hour => "hour",
        Interval::Day => "day",
    };
    let mut path = format!("/api/v1/market/providers/{id}/metrics?interval={interval}");
    for (name, at) in [("from", from), ("to", to)] {
        if let Some(at) = at {
            path.push_str(&format!("&{name}={at}"));
        }
    }
    let answer = context.indexer()?.get(&context.here(&path)).await?;
    let mut text = facts([("provider", id.to_string()), ("since", plain(&answer["from"]))]);
    text.push('\n');
    text.push_str(&figures(&answer["total"]));
    for entry in answer["items"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n\n{}\n{}", plain(&entry["start"]), figures(entry)));
    }
    Ok(Report::new(answer, text))
}

/// The figures of some time, for people.
fn figures(of: &Value) -> String {
    let or_none = |value: &Value, unit: &str| match value {
        Value::Null => "none yet".to_owned(),
        known => format!("{}{unit}", plain(known)),
    };
    facts([
        ("requests", plain(&of["requests"])),
        ("tokens", format!("{} read, {} written", of["inputTokens"], of["outputTokens"])),
        ("earnings", format!("{} USDC in {} sessions", plain(&of["earnings"]["usdc"]), of["closedSessions"])),
        ("latency", or_none(&of["averageLatencyMs"], " ms")),
        ("95th percentile", or_none(&of["p95LatencyMs"], " ms")),
        ("uptime", or_none(&of["uptime"], " %")),
    ])
}

/// Strings without their quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
