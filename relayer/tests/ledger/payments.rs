//! x402 payments: settled once, answered once, whatever happens in between.

use std::sync::Arc;

use compute_futures_protocol::B256;
use compute_futures_relayer::ledger::{
    Billing, LedgerError, NewPayment, PaymentOutcome, RenderSettled, Serving, StoredAnswer,
};

use crate::both_engines;
use crate::fixture::{facts, usdc};

fn payment(id: u8, request: u8) -> NewPayment {
    NewPayment {
        id: B256::repeat_byte(id),
        request_hash: B256::repeat_byte(request),
        scheme: "exact".into(),
        network: "eip155:8453".into(),
        payer: "0xa1".into(),
        amount: usdc(1_000),
        price: usdc(1_000),
        details: serde_json::json!({"payload": {"x": 1}}),
    }
}

fn template() -> StoredAnswer {
    StoredAnswer { status: 200, body: "{\"work\":true}".into() }
}

fn render() -> RenderSettled {
    Arc::new(|template: &StoredAnswer, billing: Option<&Billing>| {
        let charged = billing.map_or(0, |billing| billing.charged.micros());
        let body = format!("{}{charged}", std::str::from_utf8(&template.body).unwrap());
        StoredAnswer { status: template.status, body: body.into() }
    })
}

both_engines! {
    async fn a_payment_with_a_job_charges_when_it_settles(f) {
        let account = f.account(50_000_000).await;
        let id = payment(1, 1).id;
        assert_eq!(f.ledger.begin_payment(payment(1, 1)).await.unwrap(), PaymentOutcome::New);
        assert_eq!(f.ledger.begin_payment(payment(1, 1)).await.unwrap(), PaymentOutcome::InProgress);
        assert_eq!(f.ledger.begin_payment(payment(1, 2)).await.unwrap(), PaymentOutcome::KeyReused);
        let job = f.held(account, 1, 30_000).await;
        f.ledger.payment_ready(id, &template(), Some(facts(job, 30_000))).await.unwrap();
        assert_eq!(f.view(account).await.pending, usdc(0));

        let settled = f.ledger.payment_settled(id, "0xabc", render()).await.unwrap();
        assert_eq!(settled.charged.as_ref().unwrap().charged, usdc(27_000));
        assert_eq!(settled.answer.body.as_ref(), b"{\"work\":true}27000");
        assert_eq!(f.ledger.payment_settled(id, "0xabc", render()).await.unwrap(), settled);
        assert_eq!(f.view(account).await.pending, usdc(27_000));
        assert_eq!(
            f.ledger.begin_payment(payment(1, 1)).await.unwrap(),
            PaymentOutcome::Replay { answer: settled.answer, transaction: "0xabc".into() }
        );
        assert_eq!(f.ledger.gate_revenue().await.unwrap(), usdc(1_000));
        assert!(matches!(f.ledger.payment_failed(id, "late").await, Err(LedgerError::PaymentState { .. })));
    }

    async fn only_the_price_of_a_deposit_is_revenue(f) {
        let deposit = NewPayment { amount: usdc(50_010_000), price: usdc(10_000), ..payment(1, 1) };
        for new in [deposit.clone(), payment(2, 2)] {
            f.ledger.begin_payment(new.clone()).await.unwrap();
            f.ledger.payment_ready(new.id, &template(), None).await.unwrap();
        }
        let unresolved = f.ledger.unresolved_payments().await.unwrap();
        assert!(unresolved.iter().any(|found| found.payment == deposit), "a restart knows the price: {unresolved:?}");
        assert_eq!(f.ledger.gate_revenue().await.unwrap(), usdc(0), "nothing has settled");
        for id in [deposit.id, payment(2, 2).id] {
            f.ledger.payment_settled(id, "0xabc", render()).await.unwrap();
        }
        assert_eq!(f.ledger.gate_revenue().await.unwrap(), usdc(11_000));
    }

    async fn a_refused_payment_costs_nothing_and_may_be_tried_again(f) {
        let account = f.account(50_000_000).await;
        let id = payment(1, 1).id;
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        let job = f.held(account, 1, 30_000).await;
        f.ledger.payment_ready(id, &template(), Some(facts(job, 30_000))).await.unwrap();
        f.ledger.payment_failed(id, "insufficient balance").await.unwrap();
        f.ledger.payment_failed(id, "again").await.unwrap();
        assert_eq!(f.view(account).await.available, usdc(50_000_000));
        assert_eq!(f.ledger.gate_revenue().await.unwrap(), usdc(0));
        assert!(matches!(f.ledger.payment_settled(id, "0x", render()).await, Err(LedgerError::PaymentState { .. })));
        assert_eq!(f.ledger.begin_payment(payment(1, 1)).await.unwrap(), PaymentOutcome::New);
        f.held(account, 1, 30_000).await;
    }

    /// Nothing was taken, so it is free for another request; from then on it is that one's.
    async fn a_payment_that_failed_pays_for_another_request(f) {
        let id = payment(1, 1).id;
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        f.ledger.payment_failed(id, "the provider refused").await.unwrap();
        assert_eq!(f.ledger.begin_payment(payment(1, 2)).await.unwrap(), PaymentOutcome::New);
        assert_eq!(f.ledger.find_payment(id, B256::repeat_byte(2)).await.unwrap(), Some(PaymentOutcome::InProgress));
        assert_eq!(f.ledger.find_payment(id, B256::repeat_byte(1)).await.unwrap(), Some(PaymentOutcome::KeyReused));
        // Whoever still ends the first request does not touch the second one's.
        f.ledger.payment_failed_for(id, B256::repeat_byte(1), "late").await.unwrap();
        assert_eq!(f.ledger.find_payment(id, B256::repeat_byte(2)).await.unwrap(), Some(PaymentOutcome::InProgress));
        f.ledger.payment_failed_for(id, B256::repeat_byte(2), "refused").await.unwrap();
        assert_eq!(f.ledger.begin_payment(payment(1, 2)).await.unwrap(), PaymentOutcome::New);
    }

    async fn two_relayers_take_a_payment_once(f) {
        // Two relayers share PostgreSQL alone.
        let Ok(other) = compute_futures_relayer::ledger::Ledger::open(&f.config, crate::fixture::identity()).await else {
            return;
        };
        for id in 1..60 {
            let (one, two) = tokio::join!(f.ledger.begin_payment(payment(id, 1)), other.begin_payment(payment(id, 1)));
            let mut outcomes = [one.unwrap(), two.unwrap()];
            outcomes.sort_by_key(|outcome| *outcome != PaymentOutcome::New);
            assert_eq!(outcomes, [PaymentOutcome::New, PaymentOutcome::InProgress]);
        }
        other.close().await;
    }

    async fn a_paid_stream_is_served_one_at_a_time_and_a_few_times(f) {
        let id = payment(1, 1).id;
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        let pending = StoredAnswer { status: 202, body: "{}".into() };
        f.ledger.payment_ready(id, &pending, None).await.unwrap();
        let minute = std::time::Duration::from_secs(60);
        assert_eq!(f.ledger.serve(id, minute).await.unwrap(), Serving::TooOften, "it has not settled");
        f.ledger.payment_settled(id, "0xabc", Arc::new(|template: &StoredAnswer, _: Option<&Billing>| template.clone())).await.unwrap();
        for _ in 0..4 {
            assert_eq!(f.ledger.serve(id, minute).await.unwrap(), Serving::Now);
            assert_eq!(f.ledger.serve(id, minute).await.unwrap(), Serving::Elsewhere);
            // Nothing came of it: not counted.
            f.ledger.not_served(id, true).await.unwrap();
            assert_eq!(f.ledger.serve(id, minute).await.unwrap(), Serving::Now);
            f.ledger.not_served(id, false).await.unwrap();
        }
        assert_eq!(f.ledger.serve(id, minute).await.unwrap(), Serving::TooOften);
    }

    async fn a_crash_between_ready_and_settled_is_resolved_once(f) {
        let account = f.account(50_000_000).await;
        let id = payment(1, 1).id;
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        let job = f.held(account, 1, 30_000).await;
        f.ledger.payment_ready(id, &template(), Some(facts(job, 30_000))).await.unwrap();
        f.reopen().await;

        assert_eq!(f.view(account).await.held, usdc(27_000), "the hold of a payment that may have settled was released");
        let unresolved = f.ledger.unresolved_payments().await.unwrap();
        assert_eq!(unresolved.len(), 1);
        assert_eq!(unresolved[0].payment, payment(1, 1));
        assert_eq!(unresolved[0].charge, Some(facts(job, 30_000)));
        let again = f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        assert_eq!(again, PaymentOutcome::Unresolved(Box::new(unresolved[0].clone())));
        let settled = f.ledger.payment_settled(id, "0xabc", render()).await.unwrap();
        assert_eq!(settled.charged.unwrap().charged, usdc(27_000));
        assert!(f.ledger.unresolved_payments().await.unwrap().is_empty());
    }

    async fn a_crash_during_the_work_frees_the_payment(f) {
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        f.reopen().await;
        assert_eq!(f.ledger.begin_payment(payment(1, 1)).await.unwrap(), PaymentOutcome::New);
    }

    async fn a_payment_without_a_job_just_settles(f) {
        let id = payment(1, 1).id;
        assert!(matches!(
            f.ledger.payment_ready(id, &template(), None).await,
            Err(LedgerError::UnknownPayment(_))
        ));
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        f.ledger.payment_ready(id, &template(), None).await.unwrap();
        let settled = f.ledger.payment_settled(id, "0xabc", render()).await.unwrap();
        assert_eq!((settled.answer.body.as_ref(), settled.charged), (&b"{\"work\":true}0"[..], None));
    }

    async fn a_payment_is_not_ready_without_its_hold(f) {
        let id = payment(1, 1).id;
        f.ledger.begin_payment(payment(1, 1)).await.unwrap();
        let nothing = facts(B256::repeat_byte(8), 1);
        assert!(matches!(
            f.ledger.payment_ready(id, &template(), Some(nothing)).await,
            Err(LedgerError::UnknownJob(_))
        ));
    }
}
