//! kill -9 at every step of a job and of its settlement, then a restart: nothing is lost, nothing is charged twice (I-5, I-7, I-8).

use std::time::Duration;

use compute_futures_cli::args::Only;
use compute_futures_cli::client::{Answer, Request};
use compute_futures_protocol::{Chain, Usdc};
use compute_futures_tests::{Agent, Books, World, Worlds, metered_models, usdc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const FAILPOINT: &str = "COMPUTE_FUTURES_FAILPOINT";

fn armed(failpoint: &str) -> Vec<(String, String)> {
    vec![(FAILPOINT.into(), failpoint.into())]
}

/// Resolves when the relayer has died; panics when the failpoint was never reached.
async fn died(worlds: &mut Worlds, failpoint: &str) {
    let ended = tokio::time::timeout(Duration::from_secs(30), worlds.net.relayer().ended()).await;
    assert!(ended.is_ok(), "the relayer never reached {failpoint}");
}

/// One signed request, sent to a relayer that dies on the way, then again to its successor: one answer, one charge.
async fn job_survives(worlds: &mut Worlds, world: &World, agent: &Agent, failpoint: &str) {
    worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
    let request = agent.summary(&format!("The relayer dies at {failpoint}. The agent asks again. It pays once."));
    let payer = world.payer(agent);
    let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
    let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");

    let relayer = world.relayer.clone();
    let (dying_request, dying_headers) = (request.clone(), headers.clone());
    let first = tokio::spawn(async move { relayer.send(&dying_request, &dying_headers).await });
    died(worlds, failpoint).await;
    first.abort();
    worlds.net.restart_relayer(&[]).await.expect("its successor starts");

    let answer = retried(world, &request, &headers).await;
    assert_eq!(answer.status, 200, "{failpoint}: {}", answer.body);
    let again = world.relayer.send(&request, &headers).await.expect("an answer");
    assert_eq!(answer.bytes, again.bytes, "{failpoint}: the same payment, the same answer");
}

/// A client that does not give up: what a dead relayer held may take a moment to be released.
async fn retried(world: &World, request: &Request, headers: &reqwest::header::HeaderMap) -> Answer {
    world
        .until("the successor to answer", || async {
            match world.relayer.send(request, headers).await {
                Ok(answer) if answer.status != 409 && answer.status != 503 => Some(answer),
                _ => None,
            }
        })
        .await
}

#[tokio::test]
async fn a_relayer_killed_at_any_step_of_a_job_charges_it_once() {
    let mut worlds = Worlds::start("crash-job").await;
    let steps = ["job::after_hold", "job::after_provider", "job::before_charge", "job::after_charge"];
    for world in worlds.all() {
        let agent = world.agent(0, "50", Usdc::MAX).await;
        let before = 1;
        for failpoint in steps {
            job_survives(&mut worlds, &world, &agent, failpoint).await;
        }
        let books = Books::balanced(&world, &[agent.account]).await;
        assert_eq!(books.jobs(agent.account), before + steps.len(), "each job once, and no other");
        assert_eq!(books.charged(agent.account), usdc("0.135"));
    }
}

#[tokio::test]
async fn a_relayer_killed_around_an_exact_payment_takes_it_once() {
    let mut worlds = Worlds::start("crash-payment").await;
    for world in worlds.all() {
        let agent = world.agent(0, "50", Usdc::MAX).await;
        let stock = world.stock(&world.key(0));
        let before = world.usdc_of(agent.address()).await;
        let mut jobs = 1;
        for failpoint in ["job::after_provider", "payment::after_ready", "payment::after_settle"] {
            worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
            let request = agent.summary(&format!("Paid per call, killed at {failpoint}. Still paid once."));
            // A stock client signs once; what it sent is then sent again by hand, as a client's retry would.
            let recorded = stock.headers(&world.relayer, &request).await.expect("a payment");
            let (relayer, dying_request, headers) = (world.relayer.clone(), request.clone(), recorded.clone());
            let first = tokio::spawn(async move { relayer.send(&dying_request, &headers).await });
            died(&mut worlds, failpoint).await;
            first.abort();
            worlds.net.restart_relayer(&[]).await.expect("its successor starts");
            let answer = retried(&world, &request, &recorded).await;
            assert_eq!(answer.status, 200, "{failpoint}: {}", answer.body);
            let settled = answer.payment.as_ref().and_then(|payment| payment["success"].as_bool());
            assert_eq!(settled, Some(true), "{failpoint}");
            jobs += 1;
        }
        let spent = before.checked_sub(world.usdc_of(agent.address()).await).expect("it paid");
        assert_eq!(spent, usdc("0.003"), "three calls at 0.001 USDC, each taken once");
        let books = Books::balanced(&world, &[agent.account]).await;
        assert_eq!(books.jobs(agent.account), jobs);
    }
}

/// Tells an armed relayer to settle, and waits until it has died of it.
async fn flush_dies(worlds: &mut Worlds, world: &World, failpoint: &str) {
    let token = std::fs::read_to_string(&world.file.admin_token_file).expect("the admin token");
    let flush = reqwest::Client::new()
        .post(world.relayer.url(&world.here("/admin/v1/flush")))
        .bearer_auth(token.trim())
        .json(&json!({}));
    let flushing = tokio::spawn(flush.send());
    died(worlds, failpoint).await;
    flushing.abort();
}

#[tokio::test]
async fn a_relayer_killed_at_any_step_of_settlement_posts_each_batch_once() {
    let mut worlds = Worlds::start("crash-settlement").await;
    let steps = [
        "batch::after_close",
        "batch::after_seal",
        "outbox::after_store",
        "outbox::after_broadcast",
        "batch::after_confirm",
    ];
    for world in worlds.all() {
        let agent = world.agent(0, "50", Usdc::MAX).await;
        for failpoint in steps {
            worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
            let answer = world.run(&agent, &agent.summary(failpoint)).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
            flush_dies(&mut worlds, &world, failpoint).await;
            worlds.net.restart_relayer(&[]).await.expect("its successor starts");
            Books::balanced(&world, &[agent.account]).await;
        }
        let books = Books::balanced(&world, &[agent.account]).await;
        assert_eq!(books.jobs(agent.account), 1 + steps.len());
    }
}

/// On Solana a transaction dies with its blockhash. Whether it landed before that is read from the chain: what did not land is
/// signed anew, what did is not.
#[tokio::test]
async fn a_batch_whose_blockhash_ran_out_lands_once() {
    let mut worlds = Worlds::start_on(Some(Only::Solana), "crash-blockhash", &[]).await;
    let world = worlds.on(Chain::Solana);
    let agent = world.agent(0, "50", Usdc::MAX).await;
    for failpoint in ["outbox::after_store", "outbox::after_broadcast"] {
        worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
        let answer = world.run(&agent, &agent.summary(failpoint)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        flush_dies(&mut worlds, &world, failpoint).await;
        // 150 slots of a fifth of a second, and some.
        tokio::time::sleep(Duration::from_secs(36)).await;
        worlds.net.restart_relayer(&[]).await.expect("its successor starts");
        let books = Books::balanced(&world, &[agent.account]).await;
        let operator = world.reader.operator(world.operator_index).await.expect("the chain answers");
        assert_eq!(operator.map(|operator| operator.last_batch), Some(books.batches), "{failpoint}: one batch each");
    }
    let books = Books::balanced(&world, &[agent.account]).await;
    assert_eq!(books.jobs(agent.account), 3, "each job once, and no other");
}

/// Killed at random under load, again and again. The seed is printed: `SEED=… cargo nextest run …` plays it again.
#[tokio::test]
async fn a_relayer_killed_at_random_under_load_keeps_its_books() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random::<u64>);
    eprintln!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut worlds = Worlds::start_with("crash-random", &[metered_models()]).await;
    let mut agents = Vec::new();
    for world in worlds.all() {
        agents.push((world.agent(0, "50", Usdc::MAX).await, world.clone()));
        agents.push((world.agent(1, "200", Usdc::MAX).await, world));
    }
    let rounds = if compute_futures_tests::slow_tests() { 12 } else { 3 };
    let mut answered = vec![1usize; agents.len()];
    for round in 0..rounds {
        let mut jobs = tokio::task::JoinSet::new();
        for number in 0..32 {
            let who = number % agents.len();
            let (agent, world) = agents[who].clone();
            let (payer, relayer) = (world.payer(&agent), world.relayer.clone());
            jobs.spawn(async move {
                let request =
                    agent.job("metered", &format!("Round {round}, job {number}. Words and more words. The end."));
                let terms = loop {
                    if let Ok(offer) = relayer.offer(&request).await {
                        break payer.terms(Some(&offer)).expect("terms");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                };
                // One signature, sent until it is answered: it is the idempotency key.
                let headers =
                    payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
                loop {
                    match relayer.send(&request, &headers).await {
                        Ok(answer) if answer.status == 200 => return who,
                        Ok(answer) => assert!(matches!(answer.status, 409 | 503), "{}", answer.body),
                        Err(_) => {}
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..900))).await;
        worlds.net.restart_relayer(&[metered_models()]).await.expect("its successor starts");
        while let Some(done) = jobs.join_next().await {
            answered[done.expect("every job is answered in the end")] += 1;
        }
    }
    for (pair, answered) in agents.chunks(2).zip(answered.chunks(2)) {
        let world = &pair[0].1;
        let accounts = [pair[0].0.account, pair[1].0.account];
        let books = Books::balanced(world, &accounts).await;
        for (account, answered) in accounts.into_iter().zip(answered) {
            let jobs = books.jobs(account);
            assert_eq!(
                jobs, *answered,
                "every answer was charged once, nothing else was ({}, seed {seed})",
                world.chain
            );
        }
    }
}
