//! What the chain says reaches the ledger, and leaves it again when its block does.

use compute_futures_protocol::Address;
use compute_futures_relayer::follow::{FollowError, Step};
use compute_futures_relayer::ledger::{HistoryKind, LedgerError};

use crate::both_engines;
use crate::fixture::{OWNER, UNLIMITED, quick, usdc};

both_engines! {
    async fn deposits_raise_credit_and_rate_at_once(f) {
        let account = f.account(10_000_000).await;
        assert_eq!((f.view(account).await.discount_bps, f.view(account).await.tier), (500, "builder"));
        f.chain.top_up(account, 40_000_000);
        f.follow().await;
        let view = f.view(account).await;
        assert_eq!((view.credit, view.discount_bps, view.tier), (usdc(50_000_000), 1000, "scale"));
        assert_eq!(f.run(account, 1, 30_000).await.charged, usdc(27_000));
    }

    async fn a_raise_counts_for_jobs_already_held(f) {
        let account = f.account(10_000_000).await;
        let job = f.held(account, 1, 30_000).await;
        f.chain.top_up(account, 40_000_000);
        f.follow().await;
        assert_eq!(f.charge(job, 30_000).await.unwrap().charged, usdc(27_000));
    }

    async fn a_raise_that_a_reorg_takes_back_never_costs_more_than_was_held(f) {
        let account = f.account(10_000_000).await;
        f.chain.top_up(account, 40_000_000);
        f.follow().await;
        let job = f.held(account, 1, 30_000).await;
        f.chain.reorg(1);
        f.follow().await;
        assert_eq!(f.view(account).await.discount_bps, 500);
        let charged = f.charge(job, 30_000).await.unwrap();
        assert_eq!((charged.charged, charged.receipt.receipt.discount_bps), (usdc(27_000), 1000));
    }

    async fn many_blocks_are_taken_in_ranges(f) {
        for _ in 0..20 {
            f.chain.mine();
        }
        let account = f.chain.open(OWNER, 1_000, 0);
        for _ in 0..20 {
            f.chain.mine();
        }
        f.follow().await;
        assert_eq!(f.view(account).await.credit, usdc(1_000));
        assert_eq!(f.follower().step().await.unwrap(), Step::Idle);
    }

    async fn a_reorg_takes_a_deposit_back(f) {
        let account = f.account(1_000).await;
        f.chain.top_up(account, 500);
        f.follow().await;
        f.run(account, 1, 1_200).await;
        f.chain.reorg(1);
        f.follow().await;
        let view = f.view(account).await;
        // 1,200 were spent, 1,000 are there: nothing is available, and nothing underflows.
        assert_eq!((view.credit, view.available, view.balance_remaining), (usdc(1_000), usdc(0), usdc(0)));
        assert!(matches!(f.hold(account, 2, 1).await, Err(LedgerError::InsufficientCredit { .. })));
        f.chain.top_up(account, 1_000);
        f.follow().await;
        assert_eq!(f.view(account).await.available, usdc(800));
    }

    async fn a_reorg_deeper_than_all_we_know_starts_over(f) {
        let account = f.account(1_000).await;
        f.run(account, 1, 100).await;
        f.chain.reorg(100);
        f.follow().await;
        assert_eq!(f.view(account).await.credit, usdc(0));
        // The same owner opens it again: what it owes is still owed.
        assert_eq!(f.chain.open(OWNER, 2_000, UNLIMITED), account);
        f.follow().await;
        assert_eq!(f.view(account).await.available, usdc(1_900));
    }

    async fn an_account_that_a_reorg_gives_to_another_owner_owes_nothing(f) {
        let account = f.account(1_000).await;
        f.run(account, 1, 100).await;
        f.chain.reorg(1);
        assert_eq!(f.chain.open(Address::repeat_byte(0xb2), 2_000, UNLIMITED), account);
        f.follow().await;
        let view = f.view(account).await;
        assert_eq!((view.pending, view.written_off, view.closing), (usdc(0), usdc(100), true));
        assert!(f.hold(account, 2, 1).await.is_err());
        let running = f.settle(quick()).await;
        running.stop().await;
        // The new owner got everything back, and the receipt of the first is published but charged to nobody.
        let closed = f.chain.account_now(account).unwrap();
        assert!(closed.closed);
        assert_eq!(closed.state.charged, usdc(0));
        assert_eq!(f.ledger.batch_document(1).await.unwrap().unwrap().receipts.len(), 1);
        let history = f.ledger.history(account, None, 100).await.unwrap();
        let tried = history.iter().any(|entry| matches!(entry.kind, HistoryKind::Shortfall { .. }));
        assert!(!tried, "the second owner was to be charged for the first one's job");
    }

    /// The batch was sealed before the reorg, so its row is posted; following goes on, and nothing is counted as settled.
    async fn a_sealed_row_of_an_account_that_changed_hands_stops_nothing(f) {
        let account = f.account(1_000).await;
        f.run(account, 1, 100).await;
        f.chain.set_automine(false);
        let running = f.settle(quick()).await;
        let flush = { let settlement = running.settlement.clone(); tokio::spawn(async move { settlement.flush(crate::fixture::SOON).await }) };
        while f.chain.waiting() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        f.chain.reorg(1);
        assert_eq!(f.chain.open(Address::repeat_byte(0xb2), 2_000, UNLIMITED), account);
        f.chain.set_automine(true);
        f.chain.mine();
        flush.await.unwrap().unwrap();
        let other = f.chain.open(Address::repeat_byte(0xc3), 5_000, UNLIMITED);
        for _ in 0..500 {
            if f.ledger.account(other).await.unwrap().is_some() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(f.view(other).await.available, usdc(5_000), "the follower goes on");
        running.stop().await;
    }

    async fn large_deposits_wait_for_confirmations(f) {
        f.config.trust_latest = usdc(1_000);
        f.config.trust_safe = usdc(10_000);
        f.reopen().await;
        f.chain.set_finality(0, 0);
        let small = f.account(1_000).await;
        let medium = f.account(1_001).await;
        let large = f.account(10_001).await;
        assert_eq!(f.view(small).await.available, usdc(1_000));
        assert_eq!(f.view(medium).await.available, usdc(0));
        assert_eq!(
            f.hold(medium, 1, 10).await.unwrap_err(),
            LedgerError::DepositUnconfirmed { available: usdc(0), needed: usdc(10), unconfirmed: usdc(1_001) }
        );
        f.chain.set_finality(100, 0);
        f.follow().await;
        assert_eq!(f.view(medium).await.available, usdc(1_001));
        assert_eq!(f.view(large).await.available, usdc(0));
        f.chain.set_finality(100, 100);
        f.follow().await;
        assert_eq!(f.view(large).await.available, usdc(10_001));
    }

    async fn a_refund_request_stops_new_jobs_and_lets_running_ones_end(f) {
        let account = f.account(1_000).await;
        let job = f.held(account, 1, 100).await;
        f.chain.request_refund(account);
        f.follow().await;
        assert_eq!(f.hold(account, 2, 1).await.unwrap_err(), LedgerError::RefundRequested(account));
        assert_eq!(f.view(account).await.available, usdc(0));
        f.charge(job, 100).await.unwrap();
        f.chain.refund(account);
        f.follow().await;
        assert_eq!(f.hold(account, 2, 1).await.unwrap_err(), LedgerError::AccountClosed(account));
    }

    async fn foreign_batches_stop_everything(f) {
        use compute_futures_chain::{Action, ChainWriter as _, Fees, Lifetime};
        let action = Action::PostDebits {
            batch_number: 1,
            receipts_root: compute_futures_protocol::B256::repeat_byte(1),
            receipt_count: 1,
            rows: Vec::new(),
        };
        let fees = Fees { max_fee: 1, max_priority_fee: 1 };
        let transaction = f.chain.sign(&action, Lifetime::Nonce(0), 1, fees).unwrap();
        f.chain.broadcast(&transaction).await.unwrap();
        let error = loop {
            match f.follower().step().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, FollowError::UnknownBatch { number: 1, .. }), "{error}");
        let started = compute_futures_relayer::settlement::Settlement::start(
            f.ledger.clone(),
            f.chain.clone(),
            f.chain.clone(),
            quick(),
            Default::default(),
        )
        .await;
        assert!(started.unwrap_err().to_string().contains("restore its newest backup"));
    }

    async fn history_tells_what_happened_on_chain(f) {
        let account = f.account(10_000_000).await;
        f.run(account, 1, 30_000).await;
        f.chain.raise_ceiling(account, UNLIMITED);
        f.chain.request_refund(account);
        f.chain.refund(account);
        f.follow().await;
        let history = f.ledger.history(account, None, 100).await.unwrap();
        let kinds: Vec<_> = history
            .iter()
            .map(|entry| match &entry.kind {
                HistoryKind::Deposit { amount, .. } => format!("deposit {}", amount.micros()),
                HistoryKind::Charge { charged, transaction: None, .. } => format!("charge {}", charged.micros()),
                HistoryKind::Refund { amount, .. } => format!("refund {}", amount.micros()),
                HistoryKind::RefundRequested { .. } => "request".into(),
                HistoryKind::Ceiling { .. } => "ceiling".into(),
                other => format!("{other:?}"),
            })
            .collect();
        // Blocks of the chain in memory are older than the receipt.
        assert_eq!(kinds, ["charge 28500", "refund 10000000", "request", "ceiling", "deposit 10000000"]);
    }
}
