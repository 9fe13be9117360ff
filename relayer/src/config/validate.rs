//! Settings that are well formed and cannot work are refused before anything starts, all at once, each with what to do.

use std::{collections::HashSet, net::SocketAddr, path::Path};

use compute_futures_chain::{evm::published_deployment, solana::usdc_mint};
use compute_futures_protocol::Chain;
use url::Url;

use super::{Config, ConfigError, NetworkSettings, ProviderKind};

impl Config {
    /// Checks everything that can be checked without the network.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_server(&mut problems);
        self.check_networks(&mut problems);
        self.check_money(&mut problems);
        self.check_market(&mut problems);
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

    fn check_networks(&self, problems: &mut Vec<String>) {
        let networks = self.networks();
        if networks.is_empty() {
            problems.push("no network is enabled; set base.enabled or solana.enabled to true".into());
        }
        for (place, network) in networks.iter().enumerate() {
            check_network(network, problems);
            if networks[..place].iter().any(|other| other.ledger_url == network.ledger_url) {
                problems.push(format!(
                    "{}.ledger_url is that of another network; each network keeps its books in a database of its own",
                    network.section
                ));
            }
        }
        if self.base.enabled {
            let (base, published) = (&self.base, published_deployment(self.base.network).is_some());
            if base.network.evm_chain_id().is_none() {
                problems.push("base.network is not an EVM chain; use eip155:8453 or eip155:84532".into());
            } else if !published && (base.contract.is_zero() || base.token.is_zero()) {
                problems.push("base.contract and base.token are not set, and none are known for this network; put their addresses there".into());
            } else if is_rpc(&base.rpc_urls)
                && let Err(ConfigError::Invalid(found)) = base.evm()
            {
                problems.extend(found);
            }
        }
        if self.solana.enabled {
            let solana = &self.solana;
            if usdc_mint(solana.network).is_none() {
                problems.push(format!(
                    "solana.network is not a Solana cluster; use {} or {}",
                    Chain::Solana,
                    Chain::SolanaDevnet
                ));
            } else if is_rpc(&solana.rpc_urls)
                && let Err(ConfigError::Invalid(found)) = solana.rpc()
            {
                problems.extend(found);
            }
        }
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
        if self.settlement.max_receipts == 0 {
            problems.push("settlement.max_receipts must be at least 1".into());
        }
    }

    fn check_market(&self, problems: &mut Vec<String>) {
        let market = &self.market;
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(format!("market.{text}"));
            }
        };
        check(market.close_interval_seconds > 0, "close_interval_seconds is 0; sessions are looked at once in a while");
        check(
            market.provider_timeout_seconds > 0 && market.provider_timeout_seconds < market.close_margin_seconds,
            "provider_timeout_seconds must be above 0 and below close_margin_seconds; else a session could end before a call in flight",
        );
        check(
            market.close_margin_seconds >= 2 * market.close_interval_seconds,
            "close_margin_seconds is less than twice close_interval_seconds; sessions would lapse before they are closed",
        );
        check(market.probe_seconds > 0, "probe_seconds is 0; providers would be asked without a pause");
        let weights = [market.route_weight_price, market.route_weight_latency, market.route_weight_uptime];
        check(
            weights.iter().all(|weight| *weight <= 1_000) && weights.iter().any(|weight| *weight > 0),
            "route_weight_* are 0 to 1000, and one of them above 0",
        );
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

/// What every network needs, whichever it is.
fn check_network(network: &NetworkSettings<'_>, problems: &mut Vec<String>) {
    let mut check = |ok: bool, text: &str| {
        if !ok {
            problems.push(format!("{}.{text}", network.section));
        }
    };
    check(!network.rpc_urls.is_empty(), "rpc_urls is empty; name at least one RPC URL");
    check(network.rpc_urls.iter().all(|url| is_http(url)), "rpc_urls holds something that is not an http(s) URL");
    check(
        network.trust_latest <= network.trust_safe,
        "trust_latest is above trust_safe; a larger deposit must not need less certainty",
    );
    check(network.poll_interval_ms >= 10, "poll_interval_ms is below 10; that only burns RPC quota");
    check(network.max_rows > 0, "max_rows is 0; nothing would be posted");
    check(
        !network.facilitator_url.is_empty() || network.operator_key != network.facilitator_key,
        "operator_key and facilitator_key are the same; use two keys",
    );
    check(
        network.facilitator_url.is_empty() || is_http(network.facilitator_url),
        "facilitator_url is not an http(s) URL; leave it empty for the embedded facilitator",
    );
    check(
        network.pay_to.is_zero() || network.pay_to.is_on(network.chain),
        "pay_to is an address of another chain; leave it out to be paid at the operator's address",
    );
    check(
        network.market_registry.is_zero() == network.market_escrow.is_zero(),
        "market_registry and market_escrow belong together; set both, or none for no marketplace",
    );
    check(
        !network.has_market()
            || network.market_registry.is_on(network.chain) && network.market_escrow.is_on(network.chain),
        "market_registry or market_escrow is an address of another chain",
    );
    let ledger = network.ledger_url;
    check(
        ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| ledger.starts_with(scheme)),
        "ledger_url names neither SQLite nor PostgreSQL; write sqlite:///path/to/ledger.db or postgres://user:password@host/database",
    );
    let path = ledger
        .strip_prefix("sqlite://")
        .and_then(|rest| rest.split('?').next())
        .and_then(|path| Path::new(path).parent());
    check(
        path.is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir()),
        "ledger_url points into a folder that is not there; create it first",
    );
}

fn is_rpc(urls: &[String]) -> bool {
    !urls.is_empty() && urls.iter().all(|url| is_http(url))
}

fn is_http(url: &str) -> bool {
    url.parse::<Url>().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
