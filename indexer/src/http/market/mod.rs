//! The marketplace of a network: providers, escrows, sessions, and what they come to.

pub(super) mod discrepancies;
pub(super) mod escrows;
pub(super) mod history;
pub(super) mod metrics;
pub(super) mod providers;
pub(super) mod receipts;
pub(super) mod sessions;
pub(super) mod totals;

use compute_futures_protocol::{Address, market::SessionId};

use super::{
    Api,
    error::{ApiError, ApiResult},
    input,
    view::{self, Now},
};
use crate::{market::Deployment, network::Network, store::Tx};

impl Api {
    /// The marketplace of the named network; without a name of the only one.
    pub(in crate::http) fn market(&self, name: Option<&str>) -> ApiResult<&Network> {
        followed(self.named(name)?)
    }

    /// The marketplace an address belongs to by its form.
    pub(in crate::http) fn market_of(&self, address: Address, name: Option<&str>) -> ApiResult<&Network> {
        followed(self.of_owner(address, name)?)
    }
}

fn followed(network: &Network) -> ApiResult<&Network> {
    if network.market.is_some() {
        return Ok(network);
    }
    Err(ApiError::not_found(
        "market_not_followed",
        format!("no marketplace is followed on {}", network.chain),
        "/api/v1/networks says on which networks one is; ask another indexer",
    ))
}

/// A consistent look at the marketplace; 503 while it has not caught up with the rest.
pub(super) async fn open(network: &Network) -> ApiResult<(Tx, Now)> {
    let (mut tx, now) = view::open(network).await?;
    let projected_to = Deployment::load(&mut tx).await?.map(|market| market.projected_to);
    if projected_to.is_some_and(|block| block >= now.block_number) {
        return Ok((tx, now));
    }
    Err(ApiError::unavailable(
        "market_catching_up",
        format!("the marketplace on {} is still being read from the chain", now.network),
        "try again in a moment; /api/v1/networks says how it goes",
    ))
}

/// A session by its number.
fn session_id(text: &str) -> ApiResult<SessionId> {
    text.parse().map_err(|error: compute_futures_protocol::market::SessionIdError| {
        let hint = "escrow id * 2^32 + sequence: list an escrow's at /api/v1/market/sessions?escrow=<id>";
        ApiError::bad_request("invalid_session", error.to_string(), hint)
    })
}

/// A provider or an escrow by its number.
fn number(what: &str, text: &str) -> ApiResult<u32> {
    input::number(what, text)
}
