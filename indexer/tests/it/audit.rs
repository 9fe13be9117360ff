//! The audit: an honest history has no findings; every way to cheat has one that names it.

use std::sync::Arc;

use compute_futures_chain::{ChainReader, EventKind};
use compute_futures_indexer::{AuditReport, audit};
use compute_futures_protocol::{Authorization, Chain, Signer};

use super::support::{
    fake::GENESIS_TIME,
    on_both_chains,
    payment::exact,
    scenario::{Answer, Scenario, signer},
    world::{somebody, usdc},
};

on_both_chains!(
    payments_that_authorise_jobs_are_looked_up_on_chain,
    an_honest_history_is_backed,
    a_delegate_may_authorise_while_it_is_one,
    jobs_nobody_authorised_are_found,
    one_authorisation_for_two_jobs_is_found,
    wrong_figures_are_found,
    an_authorisation_long_expired_is_found,
    debits_beyond_the_receipts_are_found,
    receipts_that_are_withheld_or_not_the_posted_ones_are_found,
    a_chain_that_contradicts_its_own_rules_is_found,
    an_unknown_account_is_an_error_that_says_so,
);

async fn report(scenario: &Scenario) -> AuditReport {
    let reader: Arc<dyn ChainReader> = scenario.fake.clone();
    audit(reader, scenario.account, &scenario.source()).await.unwrap()
}

async fn assert_found(scenario: &Scenario, code: &str) {
    let report = report(scenario).await;
    assert!(!report.backed);
    let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&code), "{code} not among {:?}", report.findings);
}

async fn an_honest_history_is_backed(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    scenario.honest_batch();
    scenario.fake.mine(|_, _| {});
    scenario.honest_batch();
    let report = report(&scenario).await;
    assert_eq!(report.findings, [], "{report:?}");
    assert!(report.backed);
    assert_eq!((report.batches, report.receipts), (2, 6));
    assert_eq!(report.receipts_charged, report.charged);
    assert_eq!(report.owner, scenario.owner.address());
}

async fn a_delegate_may_authorise_while_it_is_one(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let delegate = signer(chain, 0x44);
    let account = scenario.account;
    let set = |to: Option<&Signer>| {
        let delegate = to.map(Signer::address);
        scenario.fake.mine(|world, events| {
            world.accounts.get_mut(&account).unwrap().delegate = delegate;
            events.push(EventKind::DelegateSet { account, delegate });
        });
    };
    set(Some(&delegate));
    let at = scenario.fake.height();
    let receipt = scenario.job_with(10_000, |_, _| {}, &delegate);
    scenario.post(vec![receipt]);
    assert!(report(&scenario).await.backed);

    // Well before it was set, it was nobody.
    let receipt = scenario.job_with(10_000, |receipt, _| receipt.issued_at = GENESIS_TIME + at * 2 - 1000, &delegate);
    scenario.post(vec![receipt]);
    assert_found(&scenario, "authorization").await;
}

async fn jobs_nobody_authorised_are_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let receipt = scenario.job_with(10_000, |_, _| {}, &signer(chain, 0x55));
    scenario.post(vec![receipt]);
    assert_found(&scenario, "authorization").await;
}

async fn one_authorisation_for_two_jobs_is_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let first = scenario.job(10_000);
    let Authorization::ComputeFutures { authorization: used, .. } = first.authorization.clone() else { unreachable!() };
    let owner = scenario.owner.clone();
    let second = scenario.job_with(
        10_000,
        |receipt, authorization| {
            *authorization = used.clone();
            receipt.request_hash = used.request_hash;
        },
        &owner,
    );
    scenario.post(vec![first, second]);
    assert_found(&scenario, "authorization_reused").await;
}

/// By paying for the call (x402 `exact`): signed by a spender, in the right token, and the money moved.
async fn payments_that_authorise_jobs_are_looked_up_on_chain(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let (token, to) = (scenario.fake.token(), scenario.operator.address());
    let pay = |token, payer: &Signer, salt| exact(chain, token, payer, to, usdc(1_000), salt);
    let (fresh, old) = (pay(token, &scenario.owner, 1), pay(token, &scenario.owner, 2));
    scenario.fake.payments.lock().unwrap().insert((fresh.from(), fresh.nonce()));
    // Made long ago: what a node says of recent payments does not cover it, its history does.
    scenario.fake.old_payments.lock().unwrap().insert((old.from(), old.nonce()));
    let receipts = vec![scenario.paid_job(30_001, fresh), scenario.paid_job(7, old)];
    scenario.post(receipts);
    let honest = report(&scenario).await;
    assert_eq!(honest.findings, [], "{honest:?}");

    let never = scenario.paid_job(10_000, pay(token, &scenario.owner, 3));
    scenario.post(vec![never]);
    assert_found(&scenario, "payment_not_made").await;

    let elsewhere = scenario.paid_job(10_000, pay(somebody(chain, 0x70), &scenario.owner, 4));
    scenario.post(vec![elsewhere]);
    assert_found(&scenario, "payment_elsewhere").await;

    let stranger = pay(token, &signer(chain, 0x55), 5);
    scenario.fake.payments.lock().unwrap().insert((stranger.from(), stranger.nonce()));
    let stranger = scenario.paid_job(10_000, stranger);
    scenario.post(vec![stranger]);
    assert_found(&scenario, "authorization").await;
}

async fn wrong_figures_are_found(chain: Chain) {
    type Spoil = (&'static str, fn(&mut compute_futures_protocol::Receipt));
    let spoils: [Spoil; 4] = [
        ("charge", |receipt| receipt.charged = usdc(receipt.charged.micros() - 1)),
        ("sequence", |receipt| receipt.sequence += 1),
        ("discount_below_floor", |receipt| receipt.discount_bps = 499),
        ("issued_late", |receipt| receipt.issued_at += 100_000),
    ];
    for (code, spoil) in spoils {
        let mut scenario = Scenario::on(chain).await;
        scenario.honest_batch();
        let owner = scenario.owner.clone();
        let receipt = scenario.job_with(
            10_000,
            |receipt, authorization| {
                spoil(receipt);
                authorization.valid_until += 1_000_000;
            },
            &owner,
        );
        scenario.post(vec![receipt]);
        assert_found(&scenario, code).await;
    }
}

async fn an_authorisation_long_expired_is_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let owner = scenario.owner.clone();
    let receipt = scenario.job_with(
        10_000,
        |receipt, authorization| authorization.valid_until = receipt.issued_at - 10_000,
        &owner,
    );
    scenario.post(vec![receipt]);
    assert_found(&scenario, "authorization_expired").await;
}

async fn debits_beyond_the_receipts_are_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let receipts = vec![scenario.job(10_000)];
    scenario.post_listed(receipts, 12_000);
    assert_found(&scenario, "batch_listed").await;
    assert_found(&scenario, "batch_charged").await;
}

async fn receipts_that_are_withheld_or_not_the_posted_ones_are_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    let document = scenario.honest_batch();
    scenario.answer(1, Answer::Status(404));
    assert_found(&scenario, "receipts_missing").await;
    let mut other = document;
    other.receipts.pop();
    let other = compute_futures_protocol::BatchDocument::new(1, 1, other.receipts).unwrap();
    scenario.publish(&other);
    assert_found(&scenario, "document").await;
}

async fn a_chain_that_contradicts_its_own_rules_is_found(chain: Chain) {
    let mut scenario = Scenario::on(chain).await;
    scenario.honest_batch();
    scenario.fake.tamper(|event| {
        if let EventKind::Debited { discount_bps, .. } = &mut event.kind {
            *discount_bps = 0;
        }
    });
    assert_found(&scenario, "discount_below_floor").await;
}

async fn an_unknown_account_is_an_error_that_says_so(chain: Chain) {
    let scenario = Scenario::on(chain).await;
    let reader: Arc<dyn ChainReader> = scenario.fake.clone();
    let unknown = compute_futures_protocol::AccountId::new(1, 99).unwrap();
    let error = audit(reader, unknown, &scenario.source()).await.unwrap_err().to_string();
    assert!(error.contains("no account"), "{error}");
}
