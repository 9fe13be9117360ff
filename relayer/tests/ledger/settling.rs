//! Batches, the outbox, refunds with consent: once each, whatever fails in between.

use std::time::Duration;

use compute_futures_chain::Action;
use compute_futures_protocol::Address;
use compute_futures_relayer::ledger::{HistoryKind, Ledger, LedgerError, SignedCeiling};
use compute_futures_relayer::settlement::{Purpose, SettlementConfig, SettlementError};

use crate::both_engines;
use crate::fixture::{OWNER, Running, SOON, charge_request, hold_request, identity, quick, usdc};

both_engines! {
    async fn a_flush_posts_everything_and_the_sums_agree(f) {
        let one = f.account(50_000_000).await;
        let two = f.account(10_000_000).await;
        let running = f.settle(quick()).await;
        for nonce in 0..30 {
            f.run(one, nonce, 7).await;
            f.run(two, nonce, 13).await;
        }
        let flushed = running.settlement.flush(SOON).await.unwrap();
        assert_eq!(flushed.batch_number, Some(1));
        for account in [one, two] {
            let (view, chain) = (f.view(account).await, f.chain.account_now(account).unwrap());
            assert_eq!((view.pending, view.charged), (usdc(0), chain.state.charged));
            assert_eq!((view.charged, view.frozen), (view.total_charged, None));
        }
        let document = f.ledger.batch_document(1).await.unwrap().unwrap();
        document.verify(&identity().domain, f.operator.address()).unwrap();
        assert_eq!(document.receipts.len(), 60);
        assert_eq!(document.total_charged().unwrap().micros(), f.chain.earnings());
        let keys: Vec<_> = document.receipts.iter().map(|signed| (signed.receipt.account_id, signed.receipt.sequence)).collect();
        assert!(keys.is_sorted());
        assert!(f.ledger.batch_document(2).await.unwrap().is_none(), "an open batch is not published");
        let history = f.ledger.history(one, None, 1).await.unwrap();
        assert!(matches!(&history[0].kind, HistoryKind::Charge { transaction: Some(hash), .. } if Some(*hash) == flushed.transaction));
        running.stop().await;
    }

    async fn the_remainder_goes_on_from_batch_to_batch(f) {
        let account = f.account(10_000_000).await;
        let running = f.settle(quick()).await;
        for nonce in 0..20 {
            f.run(account, nonce, 1).await;
            if nonce % 3 == 0 {
                running.settlement.flush(SOON).await.unwrap();
            }
        }
        running.stop().await;
        // 20 × 1 at 5 % off: 19, however it is split (I-3).
        assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(19));
        assert_eq!(f.view(account).await.frozen, None);
    }

    async fn a_raise_in_the_middle_of_a_batch_makes_two_rows(f) {
        let account = f.account(10_000_000).await;
        f.run(account, 1, 30_000).await;
        f.chain.top_up(account, 40_000_000);
        f.follow().await;
        f.run(account, 2, 30_000).await;
        f.run(account, 3, 30_000).await;
        let running = f.settle(quick()).await;
        running.settlement.flush(SOON).await.unwrap();
        let view = f.view(account).await;
        assert_eq!((view.charged, view.frozen), (usdc(28_500 + 54_000), None));
        running.stop().await;
    }

    async fn limits_make_batches_by_themselves(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(SettlementConfig { max_receipts: 5, ..quick() }).await;
        for nonce in 0..23 {
            f.run(account, nonce, 10).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        running.stop().await;
        assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(23 * 9));
        assert!(f.chain.last_batch() >= 2);
    }

    async fn a_ceiling_signed_with_a_job_is_on_chain_before_its_batch(f) {
        let account = f.chain.open(OWNER, 1_000, 100);
        f.follow().await;
        f.run(account, 1, 90).await;
        let mut request = hold_request(account, 2, 300);
        request.spend_ceiling = Some(SignedCeiling { ceiling: usdc(500), signature: vec![5; 65].into() });
        let job = request.job_id;
        f.ledger.hold(request).await.unwrap();
        f.charge(job, 300).await.unwrap();
        let running = f.settle(quick()).await;
        running.settlement.flush(SOON).await.unwrap();
        let (view, chain) = (f.view(account).await, f.chain.account_now(account).unwrap());
        assert_eq!((chain.state.charged, chain.state.ceiling), (usdc(390), usdc(500)));
        assert_eq!((view.frozen, view.written_off), (None, usdc(0)));
        running.stop().await;
    }

    async fn a_refund_with_consent_waits_for_running_jobs(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        let job = f.held(account, 2, 30_000).await;
        let settlement = running.settlement.clone();
        let refund = tokio::spawn(async move { settlement.flush_account_and_close(account).await });
        // It stops new jobs at once.
        for _ in 0..200 {
            if f.view(account).await.closing {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(f.hold(account, 3, 1).await.unwrap_err(), LedgerError::RefundRequested(account));
        assert!(!f.chain.account_now(account).unwrap().closed);
        f.charge(job, 30_000).await.unwrap();
        let done = refund.await.unwrap().unwrap();
        assert_eq!((done.amount, done.jobs_executed), (usdc(50_000_000 - 54_000), 2));
        assert_eq!(running.settlement.flush_account_and_close(account).await.unwrap(), done, "asking again answers the same");
        assert!(f.view(account).await.closed);
        running.stop().await;
    }

    async fn a_refund_that_takes_too_long_goes_on(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(SettlementConfig { refund_seconds: 0, ..quick() }).await;
        let job = f.held(account, 2, 30_000).await;
        let refused = running.settlement.flush_account_and_close(account).await.unwrap_err();
        assert!(matches!(refused, SettlementError::JobsInFlight { .. }), "{refused}");
        f.ledger.release(job, "done").await.unwrap();
        running.stop().await;
        assert!(f.chain.account_now(account).unwrap().closed);
    }

    async fn withdrawing_happens_once_per_request(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        running.settlement.flush(SOON).await.unwrap();
        let to = Address::repeat_byte(0x77);
        let first = running.settlement.withdraw(to, usdc(7_000), "one", SOON).await.unwrap();
        let again = running.settlement.withdraw(to, usdc(7_000), "one", SOON).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(f.chain.earnings(), 20_000);
        let refused = running.settlement.withdraw(to, usdc(70_000), "two", SOON).await.unwrap_err();
        assert!(matches!(&refused, SettlementError::Refused { reason, .. } if reason.contains("InsufficientEarnings")), "{refused}");
        running.stop().await;
    }

    async fn a_node_that_is_down_delays_and_loses_nothing(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.chain.set_down(true);
        f.run(account, 1, 30_000).await;
        let pending = running.settlement.flush(Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(pending, SettlementError::Pending { .. }));
        // Serving from credit goes on.
        f.run(account, 2, 30_000).await;
        f.chain.set_down(false);
        running.settlement.flush(SOON).await.unwrap();
        assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(54_000));
        running.stop().await;
    }

    async fn a_batch_that_fails_keeps_nothing_else_waiting(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        running.settlement.flush(SOON).await.unwrap();
        f.chain.set_batches_stuck(true);
        f.run(account, 2, 30_000).await;
        let pending = running.settlement.flush(Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(pending, SettlementError::Pending { .. }), "{pending}");
        // Queued behind it.
        running.settlement.withdraw(Address::repeat_byte(0x77), usdc(7_000), "one", SOON).await.unwrap();
        assert_eq!(f.chain.last_batch(), 1);
        f.chain.set_batches_stuck(false);
        running.settlement.flush(SOON).await.unwrap();
        assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(54_000));
        running.stop().await;
    }

    async fn too_much_unposted_work_stops_new_holds(f) {
        let account = f.account(50_000_000).await;
        f.chain.set_automine(false);
        let running = f.settle(SettlementConfig { most_unposted: usdc(20_000), ..quick() }).await;
        f.run(account, 1, 30_000).await;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if f.hold(account, 1_000, 10).await.is_err() {
                break;
            }
            f.ledger.release(crate::fixture::key(0), "none").await.unwrap();
        }
        assert_eq!(f.hold(account, 3, 10).await.unwrap_err(), LedgerError::SettlementBehind);
        f.chain.set_automine(true);
        f.chain.mine();
        running.settlement.flush(SOON).await.unwrap();
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if f.hold(account, 4, 10).await.is_ok() {
                running.stop().await;
                return;
            }
        }
        panic!("holds are still refused");
    }

    async fn a_transaction_that_is_not_mined_is_replaced(f) {
        let account = f.account(50_000_000).await;
        f.chain.set_swallow(true);
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        let flush = {
            let settlement = running.settlement.clone();
            tokio::spawn(async move { settlement.flush(SOON).await })
        };
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let status = running.settlement.status().await.unwrap();
        assert!(status.in_flight.unwrap().transactions.len() >= 2, "no replacement was signed");
        f.chain.set_swallow(false);
        flush.await.unwrap().unwrap();
        assert_eq!((f.chain.last_batch(), f.chain.nonce()), (1, 1));
        running.stop().await;
    }

    async fn a_reorg_that_drops_a_batch_posts_it_again(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        running.settlement.flush(SOON).await.unwrap();
        f.run(account, 2, 30_000).await;
        f.chain.reorg(1);
        assert_eq!(f.chain.last_batch(), 0);
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if f.chain.last_batch() == 1 {
                break;
            }
        }
        running.settlement.flush(SOON).await.unwrap();
        let (view, chain) = (f.view(account).await, f.chain.account_now(account).unwrap());
        assert_eq!((chain.state.charged, f.chain.last_batch()), (usdc(54_000), 2));
        assert_eq!((view.charged, view.pending, view.frozen), (usdc(54_000), usdc(0), None));
        running.stop().await;
    }

    async fn a_shortfall_is_written_off_and_told(f) {
        let account = f.account(1_000).await;
        f.chain.top_up(account, 500);
        f.follow().await;
        f.run(account, 1, 1_200).await;
        f.chain.reorg(1);
        let running = f.settle(quick()).await;
        running.settlement.flush(SOON).await.unwrap();
        let view = f.view(account).await;
        assert_eq!((view.charged, view.written_off, view.pending), (usdc(1_000), usdc(200), usdc(0)));
        assert!(view.frozen.unwrap().contains("not covered"));
        let history = f.ledger.history(account, None, 10).await.unwrap();
        assert!(history.iter().any(|entry| matches!(entry.kind, HistoryKind::Shortfall { uncovered, .. } if uncovered == usdc(200))));
        f.chain.top_up(account, 500);
        // The running settlement follows: a second follower would be in its way.
        while f.view(account).await.credit < usdc(1_500) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(matches!(f.hold(account, 2, 1).await, Err(LedgerError::AccountFrozen { .. })));
        running.settlement.unfreeze(account).await.unwrap();
        f.run(account, 2, 100).await;
        running.settlement.flush(SOON).await.unwrap();
        assert_eq!(f.view(account).await.frozen, None);
        running.stop().await;
    }

    async fn a_stop_flushes(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        running.stop().await;
        assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(27_000));
    }

    async fn a_restart_goes_on_where_it_stopped(f) {
        let account = f.account(50_000_000).await;
        f.chain.set_automine(false);
        let running = f.settle(SettlementConfig { flush_seconds: 0, ..quick() }).await;
        f.run(account, 1, 30_000).await;
        let _ = running.settlement.flush(Duration::from_millis(200)).await;
        running.stop().await;
        f.reopen().await;
        // Mined while nobody looked.
        f.chain.mine();
        f.chain.set_automine(true);
        f.run(account, 2, 30_000).await;
        let running = f.settle(quick()).await;
        running.settlement.flush(SOON).await.unwrap();
        assert_eq!((f.chain.last_batch(), f.chain.account_now(account).unwrap().state.charged), (2, usdc(54_000)));
        running.stop().await;
    }

    async fn a_nonce_that_somebody_else_used_is_left_behind(f) {
        use compute_futures_chain::{ChainWriter as _, Fees, Lifetime};
        let account = f.account(50_000_000).await;
        f.chain.set_swallow(true);
        let running = f.settle(quick()).await;
        f.run(account, 1, 30_000).await;
        let flush = {
            let settlement = running.settlement.clone();
            tokio::spawn(async move { settlement.flush(SOON).await })
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
        f.chain.set_swallow(false);
        f.chain.set_automine(false);
        let foreign = f.chain.sign(&Action::Noop, Lifetime::Nonce(0), 21_000, Fees { max_fee: 10_000, max_priority_fee: 1 }).unwrap();
        f.chain.broadcast(&foreign).await.unwrap();
        f.chain.mine();
        f.chain.set_automine(true);
        flush.await.unwrap().unwrap();
        assert_eq!((f.chain.last_batch(), f.chain.nonce()), (1, 2));
        running.stop().await;
    }

    async fn the_same_purpose_is_sent_once(f) {
        let account = f.account(50_000_000).await;
        let running = f.settle(quick()).await;
        let purpose = Purpose::close(account);
        for _ in 0..5 {
            running.settlement.submit(&purpose, Action::CloseAccount { account }).await.unwrap();
        }
        running.settlement.wait(&purpose, SOON).await.unwrap();
        running.settlement.submit(&purpose, Action::CloseAccount { account }).await.unwrap();
        running.stop().await;
        assert_eq!(f.chain.nonce(), 1);
    }
}

/// Two relayers on one PostgreSQL: one posts, and when it stops the other takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_relayers_posts() {
    use crate::fixture::{Fixture, Kind};
    let Some(f) = Fixture::new(Kind::Postgres).await else { return };
    let second = Ledger::open(&f.config, identity()).await.unwrap();
    let account = f.account(50_000_000).await;
    let one = f.settle(quick()).await;
    one.settlement.flush(SOON).await.unwrap();
    let two = Running::start(second.clone(), f.chain.clone(), quick()).await;
    let mut nonce = 0;
    for ledger in [&f.ledger, &second] {
        for _ in 0..10 {
            nonce += 1;
            let request = hold_request(account, nonce, 30_000);
            let job = request.job_id;
            ledger.hold(request).await.unwrap();
            ledger.charge(charge_request(job, 30_000)).await.unwrap();
        }
    }
    two.settlement.flush(SOON).await.unwrap();
    assert_eq!(f.chain.last_batch(), 1);
    one.stop().await;
    let request = hold_request(account, 99, 30_000);
    let job = request.job_id;
    second.hold(request).await.unwrap();
    second.charge(charge_request(job, 30_000)).await.unwrap();
    two.settlement.flush(SOON).await.unwrap();
    assert_eq!(f.chain.account_now(account).unwrap().state.charged, usdc(21 * 27_000));
    assert_eq!((f.chain.last_batch(), f.chain.nonce()), (2, 2));
    two.stop().await;
}
