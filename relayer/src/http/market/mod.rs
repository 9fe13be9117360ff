//! The marketplace: providers, sessions and their receipts, budgets (docs/marketplace.md).
//!
//! Everything here is free and asks for nothing that the chain does not tell anyone; what is brought on chain for others is bounded in
//! [`crate::market`].

mod errors;
mod escrows;
mod escrows_relayed;
mod inference;
mod open;
mod outcomes;
mod providers;
mod quote;
mod receipts;
mod sessions;
pub mod shapes;
mod typed_data;

pub use escrows::{agents, escrow, expire, refund, sweep};
pub use escrows_relayed::{create, fund};
pub use inference::inference;
pub use open::open;
pub use outcomes::{OutcomesAnswer, outcomes};
pub use providers::{provider, providers};
pub use quote::quote;
pub use receipts::{receipt, receipts};
pub use sessions::{close, session};

use std::time::Duration;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use compute_futures_protocol::Address;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::paid::{self, invalid};
use super::state::{AppState, At};
use crate::error::{ApiError, ApiResult};
use crate::market::Market;

/// Calls at once that ask the chain: each costs us some questions, and the caller nothing.
static TURNS: Semaphore = Semaphore::const_new(8);
/// How long a call waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// How long a relayed transaction is waited for; it goes on by itself after that.
const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds that a signed authorisation must still be valid, so that it can be mined.
const MARGIN_SECONDS: u64 = 60;

async fn turn() -> ApiResult<SemaphorePermit<'static>> {
    let busy = || ApiError::unavailable("busy", "too many calls ask the chain just now", "retry in a moment");
    tokio::time::timeout(TURN_WAIT, TURNS.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
}

/// The marketplace of the network that is named, or of the only one.
///
/// # Errors
/// 404 `market_not_served`; 400 and 503 as for every network.
pub fn at(state: &AppState, network: Option<&str>) -> ApiResult<(At, Market)> {
    let at = state.on(state.networks.named(network)?);
    let market = at.market()?.clone();
    Ok((at, market))
}

/// A whole number in a path, from 1.
fn number(field: &str, path: Result<Path<String>, PathRejection>) -> ApiResult<u32> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u32>()
        .ok()
        .filter(|number| digits && *number > 0)
        .ok_or_else(|| invalid(format!("`{field}` is not a number from 1 to {}", u32::MAX), "write it as 1"))
}

/// A wallet on the network that the call is about.
fn wallet(at: &At, field: &str, text: &str) -> ApiResult<Address> {
    let address = paid::parse_address(&at.app.networks, field, text)?;
    on(at, field, address)
}

/// 400 unless the address is one of the network's.
fn on(at: &At, field: &str, address: Address) -> ApiResult<Address> {
    if !address.is_on(at.chain()) || address.is_zero() {
        return Err(invalid(
            format!("`{field}` is not a wallet on {}", at.chain()),
            "name the `network` of the escrow, and wallets of that network",
        ));
    }
    Ok(address)
}

fn now() -> u64 {
    crate::ledger::now_ms() / 1000
}
