//! Looks at deposit addresses that somebody asked for, and sweeps what has landed. Addresses are looked at often at first, then
//! ever more rarely; asking again brings them back to the front.

use std::time::Duration;

use compute_futures_chain::Action;
use tokio_util::sync::CancellationToken;

use super::gasless::chain;
use crate::error::ApiResult;
use crate::http::state::At;
use crate::ledger::WatchedAddress;
use crate::settlement::{Purpose, SettlementError};

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(2);
/// Addresses in one round: bounds what this costs the RPC.
const PER_ROUND: u32 = 10;
/// How long one sweep is waited for; it goes on by itself after that.
const PER_SWEEP: Duration = Duration::from_secs(20);

/// Sweeps until `stop`.
pub async fn run(at: At, stop: CancellationToken) {
    loop {
        if let Err(error) = round(&at).await {
            tracing::warn!(%error, "deposit addresses could not be looked at; trying again");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One round. Returns how many addresses were swept.
///
/// # Errors
/// When the ledger or the chain does not answer; the addresses come up again.
pub async fn round(at: &At) -> ApiResult<usize> {
    let mut swept = 0;
    for watched in at.ledger.addresses_to_look_at(PER_ROUND).await? {
        if sweep(at, watched).await? {
            swept += 1;
        }
    }
    Ok(swept)
}

async fn sweep(at: &At, watched: WatchedAddress) -> ApiResult<bool> {
    let WatchedAddress { address, terms } = watched;
    if at.reader.token_balance(address, None).await.map_err(chain)? <= terms.fee {
        return Ok(false);
    }
    // A random key: this is a new look, not a retry of an older sweep. Two sweeps at once are harmless, the second finds nothing.
    let purpose = Purpose::sweep(address, uuid::Uuid::new_v4());
    let result = async {
        at.settlement.submit(&purpose, Action::Sweep { terms }).await?;
        at.settlement.wait(&purpose, PER_SWEEP).await
    };
    match result.await {
        Ok(_) => {
            // More may come: back to the front of the queue.
            at.ledger.watch_address(watched, false).await?;
            Ok(true)
        }
        Err(SettlementError::Refused { reason, .. }) => {
            tracing::debug!(%address, reason, "a deposit address cannot be swept now");
            Ok(false)
        }
        Err(error) => {
            tracing::warn!(%address, %error, "a sweep is not confirmed yet");
            Ok(false)
        }
    }
}
