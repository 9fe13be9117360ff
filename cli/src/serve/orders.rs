//! Orders of meters: what can be told from one without asking the chain, and that each is carried out once.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::market::{MarketDomain, ProviderCall, SignedProviderCall};
use compute_futures_protocol::{Address, B256, keccak256, signer_among};
use moka::sync::Cache;

use super::refusal::Refusal;

/// Longest header that is read: half a kilobyte is what it takes.
const MOST_HEADER: usize = 4_096;

/// The order in the header and the meter that signed it: for this provider on this marketplace, now, by a meter that is accepted.
pub(super) fn signed_call(
    headers: &HeaderMap,
    domain: &MarketDomain,
    provider_id: u32,
    meters: &[Address],
    now: u64,
) -> Result<(ProviderCall, Address), Refusal> {
    let refuse = |status, code, message: &str| Err(Refusal::new(status, code, message));
    let Some(header) = headers.get(SignedProviderCall::HEADER) else {
        let message = "this provider serves sessions of the marketplace: send the meter's order in Session-Call";
        return refuse(StatusCode::UNAUTHORIZED, "session_call_required", message);
    };
    let read = |bytes: &[u8]| serde_json::from_slice(&STANDARD.decode(bytes).ok()?).ok();
    let small = Some(header.as_bytes()).filter(|bytes| bytes.len() <= MOST_HEADER);
    let Some(signed) = small.and_then(read) else {
        let message = "Session-Call is not base64 of {network, contract, call, signature}";
        return refuse(StatusCode::BAD_REQUEST, "bad_session_call", message);
    };
    let SignedProviderCall { network, contract, call, signature } = signed;
    if network != domain.network() || contract != domain.contract() {
        let message = format!("this provider serves {} on {}", domain.contract(), domain.network());
        return refuse(StatusCode::FORBIDDEN, "other_market", &message);
    }
    if call.provider_id != provider_id {
        return refuse(StatusCode::FORBIDDEN, "other_provider", "the order is for another provider");
    }
    if call.issued_at.abs_diff(now) > SignedProviderCall::CLOCK_SKEW {
        let message = format!("the order was issued at {}, it is {now} here; check the clocks", call.issued_at);
        return refuse(StatusCode::UNAUTHORIZED, "stale_session_call", &message);
    }
    match signer_among(call.digest(domain), &signature, meters) {
        Ok(meter) => Ok((call, meter)),
        Err(error) => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "meter_not_accepted",
            format!("no meter that this provider accepts signed the order: {error}"),
        )),
    }
}

/// The order is for these bytes.
pub(super) fn check_body(call: &ProviderCall, body: &[u8]) -> Result<(), Refusal> {
    if call.body_hash == keccak256(body) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::BAD_REQUEST, "other_body", "the order is for another body than was sent"))
}

/// Executions of the last minutes: the window in which an order can be sent again. They are not kept over a restart; what its meter
/// then gets twice it pays once.
pub(super) struct Orders(Cache<B256, ()>);

impl Default for Orders {
    fn default() -> Self {
        // An order from the fastest clock is taken until twice the difference has passed.
        let window = Duration::from_secs(2 * SignedProviderCall::CLOCK_SKEW + 1);
        Self(Cache::builder().time_to_live(window).build())
    }
}

impl Orders {
    /// Takes an order, once.
    pub(super) fn take(&self, execution: B256) -> Result<Taken<'_>, Refusal> {
        if self.0.entry(execution).or_insert(()).is_fresh() {
            return Ok(Taken { orders: self, execution, answered: false });
        }
        Err(Refusal::new(StatusCode::CONFLICT, "execution_seen", "this execution was ordered already"))
    }
}

/// An order that is being carried out. Dropped without an answer it can be sent again: nothing came of it.
pub(super) struct Taken<'a> {
    orders: &'a Orders,
    execution: B256,
    answered: bool,
}

impl Taken<'_> {
    /// There is an answer: not again.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.orders.0.invalidate(&self.execution);
        }
    }
}
