//! Holds, charges, releases: I-2, I-3, I-8 and idempotency.

use compute_futures_protocol::B256;
use compute_futures_relayer::ledger::{HoldOutcome, LedgerError, SignedCeiling};

use crate::both_engines;
use crate::fixture::{OWNER, charge_request, hold_request, usdc};

both_engines! {
    async fn a_job_holds_then_charges_with_the_discount(f) {
        // 50 USDC earn 10 %.
        let account = f.account(50_000_000).await;
        let (job, outcome) = f.hold(account, 1, 30_000).await.unwrap();
        assert_eq!(outcome, HoldOutcome::Held { hold: usdc(27_000), discount_bps: 1000 });
        let view = f.view(account).await;
        assert_eq!((view.held, view.available), (usdc(27_000), usdc(49_973_000)));

        let charged = f.charge(job, 30_000).await.unwrap();
        assert_eq!(charged.charged, usdc(27_000));
        assert_eq!(charged.balance_remaining, usdc(49_973_000));
        let receipt = &charged.receipt.receipt;
        assert_eq!((receipt.sequence, receipt.batch_number, receipt.job_id), (1, 1, job));
        assert_eq!(charged.receipt.signature.verify(charged.receipt.receipt_hash, f.operator.address()), Ok(()));
        let view = f.view(account).await;
        assert_eq!((view.held, view.pending, view.jobs), (usdc(0), usdc(27_000), 1));
        assert_eq!((view.total_list, view.total_saved, view.tier), (usdc(30_000), usdc(3_000), "scale"));
    }

    async fn the_remainder_is_carried_from_receipt_to_receipt(f) {
        let account = f.account(10_000_000).await;
        // 5 % of 1 micro-USDC: 20 jobs of 1 cost 19.
        let mut charges = Vec::new();
        for nonce in 0..20 {
            charges.push(f.run(account, nonce, 1).await.charged.micros());
        }
        assert_eq!(charges.iter().sum::<u64>(), 19);
        assert_eq!(charges[0], 0);
    }

    async fn charging_twice_charges_once(f) {
        let account = f.account(50_000_000).await;
        let job = f.held(account, 1, 30_000).await;
        let first = f.charge(job, 30_000).await.unwrap();
        let second = f.charge(job, 10).await.unwrap();
        assert_eq!(first, second);
        let (one, two) = tokio::join!(f.charge(job, 30_000), f.charge(job, 30_000));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(f.view(account).await.pending, usdc(27_000));
    }

    async fn the_same_key_and_request_get_the_same_answer(f) {
        let account = f.account(50_000_000).await;
        let request = hold_request(account, 1, 30_000);
        f.ledger.hold(request.clone()).await.unwrap();
        let mut retry = request.clone();
        retry.job_id = B256::repeat_byte(1);
        assert_eq!(f.ledger.hold(retry.clone()).await.unwrap(), HoldOutcome::InProgress);
        let charged = f.charge(request.job_id, 30_000).await.unwrap();
        assert_eq!(f.ledger.hold(retry.clone()).await.unwrap(), HoldOutcome::Replay(charged.answer));
        retry.request_hash = B256::repeat_byte(2);
        assert_eq!(f.ledger.hold(retry).await.unwrap(), HoldOutcome::KeyReused);
    }

    async fn two_at_once_with_one_key_hold_once(f) {
        let account = f.account(50_000_000).await;
        let mut same = hold_request(account, 1, 30_000);
        let first = f.ledger.hold(same.clone());
        same.job_id = B256::repeat_byte(3);
        let second = f.ledger.hold(same);
        let (first, second) = tokio::join!(first, second);
        let outcomes = [first.unwrap(), second.unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, HoldOutcome::Held { .. })).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, HoldOutcome::InProgress)).count(), 1);
    }

    async fn keys_belong_to_accounts(f) {
        let one = f.account(50_000_000).await;
        let two = f.account(50_000_000).await;
        f.held(one, 1, 30_000).await;
        f.held(two, 1, 30_000).await;
    }

    async fn a_failed_job_costs_nothing_and_frees_its_key(f) {
        let account = f.account(50_000_000).await;
        let job = f.held(account, 1, 30_000).await;
        f.ledger.release(job, "provider down").await.unwrap();
        f.ledger.release(job, "again").await.unwrap();
        assert_eq!(f.view(account).await.available, usdc(50_000_000));
        assert!(matches!(f.charge(job, 1).await, Err(LedgerError::UnknownJob(_))));
        f.run(account, 1, 30_000).await;
        // Releasing a charged job changes nothing.
        let charged = f.run(account, 2, 30_000).await;
        f.ledger.release(charged.receipt.receipt.job_id, "late").await.unwrap();
        assert_eq!(f.view(account).await.pending, usdc(54_000));
    }

    async fn holds_fit_under_the_credit(f) {
        let account = f.account(100).await;
        f.held(account, 1, 60).await;
        let refused = f.hold(account, 2, 41).await.unwrap_err();
        assert_eq!(refused, LedgerError::InsufficientCredit { available: usdc(40), needed: usdc(41) });
        f.held(account, 3, 40).await;
    }

    async fn concurrent_holds_never_exceed_the_credit(f) {
        let account = f.account(1_000).await;
        let tasks: Vec<_> = (0..100)
            .map(|nonce| {
                let ledger = f.ledger.clone();
                tokio::spawn(async move { ledger.hold(hold_request(account, nonce, 30)).await })
            })
            .collect();
        let mut held = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(HoldOutcome::Held { .. }) => held += 1,
                Err(LedgerError::InsufficientCredit { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(held, 33);
        assert_eq!(f.view(account).await.available, usdc(10));
    }

    async fn holds_fit_under_the_ceiling(f) {
        let account = f.chain.open(OWNER, 1_000, 100);
        f.follow().await;
        f.held(account, 1, 80).await;
        let refused = f.hold(account, 2, 30).await.unwrap_err();
        assert_eq!(refused, LedgerError::CeilingTooLow { ceiling: usdc(100), needed: usdc(110) });

        // A ceiling signed with the job lifts it, and stays.
        let mut request = hold_request(account, 2, 30);
        request.spend_ceiling = Some(SignedCeiling { ceiling: usdc(500), signature: vec![5; 65].into() });
        f.ledger.hold(request).await.unwrap();
        assert_eq!(f.view(account).await.ceiling, usdc(500));
        f.held(account, 3, 390).await;
        // One that is still too low changes nothing.
        let mut request = hold_request(account, 4, 30);
        request.spend_ceiling = Some(SignedCeiling { ceiling: usdc(510), signature: vec![5; 65].into() });
        assert_eq!(
            f.ledger.hold(request).await.unwrap_err(),
            LedgerError::CeilingTooLow { ceiling: usdc(510), needed: usdc(530) }
        );
        assert_eq!(f.view(account).await.ceiling, usdc(500));
    }

    async fn the_signed_bound_counts_net(f) {
        let account = f.account(50_000_000).await;
        let mut request = hold_request(account, 1, 30_000);
        request.max_charge = Some(usdc(26_999));
        assert_eq!(
            f.ledger.hold(request.clone()).await.unwrap_err(),
            LedgerError::MaxChargeTooLow { max_charge: usdc(26_999), needed: usdc(27_000) }
        );
        request.max_charge = Some(usdc(27_000));
        f.ledger.hold(request).await.unwrap();
    }

    async fn a_charge_above_its_hold_is_refused(f) {
        let account = f.account(1_000).await;
        let job = f.held(account, 1, 10).await;
        assert!(matches!(f.charge(job, 11).await, Err(LedgerError::AboveHold { .. })));
        assert_eq!(f.charge(job, 10).await.unwrap().charged, usdc(10));
    }

    /// Solana: a batch is one transaction of few rows, and an account that rises to another tier needs a second one.
    async fn a_batch_never_gets_more_rows_than_its_transaction_takes(f) {
        f.config.most_rows = Some(8);
        f.reopen().await;
        let first = f.account(1_000_000).await;
        f.run(first, 1, 100).await;
        let mut jobs = vec![f.held(first, 2, 100).await];
        // What is held now is charged at the better rate, in a row of its own.
        f.chain.top_up(first, 50_000_000);
        let mut refused = 0;
        for key in 0..12_u64 {
            let owner = compute_futures_protocol::Address::repeat_byte(u8::try_from(key).unwrap() + 1);
            let other = f.chain.open(owner, 1_000_000, crate::fixture::UNLIMITED);
            f.follow().await;
            match f.hold(other, key, 100).await {
                Ok((job, _)) => jobs.push(job),
                Err(LedgerError::SettlementBehind) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(refused >= 6, "{refused}");
        for job in jobs {
            f.charge(job, 100).await.unwrap();
        }
        let running = f.settle(crate::fixture::quick()).await;
        running.settlement.flush(crate::fixture::SOON).await.unwrap();
        running.stop().await;
        let document = f.ledger.batch_document(1).await.unwrap().unwrap();
        let rows: std::collections::BTreeSet<_> = document
            .receipts
            .iter()
            .map(|signed| (signed.receipt.account_id, signed.receipt.discount_bps))
            .collect();
        assert!((5..=8).contains(&rows.len()), "{rows:?}");
        assert!(rows.iter().filter(|(account, _)| *account == first).count() == 2, "{rows:?}");
    }

    async fn unknown_accounts_hold_nothing(f) {
        let account = compute_futures_protocol::AccountId::new(1, 77).unwrap();
        assert_eq!(f.hold(account, 1, 1).await.unwrap_err(), LedgerError::UnknownAccount(account));
    }

    async fn a_bad_command_fails_alone(f) {
        let account = f.account(50_000_000).await;
        let taken = f.held(account, 1, 10).await;
        let mut tasks = Vec::new();
        for nonce in 10..60 {
            let ledger = f.ledger.clone();
            tasks.push(tokio::spawn(async move {
                let mut request = hold_request(account, nonce, 10);
                if nonce == 30 {
                    request.job_id = taken;
                }
                ledger.hold(request).await
            }));
        }
        let mut duplicates = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(HoldOutcome::Held { .. }) => {}
                Err(LedgerError::DuplicateJob(job)) if job == taken => duplicates += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(duplicates, 1);
        // 50 holds of 10 at 10 % off.
        assert_eq!(f.view(account).await.held, usdc(50 * 9));
    }

    async fn sequences_have_no_gaps(f) {
        let account = f.account(50_000_000).await;
        let mut tasks = Vec::new();
        for nonce in 0..150 {
            let ledger = f.ledger.clone();
            tasks.push(tokio::spawn(async move {
                let request = hold_request(account, nonce, 7);
                let job = request.job_id;
                ledger.hold(request).await.unwrap();
                ledger.charge(charge_request(job, 7)).await.unwrap()
            }));
        }
        let mut sequences = Vec::new();
        let mut total = 0;
        for task in tasks {
            let charged = task.await.unwrap();
            sequences.push(charged.receipt.receipt.sequence);
            total += charged.charged.micros();
        }
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=150).collect::<Vec<_>>());
        // 150 × 7 at 10 % off, to the last micro-USDC.
        assert_eq!(total, 945);
        assert_eq!(f.view(account).await.pending, usdc(945));
    }

    async fn history_reads_on_without_gaps(f) {
        let account = f.account(50_000_000).await;
        for nonce in 0..25 {
            f.run(account, nonce, 10).await;
        }
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = f.ledger.history(account, before, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.cursor);
            seen.extend(page);
        }
        assert_eq!(seen.len(), 27);
        assert!(seen.is_sorted_by(|one, two| one.cursor > two.cursor));
        assert_eq!(f.ledger.accounts_of(OWNER).await.unwrap().len(), 1);
    }
}
