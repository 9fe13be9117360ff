//! Holds that only memory knows: of jobs that end with this process anyway.
//!
//! A restart releases the holds of the process before it, so on SQLite, where one process has the ledger to itself, a hold need not
//! be written until something that outlives the process hangs on it ([`super::Ledger::keep`], a payment that is about to settle).
//! What is here changes only with the right to write ([`super::db::Db::permit`]) and after the commit: whoever has that right
//! sees rows and memory agree.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Usdc};

use super::holds::Hold;

/// The holds of running jobs that have no row.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<Holds>);

#[derive(Debug, Default)]
struct Holds {
    jobs: HashMap<B256, Arc<Hold>>,
    /// Idempotency keys in use, and for which request.
    keys: HashMap<(AccountId, B256), B256>,
    held: HashMap<AccountId, Usdc>,
}

/// What a group of commands does to them, once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) new: Vec<Arc<Hold>>,
    pub(crate) gone: Vec<B256>,
}

impl Running {
    fn with<T>(&self, look: impl FnOnce(&mut Holds) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The holds of these jobs, of those that have one here.
    pub(crate) fn of_jobs(&self, jobs: &[B256]) -> Vec<Arc<Hold>> {
        self.with(|holds| jobs.iter().filter_map(|job| holds.jobs.get(job).cloned()).collect())
    }

    /// The request that an idempotency key is in use for.
    pub(crate) fn use_of(&self, account: AccountId, key: B256) -> Option<B256> {
        self.with(|holds| holds.keys.get(&(account, key)).copied())
    }

    /// Σ of an account.
    pub(crate) fn held(&self, account: AccountId) -> Usdc {
        self.with(|holds| holds.held.get(&account).copied().unwrap_or_default())
    }

    /// Σ of every account that has any.
    pub(crate) fn held_by_account(&self) -> HashMap<AccountId, Usdc> {
        self.with(|holds| holds.held.clone())
    }

    /// Jobs that were held before a time, in unix milliseconds.
    pub(crate) fn held_before(&self, time_ms: u64) -> Vec<B256> {
        self.with(|holds| {
            holds.jobs.values().filter(|hold| hold.held_at_ms < time_ms).map(|hold| hold.job_id).collect()
        })
    }

    /// Takes over what a group did.
    pub(crate) fn change(&self, changes: Changes) {
        if changes.new.is_empty() && changes.gone.is_empty() {
            return;
        }
        self.with(|holds| {
            for hold in changes.new {
                holds.add(hold);
            }
            for job in &changes.gone {
                holds.remove(*job);
            }
        });
    }
}

impl Holds {
    fn add(&mut self, hold: Arc<Hold>) {
        self.keys.insert((hold.account, hold.key), hold.request_hash);
        // Never beyond the account's credit, which is an amount.
        let held = self.held.entry(hold.account).or_default();
        *held = held.checked_add(hold.amount).unwrap_or(Usdc::MAX);
        self.jobs.insert(hold.job_id, hold);
    }

    fn remove(&mut self, job: B256) {
        let Some(hold) = self.jobs.remove(&job) else { return };
        self.keys.remove(&(hold.account, hold.key));
        if let Some(held) = self.held.get_mut(&hold.account) {
            *held = held.saturating_sub(hold.amount);
            if held.is_zero() {
                self.held.remove(&hold.account);
            }
        }
    }
}
