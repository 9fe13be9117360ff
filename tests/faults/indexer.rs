//! An indexer killed while it writes ends up where one that was never killed does.

use compute_futures_protocol::Usdc;
use compute_futures_tests::{Books, World};
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
        assert_eq!(found["owner"].as_str().map(str::to_lowercase), Some(format!("{:#x}", owner(&agents, account))));
    }
    let discrepancies = world.indexer.get("/api/v1/discrepancies").await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

/// The process dies at each step of writing a range; the next one goes on from the last commit.
#[tokio::test]
async fn an_indexer_that_dies_at_any_step_of_a_range_goes_on() {
    let mut world = World::start("indexer-steps").await;
    let agent = world.agent(0, "50", Usdc::MAX).await;
    for step in ["indexer::mid_range", "indexer::before_commit", "indexer::after_commit"] {
        world.net.indexer().kill().await;
        let answer = world.run(&agent, &agent.summary(step)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        world.flush().await;
        let armed = [("COMPUTE_FUTURES_FAILPOINT".to_owned(), step.to_owned())];
        world.net.restart_indexer(&armed).await.expect_err("it dies at its first range");
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
    assert_eq!(found["totals"]["debits"], 3, "every debit once");
    let discrepancies = world.indexer.get("/api/v1/discrepancies").await.expect("an answer");
    assert_eq!(discrepancies["items"].as_array().map_or(0, Vec::len), 0, "{discrepancies}");
}

fn owner(
    agents: &[compute_futures_tests::Agent],
    account: compute_futures_protocol::AccountId,
) -> compute_futures_protocol::Address {
    agents.iter().find(|agent| agent.account == account).expect("one of ours").address()
}
