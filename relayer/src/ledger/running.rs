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
    /// Idempotency keys in use.
    keys: HashMap<(AccountId, B256), Use>,
    held: HashMap<AccountId, Usdc>,
}

/// Who uses a key, and for which request.
#[derive(Debug, Clone, Copy)]
struct Use {
    job: B256,
    request_hash: B256,
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
        self.with(|holds| holds.keys.get(&(account, key)).map(|used| used.request_hash))
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
        let used = Use { job: hold.job_id, request_hash: hold.request_hash };
        self.keys.insert((hold.account, hold.key), used);
        // Never beyond the account's credit, which is an amount.
        let held = self.held.entry(hold.account).or_default();
        *held = held.checked_add(hold.amount).unwrap_or(Usdc::MAX);
        self.jobs.insert(hold.job_id, hold);
    }

    fn remove(&mut self, job: B256) {
        let Some(hold) = self.jobs.remove(&job) else { return };
        // A job that failed frees its key, and another may have taken it in the same group.
        let key = (hold.account, hold.key);
        if self.keys.get(&key).is_some_and(|used| used.job == job) {
            self.keys.remove(&key);
        }
        if let Some(held) = self.held.get_mut(&hold.account) {
            *held = held.saturating_sub(hold.amount);
            if held.is_zero() {
                self.held.remove(&hold.account);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hold(job: u8, request: u8, amount: u64) -> Arc<Hold> {
        Arc::new(Hold {
            job_id: B256::repeat_byte(job),
            account: AccountId::new(1, 1).unwrap(),
            key: B256::ZERO,
            request_hash: B256::repeat_byte(request),
            amount: Usdc::from_micros(amount),
            max_list: Usdc::ZERO,
            discount_bps: 0,
            lease: 0,
            kind: String::new(),
            model: String::new(),
            authorization_hash: B256::ZERO,
            authorization: String::new(),
            held_at_ms: 5,
            signed: None,
            in_memory: true,
        })
    }

    /// A retry that waits takes the key in the very group that releases the failed job.
    #[test]
    fn a_key_taken_over_stays_taken() {
        let (running, account) = (Running::default(), AccountId::new(1, 1).unwrap());
        running.change(Changes { new: vec![hold(1, 7, 30)], gone: Vec::new() });
        running.change(Changes { new: vec![hold(2, 8, 40)], gone: vec![B256::repeat_byte(1)] });
        assert_eq!(running.use_of(account, B256::ZERO), Some(B256::repeat_byte(8)));
        assert_eq!(running.held(account), Usdc::from_micros(40));
        assert_eq!(running.held_before(6), [B256::repeat_byte(2)]);
        running.change(Changes { new: Vec::new(), gone: vec![B256::repeat_byte(2)] });
        assert_eq!(running.use_of(account, B256::ZERO), None);
        assert_eq!(running.held_by_account(), HashMap::new());
    }
}
