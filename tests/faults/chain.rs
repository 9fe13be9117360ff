//! Blocks that vanish, and an RPC that stops answering.

use std::time::Duration;

use compute_futures_chain::{Action, ChainReader};
use compute_futures_protocol::{AccountId, Usdc};
use compute_futures_tests::{Agent, Books, World, slow_tests, usdc};
use serde_json::Value;

/// The indexer's view of an account, once it is what `check` wants.
async fn indexed(world: &World, account: AccountId, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/accounts/{account}");
    world.until(what, || async { world.indexer.get(&path).await.ok().filter(|found| check(found)) }).await
}

#[tokio::test]
async fn a_deposit_that_a_reorg_drops_is_taken_back_everywhere() {
    let world = World::start("reorg-deposit").await;
    let stays = world.agent(0, "50", Usdc::MAX).await;
    let (signer, next) = (world.wallet(1), AccountId::new(world.operator_index, 2).expect("an id"));
    // The block of the deposit is the newest one when it vanishes.
    world.net.chain.set_interval_mining(Duration::ZERO).await.expect("blocks stop");
    world.net.chain.set_automine(true).await.expect("a block for each transaction");
    let action = Action::Deposit {
        operator_index: world.operator_index,
        owner: signer.address(),
        amount: usdc("20"),
        ceiling: Usdc::MAX,
    };
    world.post(&signer, &action).await;
    let agent = Agent::new(signer, next);
    world.known(&agent).await;
    indexed(&world, next, "the indexer to see the deposit", |found| found["status"] == "open").await;

    world.net.chain.reorg(1).await.expect("the newest block is replaced by an empty one");
    world.net.chain.mine(1).await.expect("the chain goes on");
    assert!(world.reader.account(next).await.expect("the chain answers").is_none(), "the reorg dropped the deposit");
    world
        .until("the relayer to take the deposit back", || async {
            let answer = world.run(&agent, &agent.summary("No more.")).await.ok()?;
            (answer.status != 200).then_some(())
        })
        .await;
    let path = format!("/api/v1/accounts/{next}");
    world
        .until("the indexer to forget the deposit", || async { world.indexer.get(&path).await.is_err().then_some(()) })
        .await;

    world.net.chain.set_interval_mining(Duration::from_millis(250)).await.expect("blocks come again");
    let answer = world.run(&stays, &stays.summary("Still here.")).await.expect("an answer");
    assert_eq!(answer.status, 200, "others are not disturbed: {}", answer.body);
}

#[tokio::test]
async fn a_batch_that_a_reorg_drops_lands_again_once() {
    let world = World::start("reorg-batch").await;
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
        world.net.chain.reorg(depth).await.expect("a reorg");
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

#[tokio::test]
async fn jobs_go_on_while_the_rpc_hangs_and_are_posted_when_it_is_back() {
    let world = World::start("rpc-down").await;
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let request = agent.summary("Served while the chain is away.");
    let payer = world.payer(&agent);
    let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");

    world.net.chain.pause().expect("the node hangs");
    let outage = Duration::from_secs(if slow_tests() { 60 } else { 6 });
    let until = tokio::time::Instant::now() + outage;
    let mut served = 0;
    while tokio::time::Instant::now() < until {
        let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
        let answer = world.relayer.send(&request, &headers).await.expect("an answer");
        assert_eq!(answer.status, 200, "credit needs no chain: {}", answer.body);
        served += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.net.chain.resume().expect("the node is back");
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 1 + served);
}
