//! An indexer killed while it writes ends up where one that was never killed does.

use std::time::Duration;

use compute_futures_chain::Action;
use compute_futures_chain::evm::local::LocalChain;
use compute_futures_cli::args::Only;
use compute_futures_protocol::{AccountId, Chain, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use serde_json::Value;

/// The indexer comes to what the receipts add up to, and has nothing to complain of.
async fn caught_up(world: &World, books: &Books, agent: &Agent) -> Value {
    let charged = Value::from(books.charged(agent.account).micros().to_string());
    let path = world.account_path(agent.account);
    let found = world
        .until("the indexer to catch up", || async {
            world.indexer.get(&path).await.ok().filter(|found| found["charged"]["microUsdc"] == charged)
        })
        .await;
    let stated = found["owner"].as_str().and_then(|text| text.parse().ok());
    assert_eq!(stated, Some(agent.address()));
    nothing_to_complain_of(world).await;
    found
}

async fn nothing_to_complain_of(world: &World) {
    let discrepancies = world.indexer.get(&world.here("/api/v1/discrepancies")).await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

/// Runs and posts a job of each agent while the indexer is away.
async fn meanwhile(agents: &[(World, Agent)], text: &str) {
    for (world, agent) in agents {
        let answer = world.run(agent, &agent.summary(text)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        world.flush().await;
    }
}

#[tokio::test]
async fn an_indexer_killed_again_and_again_misses_nothing() {
    let mut worlds = Worlds::start("indexer-killed").await;
    let mut agents = Vec::new();
    for world in worlds.all() {
        for (wallet, deposit) in [(0, "50"), (1, "10")] {
            agents.push((world.clone(), world.agent(wallet, deposit, Usdc::MAX).await));
        }
    }
    for round in 0..3 {
        worlds.net.indexer().kill().await;
        meanwhile(&agents, &format!("Round {round}.")).await;
        worlds.net.restart_indexer(&[]).await.expect("it starts again");
    }
    for (world, agent) in &agents {
        let books = Books::balanced(world, &[agent.account]).await;
        caught_up(world, &books, agent).await;
    }
}

#[tokio::test]
async fn an_indexer_that_dies_at_any_step_of_a_range_of_base_goes_on() {
    dies_at_any_step(Only::Base, "indexer-steps").await;
}

#[tokio::test]
async fn an_indexer_that_dies_at_any_step_of_a_range_of_solana_goes_on() {
    dies_at_any_step(Only::Solana, "indexer-steps-solana").await;
}

/// The process dies at each step of writing a range; the next one goes on from the last commit. One chain at a time: the first
/// range of either would set the step off.
async fn dies_at_any_step(only: Only, name: &str) {
    let mut worlds = Worlds::start_on(Some(only), name, &[]).await;
    let mut agents = Vec::new();
    for world in worlds.all() {
        agents.push((world.clone(), world.agent(0, "50", Usdc::MAX).await));
    }
    let steps = ["indexer::mid_range", "indexer::before_commit", "indexer::after_commit", "indexer::after_fetch"];
    for step in steps {
        worlds.net.indexer().kill().await;
        meanwhile(&agents, step).await;
        if step == "indexer::after_fetch" {
            // Ranges are fetched ahead only in history that no reorg can reach.
            match &worlds.net.chains.base {
                Some(anvil) => anvil.mine(200).await.expect("blocks"),
                None => worlds.on(Chain::Solana).cheats.advance_time(Duration::from_secs(300)).await,
            }
        }
        worlds.net.restart_indexer(&armed(step)).await.expect_err("it dies at its first range");
        worlds.net.restart_indexer(&[]).await.expect("it starts again");
    }
    for (world, agent) in &agents {
        let books = Books::balanced(world, &[agent.account]).await;
        let found = caught_up(world, &books, agent).await;
        assert_eq!(found["totals"]["debits"], steps.len(), "every debit once");
    }
}

fn anvil(worlds: &Worlds) -> &LocalChain {
    worlds.net.chains.base.as_ref().expect("the devnet has Base")
}

/// The process dies while it takes back what a reorg dropped; the next one takes it back whole.
#[tokio::test]
async fn an_indexer_that_dies_in_the_middle_of_a_rollback_goes_on() {
    let mut worlds = Worlds::start_on(Some(Only::Base), "indexer-rollback", &[]).await;
    let world = worlds.on(Chain::Base);
    let stays = world.agent(0, "50", Usdc::MAX).await;
    let next = AccountId::new(world.operator_index, 2).expect("an id");
    // The block of the second deposit is the newest one when it vanishes.
    anvil(&worlds).set_interval_mining(Duration::ZERO).await.expect("blocks stop");
    anvil(&worlds).set_automine(true).await.expect("a block for each transaction");
    let owner = world.wallet(1);
    let action = Action::Deposit {
        operator_index: world.operator_index,
        owner: owner.address(),
        amount: usdc("20"),
        ceiling: Usdc::MAX,
    };
    world.post(&owner, &action).await;
    let (dropped, kept) = (world.account_path(next), world.account_path(stays.account));
    world.until("the indexer to see the deposit", || async { world.indexer.get(&dropped).await.ok() }).await;
    worlds.net.indexer().kill().await;
    anvil(&worlds).reorg(1).await.expect("the newest block is replaced by an empty one");
    anvil(&worlds).mine(1).await.expect("the chain goes on");

    worlds.net.restart_indexer(&armed("indexer::mid_rollback")).await.expect_err("it dies while it rolls back");
    worlds.net.restart_indexer(&[]).await.expect("it starts again");
    world
        .until("the indexer to forget the deposit", || async {
            world.indexer.get(&dropped).await.is_err().then_some(())
        })
        .await;
    let found = world.indexer.get(&kept).await.expect("the other account is still there");
    assert_eq!(found["credit"]["microUsdc"], "50000000", "{found}");
    let status = world.indexer.get("/api/v1/status").await.expect("an answer");
    assert_eq!(status["reorgs"], 1, "rolled back once: {status}");

    // What comes after counts on what was left.
    anvil(&worlds).set_interval_mining(Duration::from_millis(250)).await.expect("blocks come again");
    let again = world.agent(1, "30", Usdc::MAX).await;
    assert_eq!(again.account, next, "the number is free again");
    let books = Books::balanced(&world, &[stays.account, next]).await;
    let found = world
        .until("the indexer to catch up", || async {
            let charged = books.charged(next).micros().to_string();
            world.indexer.get(&dropped).await.ok().filter(|found| found["charged"]["microUsdc"] == charged.as_str())
        })
        .await;
    assert_eq!(found["credit"]["microUsdc"], "30000000", "{found}");
    nothing_to_complain_of(&world).await;
}

fn armed(failpoint: &str) -> [(String, String); 1] {
    [("COMPUTE_FUTURES_FAILPOINT".to_owned(), failpoint.to_owned())]
}
