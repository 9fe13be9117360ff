//! What the payment gate keeps: names of payments, deposit addresses, answers that are completed later.

use compute_futures_protocol::{Address, B256, DepositTerms};
use compute_futures_relayer::ledger::{Ledger, NamedPayment, NewPayment, PaymentOutcome, StoredAnswer, WatchedAddress};

use crate::fixture::{Fixture, Kind, OWNER, key, usdc};

/// Two relayers: what one is settling, the other waits for; when it is gone, the other finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_another_relayer_settles_is_left_alone_while_that_lives() {
    let Some(fixture) = Fixture::new(Kind::Postgres).await else { return };
    let second = fixture.another().await.unwrap();
    fixture.ledger.begin_payment(payment(1, 10)).await.unwrap();
    fixture.ledger.payment_ready(key(1), &answer(200, "\nbody"), None).await.unwrap();
    let found = async |ledger: &Ledger| ledger.find_payment(key(1), key(10)).await.unwrap().unwrap();
    assert!(matches!(found(&fixture.ledger).await, PaymentOutcome::Unresolved(_)));
    assert_eq!(found(&second).await, PaymentOutcome::InProgress);
    assert!(second.settled_elsewhere().await.unwrap().contains(&key(1)));
    assert!(fixture.ledger.settled_elsewhere().await.unwrap().is_empty());
    fixture.ledger.close().await;
    assert!(matches!(found(&second).await, PaymentOutcome::Unresolved(_)));
}

fn payment(id: u64, request: u64) -> NewPayment {
    NewPayment {
        id: key(id),
        request_hash: key(request),
        scheme: "exact".into(),
        network: "eip155:8453".into(),
        payer: OWNER.to_string(),
        amount: usdc(1_000),
        price: usdc(1_000),
        details: serde_json::json!({ "version": 2 }),
    }
}

fn answer(status: u16, text: &str) -> StoredAnswer {
    StoredAnswer { status, body: text.to_owned().into() }
}

fn address(byte: u8) -> WatchedAddress {
    let terms = DepositTerms { operator_index: 1, owner: OWNER, ceiling: usdc(u64::from(byte)), fee: usdc(10_000) };
    WatchedAddress { address: Address::repeat_byte(byte), terms }
}

crate::both_engines! {
    async fn a_payment_is_found_as_it_stands(fixture) {
        let ledger = &fixture.ledger;
        assert_eq!(ledger.find_payment(key(1), key(10)).await.unwrap(), None);
        ledger.begin_payment(payment(1, 10)).await.unwrap();
        assert_eq!(ledger.find_payment(key(1), key(10)).await.unwrap(), Some(PaymentOutcome::InProgress));
        assert_eq!(ledger.find_payment(key(1), key(11)).await.unwrap(), Some(PaymentOutcome::KeyReused));
        ledger.payment_ready(key(1), &answer(200, "\nbody"), None).await.unwrap();
        let Some(PaymentOutcome::Unresolved(unresolved)) = ledger.find_payment(key(1), key(10)).await.unwrap() else {
            panic!("a ready payment is unresolved")
        };
        assert_eq!(unresolved.payment, payment(1, 10));
        ledger.payment_failed(key(1), "refused").await.unwrap();
        // What came to nothing is free again, for any request.
        assert_eq!(ledger.find_payment(key(1), key(11)).await.unwrap(), None);
    }

    async fn an_answer_can_be_completed_once_its_payment_settled(fixture) {
        let ledger = &fixture.ledger;
        ledger.begin_payment(payment(1, 10)).await.unwrap();
        ledger.payment_ready(key(1), &answer(202, "pending"), None).await.unwrap();
        ledger.complete_payment_answer(key(1), &answer(200, "too early")).await.unwrap();
        let render = std::sync::Arc::new(|template: &StoredAnswer, _: Option<&_>| template.clone());
        ledger.payment_settled(key(1), "0xabc", render).await.unwrap();
        let found = async || ledger.find_payment(key(1), key(10)).await.unwrap();
        let replay = |answer| Some(PaymentOutcome::Replay { answer, transaction: "0xabc".into() });
        assert_eq!(found().await, replay(answer(202, "pending")));
        ledger.complete_payment_answer(key(1), &answer(200, "done")).await.unwrap();
        assert_eq!(found().await, replay(answer(200, "done")));
    }

    async fn a_name_belongs_to_the_first_payment_of_its_payer(fixture) {
        let ledger = &fixture.ledger;
        let first = NamedPayment { payment_id: key(1), request_hash: key(10) };
        let second = NamedPayment { payment_id: key(2), request_hash: key(10) };
        let claim = async |payer, id: B256| ledger.claim_identifier(payer, "pay_0123456789abcdef", id, key(10)).await.unwrap();
        assert_eq!(claim(OWNER, key(1)).await, first);
        assert_eq!(claim(OWNER, key(2)).await, first);
        assert_eq!(claim(Address::repeat_byte(9), key(2)).await, second);
        // Only who knows the present owner of the name takes its place, and only one of them.
        assert!(!ledger.replace_identifier(OWNER, "pay_0123456789abcdef", key(7), second).await.unwrap());
        assert!(ledger.replace_identifier(OWNER, "pay_0123456789abcdef", key(1), second).await.unwrap());
        assert!(!ledger.replace_identifier(OWNER, "pay_0123456789abcdef", key(1), first).await.unwrap());
        assert_eq!(claim(OWNER, key(3)).await, second);
    }

    async fn deposit_addresses_are_looked_at_less_and_less(fixture) {
        let ledger = &fixture.ledger;
        ledger.watch_address(address(1), false).await.unwrap();
        ledger.watch_address(address(2), true).await.unwrap();
        assert_eq!(ledger.watched_addresses().await.unwrap(), 2);
        assert_eq!(ledger.terms_of_address(address(2).address).await.unwrap(), Some(address(2).terms));
        assert_eq!(ledger.terms_of_address(address(3).address).await.unwrap(), None);
        // Money has landed at the second: it is due now, the first is not.
        assert_eq!(ledger.addresses_to_look_at(10).await.unwrap(), vec![address(2)]);
        assert_eq!(ledger.addresses_to_look_at(10).await.unwrap(), vec![]);
        // Asking again never puts a look off, and news bring it forward.
        ledger.watch_address(address(1), true).await.unwrap();
        ledger.watch_address(address(1), false).await.unwrap();
        assert_eq!(ledger.addresses_to_look_at(10).await.unwrap(), vec![address(1)]);
        assert_eq!(ledger.watched_addresses().await.unwrap(), 2);
    }
}
