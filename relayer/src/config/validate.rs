//! Settings that are well formed and cannot work are refused before anything starts, all at once, each with what to do.

use std::{collections::HashSet, net::SocketAddr, path::Path};

use compute_futures_chain::evm::published_deployment;
use compute_futures_protocol::Address;
use url::Url;

use super::{Config, ConfigError, ProviderKind};

impl Config {
    /// Checks everything that can be checked without the network.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_server(&mut problems);
        self.check_chain(&mut problems);
        self.check_money(&mut problems);
        self.check_models(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
    }

    fn check_server(&self, problems: &mut Vec<String>) {
        let server = &self.server;
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(text.to_owned());
            }
        };
        check(
            server.bind.parse::<SocketAddr>().is_ok(),
            "server.bind is not an address with a port; write 127.0.0.1:4020",
        );
        check(
            server.metrics_bind.is_empty() || server.metrics_bind.parse::<SocketAddr>().is_ok(),
            "server.metrics_bind is not an address with a port; write 127.0.0.1:4021 or leave it empty",
        );
        check(
            server.public_url.is_empty() || is_http(&server.public_url) && !server.public_url.ends_with('/'),
            "server.public_url is not a URL without trailing slash; write https://relayer.example",
        );
        check(server.body_limit_bytes >= 1024, "server.body_limit_bytes is below 1024; no request would fit");
        check(
            server.header_limit_bytes >= 32 * 1024,
            "server.header_limit_bytes is below 32768; payments travel in headers and would not fit",
        );
        check(server.concurrency_limit > 0, "server.concurrency_limit is 0; nothing would be served");
        check(server.request_timeout_seconds > 0, "server.request_timeout_seconds is 0; nothing would be served");
        check(
            server.free_requests_per_second == 0 || server.free_requests_burst > 0,
            "server.free_requests_burst is 0; allow at least 1, or lift the limit with free_requests_per_second = 0",
        );
    }

    fn check_chain(&self, problems: &mut Vec<String>) {
        let (chain, keys) = (&self.chain, &self.keys);
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(text.to_owned());
            }
        };
        check(
            chain.network.evm_chain_id().is_some(),
            "chain.network is not an EVM chain; use eip155:8453 or eip155:84532",
        );
        check(!chain.rpc_urls.is_empty(), "chain.rpc_urls is empty; name at least one RPC URL");
        check(
            chain.rpc_urls.iter().all(|url| is_http(url)),
            "chain.rpc_urls holds something that is not an http(s) URL",
        );
        let published = published_deployment(chain.network).is_some();
        check(
            published || chain.contract != Address::ZERO && chain.token != Address::ZERO,
            "chain.contract and chain.token are not set, and none are known for this network; put their addresses there",
        );
        check(
            chain.trust_latest <= chain.trust_safe,
            "chain.trust_latest is above chain.trust_safe; a larger deposit must not need less certainty",
        );
        check(chain.poll_interval_ms >= 10, "chain.poll_interval_ms is below 10; that only burns RPC quota");
        check(
            !self.facilitator.url.is_empty() || keys.operator != keys.facilitator,
            "keys.operator and keys.facilitator are the same; both count nonces on their own, so use two keys",
        );
        check(
            self.facilitator.url.is_empty() || is_http(&self.facilitator.url),
            "facilitator.url is not an http(s) URL; leave it empty for the embedded facilitator",
        );
        let ledger = self.ledger.url.as_str();
        check(
            ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| ledger.starts_with(scheme)),
            "ledger.url names neither SQLite nor PostgreSQL; write sqlite:///path/to/ledger.db or postgres://user:password@host/database",
        );
        let path = ledger
            .strip_prefix("sqlite://")
            .and_then(|rest| rest.split('?').next())
            .and_then(|path| Path::new(path).parent());
        check(
            path.is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()),
            "ledger.url points into a folder that is not there; create it first",
        );
    }

    fn check_money(&self, problems: &mut Vec<String>) {
        if let Err(error) = self.terms(compute_futures_protocol::B256::ZERO).validate() {
            problems.push(format!("terms: {error}"));
        }
        if u64::from(self.terms.refund_delay_seconds) < 2 * self.settlement.max_age_seconds {
            problems.push(
                "terms.refund_delay_seconds is less than twice settlement.max_age_seconds; a refund could overtake debits of work already done".into(),
            );
        }
        if self.settlement.max_receipts == 0 || self.settlement.max_rows == 0 {
            problems.push("settlement.max_receipts and settlement.max_rows must be at least 1".into());
        }
    }

    fn check_models(&self, problems: &mut Vec<String>) {
        let mut names = HashSet::new();
        for provider in &self.providers {
            let name = &provider.name;
            if name.is_empty() || !names.insert(name) {
                problems.push(format!(
                    "providers: the name {name:?} is empty or used twice; give each provider a name of its own"
                ));
            }
            if provider.kind != ProviderKind::Local && provider.base_url.is_empty() {
                problems.push(format!("providers: {name} has no base_url; write https://host/v1"));
            }
        }
        let built_in = self.has_built_in_models();
        for model in &self.models {
            let id = &model.id;
            if model.id == crate::catalog::AUTO {
                problems.push("models: `auto` is reserved; it means the operator's choice".into());
            }
            if model.routes.is_empty() {
                problems.push(format!("models: {id} has no routes; name the provider that runs it"));
            }
            let stray = |route: &&super::RouteConfig| !built_in && !names.contains(&route.provider);
            for route in model.routes.iter().filter(stray) {
                problems.push(format!(
                    "models: {id} is routed to provider `{}`, which [[providers]] does not name",
                    route.provider
                ));
            }
            if crate::catalog::Model::from(model).rate.is_free() {
                problems.push(format!("models: {id} costs nothing; set per_call or the price of a unit"));
            }
            if !model.per_second.is_zero() && model.max_seconds == 0 {
                problems.push(format!(
                    "models: {id} has a price a second and no max_seconds; nothing would bound a job's price"
                ));
            }
            if model.context_length == 0 {
                problems.push(format!("models: {id} has a context_length of 0"));
            }
        }
    }
}

fn is_http(url: &str) -> bool {
    url.parse::<Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
