//! Two relayers, one PostgreSQL: both take jobs, one posts, and the other goes on when that one dies.

use compute_futures_cli::args::Only;
use compute_futures_cli::client::{Limits, Relayer, Request};
use compute_futures_protocol::Usdc;
use compute_futures_relayer::test_util::postgres::database;
use compute_futures_tests::{Agent, Books, METERED, Peer, World, Worlds, metered_models};
use tokio::task::JoinSet;

/// Jobs at once on one account through both, turn by turn.
async fn jobs(world: &World, agent: &Agent, relayers: &[&Relayer], count: usize) {
    let payer = world.payer(agent);
    let mut running = JoinSet::new();
    for number in 0..count {
        let (payer, relayer) = (payer.clone(), relayers[number % relayers.len()].clone());
        let request =
            agent.job(METERED, &format!("Job {number}. {}", "Words of many lengths. ".repeat(1 + number % 7)));
        running.spawn(async move { payer.send(&relayer, &request, &Limits::default()).await });
    }
    while let Some(done) = running.join_next().await {
        done.expect("no panic").expect("every job is answered, with a receipt that holds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relayers_share_one_ledger_and_survive_each_other_on_base() {
    survive_each_other(Only::Base, "BASE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relayers_share_one_ledger_and_survive_each_other_on_solana() {
    survive_each_other(Only::Solana, "SOLANA").await;
}

async fn survive_each_other(only: Only, section: &str) {
    let Some(database) = database().await else { return };
    let ledger = format!("COMPUTE_FUTURES_RELAYER__{section}__LEDGER_URL");
    let settings = vec![(ledger, database.url.clone()), metered_models()];
    let name = format!("e2e-postgres-{}", section.to_lowercase());
    let mut worlds = Worlds::start_on(Some(only), &name, &settings).await;
    let mut peer = Peer::start(&worlds, &settings).await;
    let world = worlds.all().remove(0);
    let agent = world.agent(0, "50", Usdc::MAX).await;

    jobs(&world, &agent, &[&world.relayer, &peer.relayer], 60).await;
    once_through_both(&world, &agent, &peer.relayer).await;
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 62);

    // One leads. What it leaves behind is posted by the other, without being asked.
    let led = world
        .until("one of them to lead", || async {
            let (first, second) = (leads(&world.relayer).await, leads(&peer.relayer).await);
            assert!(!(first && second), "two relayers lead");
            (first || second).then_some(first)
        })
        .await;
    jobs(&world, &agent, &[&world.relayer, &peer.relayer], 20).await;
    let survivor = if led {
        worlds.net.relayer().kill().await;
        peer.relayer.clone()
    } else {
        peer.kill().await;
        world.relayer.clone()
    };
    jobs(&world, &agent, &[&survivor], 20).await;
    let posted = world.charged_on_chain(agent.account).await;
    world
        .until("the survivor to post", || async {
            let operator = world.reader.operator(world.operator_index).await.ok()??;
            (operator.last_batch > books.batches && world.charged_on_chain(agent.account).await > posted).then_some(())
        })
        .await;
    assert!(leads(&survivor).await, "whoever posts leads");

    if led {
        worlds.net.restart_relayer(&settings).await.expect("the first one comes back");
    } else {
        peer = Peer::start(&worlds, &settings).await;
    }
    assert!(!leads(if led { &world.relayer } else { &peer.relayer }).await, "the one that comes back only serves");
    jobs(&world, &agent, &[&world.relayer, &peer.relayer], 20).await;
    let all = || async { (world.admin(&flush()).await.status == 200).then_some(()) };
    world.until("all of it to be posted", all).await;
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 62 + 20 + 20 + 20);
}

/// Whether this relayer follows the chain and posts.
async fn leads(relayer: &Relayer) -> bool {
    relayer.get("/ready").await.expect("a relayer that answers")["leader"].as_bool().expect("it says whether it leads")
}

fn flush() -> Request {
    Request::post("/admin/v1/flush", &serde_json::json!({}))
}

/// One signature sent to both at once is one job.
async fn once_through_both(world: &World, agent: &Agent, second: &Relayer) {
    let payer = world.payer(agent);
    let request = agent.summary("Sent to both. Run by one.");
    let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
    let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
    let (one, two) = tokio::join!(world.relayer.send(&request, &headers), second.send(&request, &headers));
    let (one, two) = (one.expect("an answer"), two.expect("an answer"));
    assert_eq!((one.status, two.status), (200, 200), "{} {}", one.body, two.body);
    assert_eq!(one.bytes, two.bytes, "the same answer from both");
}
