//! `session close`: the meter says what a session cost; anyone brings it.

use std::path::PathBuf;

use compute_futures_chain::market::{MarketAction, MarketEvent, SignedCost};
use compute_futures_protocol::market::{SessionCost, SessionId, SessionStatus};
use compute_futures_protocol::{B256, Usdc};
use serde_json::{Value, json};

use super::super::events::{Done, post_market};
use super::super::market::{result_of, signed_of};
use crate::client::{Request, sign_in};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{facts, usdc_text};
use crate::session_args::CloseArgs;

pub(super) async fn run(context: &Context, args: CloseArgs) -> Outcome<()> {
    if !args.signed.is_empty() {
        return bring(context, &args.signed).await;
    }
    if let (true, Some(session)) = (args.ask, args.session) {
        let answer = ask(context, session).await?;
        context.output.result(&answer, || {
            let text = |name: &str| answer[name].as_str().unwrap_or("not yet").to_owned();
            facts([
                ("session", session.to_string()),
                ("status", text("status")),
                ("cost", usdc_text(&answer["cost"])),
                ("transaction", text("transaction")),
            ])
        });
        return Ok(());
    }
    let (Some(session), Some(cost)) = (args.session, args.cost) else {
        return Err(Failure::new("usage", "session and --cost are needed", "or bring signed ones with --signed"));
    };
    let close = sign(context, session, cost, args.receipts, args.root.unwrap_or_default()).await?;
    if args.sign {
        let result = json!(close);
        context.output.result(&result, || format!("{result:#}"));
        return Ok(());
    }
    report(context, &post_market(context, MarketAction::CloseSession { close }).await?);
    Ok(())
}

/// Asks the meter to close a session at what it cost so far, once the calls on their way have ended.
///
/// # Errors
/// What was refused, and what to do: only its agent and its provider's owner may ask.
pub(crate) async fn ask(context: &Context, session: SessionId) -> Outcome<Value> {
    let (relayer, key) = (context.relayer()?, context.key()?);
    let path = context.here(&format!("/api/v1/market/sessions/{session}/close"));
    let headers = sign_in(&key.signer, context.chain(), &relayer, &path)?;
    let request = Request::post(path, &json!({}));
    Ok(relayer.send(&request, &headers).await?.success()?.body)
}

/// Signs as the meter, when the key is the meter's.
async fn sign(context: &Context, id: SessionId, cost: Usdc, receipts: u32, root: B256) -> Outcome<SignedCost> {
    let (market, key) = (context.market().await?.reader(), context.key()?);
    let unknown =
        || Failure::new("unknown_session", format!("session {id} was never opened"), "check the id and the network");
    let found = market.session(id).await?.ok_or_else(unknown)?;
    let terms = found.terms.filter(|_| found.status == SessionStatus::Open).ok_or_else(|| {
        Failure::new(
            "session_not_open",
            format!("session {id} is over"),
            format!("compute-futures session show {id} says what became of it"),
        )
    })?;
    if terms.meter != key.address() {
        return Err(Failure::new(
            "not_meter",
            format!("the meter of session {id} is {}", terms.meter),
            "only that key signs what the session cost",
        ));
    }
    if (receipts == 0) != root.is_zero() {
        return Err(Failure::new(
            "usage",
            "receipts have a root, and a root is of receipts",
            "give both --receipts and --root, or neither",
        ));
    }
    let cost = SessionCost {
        session_id: id,
        provider_id: terms.provider_id,
        cost,
        receipt_count: receipts,
        receipts_root: root,
    };
    let signature = key.signer.sign(cost.digest(&market.domain())).to_vec().into();
    Ok(SignedCost { cost, signature })
}

/// One by itself, several as a batch.
async fn bring(context: &Context, files: &[PathBuf]) -> Outcome<()> {
    let closes: Vec<SignedCost> = files.iter().map(|file| signed_of(file)).collect::<Outcome<_>>()?;
    let verb = match <[SignedCost; 1]>::try_from(closes) {
        Ok([close]) => MarketAction::CloseSession { close },
        Err(closes) => MarketAction::CloseSessions { closes },
    };
    report(context, &post_market(context, verb).await?);
    Ok(())
}

fn report(context: &Context, done: &Done<MarketEvent>) {
    let mut closed: Vec<(SessionId, Usdc, Usdc)> = Vec::new();
    for event in &done.events {
        match event {
            MarketEvent::SessionClosed { session, cost, .. } => closed.push((*session, *cost, Usdc::ZERO)),
            // Follows its session's closing.
            MarketEvent::SessionShortfall { uncovered, .. } => {
                if let Some((_, _, unpaid)) = closed.last_mut() {
                    *unpaid = *uncovered;
                }
            }
            _ => {}
        }
    }
    let mut result = result_of(done);
    let row = |(id, cost, uncovered): &(SessionId, Usdc, Usdc)| json!({ "sessionId": id, "cost": cost, "uncovered": uncovered });
    result["closed"] = json!(closed.iter().map(row).collect::<Vec<_>>());
    result["rejected"] = rejected(done);
    context.output.result(&result, || {
        let line = |(id, cost, uncovered): &(SessionId, Usdc, Usdc)| {
            let over = if uncovered.is_zero() {
                String::new()
            } else {
                format!("; {uncovered} USDC over the limit, not paid")
            };
            (id.to_string(), format!("closed at {cost} USDC{over}"))
        };
        let mut rows: Vec<(String, String)> = closed.iter().map(line).collect();
        rows.extend(rejections(done));
        rows.push(("transaction".into(), done.transaction.to_string()));
        facts(rows)
    });
}

/// Rows of a batch that changed nothing, for programs.
pub(super) fn rejected(done: &Done<MarketEvent>) -> Value {
    let row = |event: &MarketEvent| match event {
        MarketEvent::SessionRejected { session, reason, .. } => {
            Some(json!({ "sessionId": session.to_string(), "reason": reason }))
        }
        _ => None,
    };
    json!(done.events.iter().filter_map(row).collect::<Vec<_>>())
}

/// The same for people.
pub(super) fn rejections(done: &Done<MarketEvent>) -> Vec<(String, String)> {
    let row = |event: &MarketEvent| match event {
        MarketEvent::SessionRejected { session, reason, .. } => {
            Some((session.to_string(), format!("unchanged: {}", json!(reason).as_str().unwrap_or_default())))
        }
        _ => None,
    };
    done.events.iter().filter_map(row).collect()
}
