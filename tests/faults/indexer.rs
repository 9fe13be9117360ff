//! An indexer killed while it writes ends up where one that was never killed does.

use std::time::Duration;

use compute_futures_chain::Action;
use compute_futures_protocol::{AccountId, Usdc};
use compute_futures_tests::{Books, World, usdc};
use serde_json::Value;

#[tokio::test]
async fn an_indexer_killed_again_and_again_misses_nothing() {
    let mut world = World::start("indexer-killed").await;
    let agents = [world.agent(0, "50", Usdc::MAX).await, world.agent(1, "10", Usdc::MAX).await];
    for round in 0..3 {
        world.net.indexer().kill().await;
        for agent in &agents {
            let answer = world.run(agent, &agent.summary(&format!("Round {round}."))).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        world.flush().await;
        world.net.restart_indexer(&[]).await.expect("it starts again");
    }
    let accounts = [agents[0].account, agents[1].account];
    let books = Books::balanced(&world, &accounts).await;
    for account in accounts {
        let charged = books.charged(account).micros().to_string();
        let path = format!("/api/v1/accounts/{account}");
        let found = world
            .until("the indexer to catch up", || async {
                world.indexer.get(&path).await.ok().filter(|found| found["charged"]["microUsdc"] == charged.as_str())
            })
            .await;
        let stated = found["owner"].as_str().and_then(|text| text.parse().ok());
        assert_eq!(stated, Some(owner(&agents, account)));
    }
    let discrepancies = world.indexer.get("/api/v1/discrepancies").await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

/// The process dies at each step of writing a range; the next one goes on from the last commit.
#[tokio::test]
async fn an_indexer_that_dies_at_any_step_of_a_range_goes_on() {
    let mut world = World::start("indexer-steps").await;
    let agent = world.agent(0, "50", Usdc::MAX).await;
    let steps = ["indexer::mid_range", "indexer::before_commit", "indexer::after_commit", "indexer::after_fetch"];
    for step in steps {
        world.net.indexer().kill().await;
        let answer = world.run(&agent, &agent.summary(step)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        world.flush().await;
        if step == "indexer::after_fetch" {
            // Ranges are fetched ahead only in history that no reorg can reach.
            world.net.chain.mine(200).await.expect("blocks");
        }
        world.net.restart_indexer(&armed(step)).await.expect_err("it dies at its first range");
        world.net.restart_indexer(&[]).await.expect("it starts again");
    }
    let books = Books::balanced(&world, &[agent.account]).await;
    let charged = Value::from(books.charged(agent.account).micros().to_string());
    let path = format!("/api/v1/accounts/{}", agent.account);
    let found = world
        .until("the indexer to catch up", || async {
            world.indexer.get(&path).await.ok().filter(|found| found["charged"]["microUsdc"] == charged)
        })
        .await;
    assert_eq!(found["totals"]["debits"], steps.len(), "every debit once");
    let discrepancies = world.indexer.get("/api/v1/discrepancies").await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

/// The process dies while it takes back what a reorg dropped; the next one takes it back whole.
#[tokio::test]
async fn an_indexer_that_dies_in_the_middle_of_a_rollback_goes_on() {
    let mut world = World::start("indexer-rollback").await;
    let stays = world.agent(0, "50", Usdc::MAX).await;
    let next = AccountId::new(world.operator_index, 2).expect("an id");
    // The block of the second deposit is the newest one when it vanishes.
    world.net.chain.set_interval_mining(Duration::ZERO).await.expect("blocks stop");
    world.net.chain.set_automine(true).await.expect("a block for each transaction");
    let owner = world.wallet(1);
    let action = Action::Deposit {
        operator_index: world.operator_index,
        owner: owner.address(),
        amount: usdc("20"),
        ceiling: Usdc::MAX,
    };
    world.post(&owner, &action).await;
    let (dropped, kept) = (format!("/api/v1/accounts/{next}"), format!("/api/v1/accounts/{}", stays.account));
    world.until("the indexer to see the deposit", || async { world.indexer.get(&dropped).await.ok() }).await;
    world.net.indexer().kill().await;
    world.net.chain.reorg(1).await.expect("the newest block is replaced by an empty one");
    world.net.chain.mine(1).await.expect("the chain goes on");

    world.net.restart_indexer(&armed("indexer::mid_rollback")).await.expect_err("it dies while it rolls back");
    world.net.restart_indexer(&[]).await.expect("it starts again");
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
    world.net.chain.set_interval_mining(Duration::from_millis(250)).await.expect("blocks come again");
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
    let discrepancies = world.indexer.get("/api/v1/discrepancies").await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

fn armed(failpoint: &str) -> [(String, String); 1] {
    [("COMPUTE_FUTURES_FAILPOINT".to_owned(), failpoint.to_owned())]
}

fn owner(
    agents: &[compute_futures_tests::Agent],
    account: compute_futures_protocol::AccountId,
) -> compute_futures_protocol::Address {
    agents.iter().find(|agent| agent.account == account).expect("one of ours").address()
}
