//! Scheme `compute-futures`: hundreds of jobs at once on one account, while its tier and its ceiling rise under them.

use compute_futures_chain::{Action, ChainError};
use compute_futures_cli::client::{ClientError, CreditPayer, Limits, Paid};
use compute_futures_indexer::audit::audit;
use compute_futures_indexer::config::OperatorSource;
use compute_futures_protocol::Usdc;
use compute_futures_tests::{Agent, Books, METERED, World, Worlds, metered_models, usdc};
use tokio::task::JoinSet;

/// Jobs in each of the two waves.
const WAVE: usize = 100;

/// Different lengths, so that per-token prices leave remainders of every kind.
fn text(number: usize) -> String {
    let sentence = "The quarter closed with prepaid compute at a discount, and every job has a receipt. ";
    format!("Job {number}. {}", sentence.repeat(1 + number % 17))
}

fn wave(world: &World, agent: &Agent, delegate: &CreditPayer, from: usize) -> JoinSet<Result<Paid, ClientError>> {
    let owner = world.payer(agent);
    let mut jobs = JoinSet::new();
    for number in from..from + WAVE {
        // Every second job is signed by the session key.
        let payer = if number % 2 == 0 { owner.clone() } else { delegate.clone() };
        let (relayer, request) = (world.relayer.clone(), agent.job(METERED, &text(number)));
        jobs.spawn(async move { payer.send(&relayer, &request, &Limits::default()).await });
    }
    jobs
}

async fn all(mut jobs: JoinSet<Result<Paid, ClientError>>) -> Vec<Paid> {
    let mut paid = Vec::new();
    while let Some(done) = jobs.join_next().await {
        paid.push(done.expect("no panic").expect("every job is answered, with a receipt that holds"));
    }
    paid
}

/// The ceiling that the owner opened the account with is too low: refused in clear words, raised by one signature.
async fn ceiling_rises(world: &World, agent: &Agent) -> Paid {
    let payer = world.payer(agent);
    let request = agent.job(METERED, &text(0));
    let refused = payer.send(&world.relayer, &request, &Limits::default()).await;
    assert!(matches!(refused, Err(ClientError::CeilingTooLow { needed }) if needed > usdc("0.0275")), "{refused:?}");
    let bare = world.run(agent, &request).await.expect("an answer");
    assert_eq!((bare.status, bare.body["code"].as_str()), (402, Some("ceiling_too_low")), "{}", bare.body);
    assert!(bare.body["hint"].as_str().is_some_and(|hint| hint.contains("SpendCeiling")), "{}", bare.body);

    let limits = Limits { raise_ceiling_to: Some(usdc("0.05")), ..Limits::default() };
    let paid = payer.send(&world.relayer, &request, &limits).await.expect("the ceiling is signed on the way");
    assert!(paid.ceiling_raised.is_some());
    paid
}

/// A session key that may spend and do nothing else.
async fn delegated(world: &World, agent: &Agent) -> CreditPayer {
    let session = world.stranger().signer;
    let delegate = Some(session.address());
    world.post(&agent.signer, &Action::SetDelegate { account: agent.account, delegate }).await;
    let payer = CreditPayer { signer: session, ..world.payer(agent) };
    world
        .until("the relayer to know the delegate", || async {
            // Whoever signs it, a ceiling goes up as high as it says.
            let limits = Limits { raise_ceiling_to: Some(Usdc::MAX), ..Limits::default() };
            let request = compute_futures_cli::client::Request::get(format!(
                "/api/v1/compute-futures/balance?futuresId={}",
                agent.futures_id()
            ));
            payer.send(&world.relayer, &request, &limits).await.ok()
        })
        .await;
    payer
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_jobs_at_once_are_charged_to_the_last_micro_usdc() {
    Worlds::start_with("e2e-jobs", &[metered_models()]).await.each(async |world| hundreds(world).await).await;
}

async fn hundreds(world: &World) {
    let agent = world.agent(0, "50", usdc("0.0275")).await;
    let first = ceiling_rises(world, &agent).await;
    world.post(&agent.signer, &Action::RaiseCeiling { account: agent.account, ceiling: Usdc::MAX }).await;
    let delegate = delegated(world, &agent).await;
    let mut paid = vec![first];

    // Somebody else tops the account up into the next tier while the first wave is in flight.
    let running = wave(world, &agent, &delegate, 1);
    let top_up = Action::TopUp { account: agent.account, amount: usdc("150"), ceiling: Usdc::ZERO };
    world.post(&world.wallet(3), &top_up).await;
    paid.extend(all(running).await);
    paid.extend(all(wave(world, &agent, &delegate, 1 + WAVE)).await);
    world.flush().await;
    // The raised discount binds at the latest from the next batch on.
    let raised = world.until("the raised discount", || async {
        let paid = delegate.send(&world.relayer, &agent.job(METERED, &text(7)), &Limits::default()).await;
        paid.ok().filter(|paid| paid.receipt.signed.receipt.discount_bps == 1500)
    });
    paid.push(raised.await);

    let books = Books::balanced(world, &[agent.account]).await;
    let receipts = &books.receipts[&agent.account];
    for paid in &paid {
        let signed = &paid.receipt.signed;
        let posted = receipts.iter().find(|posted| posted.receipt_hash == signed.receipt_hash);
        assert_eq!(posted.map(|posted| &posted.receipt), Some(&signed.receipt), "what an agent holds was posted");
    }
    let discounts = |bps: u16| receipts.iter().filter(|signed| signed.receipt.discount_bps == bps).count();
    assert!(discounts(1000) > 0 && discounts(1500) > 0, "both tiers were in force");
    assert_eq!(discounts(1000) + discounts(1500), receipts.len(), "and no other");
    let odd = receipts.iter().filter(|signed| signed.receipt.list_amount.micros() % 10 != 0).count();
    assert!(odd > WAVE, "prices leave remainders: {odd}");

    let source = OperatorSource { allow_insecure: true, url: world.relayer.base().clone() };
    let report = audit(world.reader.clone(), agent.account, &source).await.expect("an audit");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.charged, books.charged(agent.account));

    delegate_cannot_take_the_money(world, &agent, &delegate).await;
}

async fn delegate_cannot_take_the_money(world: &World, agent: &Agent, delegate: &CreditPayer) {
    let body = serde_json::json!({ "futuresId": agent.futures_id(), "caller": agent.address() });
    let request = compute_futures_cli::client::Request::post("/api/v1/compute-futures/refund", &body);
    let refused = delegate.send(&world.relayer, &request, &Limits::default()).await;
    assert!(matches!(&refused, Err(ClientError::Refused { status: 403, .. })), "{refused:?}");

    // Gas does not make it an owner.
    world
        .post(&world.wallet(3), &Action::TopUp { account: agent.account, amount: usdc("1"), ceiling: Usdc::ZERO })
        .await;
    world.cheats.fuel(delegate.signer.address()).await;
    for action in [Action::RequestRefund { account: agent.account }, Action::Refund { account: agent.account }] {
        let refused = world.try_post(&delegate.signer, &action).await;
        let name = match &refused {
            Err(ChainError::Reverted { name, .. }) => name.as_str(),
            other => panic!("a delegate's {action:?}: {other:?}"),
        };
        assert!(name.ends_with("NotOwner"), "{name}");
    }
}
