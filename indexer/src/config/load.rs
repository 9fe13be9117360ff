//! Reading settings and refusing those that cannot work.

use std::path::Path;

use compute_futures_protocol::Domain;
use figment::{
    Figment,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Deserialize, Deserializer};

use super::{Config, NetworkConfig};
use crate::error::{IndexerError, Result};

/// Prefix of the environment variables: section and key follow, in capitals, separated by two underscores.
pub const ENV_PREFIX: &str = "COMPUTE_FUTURES_INDEXER__";

/// Names that keys had before there were two networks.
const RENAMED: [(&str, &str); 3] =
    [("chain", "[base]"), ("database.url", "base.database_url"), ("receipts.operators", "base.operators")];

/// What holds where file and environment are silent.
pub(super) fn defaults() -> Figment {
    Figment::from(Serialized::defaults(Config::default()))
}

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
        let mut figment = defaults();
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
        let figment = figment.merge(Env::prefixed(ENV_PREFIX).split("__"));
        if let Some((old, new)) = RENAMED.iter().find(|(old, _)| figment.find_value(old).is_ok()) {
            return Err(IndexerError::Config(format!("{old} is called {new} now; rename it")));
        }
        figment.extract().map_err(|error| IndexerError::Config(error.to_string()))
    }

    /// Refuses what is well formed and cannot work.
    ///
    /// # Errors
    /// [`IndexerError::Config`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(IndexerError::Config(text));
        if self.networks().next().is_none() {
            return refuse("no network is enabled; set base.enabled or solana.enabled to true".into());
        }
        for (section, network) in [("base", &self.base), ("solana", &self.solana)] {
            if network.enabled {
                network.validate(section)?;
            }
        }
        if self.base.enabled && self.solana.enabled && self.base.database_url == self.solana.database_url {
            return refuse("base.database_url and solana.database_url are the same; each network needs its own".into());
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
            ("market.outcomes_seconds", self.market.outcomes_seconds),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return refuse(format!("{key} is 0; write a number above it"));
        }
        if self.server.requests_per_second > 0 && self.server.requests_burst == 0 {
            return refuse(
                "server.requests_burst is 0; allow at least 1, or lift the limit with requests_per_second = 0".into(),
            );
        }
        Ok(())
    }
}

impl NetworkConfig {
    fn validate(&self, section: &str) -> Result<()> {
        let refuse = |text: String| Err(IndexerError::Config(text));
        if self.section() != section {
            return refuse(format!(
                "{section}.network is {}; that chain belongs into [{}]",
                self.network,
                self.section()
            ));
        }
        if self.contract.is_zero() {
            return refuse(format!(
                "{section}.contract is not set; write the address of ComputeFutures, or set {section}.enabled = false"
            ));
        }
        let market = [("market_registry", self.market_registry), ("market_escrow", self.market_escrow)];
        let unset: Vec<_> = market.iter().filter(|(_, address)| address.is_zero()).collect();
        if let [(missing, _)] = unset[..] {
            return refuse(format!(
                "{section}.{missing} is not set; a marketplace has both addresses, none has neither"
            ));
        }
        let market = market.into_iter().filter(|_| self.has_market());
        for (key, address) in [("contract", self.contract), ("token", self.token)].into_iter().chain(market) {
            if Domain::new(self.network, address).is_err() {
                return refuse(format!("{section}.{key} is {address}, which is no address on {}", self.network));
            }
        }
        if self.rpc_urls.is_empty() {
            return refuse(format!("{section}.rpc_urls is empty; name at least one RPC URL"));
        }
        for (index, source) in &self.operators {
            let key = format!("{section}.operators.{index}");
            if !index.parse::<u32>().is_ok_and(|i| i > 0 && i.to_string() == *index) {
                return refuse(format!("{key}: the key is an operator index, a number from 1"));
            }
            source.check().map_err(|reason| IndexerError::Config(format!("{key}.url: {reason}")))?;
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
    use compute_futures_protocol::{Address, Chain};

    use super::*;

    fn valid() -> Config {
        let mut config = Config::default();
        config.base.contract = Address::repeat_byte(1);
        config
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = valid();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    fn with_solana(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = valid();
        config.solana.enabled = true;
        config.solana.contract = compute_futures_protocol::SolanaAddress([7; 32]).into();
        change(&mut config);
        config
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        valid().validate().unwrap();
        assert!(refusal(|c| c.base.contract = Address::ZERO).contains("base.contract"));
        assert!(refusal(|c| c.base.rpc_urls.clear()).contains("base.rpc_urls"));
        assert!(refusal(|c| c.base.network = Chain::Solana).contains("[solana]"));
        assert!(refusal(|c| c.base.enabled = false).contains("no network"));
        assert!(refusal(|c| c.solana.enabled = true).contains("solana.contract"));
        assert!(refusal(|c| c.follow.prefetch = 0).contains("follow.prefetch"));
        assert!(refusal(|c| c.market.outcomes_seconds = 0).contains("market.outcomes_seconds"));
    }

    #[test]
    fn each_network_has_its_own_section_and_database() {
        with_solana(|_| {}).validate().unwrap();
        with_solana(|c| c.base.enabled = false).validate().unwrap();
        let refusal = |change: fn(&mut Config)| with_solana(change).validate().unwrap_err().to_string();
        assert!(refusal(|c| c.solana.database_url = c.base.database_url.clone()).contains("its own"));
        assert!(refusal(|c| c.solana.token = c.base.token).contains("solana.token"));
        assert!(refusal(|c| c.solana.contract = c.base.contract).contains("solana.contract"));
        assert!(refusal(|c| c.base.contract = c.solana.contract).contains("base.contract"));
        // A network that is off may be half written.
        let mut off = with_solana(|c| c.solana.contract = c.base.contract);
        off.solana.enabled = false;
        off.validate().unwrap();
    }

    #[test]
    fn a_marketplace_is_named_by_both_addresses_of_its_chain() {
        let one = Address::repeat_byte(1);
        let refusal = |change: fn(&mut NetworkConfig, Address)| refusal(|c| change(&mut c.base, one));
        assert!(refusal(|n, one| n.market_registry = one).contains("base.market_escrow"));
        assert!(refusal(|n, one| n.market_escrow = one).contains("base.market_registry"));
        let there = with_solana(|c| {
            c.solana.market_registry = c.solana.contract;
            c.solana.market_escrow = c.solana.contract;
        });
        there.validate().unwrap();
        let mut elsewhere = there;
        elsewhere.solana.market_escrow = one;
        assert!(elsewhere.validate().unwrap_err().to_string().contains("solana.market_escrow"));
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
            refusal(|c| drop(c.base.operators.insert("0".into(), source("https://r.example", false))))
                .contains("operators.0")
        );
        assert!(
            refusal(|c| drop(c.base.operators.insert("01".into(), source("https://r.example", false))))
                .contains("operators.01")
        );
    }

    #[test]
    #[allow(clippy::result_large_err)]
    fn environment_wins_over_the_file_and_unknown_keys_are_refused() {
        figment::Jail::expect_with(|jail| {
            jail.create_file(
                "indexer.toml",
                "[base]\ncontract = \"0x0000000000000000000000000000000000000001\"\n[follow]\nprefetch = 2\n",
            )?;
            jail.set_env("COMPUTE_FUTURES_INDEXER__FOLLOW__PREFETCH", "7");
            jail.set_env("COMPUTE_FUTURES_INDEXER__BASE__RPC_URLS", "http://a.example, http://b.example");
            jail.set_env("COMPUTE_FUTURES_INDEXER__BASE__OPERATORS__1__URL", "https://relayer.example");
            let config = Config::load(Some(Path::new("indexer.toml"))).unwrap();
            assert_eq!(config.follow.prefetch, 7);
            assert_eq!(config.base.rpc_urls, ["http://a.example", "http://b.example"]);
            assert_eq!(config.base.operators["1"].url.as_str(), "https://relayer.example/");
            assert_eq!(config.solana, NetworkConfig::solana(), "what is not named keeps its default");
            jail.set_env("COMPUTE_FUTURES_INDEXER__FOLLOW__PREFECTH", "7");
            assert!(Config::load(Some(Path::new("indexer.toml"))).unwrap_err().to_string().contains("prefecth"));
            jail.set_env("COMPUTE_FUTURES_INDEXER__CHAIN__RPC_URLS", "http://a.example");
            assert!(Config::load(Some(Path::new("indexer.toml"))).unwrap_err().to_string().contains("[base]"));
            Ok(())
        });
    }
}
