//! `--print-config`: the documented example with the values in force.

use std::fmt::Write as _;

use serde_json::Value;

use super::Config;

/// Every key with its documentation and default.
const EXAMPLE: &str = include_str!("../../config.example.toml");
/// Values that may hold a key or password.
const SECRET: [&str; 4] = ["base.rpc_urls", "base.database_url", "solana.rpc_urls", "solana.database_url"];

impl Config {
    /// The settings as a TOML file that explains itself. What may hold a secret is hidden unless it is the default.
    #[must_use]
    pub fn print(&self) -> String {
        // A struct of plain values always has a JSON form.
        let values = serde_json::to_value(self).unwrap_or_default();
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        let mut section = "";
        let mut out = String::new();
        for line in EXAMPLE.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name;
            }
            match line.split_once(" = ") {
                Some((key, _)) if !line.starts_with('#') => {
                    let (value, default) = (&values[section][key], &defaults[section][key]);
                    let hidden = SECRET.contains(&format!("{section}.{key}").as_str()) && value != default;
                    let shown = if hidden { "\"hidden\"".into() } else { toml(value) };
                    let _ = writeln!(out, "{key} = {shown}");
                }
                _ => {
                    let _ = writeln!(out, "{line}");
                }
            }
        }
        out
    }
}

/// A JSON value in TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".into(),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{} = {}", Value::from(key.as_str()), toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use figment::{
        Figment,
        providers::{Format, Toml},
    };

    use super::*;

    /// Without defaults: what a network's section leaves out is missed.
    fn parse(text: &str) -> Config {
        Figment::from(Toml::string(text)).extract().unwrap()
    }

    #[test]
    fn the_example_is_the_defaults_and_names_every_key() {
        assert_eq!(parse(EXAMPLE), Config::default());
        let defaults = serde_json::to_value(Config::default()).unwrap();
        for (section, keys) in defaults.as_object().unwrap() {
            let (_, body) = EXAMPLE.split_once(&format!("[{section}]\n")).unwrap();
            let body = body.split("\n[").next().unwrap();
            for key in keys.as_object().unwrap().keys() {
                assert!(body.contains(&format!("\n{key} = ")), "{section}.{key} is not in the example");
            }
        }
    }

    #[test]
    fn printing_shows_what_is_in_force_and_hides_secrets() {
        let mut config = Config::default();
        config.follow.prefetch = 9;
        config.base.rpc_urls = vec!["https://rpc.example/secret".into()];
        config.solana.database_url = "postgres://me:secret@db/x".into();
        config.solana.operators.insert(
            "1".into(),
            super::super::OperatorSource { url: "https://relayer.example".parse().unwrap(), allow_insecure: false },
        );
        let text = config.print();
        assert!(text.contains("prefetch = 9"));
        assert!(!text.contains("secret\""), "{text}");
        assert!(!text.contains("me:secret"));
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(parse(&text.replace("\"hidden\"", "\"x\"")).solana.operators, config.solana.operators);
    }
}
