//! Closing, and the sum of it all.

use std::collections::BTreeMap;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::{B256, ReceiptTree, Usdc};
use serde_json::{Value, json};

use super::super::stage::Stage;
use super::cast::{Balances, Bazaar, Seller};
use super::sessions::Session;
use crate::client::{Request, SignedSessionReceipt, sign_in};
use crate::failure::{Failure, Outcome};

/// What a session was closed at.
struct Closed {
    cost: Usdc,
    receipts: u32,
    root: B256,
}

fn overflow() -> Failure {
    Failure::broken("the amounts add up to more than exists")
}

/// Each agent asks for its sessions to be closed; what the chain says is what the agents' receipts say. Returns what was paid.
pub(super) async fn close(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    sessions: &[Session],
    receipts: &[SignedSessionReceipt],
) -> Outcome<Usdc> {
    for session in sessions {
        let path = bazaar.world.here(&format!("/api/v1/market/sessions/{}/close", session.id));
        let key = &bazaar.agents[session.agent];
        let headers = sign_in(&key.signer, bazaar.world.chain, &bazaar.world.relayer, &path)?;
        bazaar.world.relayer.send(&Request::post(path, &json!({})), &headers).await?.success()?;
    }
    let closed = bazaar
        .world
        .until("the sessions to be closed on chain", || async {
            let closed = closings(bazaar).await?;
            Ok(sessions.iter().all(|session| closed.contains_key(&session.id)).then_some(closed))
        })
        .await?;
    let mut total = Usdc::ZERO;
    let mut agree = true;
    let mut verified = 0_u32;
    for session in sessions {
        let on_chain = &closed[&session.id];
        let mut ours: Vec<&SignedSessionReceipt> =
            receipts.iter().filter(|signed| signed.receipt.session_id == session.id).collect();
        ours.sort_by_key(|signed| signed.receipt.sequence);
        let sum = Usdc::checked_sum(ours.iter().map(|signed| signed.receipt.cost)).ok_or_else(overflow)?;
        let digests: Vec<B256> = ours.iter().map(|signed| signed.receipt.digest(&bazaar.reader.domain())).collect();
        let tree = ReceiptTree::new(&digests).ok();
        let root = tree.as_ref().map(ReceiptTree::root).unwrap_or_default();
        agree &= sum == on_chain.cost && on_chain.receipts as usize == ours.len() && root == on_chain.root;
        agree &= sum <= session.limit;
        total = total.checked_add(sum).ok_or_else(overflow)?;
        if let (Some(tree), Some(first)) = (&tree, digests.first()) {
            verified += u32::from(verify(bazaar, session, on_chain, tree, *first).await?);
        }
    }
    stage.holds(
        format!(
            "{} sessions closed at {total} USDC: Σ receipts in the agents' hands, under the roots on-chain",
            sessions.len()
        ),
        agree,
    )?;
    stage.holds(
        format!("verifyReceipt on-chain says yes to a receipt of each session that has one ({verified})"),
        verified > 0,
    )?;
    Ok(total)
}

async fn verify(
    bazaar: &Bazaar<'_>,
    session: &Session,
    closed: &Closed,
    tree: &ReceiptTree,
    digest: B256,
) -> Outcome<bool> {
    let cost = compute_futures_protocol::market::SessionCost {
        session_id: session.id,
        provider_id: session.provider,
        cost: closed.cost,
        receipt_count: closed.receipts,
        receipts_root: closed.root,
    };
    let proof = tree.proof(digest).unwrap_or_default();
    if bazaar.reader.verify_receipt(&cost, digest, &proof).await? {
        return Ok(true);
    }
    Err(Failure::broken(format!("the contract does not know a receipt of session {}", session.id)))
}

async fn closings(bazaar: &Bazaar<'_>) -> Outcome<BTreeMap<SessionId, Closed>> {
    let closed = bazaar.history().await?.into_iter().filter_map(|event| match event {
        MarketEvent::SessionClosed { session, cost, receipt_count, receipts_root, .. } => {
            Some((session, Closed { cost, receipts: receipt_count, root: receipts_root }))
        }
        _ => None,
    });
    Ok(closed.collect())
}

/// Each provider takes what it earned. Returns the sum.
pub(super) async fn withdraw(bazaar: &Bazaar<'_>, stage: &mut Stage, sellers: &[Seller]) -> Outcome<Usdc> {
    let mut total = Usdc::ZERO;
    for seller in sellers {
        let amount = bazaar.reader.earnings(seller.id).await?;
        let to = seller.key.address();
        let verb = MarketAction::Withdraw { provider_id: seller.id, to, amount };
        bazaar.post(&seller.key, verb).await?;
        stage.says(format!("provider {} withdraws {amount} USDC", seller.id));
        total = total.checked_add(amount).ok_or_else(overflow)?;
    }
    Ok(total)
}

/// The creator takes the rest of the budget back; the other one goes home by itself, whoever calls. Returns the sum.
pub(super) async fn give_back(bazaar: &Bazaar<'_>, stage: &mut Stage, escrow: u32, short: u32) -> Outcome<Usdc> {
    let shown = bazaar.reader.escrow(escrow).await?.ok_or_else(|| Failure::broken("the escrow is gone"))?;
    stage.holds("nothing is reserved any more", shown.state.reserved.is_zero())?;
    let rest = shown.state.unreserved;
    bazaar.post(&bazaar.creator, MarketAction::Refund { escrow_id: escrow, amount: rest }).await?;
    let expiry = bazaar.reader.escrow(short).await?.map(|escrow| escrow.state.expiry);
    bazaar.past(expiry.ok_or_else(|| Failure::broken("the other escrow is gone"))?).await?;
    let events = bazaar.post(&bazaar.passer_by, MarketAction::Expire { escrow_id: short }).await?;
    let expired = events.iter().find_map(|event| match event {
        MarketEvent::EscrowExpired { creator, amount, .. } if *creator == bazaar.creator.address() => Some(*amount),
        _ => None,
    });
    stage.says(format!("the creator takes {rest} USDC back"));
    stage.holds(
        format!("{} USDC whose time is over go home by a passer-by's call", super::SHORT_BUDGET),
        expired == Some(super::SHORT_BUDGET),
    )?;
    rest.checked_add(expired.unwrap_or_default()).ok_or_else(overflow)
}

/// Every micro-USDC is with a provider or with the creator.
pub(super) async fn adds_up(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    before: &Balances,
    paid: Usdc,
    earned: Usdc,
    refunded: Usdc,
) -> Outcome<()> {
    let after = bazaar.balances().await?;
    let funded = super::BUDGET.checked_add(super::SHORT_BUDGET).ok_or_else(overflow)?;
    let gained: Vec<Usdc> =
        after.sellers.iter().zip(&before.sellers).map(|(after, before)| after.saturating_sub(*before)).collect();
    let gained = Usdc::checked_sum(gained).ok_or_else(overflow)?;
    stage.holds(
        format!("{funded} USDC funded = {paid} paid to providers + {refunded} back with the creator"),
        paid.checked_add(refunded) == Some(funded) && earned == paid && gained == paid,
    )?;
    stage.holds(
        "the contract holds what it held before, and the creator lacks exactly what was paid",
        after.vault == before.vault && before.creator.checked_sub(paid) == Some(after.creator),
    )
}

/// The indexer read the same from the chain and from the published receipts.
pub(super) async fn indexed(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    sellers: &[Seller],
    receipts: usize,
    paid: Usdc,
) -> Outcome<bool> {
    let world = bazaar.world;
    let found = world
        .until("the indexer to come to the same figures", || async {
            let (mut requests, mut earned) = (0, 0);
            for seller in sellers {
                let body = world.indexer.get(&world.here(&format!("/api/v1/market/providers/{}", seller.id))).await;
                let body = body.unwrap_or_default();
                requests += body.pointer("/performance/requests").and_then(Value::as_u64).unwrap_or_default();
                earned += micros(body.pointer("/earned"));
            }
            Ok((requests == receipts as u64 && earned == paid.micros()).then_some(requests))
        })
        .await?;
    let solvency = world.indexer.get(&world.here("/api/v1/market/solvency")).await?;
    let solvent = solvency["solvent"] == true;
    stage.holds(
        format!("the indexer counts {found} inferences and {paid} USDC of earnings, and the market is solvent"),
        solvent,
    )?;
    Ok(solvent)
}

/// An amount as the indexer writes it.
fn micros(value: Option<&Value>) -> u64 {
    let text = value.and_then(|value| value.as_str().or_else(|| value["microUsdc"].as_str()));
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
