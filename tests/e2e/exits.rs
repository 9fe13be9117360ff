//! Getting out: with the operator's consent, without it while charges still land, and not at all for strangers (I-4).

use compute_futures_chain::{Action, ChainError};
use compute_futures_cli::client::{ClientError, CreditPayer, Limits, Request};
use compute_futures_protocol::{SpendCeiling, Usdc, refund_order_hash};
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use serde_json::json;

fn refund_of(agent: &Agent, caller: &str) -> Request {
    Request::post("/api/v1/compute-futures/refund", &json!({ "futuresId": agent.futures_id(), "caller": caller }))
}

fn reverts_as(result: Result<impl std::fmt::Debug, ChainError>, expected: &str, what: &str) {
    match result {
        Err(ChainError::Reverted { name, .. }) if name.ends_with(expected) => {}
        other => panic!("{what}: expected {expected}, got {other:?}"),
    }
}

/// Somebody with gas and USDC and no right to anything here.
async fn strangers_get_nothing(world: &World, agent: &Agent) {
    let thief = world.wallet(6);
    let before = world.usdc_of(thief.address()).await;
    let credit = CreditPayer { signer: thief.clone(), ..world.payer(agent) };
    let id = agent.futures_id();
    let by_signature = [
        ("execute", agent.summary("Mine now.")),
        ("history", Request::get(format!("/api/v1/compute-futures/history?futuresId={id}"))),
        ("balance", Request::get(format!("/api/v1/compute-futures/balance?futuresId={id}"))),
        ("refund", refund_of(agent, &agent.address().to_string())),
    ];
    for (what, request) in &by_signature {
        let refused = credit.send(&world.relayer, request, &Limits::default()).await;
        assert!(matches!(&refused, Err(ClientError::Refused { status: 403, .. })), "{what}: {refused:?}");
    }
    // Paying for the call with money of one's own opens nothing either, and the money stays where it is.
    let exact = world.stock(&world.key(6));
    let with_money = [
        ("history", Request::get(format!("/api/v1/compute-futures/history?futuresId={id}"))),
        ("refund", refund_of(agent, &thief.address().to_string())),
        ("refund in the owner's name", refund_of(agent, &agent.address().to_string())),
        ("execute", agent.summary("Mine now.")),
    ];
    for (what, request) in &with_money {
        let refused = exact.send(&world.relayer, request).await;
        assert!(matches!(&refused, Err(ClientError::Refused { status: 403, .. })), "{what}: {refused:?}");
    }
    // A ceiling that the thief signs, carried along by its own request.
    let request = agent.summary("A ceiling of a stranger.");
    let terms = credit.terms(Some(&world.relayer.offer(&request).await.expect("an offer"))).expect("terms");
    let headers =
        credit.headers(&terms, &credit.authorization(&request, terms.max_list), Some(usdc("1000"))).expect("headers");
    let refused = world.relayer.send(&request, &headers).await.expect("an answer");
    assert_eq!(refused.status, 403, "{}", refused.body);

    let account = agent.account;
    let signature = thief.sign(SpendCeiling { account_id: account, ceiling: Usdc::MAX }.digest(&world.domain));
    let ceiling =
        Action::RaiseCeilingWithSignature { account, ceiling: Usdc::MAX, signature: signature.to_vec().into() };
    assert!(matches!(world.try_post(&thief, &ceiling).await, Err(ChainError::Reverted { .. })), "a forged ceiling");
    for (action, name) in [
        (Action::RequestRefund { account }, "NotOwner"),
        (Action::Refund { account }, "NotOwner"),
        (Action::SetDelegate { account, delegate: Some(thief.address()) }, "NotOwner"),
        (Action::RaiseCeiling { account, ceiling: Usdc::MAX }, "NotSpender"),
        (Action::CloseAccount { account }, "NotOperator"),
    ] {
        let what = format!("{action:?}");
        let refused = world.try_post(&thief, &action).await;
        assert!(matches!(&refused, Err(ChainError::Reverted { .. })), "{what}, expected {name}: {refused:?}");
    }
    assert_eq!(world.usdc_of(thief.address()).await, before, "nothing was taken, nothing was won");
}

/// At once, when the operator agrees; paid for out of credit.
async fn by_consent(world: &World, agent: &Agent) {
    let before = world.usdc_of(agent.address()).await;
    let request = refund_of(agent, &agent.address().to_string());
    // Its receipt covers the order to refund, not the answer that says what came of it: that is on-chain, and looked up there.
    let paid = world.payer(agent).send(&world.relayer, &request, &Limits::default()).await.expect("its receipt holds");
    let (answer, receipt) = (&paid.answer, &paid.receipt.signed.receipt);
    assert_eq!((answer.status, answer.body["refund"]["status"].as_str()), (200, Some("completed")), "{}", answer.body);
    assert_eq!(receipt.output_hash, refund_order_hash(agent.account, world.chain));
    assert_ne!(receipt.output_hash, answer.output_hash());
    let charged = world.charged_on_chain(agent.account).await;
    let back = world.usdc_of(agent.address()).await.checked_sub(before).expect("it came back");
    assert_eq!(back, usdc("50").checked_sub(charged).expect("less than deposited"), "{}", answer.body);

    let refused = world.run(agent, &agent.summary("Too late.")).await.expect("an answer");
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("account_closed")), "{}", refused.body);
    let again = world.payer(agent).send(&world.relayer, &request, &Limits::default()).await;
    assert!(matches!(&again, Err(ClientError::Refused { status: 409, .. })), "{again:?}");
}

/// Without the operator: what was charged before the request still lands during the delay, then the rest is the owner's.
/// Returns how many jobs were answered: until the relayer has seen the request it takes new ones.
async fn by_delay(world: &World, agent: &Agent) -> usize {
    let account = agent.account;
    let answer = world.run(agent, &agent.summary("Charged, not posted yet.")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    world.post(&agent.signer, &Action::RequestRefund { account }).await;
    reverts_as(world.try_post(&agent.signer, &Action::Refund { account }).await, "RefundNotDue", "too early");
    // The account's first, and the one above.
    let served = std::sync::atomic::AtomicUsize::new(2);
    world
        .until("the relayer to see the request", || async {
            let refused = world.run(agent, &agent.summary("No new jobs now.")).await.expect("an answer");
            served.fetch_add(usize::from(refused.status == 200), std::sync::atomic::Ordering::Relaxed);
            (refused.status == 409 && refused.body["code"] == "refund_requested").then_some(())
        })
        .await;
    world
        .until("the pending charges to land", || async {
            let books = world.charged_on_chain(account).await;
            (books > Usdc::ZERO).then_some(())
        })
        .await;
    served.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_get_out_and_strangers_get_nothing() {
    Worlds::start("e2e-exits").await.each(async |world| exits(world).await).await;
}

async fn exits(world: &World) {
    let consenting = world.agent(0, "50", Usdc::MAX).await;
    let leaving = world.agent(1, "50", Usdc::MAX).await;
    strangers_get_nothing(world, &leaving).await;
    by_consent(world, &consenting).await;
    let served = by_delay(world, &leaving).await;
    let books = Books::balanced(world, &[consenting.account, leaving.account]).await;

    // From here on the chain's clock is ahead of everybody else's.
    world.cheats.advance_time(std::time::Duration::from_secs(601)).await;
    let before = world.usdc_of(leaving.address()).await;
    world.post(&leaving.signer, &Action::Refund { account: leaving.account }).await;
    let back = world.usdc_of(leaving.address()).await.checked_sub(before).expect("it came back");
    assert_eq!(back, usdc("50").checked_sub(books.charged(leaving.account)).expect("less than deposited"));
    assert_eq!(
        books.jobs(leaving.account),
        served,
        "what was answered before the request was seen was charged, what came after was not"
    );
    assert!(world.is_closed(leaving.account).await);
    Books::balanced(world, &[consenting.account, leaving.account]).await;
}
