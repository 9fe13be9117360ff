//! Getting out: with the operator's consent, without it, and not at all for strangers (I-4). And the sum of it all (I-1).

use compute_futures_chain::{Action, ChainError, EventKind};
use compute_futures_protocol::{AccountId, Usdc};
use serde_json::json;

use super::stage::Stage;
use super::world::{Agent, World};
use crate::client::{ClientError, Request};
use crate::failure::{Failure, Outcome};
use crate::keys::Key;

/// Most that asking costs.
const MOST: Usdc = Usdc::from_micros(100_000);

/// Nobody but the owner gets a refund going, neither by HTTP nor on-chain.
pub(super) async fn strangers(world: &World, stage: &mut Stage, agent: &Agent) -> Outcome<()> {
    let account = agent.account()?;
    let stranger = world.funded(6)?;
    let before = world.usdc_of(stranger.address()).await?;
    let code = match consent(world, &stranger, account).await? {
        Err(ClientError::Refused { status: 403, code, .. }) => code,
        other => return Err(Failure::broken(format!("a stranger's refund was not refused with 403: {other:?}"))),
    };
    let after = world.usdc_of(stranger.address()).await?;
    stage.holds(
        format!("a stranger who asks the relayer for {}'s money: 403 {code}, and nothing was taken", agent.name),
        before == after,
    )?;
    let refusal = world.try_post(&stranger, &Action::RequestRefund { account }).await;
    let refused = matches!(&refusal, Err(ChainError::Reverted { name, .. }) if name.ends_with("NotOwner"));
    stage.holds("a stranger who asks the contract: NotOwner", refused)
}

/// The operator agrees: what is left comes back in the same call.
pub(super) async fn by_consent(world: &World, stage: &mut Stage, agent: &Agent) -> Outcome<Usdc> {
    let account = agent.account()?;
    let before = world.usdc_of(agent.address()).await?;
    let answer = consent(world, &agent.key, account).await??;
    let text = |name: &str| answer["refund"][name].as_str().unwrap_or("?").to_owned();
    stage.says(format!("{} asks the relayer: {} back, tx {}", agent.name, text("refundAmount"), text("transaction")));
    let refunded =
        refunded(world, account).await?.ok_or_else(|| Failure::broken("the contract emitted no Refunded event"))?;
    let expected = agent.deposited.saturating_sub(world.charged_on_chain(account).await?);
    stage.holds(format!("{refunded} USDC = deposited {} − charged", agent.deposited), refunded == expected)?;
    let after = world.usdc_of(agent.address()).await?;
    let gate = Usdc::from_micros(10_000);
    let arrived = after.checked_add(gate) == before.checked_add(refunded);
    stage.holds("it is in the owner's wallet, less the price of the call", arrived)?;
    Ok(refunded)
}

/// Starts the delay; the operator is not asked.
pub(super) async fn request(world: &World, stage: &mut Stage, agent: &Agent) -> Outcome<()> {
    let account = agent.account()?;
    world.post(&agent.key, &Action::RequestRefund { account }).await?;
    let on_chain = world.reader.account(account).await?;
    let at = on_chain
        .and_then(|account| account.refundable_at)
        .ok_or_else(|| Failure::broken("the request left no trace"))?;
    stage.says(format!("{} asks nobody: requestRefund on-chain, due at {at}", agent.name));
    let early = world.try_post(&agent.key, &Action::Refund { account }).await;
    let refused = matches!(&early, Err(ChainError::Reverted { name, .. }) if name.ends_with("RefundNotDue"));
    stage.holds("too early: RefundNotDue", refused)
}

/// Takes the money once the delay is over.
pub(super) async fn by_delay(world: &World, stage: &mut Stage, agent: &Agent) -> Outcome<Usdc> {
    let account = agent.account()?;
    let due = world.reader.account(account).await?.and_then(|account| account.refundable_at).unwrap_or_default();
    world
        .until("the refund delay to end", || async {
            Ok((world.reader.heads().await?.latest.timestamp > due).then_some(()))
        })
        .await?;
    let before = world.usdc_of(agent.address()).await?;
    world.post(&agent.key, &Action::Refund { account }).await?;
    let after = world.usdc_of(agent.address()).await?;
    let back = after.saturating_sub(before);
    let expected = agent.deposited.saturating_sub(agent.charged()?);
    stage.holds(
        format!("after the delay: {back} USDC back to {}, without the operator", agent.name),
        back == expected,
    )?;
    Ok(back)
}

/// The contract holds at least what it owes: unspent credit and earnings not withdrawn.
pub(super) async fn solvency(world: &World, stage: &mut Stage) -> Outcome<bool> {
    let gone = || Failure::broken("the operator is gone");
    let operator = world.reader.operator(world.operator_index).await?.ok_or_else(gone)?;
    let closed: Vec<AccountId> = refunds(world).await?.into_iter().map(|(id, _)| id).collect();
    let mut owed = operator.earnings;
    for sequence in 1..=operator.last_sequence {
        let id = AccountId::new(world.operator_index, sequence).map_err(|error| Failure::broken(error.to_string()))?;
        let unspent = match world.reader.account(id).await? {
            Some(account) => account.state.unspent(),
            // Where closed accounts are deleted.
            None if closed.contains(&id) => Usdc::ZERO,
            None => return Err(Failure::broken(format!("account {id} is gone"))),
        };
        owed = owed.checked_add(unspent).ok_or_else(|| Failure::broken("the debts add up to more than exists"))?;
    }
    let held = world.usdc_of(world.domain.contract()).await?;
    let solvent = held >= owed;
    stage.holds(
        format!(
            "the contract holds {held} USDC and owes {owed}: {} accounts, {} of earnings",
            operator.last_sequence, operator.earnings
        ),
        solvent,
    )?;
    let theirs = world.until("the indexer to come to the same figures", || async {
        let body = world.indexer.get(&world.here("/api/v1/solvency")).await.unwrap_or_default();
        Ok((body["solvent"] == true).then_some(()))
    });
    theirs.await?;
    Ok(solvent)
}

/// Sum of everything ever refunded, from the chain's events.
pub(super) async fn refunded_in_total(world: &World) -> Outcome<Usdc> {
    let amounts = refunds(world).await?.into_iter().map(|(_, amount)| amount);
    Usdc::checked_sum(amounts).ok_or_else(|| Failure::broken("the refunds add up to more than exists"))
}

async fn refunded(world: &World, account: AccountId) -> Outcome<Option<Usdc>> {
    Ok(refunds(world).await?.into_iter().find_map(|(id, amount)| (id == account).then_some(amount)))
}

async fn refunds(world: &World) -> Outcome<Vec<(AccountId, Usdc)>> {
    let refunds = world.history().await?.into_iter().filter_map(|event| match event.kind {
        EventKind::Refunded { account, amount, .. } => Some((account, amount)),
        _ => None,
    });
    Ok(refunds.collect())
}

async fn consent(world: &World, key: &Key, account: AccountId) -> Outcome<Result<serde_json::Value, ClientError>> {
    let futures_id = account.futures_id(world.chain);
    let body = json!({ "futuresId": futures_id, "caller": key.address() });
    let request = Request::post("/api/v1/compute-futures/refund", &body);
    Ok(world.exact(key, MOST)?.send(&world.relayer, &request).await.map(|answer| answer.body))
}
