//! Three ways to the same credit: over HTTP 402, by a signature alone, by a plain transfer.

use compute_futures_chain::{Action, ChainReader, EventKind};
use compute_futures_protocol::{AccountId, Chain, DepositTerms, Usdc};
use serde_json::{Value, json};

use super::stage::Stage;
use super::world::{Agent, World};
use crate::client::{ExactPayer, Request, sign_gasless};
use crate::failure::{Failure, Outcome};

/// The stock x402 client pays amount and gate price in one `exact` payment.
pub(super) async fn over_http(world: &World, stage: &mut Stage, agent: &mut Agent, amount: Usdc) -> Outcome<()> {
    let before = world.usdc_of(agent.address()).await?;
    let most = amount.checked_add(Usdc::from_micros(100_000)).unwrap_or(amount);
    let body = json!({ "depositor": agent.address(), "amount": amount.to_string() });
    let request = Request::post("/api/v1/compute-futures/deposit", &body);
    let answer = ExactPayer::new(&agent.key.wallet, most).send(&world.relayer, &request).await?;
    let future = &answer.body["computeFuture"];
    let account = future["accountId"].as_str().and_then(|id| id.parse::<AccountId>().ok());
    let account =
        account.ok_or_else(|| Failure::broken(format!("the deposit's answer names no account: {}", answer.body)))?;
    agent.account = Some(account);
    agent.deposited = amount;
    let text = |name: &str| future[name].as_str().unwrap_or("?").to_owned();
    stage.says(format!("{} pays HTTP 402: {} · {} tier · {}", agent.name, text("id"), text("tier"), text("discount")));
    let paid = before.saturating_sub(world.usdc_of(agent.address()).await?);
    let fee = Usdc::from_micros(10_000);
    stage.holds(
        format!("one payment of {paid} USDC: {amount} of credit and {fee} for the call"),
        Some(paid) == amount.checked_add(fee),
    )?;
    credited(world, stage, agent).await
}

/// A wallet that has never held ETH signs; somebody else sends.
pub(super) async fn gasless(world: &World, stage: &mut Stage, agent: &mut Agent, amount: Usdc) -> Outcome<()> {
    let sponsor = world.funded(7)?;
    world.post(&sponsor, &Action::Transfer { to: agent.address(), amount }).await?;
    let gas = world.reader.gas_balance(agent.address()).await?;
    let deposit = sign_gasless(
        &agent.key.signer,
        &world.token,
        world.domain.contract(),
        world.operator_index,
        None,
        amount,
        Usdc::MAX,
        u64::from(u32::MAX),
    )?;
    let action =
        Action::DepositWithAuthorization { authorization: deposit.authorization, signature: deposit.signature.into() };
    let (hash, outcome) = world.post(&sponsor, &action).await?;
    agent.account = Some(opened(&world.events(hash, outcome.block_number).await?)?);
    agent.deposited = amount;
    stage.says(format!(
        "{} signs a deposit of {amount} USDC, somebody else sends it: {} gas",
        agent.name, outcome.gas_used
    ));
    stage.holds(format!("{} has never held any ETH", agent.name), gas.is_zero())?;
    credited(world, stage, agent).await
}

/// A plain transfer, as from any wallet or exchange; anyone turns it into credit.
pub(super) async fn transfer(world: &World, stage: &mut Stage, agent: &mut Agent, amount: Usdc) -> Outcome<()> {
    let terms = DepositTerms {
        operator_index: world.operator_index,
        owner: agent.address(),
        ceiling: Usdc::MAX,
        fee: Usdc::ZERO,
    };
    let address = world.reader.deposit_address(&terms)?;
    world.post(&agent.key, &Action::Transfer { to: address, amount }).await?;
    let (hash, outcome) = world.post(&world.funded(7)?, &Action::Sweep { terms }).await?;
    agent.account = Some(opened(&world.events(hash, outcome.block_number).await?)?);
    agent.deposited = amount;
    stage.says(format!("{} transfers {amount} USDC to {address}, a passer-by sweeps it", agent.name));
    credited(world, stage, agent).await
}

/// Chain, relayer and indexer agree on what the account holds.
async fn credited(world: &World, stage: &mut Stage, agent: &Agent) -> Outcome<()> {
    let account = agent.account()?;
    let on_chain =
        world.reader.account(account).await?.ok_or_else(|| Failure::broken("the account is not on-chain"))?;
    stage.holds(
        format!(
            "on-chain: account {account} of {} holds {} USDC at {} bps",
            on_chain.owner, on_chain.state.credit, on_chain.state.discount.discount_bps
        ),
        on_chain.owner == agent.address() && on_chain.state.credit == agent.deposited,
    )?;
    let pricing = Request::post(
        "/api/v1/compute-futures/execute",
        &json!({ "futuresId": account.futures_id(Chain::Base), "type": "embeddings", "input": ["known?"] }),
    );
    world.until("the relayer to see the deposit", || async { Ok(world.relayer.offer(&pricing).await.ok()) }).await?;
    let path = format!("/api/v1/accounts/{account}");
    world
        .until("the indexer to see the deposit", || async {
            let body = world.indexer.get(&path).await.unwrap_or_default();
            let credit = body.pointer("/credit/microUsdc").and_then(Value::as_str);
            Ok((credit == Some(agent.deposited.micros().to_string().as_str())).then_some(()))
        })
        .await
}

fn opened(events: &[EventKind]) -> Outcome<AccountId> {
    events
        .iter()
        .find_map(|event| match event {
            EventKind::Deposited { account, .. } => Some(*account),
            _ => None,
        })
        .ok_or_else(|| Failure::broken("the deposit emitted no Deposited event"))
}
