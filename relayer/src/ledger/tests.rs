//! What a power cut leaves of a ledger on SQLite, and what a disk that fails does to it.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compute_futures_protocol::{
    AccountId, Authorization, B256, Bytes, Chain, Domain, EvmAddress, JobAuthorization, Signer, U256, Usdc,
};

use super::account::{self, Account};
use super::disk::Log;
use super::{
    ChargeFacts, ChargeRequest, Charged, HoldOutcome, HoldRequest, Ledger, LedgerConfig, LedgerError, OperatorIdentity,
    StoredAnswer, new_job_id,
};
use crate::follow::project_unopened;

const LIST: Usdc = Usdc::from_micros(1_000);

fn identity() -> OperatorIdentity {
    let signer = Arc::new(Signer::from_bytes(&[7; 32]).unwrap());
    let domain = Domain::evm(8453, EvmAddress::repeat_byte(3));
    OperatorIdentity { chain: Chain::Base, domain, operator_index: 1, signer }
}

fn config(folder: &Path) -> LedgerConfig {
    LedgerConfig { url: format!("sqlite:{}/ledger.db", folder.display()), ..LedgerConfig::default() }
}

async fn account(ledger: &Ledger) -> AccountId {
    let id = AccountId::new(1, 1).unwrap();
    let mut tx = ledger.db.begin_write().await.unwrap();
    let credit = Usdc::from_micros(1_000_000_000);
    let opened = Account { credit, chain_ceiling: credit, ..project_unopened(id) };
    account::store_mirror(tx.connection(), &opened).await.unwrap();
    tx.commit().await.unwrap();
    id
}

fn hold(account: AccountId, number: u64) -> HoldRequest {
    let key = B256::from(U256::from(number));
    let authorization = JobAuthorization {
        account_id: account,
        request_hash: key,
        nonce: key,
        max_charge: Usdc::MAX,
        valid_until: 4_000_000_000,
    };
    HoldRequest {
        account,
        job_id: new_job_id(),
        key,
        request_hash: key,
        max_list: LIST,
        max_charge: None,
        authorization: Authorization::ComputeFutures { authorization, signature: Bytes::from(vec![1; 65]) },
        spend_ceiling: None,
        kind: "text-inference".into(),
        model: "auto".into(),
    }
}

async fn run(ledger: &Ledger, account: AccountId, number: u64) -> Result<Charged, LedgerError> {
    let request = hold(account, number);
    let facts = ChargeFacts {
        job_id: request.job_id,
        list_amount: LIST,
        output_hash: B256::ZERO,
        usage: serde_json::Value::Null,
        model: None,
    };
    assert!(matches!(ledger.hold(request).await?, HoldOutcome::Held { .. }));
    let render = Arc::new(|billing: &super::Billing| StoredAnswer {
        status: 200,
        body: serde_json::to_vec(&billing.receipt).unwrap().into(),
    });
    ledger.charge(ChargeRequest { facts, render }).await
}

/// A slow disk, and how much of the log it has.
struct Slow {
    log: File,
    synced: Arc<AtomicU64>,
}

impl Log for Slow {
    fn sync(&mut self) -> std::io::Result<()> {
        let written = self.log.metadata()?.len();
        std::thread::sleep(Duration::from_millis(4));
        self.log.sync()?;
        self.synced.store(written, Ordering::SeqCst);
        Ok(())
    }
}

/// I-7, I-8: whatever was answered is there after a power cut, which leaves of the log what was synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let synced = Arc::new(AtomicU64::new(0));
    let disk = Arc::clone(&synced);
    let ledger =
        Ledger::open_on(&config(folder.path()), identity(), move |log| Slow { log, synced: disk }).await.unwrap();
    let id = account(&ledger).await;
    let answered: Arc<Mutex<Vec<(u64, Charged)>>> = Arc::default();
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let (ledger, answered) = (ledger.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                for number in (task * 1_000..).take(40) {
                    let charged = run(&ledger, id, number).await.unwrap();
                    answered.lock().unwrap().push((number, charged));
                }
            })
        })
        .collect();

    let mut lost = 0;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(31)).await;
        let before = answered.lock().unwrap().clone();
        let length = synced.load(Ordering::SeqCst);
        let cut = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("ledger.db"), cut.path().join("ledger.db"));
        std::fs::copy(&from, &to).unwrap();
        std::fs::copy(from.with_extension("db-wal"), to.with_extension("db-wal")).unwrap();
        let log = File::options().write(true).open(to.with_extension("db-wal")).unwrap();
        lost += log.metadata().unwrap().len() - length;
        log.set_len(length).unwrap();

        let after = Ledger::open(&config(cut.path()), identity()).await.unwrap();
        for (number, charged) in &before {
            let replay = after.hold(hold(id, *number)).await.unwrap();
            assert_eq!(replay, HoldOutcome::Replay(charged.answer.clone()), "job {number}");
        }
        let view = after.account(id).await.unwrap().unwrap();
        assert!(view.jobs >= before.len() as u64);
        assert_eq!((view.total_list.micros(), view.held), (view.jobs * LIST.micros(), Usdc::ZERO));
        after.close().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(lost > 0, "nothing was under way when the power went");
    assert_eq!(ledger.account(id).await.unwrap().unwrap().jobs, 320);
    ledger.close().await;
}

/// A disk that fails when it is told to.
struct Failing {
    log: File,
    broken: Arc<AtomicBool>,
}

impl Log for Failing {
    fn sync(&mut self) -> std::io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("input/output error"));
        }
        self.log.sync()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_ledger_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let disk = Arc::clone(&broken);
    let ledger =
        Ledger::open_on(&config(folder.path()), identity(), move |log| Failing { log, broken: disk }).await.unwrap();
    let id = account(&ledger).await;
    let charged = run(&ledger, id, 1).await.unwrap();
    ledger.ping().await.unwrap();

    broken.store(true, Ordering::SeqCst);
    assert!(matches!(run(&ledger, id, 2).await, Err(LedgerError::Unavailable(_))));
    // The disk may be well again: what it has is not known before the next start.
    broken.store(false, Ordering::SeqCst);
    assert!(matches!(ledger.hold(hold(id, 3)).await, Err(LedgerError::Unavailable(_))));
    assert!(ledger.ping().await.is_err());
    ledger.close().await;

    let again = Ledger::open(&config(folder.path()), identity()).await.unwrap();
    assert_eq!(again.hold(hold(id, 1)).await.unwrap(), HoldOutcome::Replay(charged.answer));
    run(&again, id, 3).await.unwrap();
    let view = again.account(id).await.unwrap().unwrap();
    assert_eq!((view.total_list.micros(), view.held), (view.jobs * LIST.micros(), Usdc::ZERO));
}
