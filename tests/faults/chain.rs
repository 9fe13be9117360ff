//! Blocks that vanish, and an RPC that stops answering.

use std::time::Duration;

use compute_futures_chain::Action;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_cli::args::Only;
use compute_futures_protocol::{AccountId, Chain, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, slow_tests, usdc};
use serde_json::Value;

/// Blocks vanish on Base alone: on Solana a slot that two thirds of the stake confirmed does not.
async fn on_base(name: &str) -> (Worlds, World) {
    let worlds = Worlds::start_on(Some(Only::Base), name, &[]).await;
    let world = worlds.on(Chain::Base);
    (worlds, world)
}

pub(super) fn anvil(worlds: &Worlds) -> &LocalChain {
    worlds.net.chains.base.as_ref().expect("the devnet has Base")
}

/// The indexer's view of an account, once it is what `check` wants.
async fn indexed(world: &World, account: AccountId, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    let path = world.account_path(account);
    world.until(what, || async { world.indexer.get(&path).await.ok().filter(|found| check(found)) }).await
}

#[tokio::test]
async fn a_deposit_that_a_reorg_drops_is_taken_back_everywhere() {
    let (worlds, world) = on_base("reorg-deposit").await;
    let stays = world.agent(0, "50", Usdc::MAX).await;
    let (signer, next) = (world.wallet(1), AccountId::new(world.operator_index, 2).expect("an id"));
    // The block of the deposit is the newest one when it vanishes.
    anvil(&worlds).set_interval_mining(Duration::ZERO).await.expect("blocks stop");
    anvil(&worlds).set_automine(true).await.expect("a block for each transaction");
    let action = Action::Deposit {
        operator_index: world.operator_index,
        owner: signer.address(),
        amount: usdc("20"),
        ceiling: Usdc::MAX,
    };
    world.post(&signer, &action).await;
    let agent = Agent::new(signer, next, world.chain);
    world.known(&agent).await;
    indexed(&world, next, "the indexer to see the deposit", |found| found["status"] == "open").await;

    anvil(&worlds).reorg(1).await.expect("the newest block is replaced by an empty one");
    anvil(&worlds).mine(1).await.expect("the chain goes on");
    assert!(world.reader.account(next).await.expect("the chain answers").is_none(), "the reorg dropped the deposit");
    world
        .until("the relayer to take the deposit back", || async {
            let answer = world.run(&agent, &agent.summary("No more.")).await.ok()?;
            (answer.status != 200).then_some(())
        })
        .await;
    let path = world.account_path(next);
    world
        .until("the indexer to forget the deposit", || async { world.indexer.get(&path).await.is_err().then_some(()) })
        .await;

    anvil(&worlds).set_interval_mining(Duration::from_millis(250)).await.expect("blocks come again");
    let answer = world.run(&stays, &stays.summary("Still here.")).await.expect("an answer");
    assert_eq!(answer.status, 200, "others are not disturbed: {}", answer.body);
}

#[tokio::test]
async fn a_batch_that_a_reorg_drops_lands_again_once() {
    let (worlds, world) = on_base("reorg-batch").await;
    let agent = world.agent(0, "50", Usdc::MAX).await;
    for number in 0..4 {
        assert_eq!(world.run(&agent, &agent.summary(&format!("Job {number}."))).await.expect("an answer").status, 200);
    }
    world.flush().await;
    let charged = world.charged_on_chain(agent.account).await;
    assert_eq!(charged, usdc("0.135"));
    let head = world.reader.heads().await.expect("the chain answers").latest.number;
    let operator = world.reader.operator(world.operator_index).await.expect("the chain answers").expect("registered");
    // Deep enough to drop the batch, whatever block it is in by now, and not the deposit.
    let mut depth = 1;
    while world.reader.operator(world.operator_index).await.expect("the chain answers").expect("registered").last_batch
        == operator.last_batch
    {
        assert!(depth < 12, "the batch is not among the newest blocks (head {head})");
        anvil(&worlds).reorg(depth).await.expect("a reorg");
        depth += 2;
    }
    world
        .until("the batch to land again", || async {
            (world.charged_on_chain(agent.account).await == charged).then_some(())
        })
        .await;
    indexed(&world, agent.account, "the indexer to see it again", |found| found["charged"]["microUsdc"] == "135000")
        .await;
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 5);
}

/// Stops and continues the node of a chain: it holds its port and answers nothing.
pub(super) fn node(worlds: &Worlds, chain: Chain, running: bool) {
    let pid = match chain {
        Chain::Base => anvil(worlds).pid(),
        _ => worlds.net.chains.solana.as_ref().expect("the devnet has Solana").pid(),
    };
    let signal = if running { "-CONT" } else { "-STOP" };
    let pid = pid.expect("the node runs").to_string();
    let done = std::process::Command::new("kill").args([signal, &pid]).status().expect("kill is there");
    assert!(done.success(), "kill {signal} {pid}");
}

/// A job of each second while the node is away, paid from credit.
async fn served_meanwhile(world: &World, agent: &Agent, outage: Duration) -> usize {
    let request = agent.summary("Served while the chain is away.");
    let payer = world.payer(agent);
    let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
    let until = tokio::time::Instant::now() + outage;
    let mut served = 0;
    while tokio::time::Instant::now() < until {
        let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
        let answer = world.relayer.send(&request, &headers).await.expect("an answer");
        assert_eq!(answer.status, 200, "credit needs no chain: {}", answer.body);
        served += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    served
}

/// Each chain's node hangs in turn: its own jobs go on from credit and are posted when it is back, and the other chain notices
/// nothing: deposits, jobs, settlement, the indexer.
#[tokio::test]
async fn jobs_go_on_while_an_rpc_hangs_and_the_other_chain_notices_nothing() {
    let worlds = Worlds::start("rpc-down").await;
    let [base, solana] = [worlds.on(Chain::Base), worlds.on(Chain::Solana)];
    let agents = [base.agent(0, "50", Usdc::MAX).await, solana.agent(0, "50", Usdc::MAX).await];
    let outage = Duration::from_secs(if slow_tests() { 60 } else { 6 });
    let mut jobs = [1, 1];
    for (down, up) in [(0, 1), (1, 0)] {
        let (dead, alive) = if down == 0 { (&base, &solana) } else { (&solana, &base) };
        node(&worlds, dead.chain, false);
        let (served, ()) = tokio::join!(served_meanwhile(dead, &agents[down], outage), async {
            let newcomer = alive.agent(1 + down, "10", Usdc::MAX).await;
            let answer = alive.run(&agents[up], &agents[up].summary("As ever.")).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
            let books = Books::balanced(alive, &[agents[up].account, newcomer.account]).await;
            let charged = books.charged(agents[up].account).micros().to_string();
            indexed(alive, agents[up].account, "the indexer to follow the chain that lives", |found| {
                found["charged"]["microUsdc"] == charged.as_str()
            })
            .await;
        });
        node(&worlds, dead.chain, true);
        jobs[down] += served;
        jobs[up] += 1;
        let books = Books::balanced(dead, &[agents[down].account]).await;
        assert_eq!(books.jobs(agents[down].account), jobs[down], "{}", dead.chain);
    }
    for (world, (agent, jobs)) in [&base, &solana].into_iter().zip(agents.iter().zip(jobs)) {
        let books = Books::balanced(world, &[agent.account]).await;
        assert_eq!(books.jobs(agent.account), jobs, "{}", world.chain);
    }
}
