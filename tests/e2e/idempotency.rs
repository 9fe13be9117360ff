//! One payment, one charge, one answer: however often it is sent, at once or one after the other (I-5).

use compute_futures_cli::client::{CreditPayer, ExactPayer, Request};
use compute_futures_protocol::Usdc;
use compute_futures_tests::{Agent, Books, World, Worlds, usdc};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

async fn signed(world: &World, payer: &CreditPayer, request: &Request) -> HeaderMap {
    let terms = payer.terms(Some(&world.relayer.offer(request).await.expect("an offer"))).expect("terms");
    payer.headers(&terms, &payer.authorization(request, terms.max_list), None).expect("headers")
}

/// Twenty times at once, then once more: the same bytes.
async fn same_answer(world: &World, request: &Request, headers: &HeaderMap, what: &str) {
    let sends = (0..20).map(|_| world.relayer.send(request, headers));
    let answers = futures::future::join_all(sends).await;
    let last = world.relayer.send(request, headers).await.expect("an answer");
    assert_eq!(last.status, 200, "{what}: {}", last.body);
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
        assert_eq!(answer.bytes, last.bytes, "{what}: the same answer, byte for byte");
        let (word, last) = (word(answer.payment.as_ref()), word(last.payment.as_ref()));
        assert_eq!(word, last, "{what}: and the same word about the payment");
    }
}

/// What is said about a payment. The `offer-receipt` of x402 states when it was issued, so it is signed anew each time.
fn word(payment: Option<&Value>) -> Option<Value> {
    let mut word = payment.cloned();
    if let Some(receipt) = word.as_mut().and_then(|word| word.pointer_mut("/extensions/offer-receipt/info/receipt")) {
        match receipt.pointer_mut("/payload/issuedAt") {
            Some(issued) => {
                assert!(issued.is_u64());
                *issued = Value::Null;
                receipt["signature"] = Value::Null;
            }
            // A JWS: its payload and its signature are one text.
            None => *receipt = receipt["format"].clone(),
        }
    }
    word
}

async fn by_signature(world: &World, agent: &Agent) {
    let payer = world.payer(agent);
    let request = agent.summary("Once. And only once.");
    let headers = signed(world, &payer, &request).await;
    same_answer(world, &request, &headers, "a job from credit").await;

    // The same nonce for another request: each request has its own hash, so both are signed with one nonce.
    let other = agent.summary("Something else. Under the same nonce.");
    let terms = payer.terms(Some(&world.relayer.offer(&other).await.expect("an offer"))).expect("terms");
    let first = payer.authorization(&other, terms.max_list);
    let run = world.relayer.send(&other, &payer.headers(&terms, &first, None).expect("headers")).await;
    assert_eq!(run.expect("an answer").status, 200);
    let third = agent.summary("A third request. Under the nonce of the second.");
    let terms = payer.terms(Some(&world.relayer.offer(&third).await.expect("an offer"))).expect("terms");
    let mut reused = payer.authorization(&third, terms.max_list);
    reused.nonce = first.nonce;
    let refused = world.relayer.send(&third, &payer.headers(&terms, &reused, None).expect("headers")).await;
    let refused = refused.expect("an answer");
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("nonce_reused")), "{}", refused.body);

    // A signature seen by somebody else buys nothing but the answer it has paid for.
    let stolen = world.relayer.send(&third, &headers).await.expect("an answer");
    assert!((400..500).contains(&stolen.status), "{}", stolen.body);
}

async fn by_payment(world: &World, agent: &Agent, exact: &ExactPayer) {
    let before = world.usdc_of(agent.address()).await;
    let request = agent.summary("Paid per call. Sent over and over.");
    let headers = exact.headers(&world.relayer, &request).await.expect("a payment");
    same_answer(world, &request, &headers, "an exact payment").await;
    let other = agent.summary("Another request. With a payment that is spent.");
    let refused = world.relayer.send(&other, &headers).await.expect("an answer");
    assert!((400..500).contains(&refused.status), "a spent payment buys nothing: {}", refused.body);
    let spent = before.checked_sub(world.usdc_of(agent.address()).await).expect("it paid");
    assert_eq!(spent, usdc("0.001"), "the call was paid once");
}

async fn by_deposit(world: &World, exact: &ExactPayer) -> compute_futures_protocol::AccountId {
    let owner = world.wallet(1).address();
    let before = world.usdc_of(owner).await;
    let request = Request::post("/api/v1/compute-futures/deposit", &json!({ "depositor": owner, "amount": "50" }));
    let headers = exact.headers(&world.relayer, &request).await.expect("a payment");
    let first = world.relayer.send(&request, &headers).await.expect("an answer");
    assert_eq!(first.status, 200, "{}", first.body);
    same_answer(world, &request, &headers, "a deposit").await;
    let spent = before.checked_sub(world.usdc_of(owner).await).expect("it paid");
    assert_eq!(spent, usdc("50.01"), "one deposit was made");
    let account = first.body["computeFuture"]["accountId"].as_str().and_then(|id| id.parse().ok());
    account.unwrap_or_else(|| panic!("no account in {}", first.body))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payment_is_one_charge_and_one_answer() {
    Worlds::start("e2e-idempotency").await.each(async |world| once(world).await).await;
}

async fn once(world: &World) {
    let agent = world.agent(0, "50", Usdc::MAX).await;
    by_signature(world, &agent).await;
    by_payment(world, &agent, &world.stock(&world.key(0))).await;
    let deposited = by_deposit(world, &world.stock(&world.key(1))).await;
    let books = Books::balanced(world, &[agent.account, deposited]).await;
    assert_eq!(books.jobs(agent.account), 4, "the first of the account, two by signature, one by payment");
    assert_eq!(books.charged(agent.account), usdc("0.108"));
    assert_eq!(books.jobs(deposited), 0);
}
