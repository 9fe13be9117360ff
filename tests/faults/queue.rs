//! kill -9 at every step of a durable job, then a restart: nothing is lost, charged twice or left held (I-5, I-8).

use std::time::Duration;

use compute_futures_cli::client::{Answer, Request};
use compute_futures_protocol::Usdc;
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use reqwest::header::HeaderMap;
use serde_json::json;

const STEPS: [&str; 5] =
    ["queue::after_hold", "queue::after_add", "queue::after_provider", "queue::after_item", "queue::after_charge"];

fn armed(failpoint: &str) -> Vec<(String, String)> {
    vec![("COMPUTE_FUTURES_FAILPOINT".into(), failpoint.into())]
}

/// A batch of two texts: the queue's work, done without any cloud.
fn batch(agent: &Agent, said: &str) -> Request {
    let text = |said: String| json!({ "type": "text-inference", "messages": [{ "role": "user", "content": said }] });
    let jobs = [text(format!("{said}. The first of two.")), text(format!("{said}. The second of two."))];
    let mut request = agent.summary(said);
    request.path = "/api/v1/compute/batch".into();
    request.body = json!({ "jobs": jobs }).to_string().into_bytes();
    request
}

/// Sends until there is an answer that stands: an end, not a promise.
async fn ended(world: &World, request: &Request, headers: &HeaderMap) -> Answer {
    world
        .until("the batch to end", || async {
            match world.relayer.send(request, headers).await {
                Ok(answer) if !matches!(answer.status, 202 | 409 | 503) => Some(answer),
                _ => None,
            }
        })
        .await
}

async fn dies(worlds: &mut Worlds, world: &World, request: &Request, headers: &HeaderMap, failpoint: &str) {
    let (relayer, request, headers) = (world.relayer.clone(), request.clone(), headers.clone());
    let first = tokio::spawn(async move { relayer.send(&request, &headers).await });
    let ended = tokio::time::timeout(Duration::from_secs(30), worlds.net.relayer().ended()).await;
    assert!(ended.is_ok(), "the relayer never reached {failpoint}");
    first.abort();
    worlds.net.restart_relayer(&[]).await.expect("its successor starts");
}

#[tokio::test]
async fn a_relayer_killed_at_any_step_of_a_durable_job_charges_it_once() {
    let mut worlds = Worlds::start("crash-queue").await;
    for world in worlds.all() {
        let agent = world.agent(0, "50", Usdc::MAX).await;
        let opened = Books::balanced(&world, &[agent.account]).await;
        let (jobs, charged) = (opened.jobs(agent.account), opened.charged(agent.account));
        for failpoint in STEPS {
            worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
            let request = batch(&agent, &format!("The relayer dies at {failpoint}"));
            let payer = world.payer(&agent);
            let terms = payer.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
            let headers = payer.headers(&terms, &payer.authorization(&request, terms.max_list), None).expect("headers");
            dies(&mut worlds, &world, &request, &headers, failpoint).await;
            let answer = ended(&world, &request, &headers).await;
            assert_eq!((answer.status, &answer.body["succeeded"]), (200, &json!(2)), "{failpoint}: {}", answer.body);
            let again = world.relayer.send(&request, &headers).await.expect("an answer");
            assert_eq!(answer.bytes, again.bytes, "{failpoint}: the same payment, the same answer");
        }
        let books = Books::balanced(&world, &[agent.account]).await;
        assert_eq!(books.jobs(agent.account), jobs + STEPS.len(), "each batch once, and no other");
        // Two texts at 0.03, less a tenth for the batch, less a tenth for the tier.
        let due = charged.checked_add(usdc("0.243")).expect("a small amount");
        assert_eq!(books.charged(agent.account), due);
    }
}

#[tokio::test]
async fn a_relayer_killed_at_any_step_of_a_durable_job_takes_a_plain_payment_once() {
    let mut worlds = Worlds::start("crash-queue-payment").await;
    for world in worlds.all() {
        let agent = world.agent(0, "50", Usdc::MAX).await;
        let stock = world.stock(&world.key(0));
        let before = world.usdc_of(agent.address()).await;
        // Without credit there is no hold to die after.
        let steps = &STEPS[1..];
        for failpoint in steps {
            worlds.net.restart_relayer(&armed(failpoint)).await.expect("an armed relayer starts");
            let request = batch(&agent, &format!("Paid per call, killed at {failpoint}"));
            let headers = stock.headers(&world.relayer, &request).await.expect("a payment");
            dies(&mut worlds, &world, &request, &headers, failpoint).await;
            let answer = ended(&world, &request, &headers).await;
            assert_eq!((answer.status, &answer.body["succeeded"]), (200, &json!(2)), "{failpoint}: {}", answer.body);
        }
        let spent = before.checked_sub(world.usdc_of(agent.address()).await).expect("it paid");
        assert_eq!(spent, usdc("0.216"), "four batches at 0.054 USDC, each taken once");
    }
}
