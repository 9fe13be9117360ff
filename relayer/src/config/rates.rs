//! The price list: who may do the work, what is on offer, and what it costs. One file, built in, or the operator's own.

use std::{path::Path, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, ModelConfig, ProviderConfig, ProviderKind, RouteConfig};

/// The price list that is built in.
pub(super) static BUILT_IN: LazyLock<Rates> = LazyLock::new(|| {
    // Checked by a test: what is built in always reads.
    Rates::parse(include_str!("../../rates.toml")).unwrap_or_default()
});

/// A price list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rates {
    /// Who may do the work.
    #[serde(default)]
    pub(super) providers: Vec<ProviderConfig>,
    /// What is on offer.
    #[serde(default)]
    pub(super) models: Vec<ModelConfig>,
}

impl Rates {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        use figment::{
            Figment,
            providers::{Format as _, Toml},
        };
        Figment::from(Toml::string(text)).extract().map_err(super::load::explain)
    }

    /// Reads a price list.
    ///
    /// # Errors
    /// When the file is not there, or is none.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|_| {
            ConfigError::Invalid(vec![format!(
                "catalog.rates: {} cannot be read; name a file like relayer/rates.toml, or leave it empty",
                path.display()
            )])
        })?;
        let rates = Self::parse(&text)?;
        if rates.models.is_empty() {
            return Err(ConfigError::Invalid(vec![format!("catalog.rates: {} names no [[models]]", path.display())]));
        }
        Ok(rates)
    }
}

impl ProviderConfig {
    /// Whether it can be used: everything but an optional provider whose key is not set.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let set = |variable: &str| std::env::var(variable).is_ok_and(|value| !value.trim().is_empty());
        !self.optional || self.api_key_env.is_empty() || set(&self.api_key_env)
    }
}

impl Config {
    /// Whether a route leads somewhere: to a usable provider that can run its model.
    #[must_use]
    pub fn leads_somewhere(&self, model: &ModelConfig, route: &RouteConfig) -> bool {
        let upstream = if route.model.is_empty() { &model.id } else { &route.model };
        self.providers
            .iter()
            .filter(|provider| provider.name == route.provider && provider.is_usable())
            .any(|provider| provider.kind != ProviderKind::Local || crate::providers::local::can_run(upstream))
    }

    /// Whether the models are the built-in ones, whose providers need not all be named.
    pub(super) fn has_built_in_models(&self) -> bool {
        self.models == BUILT_IN.models
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::{JobKind, Usdc};

    use super::*;

    #[test]
    fn the_built_in_list_reads_and_names_everything_once() {
        let rates = Rates::parse(include_str!("../../rates.toml")).unwrap();
        assert_eq!(rates, *BUILT_IN);
        for kind in JobKind::ALL {
            assert!(rates.models.iter().any(|model| model.kind == kind), "{kind}");
            let auto = rates.models.iter().any(|model| model.kind == kind && model.auto);
            assert_eq!(auto, kind != JobKind::Gpu, "auto routes {kind}");
        }
        let names: Vec<&str> = rates.providers.iter().map(|provider| provider.name.as_str()).collect();
        for model in &rates.models {
            assert!(!model.routes.is_empty() && !model.description.is_empty(), "{}", model.id);
            assert!(model.routes.iter().all(|route| names.contains(&route.provider.as_str())), "{}", model.id);
        }
        assert!(rates.providers.iter().all(|provider| provider.kind == ProviderKind::Local || provider.optional));
        let remote = |kind| {
            rates
                .models
                .iter()
                .filter(move |model: &&ModelConfig| model.kind == kind && !model.id.starts_with("local/"))
        };
        assert_eq!(remote(JobKind::TextInference).count(), 11);
    }

    #[test]
    fn prices_are_those_of_the_price_list_that_the_product_follows() {
        let price = |kind, units: u64| {
            BUILT_IN.models.iter().filter(move |model| model.kind == kind).all(|model| {
                let one = model.per_call.micros() + model.per_image.micros();
                one == units && model.per_1k_input == Usdc::ZERO && model.per_1k_output == Usdc::ZERO
            })
        };
        for (kind, micros) in [
            (JobKind::TextInference, 30_000),
            (JobKind::ImageGeneration, 30_000),
            (JobKind::VideoGeneration, 500_000),
            (JobKind::TextToSpeech, 30_000),
            (JobKind::SpeechToText, 20_000),
            (JobKind::Embeddings, 5_000),
            (JobKind::DocumentParsing, 2_000),
            (JobKind::Gpu, 60_000),
        ] {
            assert!(price(kind, micros), "{kind}");
        }
    }

    /// Who asks must not choose the machine that the operator pays for, nor for how long.
    #[test]
    fn nothing_built_in_runs_whatever_a_stranger_names() {
        for model in &BUILT_IN.models {
            assert!(model.routes.iter().all(|route| route.model != crate::catalog::ANY), "{}", model.id);
            assert!(model.kind != JobKind::Gpu || model.max_seconds > 0, "{}", model.id);
        }
    }

    #[test]
    fn a_price_is_never_a_float() {
        let text = "[[models]]\nid = \"m\"\nper_call = 0.03\n";
        assert!(Rates::parse(text).unwrap_err().to_string().contains("per_call"));
        assert!(Rates::parse("[[models]]\nid = \"m\"\nper_call = \"0.03\"\n").is_ok());
        assert!(Rates::parse("[[modles]]\n").is_err());
    }

    #[test]
    fn another_list_takes_the_place_of_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let (file, rates) = (folder.path().join("relayer.toml"), folder.path().join("rates.toml"));
        std::fs::write(&file, format!("[catalog]\nrates = {:?}\n", rates.display().to_string())).unwrap();
        let read = || Config::read(Some(&file), []);
        assert!(read().unwrap_err().to_string().contains("cannot be read"));
        std::fs::write(&rates, "[[models]]\nid = \"m\"\nper_call = \"1\"\nroutes = [{ provider = \"local\" }]\n")
            .unwrap();
        let config = read().unwrap();
        assert_eq!(config.models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(), ["m"]);
        assert_eq!(config.providers, BUILT_IN.providers, "it names none");
        std::fs::write(
            &file,
            format!("models = [{{ id = \"own\" }}]\n[catalog]\nrates = {:?}\n", rates.display().to_string()),
        )
        .unwrap();
        assert_eq!(read().unwrap().models.first().unwrap().id, "own", "what the configuration names itself goes first");
    }
}
