//! `refund`: what is left goes back to the owner. With the operator's consent at once; without it after the delay (I-4).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{AccountId, Usdc};
use serde_json::{Value, json};

use super::sponsored::post;
use crate::args::RefundArgs;
use crate::client::{ClientError, Payee, Request};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// Most this command pays for asking: ten times the usual gate price.
const MOST: Usdc = Usdc::from_micros(100_000);
/// How long it waits for the chain.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(context: &Context, args: RefundArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    match (args.request, args.claim) {
        (true, _) => request(context, account, args.sponsored).await,
        (_, true) => claim(context, account, args.sponsored).await,
        _ => consent(context, account).await,
    }
}

async fn request(context: &Context, account: AccountId, sponsored: bool) -> Outcome<()> {
    let done = post(context, &Action::RequestRefund { account }, sponsored).await?;
    let refundable_at = done.find(|event| match event {
        EventKind::RefundRequested { refundable_at, .. } => Some(*refundable_at),
        _ => None,
    })?;
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["refundableAt"] = json!(refundable_at);
    context.output.result(&result, || {
        facts([
            ("refund requested", done.transaction.to_string()),
            ("claim it", format!("in {}: compute-futures refund {account} --claim", wait(refundable_at))),
        ])
    });
    Ok(())
}

async fn claim(context: &Context, account: AccountId, sponsored: bool) -> Outcome<()> {
    if let Some(at) = context.open(account).await?.refundable_at
        && at > now()
        && context.devnet().is_none()
    {
        return Err(Failure::new("refund_not_due", format!("the refund delay ends in {}", wait(at)), "claim it then"));
    }
    let done = post(context, &Action::Refund { account }, sponsored).await?;
    let amount = done.find(|event| match event {
        EventKind::Refunded { amount, .. } => Some(*amount),
        _ => None,
    })?;
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["refunded"] = json!(amount);
    context.output.result(&result, || {
        facts([("refunded", format!("{amount} USDC")), ("transaction", done.transaction.to_string())])
    });
    Ok(())
}

/// Asks the relayer: it posts what is open, then closes the account. Whoever pays the gate price proves to be the owner.
async fn consent(context: &Context, account: AccountId) -> Outcome<()> {
    let futures_id = account.futures_id(context.chain());
    let body = json!({ "futuresId": futures_id, "caller": context.address()? });
    let request = Request::post("/api/v1/compute-futures/refund", &body);
    let relayer = context.relayer()?;
    // A price, not the refund, which goes to the owner whoever pays for asking.
    let payment = context.exact(MOST).await?.payment(&relayer, &request, &Payee::Anyone).await.map_err(too_dear)?;
    let answer = payment.send_to_the_end(&relayer, &request, PATIENCE).await?;
    if answer.status == 202 {
        return Err(Failure::new(
            "pending",
            "the refund is ordered and not done yet",
            format!("it goes on by itself: compute-futures balance {account} shows the end"),
        ));
    }
    context.output.result(&answer.body, || {
        let text = |pointer: &str| answer.body.pointer(pointer).map_or_else(|| "?".into(), plain);
        facts([
            ("refunded", text("/refund/refundAmount")),
            ("jobs", text("/refund/jobsExecuted")),
            ("transaction", text("/refund/transaction")),
        ])
    });
    Ok(())
}

fn too_dear(error: ClientError) -> Failure {
    match error {
        ClientError::TooExpensive(_) => {
            Failure::new(error.code(), error.to_string(), "do without the operator: compute-futures refund --request")
        }
        error => error.into(),
    }
}

/// A JSON value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn wait(until: u64) -> String {
    let seconds = until.saturating_sub(now());
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
