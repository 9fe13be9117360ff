//! Reading settings: defaults ← file ← environment. Unknown keys are errors that name the nearest key.

use std::path::{Path, PathBuf};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::Config;

/// Prefix of the environment variables: section and key follow, in capitals, separated by two underscores.
pub const ENV_PREFIX: &str = "COMPUTE_FUTURES_RELAYER__";

/// Settings that cannot be used. The text says which key, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there.
    #[error("the configuration file {0} cannot be read; pass --config with its path, or write one with --print-config")]
    NoFile(PathBuf),
    /// A key nobody knows.
    #[error("{place}: unknown key `{key}`{}", nearest_hint(.nearest))]
    UnknownKey {
        /// File or environment.
        place: String,
        /// The key as written, with its section.
        key: String,
        /// The known key most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type or form.
    #[error("{place}: `{key}`: {reason}")]
    BadValue {
        /// File or environment.
        place: String,
        /// The key with its section.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Values that are well formed and cannot work; one line each.
    #[error("the configuration cannot work:\n  - {}", .0.join("\n  - "))]
    Invalid(Vec<String>),
}

fn nearest_hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(|| "; --print-config lists every key".into(), |key| format!("; did you mean `{key}`?"))
}

impl Config {
    /// Reads the file (when one is given), then this process's environment.
    ///
    /// # Errors
    /// [`ConfigError`], also when the result cannot work (see [`Config::validate`]).
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let config = Self::read(file, std::env::vars())?;
        config.validate()?;
        Ok(config)
    }

    /// Reads without validating: `variables` is the environment.
    ///
    /// # Errors
    /// [`ConfigError`] other than [`ConfigError::Invalid`].
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.is_file() {
                return Err(ConfigError::NoFile(file.to_owned()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment.merge(Environment::new(variables));
        let mut config: Self = figment.extract().map_err(explain)?;
        if !config.catalog.rates.is_empty() {
            let rates = super::rates::Rates::read(Path::new(&config.catalog.rates))?;
            // What the configuration names itself goes before the file.
            if figment.find_value("models").is_err() {
                config.models = rates.models;
            }
            if figment.find_value("providers").is_err() && !rates.providers.is_empty() {
                config.providers = rates.providers;
            }
        }
        Ok(config)
    }

    /// Reads TOML text alone.
    ///
    /// # Errors
    /// [`ConfigError`] other than [`ConfigError::Invalid`].
    pub fn parse(toml: &str) -> Result<Self, ConfigError> {
        Figment::from(Toml::string(toml)).extract().map_err(explain)
    }
}

/// Turns figment's error into ours.
pub(super) fn explain(error: figment::Error) -> ConfigError {
    let place = match &error.metadata {
        Some(metadata) => metadata
            .source
            .as_ref()
            .map_or_else(|| metadata.name.to_string(), |source| format!("{} {source}", metadata.name)),
        None => "configuration".into(),
    };
    let mut path = error.path.clone();
    match &error.kind {
        Kind::UnknownField(field, expected) => {
            if path.last() != Some(field) {
                path.push(field.clone());
            }
            let section = path[..path.len() - 1].join(".");
            let nearest = expected
                .iter()
                .map(|known| (strsim::jaro_winkler(field, known), *known))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, known)| if section.is_empty() { known.into() } else { format!("{section}.{known}") });
            ConfigError::UnknownKey { place, key: path.join("."), nearest }
        }
        _ if path.iter().any(|part| part.ends_with("_key")) => {
            let reason = "a key is named by its place: { env = \"NAME\" }, { file = \"/path\" } or { keystore = \"/path\", password_env = \"NAME\" }";
            ConfigError::BadValue { place, key: path.join("."), reason: reason.into() }
        }
        kind => ConfigError::BadValue { place, key: path.join("."), reason: kind.to_string() },
    }
}

/// The environment as a figment provider. Unlike figment's own it looks at the type of the default: what is a string stays a
/// string (`0.01`, `0x…`), and a list may be written with commas.
struct Environment(Vec<(String, String)>);

impl Environment {
    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(
            variables
                .into_iter()
                .filter_map(|(name, value)| {
                    Some((name.strip_prefix(ENV_PREFIX)?.to_ascii_lowercase().replace("__", "."), value))
                })
                .collect(),
        )
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
            .interpolater(|_, keys| format!("{ENV_PREFIX}{}", keys.join("__").to_ascii_uppercase()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let defaults =
            serde_json::to_value(Config::default()).map_err(|error| figment::Error::from(error.to_string()))?;
        let mut dict = Dict::new();
        for (key, raw) in &self.0 {
            let default = key.split('.').try_fold(&defaults, |value, part| value.get(part));
            insert(&mut dict, key, typed(raw, default));
        }
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// Reads `raw` as the type that `default` has.
fn typed(raw: &str, default: Option<&serde_json::Value>) -> Value {
    // As TOML where it is TOML (numbers, lists, tables), else as text.
    let parse = |text: &str| {
        let parsed = Toml::string(&format!("value = {text}")).data().ok();
        parsed
            .and_then(|mut profiles| profiles.remove(&Profile::Default)?.remove("value"))
            .unwrap_or_else(|| Value::from(text))
    };
    match default {
        Some(serde_json::Value::String(_)) => Value::from(raw),
        Some(serde_json::Value::Array(_)) if !raw.trim_start().starts_with('[') => Value::from(
            raw.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect::<Vec<_>>(),
        ),
        _ => parse(raw),
    }
}

fn insert(dict: &mut Dict, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            dict.insert(key.into(), value);
        }
        Some((section, rest)) => {
            let mut inner = match dict.remove(section) {
                Some(Value::Dict(_, inner)) => inner,
                _ => Dict::new(),
            };
            insert(&mut inner, rest, value);
            dict.insert(section.into(), Value::from(inner));
        }
    }
}
