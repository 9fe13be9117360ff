//! A provider's content as people and models write it: prices in USDC.

use std::path::Path;

use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{Model, ProviderContent, ProviderType};
use figment::Figment;
use figment::providers::{Format, Toml};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::super::market::text_of;
use crate::failure::{Failure, Outcome};

/// What a provider publishes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Content {
    /// URL of an OpenAI-compatible server, up to and including /v1; whoever opens sessions has work sent there.
    endpoint: String,
    /// Who runs the machines.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("enum" = ["self_hosted", "cloud", "decentralized"]))]
    provider_type: ProviderType,
    /// Requests a minute.
    rate_limit: u32,
    /// Least charge for an inference, in USDC, as `0.00001`.
    #[serde(default)]
    #[schemars(with = "String")]
    minimum_charge: Price,
    /// Capabilities, as `streaming`; at most 16.
    #[serde(default)]
    features: Vec<String>,
    /// 1 to 32 models.
    models: Vec<ModelContent>,
}

/// A model and its prices.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModelContent {
    /// As sessions ask for it.
    name: String,
    /// For 1,000 tokens read, in USDC, as `0.0001`.
    #[schemars(with = "String")]
    input_price: Price,
    /// For 1,000 tokens written, in USDC, as `0.0003`.
    #[schemars(with = "String")]
    output_price: Price,
    /// Most tokens of input and output together.
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
pub(super) fn of_file(path: &Path) -> Outcome<ProviderContent> {
    let text = text_of(path)?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let parsed = if is_json {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        Figment::from(Toml::string(&text)).extract().map_err(|error| error.to_string())
    };
    parsed.and_then(checked).map_err(|error| bad(format!("{}: {error}", path.display())))
}

/// The same of a content that is there already.
///
/// # Errors
/// `bad_content`: what the registry would refuse, and what no endpoint can be.
pub(crate) fn read(content: Value) -> Outcome<ProviderContent> {
    serde_json::from_value(content).map_err(|error| error.to_string()).and_then(checked).map_err(bad)
}

fn bad(error: String) -> Failure {
    let hint = "docs/marketplace.md shows such a content; prices are USDC in quotes, such as \"0.0003\"";
    Failure::new("bad_content", error, hint)
}

fn checked(written: Content) -> Result<ProviderContent, String> {
    let models = written.models.into_iter().map(|model| Model {
        name: model.name,
        input_price: model.input_price.0,
        output_price: model.output_price.0,
        max_context: model.max_context,
    });
    let content = ProviderContent {
        endpoint: written.endpoint,
        provider_type: written.provider_type,
        rate_limit: written.rate_limit,
        minimum_charge: written.minimum_charge.0,
        features: written.features,
        models: models.collect(),
    };
    content.check().map_err(|error| error.to_string())?;
    let url: url::Url = content.endpoint.parse().map_err(|error| format!("endpoint: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("endpoint: a URL starts with https://".into());
    }
    Ok(content)
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

    fn in_file(name: &str, text: &str) -> Outcome<ProviderContent> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        of_file(&path)
    }

    #[test]
    fn a_content_is_read_from_toml_and_json() {
        let read_toml = in_file("content.toml", GOOD).unwrap();
        assert_eq!(read_toml.models[0].output_price, Usdc::from_micros(300));
        assert_eq!(read_toml.minimum_charge, Usdc::from_micros(10));
        let json = r#"{"endpoint": "https://inference.example/v1", "type": "cloud", "rate_limit": 60, "minimum_charge": "0.00001",
            "features": ["streaming"], "models": [{"name": "llama-3.3-70b", "input_price": "0.0001", "output_price": "0.0003",
            "max_context": 131072}]}"#;
        assert_eq!(in_file("content.json", json).unwrap(), read_toml);
        assert_eq!(read(serde_json::from_str(json).unwrap()).unwrap(), read_toml);
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
            let failure = in_file("content.toml", &GOOD.replace(from, to)).unwrap_err();
            assert!(failure.code == "bad_content" && failure.error.contains(words), "{words}: {failure:?}");
        }
        assert_eq!(of_file(Path::new("/nowhere/content.toml")).unwrap_err().code, "file");
    }
}
