//! `provider …`: what is sold, at what price, and what it earned.

mod market;

use std::path::Path;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::{Model, ProviderContent, ProviderType};
use compute_futures_protocol::{Address, Usdc};
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

use super::events::post_market;
use super::market::{provider, result_of, text_of};
use crate::args::ProviderCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// A content as people write it: prices in USDC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentFile {
    endpoint: String,
    #[serde(rename = "type")]
    provider_type: ProviderType,
    rate_limit: u32,
    #[serde(default)]
    minimum_charge: Price,
    #[serde(default)]
    features: Vec<String>,
    models: Vec<ModelFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    name: String,
    input_price: Price,
    output_price: Price,
    max_context: u32,
}

/// USDC in quotes: a number would be binary.
#[derive(Debug, Default)]
struct Price(Usdc);

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// Reads and checks a content as the registry will.
fn content(path: &Path) -> Outcome<ProviderContent> {
    let text = text_of(path)?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let bad = |error: String| {
        Failure::new(
            "bad_content",
            format!("{}: {error}", path.display()),
            "docs/marketplace.md shows such a file; prices are USDC in quotes, such as \"0.0003\"",
        )
    };
    let file: ContentFile = if is_json {
        serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?
    } else {
        Figment::from(Toml::string(&text)).extract().map_err(|error| bad(error.to_string()))?
    };
    let models = file.models.into_iter().map(|model| Model {
        name: model.name,
        input_price: model.input_price.0,
        output_price: model.output_price.0,
        max_context: model.max_context,
    });
    let content = ProviderContent {
        endpoint: file.endpoint,
        provider_type: file.provider_type,
        rate_limit: file.rate_limit,
        minimum_charge: file.minimum_charge.0,
        features: file.features,
        models: models.collect(),
    };
    content.check().map_err(|error| bad(error.to_string()))?;
    let url: url::Url = content.endpoint.parse().map_err(|error| bad(format!("endpoint: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("endpoint: a URL starts with https://".into()));
    }
    Ok(content)
}

pub(super) async fn run(context: &Context, command: ProviderCommand) -> Outcome<()> {
    match command {
        ProviderCommand::Register { content: path } => {
            publish(context, MarketAction::Register { content: content(&path)? }).await
        }
        ProviderCommand::Update { provider, content: path } => {
            publish(context, MarketAction::Update { provider_id: provider, content: content(&path)? }).await
        }
        ProviderCommand::Retire { provider } => retire(context, provider).await,
        ProviderCommand::Show { provider } => show(context, provider).await,
        ProviderCommand::Withdraw { provider, amount, to } => withdraw(context, provider, amount, to).await,
        ProviderCommand::List(args) => market::list(context, &args).await,
        ProviderCommand::Metrics { provider, interval, from, to } => {
            market::metrics(context, provider, interval, from, to).await
        }
        ProviderCommand::Serve(args) => crate::serve::run(context, args).await,
    }
}

async fn publish(context: &Context, verb: MarketAction) -> Outcome<()> {
    let done = post_market(context, verb).await?;
    let (id, version, hash) = done.find(|event| match event {
        MarketEvent::ProviderRegistered { provider_id, version, content_hash, .. }
        | MarketEvent::ProviderUpdated { provider_id, version, content_hash, .. } => {
            Some((*provider_id, *version, *content_hash))
        }
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    result["version"] = json!(version);
    result["contentHash"] = json!(hash);
    context.output.result(&result, || {
        facts([
            ("provider", id.to_string()),
            ("version", version.to_string()),
            ("content", hash.to_string()),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

async fn retire(context: &Context, id: u32) -> Outcome<()> {
    let done = post_market(context, MarketAction::Retire { provider_id: id }).await?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    context
        .output
        .result(&result, || facts([("retired", id.to_string()), ("transaction", done.transaction.to_string())]));
    Ok(())
}

async fn show(context: &Context, id: u32) -> Outcome<()> {
    let found = provider(context, id).await?;
    let reader = context.market().await?.reader();
    let (content, earnings) = (reader.provider_content(id).await?, reader.earnings(id).await?);
    let result = json!({
        "providerId": id,
        "owner": found.owner,
        "version": found.version,
        "retired": found.content_hash.is_none(),
        "contentHash": found.content_hash,
        "content": content,
        "earnings": earnings,
    });
    context.output.result(&result, || {
        let mut rows = vec![
            ("provider".to_owned(), id.to_string()),
            ("owner".to_owned(), found.owner.to_string()),
            ("earnings".to_owned(), format!("{earnings} USDC, not withdrawn")),
        ];
        match (&content, found.content_hash) {
            (_, None) => rows.push(("retired".to_owned(), "no session can be opened with it".to_owned())),
            (None, Some(hash)) => rows.push(("content".to_owned(), format!("{hash}, which cannot be read"))),
            (Some(content), Some(hash)) => {
                rows.push(("content".to_owned(), format!("version {}, {hash}", found.version)));
                rows.push(("endpoint".to_owned(), content.endpoint.clone()));
                rows.push(("requests a minute".to_owned(), content.rate_limit.to_string()));
                rows.push(("minimum charge".to_owned(), format!("{} USDC", content.minimum_charge)));
                rows.push(("features".to_owned(), content.features.join(", ")));
                rows.extend(content.models.iter().map(|model| {
                    let prices = format!(
                        "{} in, {} out (USDC per 1,000 tokens), up to {} tokens",
                        model.input_price, model.output_price, model.max_context
                    );
                    (model.name.clone(), prices)
                }));
            }
        }
        facts(rows)
    });
    Ok(())
}

async fn withdraw(context: &Context, id: u32, amount: Option<Usdc>, to: Option<Address>) -> Outcome<()> {
    let to = match to {
        Some(to) => context.named(to)?,
        None => context.address()?,
    };
    let earned = context.market().await?.reader().earnings(id).await?;
    let amount = amount.unwrap_or(earned);
    if amount.is_zero() || amount > earned {
        provider(context, id).await?;
        return Err(Failure::new(
            "insufficient_earnings",
            format!("provider {id} has {earned} USDC to withdraw"),
            "withdraw more than nothing and at most that",
        ));
    }
    let done = post_market(context, MarketAction::Withdraw { provider_id: id, to, amount }).await?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    result["withdrawn"] = json!(amount);
    result["to"] = json!(to);
    context.output.result(&result, || {
        facts([
            ("withdrawn", format!("{amount} USDC")),
            ("to", to.to_string()),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
endpoint = "https://inference.example/v1"
type = "cloud"
rate_limit = 60
minimum_charge = "0.00001"
features = ["streaming"]

[[models]]
name = "llama-3.3-70b"
input_price = "0.0001"
output_price = "0.0003"
max_context = 131072
"#;

    fn read(name: &str, text: &str) -> Outcome<ProviderContent> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        content(&path)
    }

    #[test]
    fn a_content_is_read_from_toml_and_json() {
        let read_toml = read("content.toml", GOOD).unwrap();
        assert_eq!(read_toml.models[0].output_price, Usdc::from_micros(300));
        assert_eq!(read_toml.minimum_charge, Usdc::from_micros(10));
        let json = r#"{"endpoint": "https://inference.example/v1", "type": "cloud", "rate_limit": 60, "minimum_charge": "0.00001",
            "features": ["streaming"], "models": [{"name": "llama-3.3-70b", "input_price": "0.0001", "output_price": "0.0003",
            "max_context": 131072}]}"#;
        assert_eq!(read("content.json", json).unwrap(), read_toml);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, words) in [
            ("\"0.0003\"", "0.0003", "output_price"),
            ("\"0.0003\"", "\"0.0000003\"", "output_price"),
            ("rate_limit = 60", "rate_limit = 0", "rate limit"),
            ("https://inference", "ftp://inference", "https://"),
            ("https://inference", "inference", "endpoint"),
            ("features", "featurs", "featurs"),
            ("\"cloud\"", "\"moon\"", "moon"),
            ("max_context = 131072", "max_context = 0", "maximum context"),
        ] {
            let failure = read("content.toml", &GOOD.replace(from, to)).unwrap_err();
            assert!(failure.code == "bad_content" && failure.error.contains(words), "{words}: {failure:?}");
        }
        assert_eq!(content(Path::new("/nowhere/content.toml")).unwrap_err().code, "file");
    }
}
