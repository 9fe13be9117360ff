//! What the marketplace's verbs share: the chain's clock, files, and sessions as people read them.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use compute_futures_chain::market::{EscrowOnChain, MarketEvent, ProviderOnChain};
use compute_futures_protocol::Address;
use compute_futures_protocol::market::MAX_TIME;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::events::Done;
use crate::client::Request;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Largest file that is read.
const MOST_BYTES: u64 = 1024 * 1024;

/// The time on the chain: that of its newest block. A devnet's may be ahead of ours.
pub(super) async fn after(context: &Context, lasts: Duration) -> Outcome<u64> {
    let now = context.reader().await?.heads().await?.latest.timestamp;
    Ok(now.saturating_add(lasts.as_secs()).min(MAX_TIME))
}

/// A text file, or standard input for `-`.
pub(super) fn text_of(path: &Path) -> Outcome<String> {
    let failed = |error| Failure::file(path, &error);
    let mut text = String::new();
    let read: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    read.take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What `--sign` printed.
pub(super) fn signed_of<T: DeserializeOwned>(path: &Path) -> Outcome<T> {
    serde_json::from_str(&text_of(path)?).map_err(|error| {
        Failure::new(
            "bad_signed",
            format!("{} holds nothing signed: {error}", path.display()),
            "give what --sign --json printed",
        )
    })
}

/// A provider by its id.
pub(super) async fn provider(context: &Context, id: u32) -> Outcome<ProviderOnChain> {
    context.market().await?.reader().provider(id).await?.ok_or_else(|| {
        Failure::new("unknown_provider", format!("provider {id} does not exist"), "check the id and the network")
    })
}

/// An escrow that is there; an emptied one is deleted on Solana.
pub(super) async fn escrow(context: &Context, id: u32) -> Outcome<EscrowOnChain> {
    let reader = context.market().await?.reader();
    match reader.escrow(id).await? {
        Some(escrow) => Ok(escrow),
        None if id != 0 && id <= reader.escrow_count().await? => Err(Failure::new(
            "escrow_closed",
            format!("escrow {id} was emptied after its expiry"),
            "create another one: compute-futures escrow create",
        )),
        None => {
            Err(Failure::new("unknown_escrow", format!("escrow {id} does not exist"), "check the id and the network"))
        }
    }
}

/// The result of a transaction with everything it did.
pub(super) fn result_of(done: &Done<MarketEvent>) -> Value {
    let mut result = done.json();
    result["events"] = serde_json::json!(done.events);
    result
}

/// An address, or what stands for none.
pub(super) fn or(address: Option<Address>, none: &str) -> String {
    address.map_or_else(|| none.to_owned(), |address| address.to_string())
}

/// Sends what somebody signed to the relayer, again and again until its transaction is confirmed: the same request tells.
pub(super) async fn relayed(context: &Context, path: impl Into<String>, body: &Value) -> Outcome<Value> {
    /// How long a transaction may take.
    const PATIENCE: Duration = Duration::from_secs(120);
    const PAUSE: Duration = Duration::from_secs(1);
    let (relayer, request, started) = (context.relayer()?, Request::post(path, body), Instant::now());
    loop {
        let answer = relayer.send(&request, &Default::default()).await?.success()?;
        if answer.status != 202 {
            return Ok(answer.body);
        }
        if started.elapsed() >= PATIENCE {
            return Err(Failure::new(
                "pending",
                "the relayer has posted it, and it is not confirmed yet",
                "look in a moment: compute-futures escrow show",
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
