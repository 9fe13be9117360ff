//! Random interleavings of everything that can happen, against a model that is too simple to be wrong.

use std::collections::{BTreeMap, HashMap};

use compute_futures_protocol::{AccountId, B256, hold_amount};
use compute_futures_relayer::ledger::{Charged, HoldOutcome, LedgerError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::fixture::{Fixture, Kind, OWNER, hold_request, identity, quick, usdc};

#[derive(Debug, Clone)]
enum Op {
    Open { amount: u64, ceiling: u64 },
    TopUp { account: usize, amount: u64 },
    Ceiling { account: usize, ceiling: u64 },
    Hold { account: usize, key: u64, list: u64 },
    Charge { job: usize, percent: u64 },
    Release { job: usize },
    Keep { job: usize },
    RequestRefund { account: usize },
    Refund { account: usize },
    Follow,
    Settle,
    Reorg { depth: u64 },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let amount = 1..40_000_000_u64;
    let account = 0..4_usize;
    prop_oneof![
        2 => (amount.clone(), 1..60_000_000_u64).prop_map(|(amount, ceiling)| Op::Open { amount, ceiling }),
        2 => (account.clone(), amount).prop_map(|(account, amount)| Op::TopUp { account, amount }),
        2 => (account.clone(), 1..200_000_000_u64).prop_map(|(account, ceiling)| Op::Ceiling { account, ceiling }),
        12 => (account.clone(), 0..40_u64, 1..9_000_000_u64).prop_map(|(account, key, list)| Op::Hold { account, key, list }),
        10 => (0..8_usize, 0..=100_u64).prop_map(|(job, percent)| Op::Charge { job, percent }),
        3 => (0..8_usize).prop_map(|job| Op::Release { job }),
        4 => (0..8_usize).prop_map(|job| Op::Keep { job }),
        1 => account.clone().prop_map(|account| Op::RequestRefund { account }),
        1 => account.prop_map(|account| Op::Refund { account }),
        3 => Just(Op::Follow),
        3 => Just(Op::Settle),
        2 => (1..6_u64).prop_map(|depth| Op::Reorg { depth }),
        1 => Just(Op::Reopen),
    ]
}

/// What the ledger must know about jobs.
#[derive(Default)]
struct Model {
    accounts: Vec<AccountId>,
    /// Running jobs: job, account, key, hold, list.
    running: Vec<(B256, AccountId, u64, u64, u64)>,
    /// Charged jobs by account and key.
    charged: HashMap<(AccountId, u64), Charged>,
    /// Receipts by account.
    receipts: BTreeMap<AccountId, Vec<u64>>,
}

impl Model {
    fn account(&self, index: usize) -> Option<AccountId> {
        (!self.accounts.is_empty()).then(|| self.accounts[index % self.accounts.len()])
    }

    async fn apply(&mut self, f: &mut Fixture, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Open { amount, ceiling } => {
                let id = f.chain.open(OWNER, amount, ceiling);
                if !self.accounts.contains(&id) {
                    self.accounts.push(id);
                }
                f.follow().await;
            }
            Op::TopUp { account, amount } => self.on_chain(f, account, |id| f.chain.top_up(id, amount)),
            Op::Ceiling { account, ceiling } => self.on_chain(f, account, |id| f.chain.raise_ceiling(id, ceiling)),
            Op::RequestRefund { account } => self.on_chain(f, account, |id| f.chain.request_refund(id)),
            Op::Refund { account } => self.on_chain(f, account, |id| f.chain.refund(id)),
            Op::Hold { account, key, list } => {
                if let Some(id) = self.account(account) {
                    self.hold(f, id, key, list).await?;
                }
            }
            Op::Charge { job, percent } => {
                if !self.running.is_empty() {
                    let index = job % self.running.len();
                    let (job, account, key, hold, list) = self.running[index];
                    let charged = f.charge(job, list * percent / 100).await.expect("a job that is held can be charged");
                    prop_assert!(charged.charged <= usdc(hold));
                    self.running.remove(index);
                    let receipts = self.receipts.entry(account).or_default();
                    receipts.push(charged.charged.micros());
                    prop_assert_eq!(charged.receipt.receipt.sequence, receipts.len() as u64);
                    prop_assert_eq!(&f.charge(job, 0).await.unwrap(), &charged, "charged twice");
                    self.charged.insert((account, key), charged);
                }
            }
            Op::Release { job } => {
                if !self.running.is_empty() {
                    let (job, ..) = self.running.remove(job % self.running.len());
                    f.ledger.release(job, "test").await.unwrap();
                    prop_assert!(matches!(f.charge(job, 0).await, Err(LedgerError::UnknownJob(_))));
                    prop_assert!(matches!(f.ledger.keep(job).await, Err(LedgerError::UnknownJob(_))));
                }
            }
            Op::Keep { job } => {
                if !self.running.is_empty() {
                    let (job, ..) = self.running[job % self.running.len()];
                    f.ledger.keep(job).await.expect("a job that is held can be kept");
                }
            }
            Op::Follow => f.follow().await,
            Op::Settle => f.settle(quick()).await.stop().await,
            Op::Reorg { depth } => f.chain.reorg(depth),
            Op::Reopen => {
                f.reopen().await;
                self.running.clear();
            }
        }
        self.check(f).await
    }

    fn on_chain(&self, f: &Fixture, account: usize, change: impl FnOnce(AccountId)) {
        // A reorg may have taken the account away.
        if let Some(id) = self.account(account)
            && f.chain.account_now(id).is_some()
        {
            change(id);
        }
    }

    async fn hold(&mut self, f: &Fixture, id: AccountId, key: u64, list: u64) -> Result<(), TestCaseError> {
        let before = f.view(id).await;
        let request = hold_request(id, key, list);
        let job = request.job_id;
        let outcome = f.ledger.hold(request).await;
        let needed = hold_amount(usdc(list), before.discount_bps);
        if let Some(charged) = self.charged.get(&(id, key)) {
            prop_assert_eq!(outcome.unwrap(), HoldOutcome::Replay(charged.answer.clone()));
        } else if self.running.iter().any(|(_, account, used, ..)| (*account, *used) == (id, key)) {
            prop_assert_eq!(outcome.unwrap(), HoldOutcome::InProgress);
        } else {
            // `available` is exact: what fits is held, what does not is refused.
            match outcome {
                Ok(HoldOutcome::Held { hold, .. }) => {
                    prop_assert_eq!(hold, needed);
                    prop_assert!(needed <= before.available, "{:?} held, {:?} available", needed, before.available);
                    self.running.push((job, id, key, hold.micros(), list));
                }
                Ok(other) => prop_assert!(false, "{other:?}"),
                Err(_) => prop_assert!(needed > before.available || before.available.is_zero()),
            }
        }
        Ok(())
    }

    async fn check(&self, f: &Fixture) -> Result<(), TestCaseError> {
        for id in &self.accounts {
            let view = f.view(*id).await;
            let receipts: u64 = self.receipts.get(id).map_or(0, |receipts| receipts.iter().sum());
            let held: u64 =
                self.running.iter().filter(|(_, account, ..)| account == id).map(|(.., hold, _)| hold).sum();
            prop_assert_eq!(view.total_charged.micros(), receipts, "Σ receipts");
            prop_assert_eq!(view.held.micros(), held, "Σ holds");
            prop_assert_eq!(view.jobs, self.receipts.get(id).map_or(0, Vec::len) as u64);
            prop_assert_eq!(
                view.charged.micros() + view.pending.micros() + view.written_off.micros(),
                receipts,
                "charged on chain + pending + written off = Σ receipts"
            );
            let limit = view.credit.min(view.ceiling).micros();
            let committed = view.charged.micros() + view.pending.micros() + held;
            prop_assert!(view.available.micros() <= limit.saturating_sub(committed), "I-2");
        }
        Ok(())
    }

    /// Everything is posted in the end, and ledger, receipts and chain agree to the last micro-USDC.
    async fn end(&mut self, f: &mut Fixture) -> Result<(), TestCaseError> {
        for (job, ..) in std::mem::take(&mut self.running) {
            f.ledger.release(job, "the end").await.unwrap();
        }
        f.settle(quick()).await.stop().await;
        self.check(f).await?;
        for id in &self.accounts {
            let view = f.view(*id).await;
            prop_assert_eq!(view.pending, usdc(0), "left unposted");
            let charged = f.chain.account_now(*id).map_or(usdc(0), |account| account.state.charged);
            prop_assert_eq!(view.charged, charged);
        }
        for batch in 1..=f.chain.last_batch() {
            let document = f.ledger.batch_document(batch).await.unwrap().unwrap();
            document.verify(&identity().domain, f.operator.address()).unwrap();
        }
        prop_assert_eq!(f.chain.waiting(), 0);
        Ok(())
    }
}

fn random_interleavings(kind: Kind, cases: u32) {
    let slow = std::env::var("COMPUTE_FUTURES_SLOW_TESTS").is_ok_and(|value| value == "1");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config {
        cases: if slow { cases * 20 } else { cases },
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&proptest::collection::vec(op(), 1..60), |ops| {
        runtime.block_on(async {
            let Some(mut f) = Fixture::new(kind).await else { return Ok(()) };
            let mut model = Model::default();
            for op in &ops {
                model.apply(&mut f, op).await?;
            }
            model.end(&mut f).await
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn random_interleavings_on_sqlite() {
    random_interleavings(Kind::Sqlite, 16);
}

#[test]
fn random_interleavings_on_postgres() {
    random_interleavings(Kind::Postgres, 3);
}
