//! Opening a ledger: whose it is, what a crash left behind, who else is there.

use std::time::Duration;

use compute_futures_protocol::{AccountId, B256, RateCard, keccak256};
use compute_futures_relayer::ledger::{Engine, HoldOutcome, Ledger, LedgerConfig, LedgerError};
use compute_futures_relayer::test_util::fake_chain::rate_card;

use crate::both_engines;
use crate::fixture::{Fixture, Kind, hold_request, identity, usdc};

both_engines! {
    async fn a_restart_keeps_everything_and_releases_what_was_running(f) {
        let account = f.account(50_000_000).await;
        let charged = f.run(account, 1, 30_000).await;
        f.held(account, 2, 30_000).await;
        let kept = f.held(account, 3, 30_000).await;
        f.ledger.keep(kept).await.unwrap();
        f.ledger.keep(kept).await.unwrap();
        assert_eq!(f.view(account).await.held, usdc(54_000));
        f.reopen().await;
        let view = f.view(account).await;
        assert_eq!((view.pending, view.held, view.available), (usdc(27_000), usdc(0), usdc(49_973_000)));
        let replay = f.ledger.hold(hold_request(account, 1, 30_000)).await.unwrap();
        assert_eq!(replay, HoldOutcome::Replay(charged.answer));
        f.run(account, 2, 30_000).await;
    }

    async fn another_operators_ledger_is_refused(f) {
        let mut other = identity();
        other.operator_index = 2;
        f.ledger.close().await;
        let config = f.config.clone();
        drop(f.ledger);
        let error = loop {
            match Ledger::open(&config, other.clone()).await {
                Err(LedgerError::Config(message)) if message.contains("another process") => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => break other.unwrap_err(),
            }
        };
        assert!(error.to_string().contains("belongs to operator 1"), "{error}");
    }

    /// A price is promised for as long as the account lives: the card must survive whatever the process does.
    async fn rate_cards_are_kept_for_the_accounts_opened_under_them(f) {
        let account = f.account(50_000_000).await;
        assert_eq!(f.view(account).await.rate_card, None, "nobody kept it");
        let card = rate_card();
        for _ in 0..2 {
            assert_eq!(f.ledger.keep_rate_card(&card).await.unwrap(), card.hash().unwrap());
        }
        f.ledger.keep_rate_card(&RateCard { version: 2, ..card.clone() }).await.unwrap();
        f.reopen().await;
        assert_eq!(f.view(account).await.rate_card.as_deref(), Some(&card));
        let text = f.ledger.rate_card(card.hash().unwrap()).await.unwrap().unwrap();
        assert_eq!(keccak256(&text), card.hash().unwrap(), "what is published hashes to what stands on chain");
        assert_eq!(f.ledger.rate_card(B256::ZERO).await.unwrap(), None);
    }

    async fn holds_that_outlive_every_job_are_released(f) {
        let account = f.account(50_000_000).await;
        f.config.hold_seconds = 0;
        f.reopen().await;
        f.held(account, 2, 30_000).await;
        let kept = f.held(account, 3, 30_000).await;
        f.ledger.keep(kept).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(f.ledger.release_orphans().await.unwrap(), 2);
        assert_eq!(f.view(account).await.held, usdc(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_takes_one_process() {
    let f = Fixture::new(Kind::Sqlite).await.unwrap();
    let error = Ledger::open(&f.config, identity()).await.unwrap_err();
    assert!(error.to_string().contains("another process uses the ledger"), "{error}");
    assert_eq!(f.ledger.engine(), Engine::Sqlite);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_urls_say_what_to_do() {
    for (url, says) in [
        ("mysql://x", "must start with sqlite:"),
        ("sqlite::memory:", "must be a file"),
        ("sqlite:/no/such/folder/x.db", "does not exist"),
        ("postgres://user:secret@127.0.0.1:1/x", "cannot be opened"),
    ] {
        let config = LedgerConfig { url: url.into(), ..LedgerConfig::default() };
        let error = tokio::time::timeout(Duration::from_secs(40), Ledger::open(&config, identity()))
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().contains(says), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{config:?}").contains("secret"));
    }
}

/// Two relayers on one PostgreSQL: the restart of one leaves the other's jobs alone.
#[tokio::test(flavor = "multi_thread")]
async fn two_relayers_share_accounts() {
    let Some(mut f) = Fixture::new(Kind::Postgres).await else { return };
    f.config.lease_seconds = 1;
    let second = Ledger::open(&f.config, identity()).await.unwrap();
    let account = f.account(50_000_000).await;
    let job = f.held(account, 1, 30_000).await;

    let third = Ledger::open(&f.config, identity()).await.unwrap();
    assert_eq!(f.view(account).await.held, usdc(27_000), "a living relayer's hold was released");
    let charged = f.charge(job, 30_000).await.unwrap();
    assert_eq!(third.hold(hold_request(account, 1, 30_000)).await.unwrap(), HoldOutcome::Replay(charged.answer));
    drop(third);

    let mut tasks = Vec::new();
    for nonce in 100..200 {
        let ledger = if nonce % 2 == 0 { f.ledger.clone() } else { second.clone() };
        tasks.push(tokio::spawn(async move { run(ledger, account, nonce).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let view = f.view(account).await;
    assert_eq!((view.jobs, view.pending, view.held), (101, usdc(101 * 27_000), usdc(0)));

    // One of them dies without a word: its hold is released once the lease is over.
    second.hold(hold_request(account, 300, 30_000)).await.unwrap();
    drop(second);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if f.view(account).await.held.is_zero() {
            return;
        }
    }
    panic!("the dead relayer's hold was never released");
}

async fn run(ledger: Ledger, account: AccountId, nonce: u64) {
    let request = hold_request(account, nonce, 30_000);
    let job = request.job_id;
    ledger.hold(request).await.unwrap();
    ledger.charge(crate::fixture::charge_request(job, 30_000)).await.unwrap();
}
