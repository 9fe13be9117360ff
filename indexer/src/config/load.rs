//! Reading settings and refusing those that cannot work.

use std::path::Path;

use compute_futures_protocol::Address;
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Deserializer};

use super::Config;
use crate::error::{IndexerError, Result};

/// Prefix of the environment variables: section and key follow, in capitals, separated by two underscores.
pub const ENV_PREFIX: &str = "COMPUTE_FUTURES_INDEXER__";

impl Config {
    /// Reads the file (when one is given), then the environment, and checks that the result can work.
    ///
    /// # Errors
    /// [`IndexerError::Config`]: names the key and says what to write instead.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let config = Self::read(file)?;
        config.validate()?;
        Ok(config)
    }

    /// As [`Config::load`], without the check.
    ///
    /// # Errors
    /// As [`Config::load`], for what is not well formed.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            if !file.is_file() {
                let message = format!(
                    "{} cannot be read; pass --config with its path, or write one with --print-config",
                    file.display()
                );
                return Err(IndexerError::Config(message));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment
            .merge(Env::prefixed(ENV_PREFIX).split("__"))
            .extract()
            .map_err(|error| IndexerError::Config(error.to_string()))
    }

    /// Refuses what is well formed and cannot work.
    ///
    /// # Errors
    /// [`IndexerError::Config`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(IndexerError::Config(text));
        if self.chain.contract == Address::ZERO {
            return refuse("chain.contract is not set; write the address of the ComputeFutures contract".into());
        }
        if self.chain.rpc_urls.is_empty() {
            return refuse("chain.rpc_urls is empty; name at least one RPC URL".into());
        }
        let positive = [
            ("server.max_subscribers", self.server.max_subscribers as u64),
            ("server.max_subscribers_per_client", self.server.max_subscribers_per_client as u64),
            ("server.heartbeat_seconds", self.server.heartbeat_seconds),
            ("server.request_timeout_seconds", self.server.request_timeout_seconds),
            ("database.connections", u64::from(self.database.connections)),
            ("follow.poll_interval_ms", self.follow.poll_interval_ms),
            ("follow.events_per_range", self.follow.events_per_range as u64),
            ("follow.max_range_blocks", self.follow.max_range_blocks),
            ("follow.prefetch", self.follow.prefetch as u64),
            ("solvency.interval_seconds", self.solvency.interval_seconds),
            ("receipts.concurrency", self.receipts.concurrency as u64),
            ("receipts.timeout_seconds", self.receipts.timeout_seconds),
            ("receipts.max_bytes", self.receipts.max_bytes),
            ("receipts.retry_seconds", self.receipts.retry_seconds),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return refuse(format!("{key} is 0; write a number above it"));
        }
        if self.server.requests_per_second > 0 && self.server.requests_burst == 0 {
            return refuse(
                "server.requests_burst is 0; allow at least 1, or lift the limit with requests_per_second = 0".into(),
            );
        }
        for (index, source) in &self.receipts.operators {
            let key = format!("receipts.operators.{index}");
            if index.parse::<u32>().is_ok_and(|i| i > 0 && i.to_string() == *index) {
                source.check().map_err(|reason| IndexerError::Config(format!("{key}.url: {reason}")))?;
            } else {
                return refuse(format!("{key}: the key is an operator index, a number from 1"));
            }
        }
        Ok(())
    }
}

impl super::OperatorSource {
    /// Whether the URL may be fetched at all; addresses are checked again when the name is resolved.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        let url = &self.url;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("leave user and password out".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("write the base URL only, without ? and #".into());
        }
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allow_insecure => Ok(()),
            "http" => Err("use https, or set allow_insecure for a relayer of your own".into()),
            other => Err(format!("{other} is not supported; use https")),
        }
    }
}

/// A list, or one text with commas (as environment variables are written).
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Items(Vec<String>),
        Text(String),
    }
    Ok(match List::deserialize(deserializer)? {
        List::Items(items) => items,
        List::Text(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn valid() -> Config {
        let mut config = Config::default();
        config.chain.contract = Address::repeat_byte(1);
        config
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = valid();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        valid().validate().unwrap();
        assert!(refusal(|c| c.chain.contract = Address::ZERO).contains("chain.contract"));
        assert!(refusal(|c| c.chain.rpc_urls.clear()).contains("chain.rpc_urls"));
        assert!(refusal(|c| c.follow.prefetch = 0).contains("follow.prefetch"));
    }

    #[test]
    fn sources_are_https_unless_allowed() {
        let source =
            |url: &str, allow_insecure| super::super::OperatorSource { url: url.parse().unwrap(), allow_insecure };
        source("https://relayer.example", false).check().unwrap();
        source("http://127.0.0.1:4020", true).check().unwrap();
        for (url, insecure) in [
            ("http://relayer.example", false),
            ("ftp://relayer.example", true),
            ("https://a:b@relayer.example", true),
            ("https://r.example/?x", true),
        ] {
            assert!(source(url, insecure).check().is_err(), "{url}");
        }
        assert!(
            refusal(|c| drop(c.receipts.operators.insert("0".into(), source("https://r.example", false))))
                .contains("operators.0")
        );
        assert!(
            refusal(|c| drop(c.receipts.operators.insert("01".into(), source("https://r.example", false))))
                .contains("operators.01")
        );
    }

    #[test]
    #[allow(clippy::result_large_err)]
    fn environment_wins_over_the_file_and_unknown_keys_are_refused() {
        figment::Jail::expect_with(|jail| {
            jail.create_file(
                "indexer.toml",
                "[chain]\ncontract = \"0x0000000000000000000000000000000000000001\"\n[follow]\nprefetch = 2\n",
            )?;
            jail.set_env("COMPUTE_FUTURES_INDEXER__FOLLOW__PREFETCH", "7");
            jail.set_env("COMPUTE_FUTURES_INDEXER__CHAIN__RPC_URLS", "http://a.example, http://b.example");
            jail.set_env("COMPUTE_FUTURES_INDEXER__RECEIPTS__OPERATORS__1__URL", "https://relayer.example");
            let config = Config::load(Some(Path::new("indexer.toml"))).unwrap();
            assert_eq!(config.follow.prefetch, 7);
            assert_eq!(config.chain.rpc_urls, ["http://a.example", "http://b.example"]);
            assert_eq!(config.receipts.operators["1"].url.as_str(), "https://relayer.example/");
            jail.set_env("COMPUTE_FUTURES_INDEXER__FOLLOW__PREFECTH", "7");
            assert!(Config::load(Some(Path::new("indexer.toml"))).unwrap_err().to_string().contains("prefecth"));
            Ok(())
        });
    }
}
