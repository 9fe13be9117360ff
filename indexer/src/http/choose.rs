//! Which network a request is about: what it names says so by itself, or `?network=` does.

use compute_futures_protocol::{AccountId, Address, Chain};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Api,
    error::{ApiError, ApiResult},
    input,
};
use crate::network::Network;

/// `?network=`
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NetworkParams {
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
}

impl NetworkParams {
    pub(super) fn name(&self) -> Option<&str> {
        self.network.as_deref()
    }
}

impl Api {
    /// The named network; without a name the only one.
    pub(super) fn named(&self, name: Option<&str>) -> ApiResult<&Network> {
        match (name, &*self.networks) {
            (Some(name), _) => self.on(chain(name)?),
            (None, [only]) => Ok(only),
            (None, _) => Err(self.missing("several networks are followed here")),
        }
    }

    /// The network of an owner's address.
    pub(super) fn of_owner(&self, owner: Address, name: Option<&str>) -> ApiResult<&Network> {
        let evm = owner.evm().is_some();
        let fits = |network: &&Network| network.chain.evm_chain_id().is_some() == evm;
        let network = self.networks.iter().find(fits).ok_or_else(|| {
            let error = format!("{owner} is an address on {}", if evm { "an EVM chain" } else { "Solana" });
            ApiError::bad_request("network_not_followed", error, self.followed())
        })?;
        self.agree(network, name)
    }

    /// The account a text names, and its network: a futures id names the chain, a number does where there is only one.
    pub(super) fn account(
        &self,
        text: &str,
        operator: Option<u32>,
        name: Option<&str>,
    ) -> ApiResult<(&Network, AccountId)> {
        match input::account(text, operator)? {
            (id, Some(chain)) => Ok((self.agree(self.on(chain)?, name)?, id)),
            (id, None) if name.is_none() && self.networks.len() > 1 => {
                Err(self.missing(&format!("account {id} may be one of each network")))
            }
            (id, None) => Ok((self.named(name)?, id)),
        }
    }

    fn on(&self, chain: Chain) -> ApiResult<&Network> {
        self.networks.iter().find(|network| network.chain == chain).ok_or_else(|| {
            let error = format!("{chain} is not followed here");
            ApiError::bad_request("network_not_followed", error, self.followed())
        })
    }

    fn agree<'a>(&'a self, network: &'a Network, name: Option<&str>) -> ApiResult<&'a Network> {
        match name.map(chain).transpose()? {
            Some(named) if named != network.chain => Err(ApiError::bad_request(
                "network_differs",
                format!("this is on {}, not on {named}", network.chain),
                "leave ?network= out, or correct it",
            )),
            _ => Ok(network),
        }
    }

    fn missing(&self, why: &str) -> ApiError {
        let hint = format!("add ?network=, one of {}; a futures id (CFE-…) names its network by itself", self.names());
        ApiError::bad_request("network_missing", why, hint)
    }

    fn followed(&self) -> String {
        format!("this indexer follows {}; for others ask another one", self.names())
    }

    fn names(&self) -> String {
        let name = |network: &Network| format!("{} ({})", network.chain.caip2(), network.chain.v1_name());
        self.networks.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

fn chain(name: &str) -> ApiResult<Chain> {
    name.parse().map_err(|error: compute_futures_protocol::UnknownChain| {
        ApiError::bad_request("unknown_network", error.to_string(), "/api/v1/networks lists those followed here")
    })
}
