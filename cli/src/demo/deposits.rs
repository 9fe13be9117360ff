//! Three ways to the same credit: over HTTP 402, by a signature alone, by a plain transfer.

use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{AccountId, DepositTerms, TokenDomain, Usdc};
use serde_json::{Value, json};

use super::stage::Stage;
use super::world::{Agent, World};
use crate::chain::fuel_on;
use crate::client::{Request, sign_gasless};
use crate::failure::{Failure, Outcome};

/// What asking for a deposit costs.
const CALL: Usdc = Usdc::from_micros(10_000);

/// The stock x402 client pays amount and gate price in one `exact` payment.
pub(super) async fn over_http(world: &World, stage: &mut Stage, agent: &mut Agent, amount: Usdc) -> Outcome<()> {
    let before = world.usdc_of(agent.address()).await?;
    let answer = paid(world, agent, amount).await?;
    let future = &answer["computeFuture"];
    let text = |name: &str| future[name].as_str().unwrap_or("?").to_owned();
    stage.says(format!("{} pays HTTP 402: {} · {} tier · {}", agent.name, text("id"), text("tier"), text("discount")));
    let spent = before.saturating_sub(world.usdc_of(agent.address()).await?);
    stage.holds(
        format!("one payment of {spent} USDC: {amount} of credit and {CALL} for the call"),
        Some(spent) == amount.checked_add(CALL),
    )?;
    credited(world, stage, agent).await
}

/// Pays the 402 of a deposit from the agent's wallet.
async fn paid(world: &World, agent: &mut Agent, amount: Usdc) -> Outcome<Value> {
    let most = amount.checked_add(Usdc::from_micros(100_000)).unwrap_or(amount);
    let body = json!({ "depositor": agent.address(), "amount": amount.to_string() });
    let request = Request::post("/api/v1/compute-futures/deposit", &body);
    let answer = world.exact(&agent.key, most)?.send(&world.relayer, &request).await?.body;
    let account = answer["computeFuture"]["accountId"].as_str().and_then(|id| id.parse::<AccountId>().ok());
    agent.account =
        Some(account.ok_or_else(|| Failure::broken(format!("the deposit's answer names no account: {answer}")))?);
    agent.deposited = amount;
    Ok(answer)
}

/// A wallet that has never held ETH or SOL signs; somebody else sends, and pays the fee.
pub(super) async fn gasless(world: &World, stage: &mut Stage, agent: &mut Agent, amount: Usdc) -> Outcome<()> {
    let sponsor = world.funded(7)?;
    let before = world.connection.fuel_of(agent.address()).await?;
    match &world.token {
        Some(token) => by_authorization(world, stage, agent, amount, token).await?,
        None => {
            // The call itself is paid from the same wallet.
            let with_call = amount.checked_add(CALL).unwrap_or(amount);
            world.post(&sponsor, &Action::Transfer { to: agent.address(), amount: with_call }).await?;
            paid(world, agent, amount).await?;
            stage.says(format!("{} signs a transfer of {amount} USDC, the relayer pays its fee", agent.name));
        }
    }
    let fuel = before.max(world.connection.fuel_of(agent.address()).await?);
    stage.holds(format!("{} has never held any {}", agent.name, fuel_on(world.chain)), fuel == 0)?;
    credited(world, stage, agent).await
}

/// The signature alone is the deposit (EIP-3009); anybody may carry it to the contract.
async fn by_authorization(
    world: &World,
    stage: &Stage,
    agent: &mut Agent,
    amount: Usdc,
    token: &TokenDomain,
) -> Outcome<()> {
    let sponsor = world.funded(7)?;
    world.post(&sponsor, &Action::Transfer { to: agent.address(), amount }).await?;
    let deposit = sign_gasless(
        &agent.key.signer,
        token,
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
    Ok(())
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
        &json!({ "futuresId": account.futures_id(world.chain), "type": "embeddings", "input": ["known?"] }),
    );
    world.until("the relayer to see the deposit", || async { Ok(world.relayer.offer(&pricing).await.ok()) }).await?;
    let path = world.here(&format!("/api/v1/accounts/{account}"));
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
