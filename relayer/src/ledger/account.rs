//! One account: what the chain says and what happened here, and the rules between them. Pure but for loading and storing.

use compute_futures_protocol::{AccountId, Address, Usdc, charge, hold_amount};
use sqlx::AnyConnection;

use super::LedgerError;
use super::dialect::Engine;
use super::holds::Hold;
use super::sql::{Columns, Rows, Session, Source, int, micros};
use super::types::HoldRequest;

/// A row of `accounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) owner: Address,
    pub(crate) delegate: Option<Address>,
    pub(crate) terms_version: u32,
    pub(crate) opened_at: u64,
    /// Deposited, less refunded; as of the newest block followed.
    pub(crate) credit: Usdc,
    /// Part of `credit` that waits for confirmations.
    pub(crate) unconfirmed: Usdc,
    pub(crate) chain_charged: Usdc,
    pub(crate) chain_ceiling: Usdc,
    pub(crate) chain_remainder: u16,
    pub(crate) discount_bps: u16,
    /// Unix seconds; 0 when no refund was requested.
    pub(crate) refundable_at: u64,
    pub(crate) closed: bool,
    /// Reserved by jobs in flight, and written down.
    pub(crate) held: Usdc,
    /// Not a column: the same of jobs that end with this process ([`super::running`]).
    pub(crate) held_in_memory: Usdc,
    /// Σ receipts.
    pub(crate) total_charged: Usdc,
    /// Σ receipts of confirmed batches.
    pub(crate) settled: Usdc,
    pub(crate) written_off: Usdc,
    pub(crate) total_list: Usdc,
    /// Of the discount division, carried from receipt to receipt.
    pub(crate) remainder: u16,
    pub(crate) signed_ceiling: Usdc,
    /// Receipts so far.
    pub(crate) sequence: u64,
    /// Batch and rate of the newest receipt: what shares them shares a row of the batch.
    pub(crate) row_batch: u64,
    pub(crate) row_bps: u16,
    pub(crate) closing: bool,
    /// A reorg gave the id to another owner: the first one's receipts are never posted.
    pub(crate) void: bool,
    pub(crate) frozen: Option<String>,
}

/// What a hold comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) hold: Usdc,
    /// Whether the ceiling signed with the job is now the account's, and its signature must be kept.
    pub(crate) raises_ceiling: bool,
}

/// What a charge comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Priced {
    pub(crate) sequence: u64,
    pub(crate) discount_bps: u16,
    pub(crate) charged: Usdc,
    pub(crate) remainder: u16,
    /// Whether the batch gets a new row for it.
    pub(crate) opens_row: bool,
}

impl Account {
    /// Whether it has a row at its rate in this batch, or holds credit for one.
    pub(super) fn has_row_coming(&self, batch: u64) -> bool {
        (self.row_batch == batch && self.row_bps == self.discount_bps) || !self.held().is_zero()
    }

    /// Charged here and not yet confirmed on chain.
    pub(crate) const fn pending(&self) -> Usdc {
        self.total_charged.saturating_sub(self.settled)
    }

    /// Highest ceiling known: on chain, or signed and not yet relayed.
    pub(crate) fn ceiling(&self) -> Usdc {
        self.chain_ceiling.max(self.signed_ceiling)
    }

    /// Everything that stands against credit and ceiling.
    fn committed(&self) -> u64 {
        self.chain_charged.micros() + self.pending().micros() + self.held().micros()
    }

    /// Reserved by jobs in flight.
    pub(crate) fn held(&self) -> Usdc {
        Usdc::from_micros(self.held.micros().saturating_add(self.held_in_memory.micros()))
    }

    fn spendable_under(&self, limit: Usdc) -> Usdc {
        Usdc::from_micros(limit.micros().saturating_sub(self.committed()))
    }

    /// Spendable now: min(confirmed credit, ceiling) − charged − pending − held (I-2, I-8). Never negative: an account that a
    /// reorg left overdrawn has nothing.
    pub(crate) fn available(&self) -> Usdc {
        self.spendable_under(self.credit.saturating_sub(self.unconfirmed).min(self.ceiling()))
    }

    /// Credit − charged − pending: what the owner would get back if everything were posted now.
    pub(crate) fn balance(&self) -> Usdc {
        Usdc::from_micros(self.credit.micros().saturating_sub(self.chain_charged.micros() + self.pending().micros()))
    }

    /// Whether more was spent than there is: only a reorg or a foreign debit does that.
    pub(crate) fn overdrawn(&self) -> bool {
        self.committed() > self.credit.micros()
    }

    /// What was charged here and never covered on chain: nobody but us charges the account, so it is what the two sums differ
    /// by.
    pub(crate) fn write_off(&mut self) {
        self.written_off = self.settled.saturating_sub(self.chain_charged);
    }

    /// Refuses accounts that take no new jobs.
    pub(crate) fn require_active(&self) -> Result<(), LedgerError> {
        if self.closed {
            Err(LedgerError::AccountClosed(self.id))
        } else if self.refundable_at != 0 || self.closing {
            Err(LedgerError::RefundRequested(self.id))
        } else if let Some(reason) = &self.frozen {
            Err(LedgerError::AccountFrozen { account: self.id, reason: reason.clone() })
        } else {
            Ok(())
        }
    }

    /// Reserves what a job can cost, in memory or not, raising the signed ceiling to the one offered if it takes that. Nothing
    /// changes on a refusal.
    pub(crate) fn hold(&mut self, request: &HoldRequest, in_memory: bool) -> Result<Reserved, LedgerError> {
        self.require_active()?;
        let needed = hold_amount(request.max_list, self.discount_bps);
        if let Some(max_charge) = request.max_charge
            && max_charge < needed
        {
            return Err(LedgerError::MaxChargeTooLow { max_charge, needed });
        }
        let confirmed = self.credit.saturating_sub(self.unconfirmed);
        if self.spendable_under(confirmed) < needed {
            let available = self.spendable_under(confirmed);
            return Err(if self.spendable_under(self.credit) >= needed {
                LedgerError::DepositUnconfirmed { available, needed, unconfirmed: self.unconfirmed }
            } else {
                LedgerError::InsufficientCredit { available, needed }
            });
        }
        let offered = request.spend_ceiling.as_ref().map_or(Usdc::ZERO, |signed| signed.ceiling);
        let ceiling = self.ceiling();
        let raises_ceiling = self.spendable_under(ceiling) < needed && offered > ceiling;
        if self.spendable_under(ceiling.max(offered)) < needed {
            let needed = Usdc::from_micros(self.committed() + needed.micros());
            return Err(LedgerError::CeilingTooLow { ceiling: ceiling.max(offered), needed });
        }
        let held = if in_memory { self.held_in_memory } else { self.held };
        let held = held.checked_add(needed).ok_or_else(|| self.overflow())?;
        if in_memory {
            self.held_in_memory = held;
        } else {
            self.held = held;
        }
        if raises_ceiling {
            self.signed_ceiling = offered;
        }
        Ok(Reserved { hold: needed, raises_ceiling })
    }

    /// Gives a hold back.
    pub(crate) fn release(&mut self, hold: &Hold) -> Result<(), LedgerError> {
        let (id, amount) = (self.id, hold.amount);
        let held = if hold.in_memory { &mut self.held_in_memory } else { &mut self.held };
        *held = held.checked_sub(amount).ok_or_else(|| {
            LedgerError::Corrupt(format!("account {id} holds {held} USDC, less than a job's {amount} USDC"))
        })?;
        Ok(())
    }

    /// What was held in memory will be written down.
    pub(crate) fn keep(&mut self, hold: &Hold) -> Result<(), LedgerError> {
        self.release(hold)?;
        self.held = self.held.checked_add(hold.amount).ok_or_else(|| self.overflow())?;
        Ok(())
    }

    /// Turns a hold into a charge in batch `batch`. The rate is the better of the hold's and today's: a raise counts at once,
    /// and a raise that a reorg took back never costs more than was held.
    pub(crate) fn charge(&mut self, list: Usdc, hold: &Hold, batch: u64) -> Result<Priced, LedgerError> {
        let discount_bps = self.discount_bps.max(hold.discount_bps);
        let (charged, remainder) = charge(list, discount_bps, self.remainder);
        if charged > hold.amount {
            return Err(LedgerError::AboveHold { job_id: hold.job_id, charge: charged, hold: hold.amount });
        }
        let total_charged = self.total_charged.checked_add(charged).ok_or_else(|| self.overflow())?;
        let total_list = self.total_list.checked_add(list).ok_or_else(|| self.overflow())?;
        self.release(hold)?;
        let opens_row = self.row_batch != batch || self.row_bps != discount_bps;
        self.total_charged = total_charged;
        self.total_list = total_list;
        self.remainder = remainder;
        self.sequence += 1;
        self.row_batch = batch;
        self.row_bps = discount_bps;
        Ok(Priced { sequence: self.sequence, discount_bps, charged, remainder, opens_row })
    }

    fn overflow(&self) -> LedgerError {
        LedgerError::Corrupt(format!("account {} went beyond {}", self.id, Usdc::MAX))
    }
}

/// Columns in the order [`read`] takes them.
macro_rules! columns {
    () => {
        "id, owner, delegate, terms_version, opened_at, credit, unconfirmed, chain_charged, chain_ceiling, chain_remainder, \
         discount_bps, refundable_at, closed, held, total_charged, settled, written_off, total_list, remainder, \
         signed_ceiling, sequence, row_batch, row_bps, closing, void, frozen"
    };
}

/// One account by id.
pub(crate) const SELECT_ONE: &str = concat!("SELECT ", columns!(), " FROM accounts WHERE id = $1");
/// The accounts of an owner.
pub(crate) const SELECT_OF_OWNER: &str = concat!("SELECT ", columns!(), " FROM accounts WHERE owner = $1 ORDER BY id");

static LOAD: Rows = Rows::list(concat!("SELECT ", columns!(), " FROM accounts WHERE id IN "), "");
static LOCK: Rows =
    Rows::list(concat!("SELECT ", columns!(), " FROM accounts WHERE id IN "), " ORDER BY id FOR UPDATE");
static STORE: Rows = Rows::values(
    "UPDATE accounts SET held = v.column2, total_charged = v.column3, total_list = v.column4, remainder = v.column5, \
     signed_ceiling = v.column6, sequence = v.column7, row_batch = v.column8, row_bps = v.column9 FROM (VALUES ",
    9,
    ") AS v WHERE accounts.id = v.column1",
);

/// Reads one row.
pub(crate) fn read<'r>(row: impl Into<Source<'r>>) -> Result<Account, LedgerError> {
    let mut columns = Columns::of(row);
    Ok(Account {
        id: columns.account()?,
        owner: columns.address()?,
        delegate: columns.optional_address()?,
        terms_version: u32::try_from(columns.int()?).unwrap_or(u32::MAX),
        opened_at: columns.int()?,
        credit: columns.usdc()?,
        unconfirmed: columns.usdc()?,
        chain_charged: columns.usdc()?,
        chain_ceiling: columns.usdc()?,
        chain_remainder: columns.small()?,
        discount_bps: columns.small()?,
        refundable_at: columns.int()?,
        closed: columns.flag()?,
        held: columns.usdc()?,
        held_in_memory: Usdc::ZERO,
        total_charged: columns.usdc()?,
        settled: columns.usdc()?,
        written_off: columns.usdc()?,
        total_list: columns.usdc()?,
        remainder: columns.small()?,
        signed_ceiling: columns.usdc()?,
        sequence: columns.int()?,
        row_batch: columns.int()?,
        row_bps: columns.small()?,
        closing: columns.flag()?,
        void: columns.flag()?,
        frozen: columns.optional_text()?,
    })
}

/// Loads accounts and locks them until the transaction ends. `ids` must be sorted: every transaction locks in that order, so
/// that two never wait for each other.
pub(crate) async fn lock(session: &mut impl Session, ids: &[AccountId]) -> Result<Vec<Account>, LedgerError> {
    let statement = match session.engine() {
        Engine::Sqlite => &LOAD,
        Engine::Postgres => &LOCK,
    };
    let rows = statement.fetch(session, ids, |id| [id.get().into()]).await?;
    // A padded list repeats ids, but a row matches once.
    rows.iter().map(read).collect()
}

/// Stores what holds and charges change.
pub(crate) async fn store(session: &mut impl Session, accounts: &[&Account]) -> Result<(), LedgerError> {
    STORE
        .update(session, accounts, |account| {
            [
                account.id.get().into(),
                account.held.into(),
                account.total_charged.into(),
                account.total_list.into(),
                account.remainder.into(),
                account.signed_ceiling.into(),
                account.sequence.into(),
                account.row_batch.into(),
                account.row_bps.into(),
            ]
        })
        .await?;
    Ok(())
}

/// Stores what the chain changes; creates the account when it is new. The inserted row names `settled` as `total_charged` too,
/// because both databases check the row they would insert even when it exists already.
pub(crate) async fn store_mirror(connection: &mut AnyConnection, account: &Account) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO accounts (id, owner, delegate, terms_version, opened_at, credit, unconfirmed, chain_charged, \
         chain_ceiling, chain_remainder, discount_bps, refundable_at, closed, settled, written_off, closing, void, \
         frozen, held, total_charged, total_list, remainder, signed_ceiling, sequence, row_batch, row_bps) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0, $14, 0, 0, 0, 0, 0, 0) \
         ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, delegate = excluded.delegate, \
         terms_version = excluded.terms_version, opened_at = excluded.opened_at, credit = excluded.credit, \
         unconfirmed = excluded.unconfirmed, chain_charged = excluded.chain_charged, \
         chain_ceiling = excluded.chain_ceiling, chain_remainder = excluded.chain_remainder, \
         discount_bps = excluded.discount_bps, refundable_at = excluded.refundable_at, closed = excluded.closed, \
         settled = excluded.settled, written_off = excluded.written_off, closing = excluded.closing, \
         void = excluded.void, frozen = excluded.frozen",
    )
    .bind(int(account.id.get()))
    .bind(account.owner.to_vec())
    .bind(account.delegate.map(|delegate| delegate.to_vec()))
    .bind(i64::from(account.terms_version))
    .bind(int(account.opened_at))
    .bind(micros(account.credit))
    .bind(micros(account.unconfirmed))
    .bind(micros(account.chain_charged))
    .bind(micros(account.chain_ceiling))
    .bind(i64::from(account.chain_remainder))
    .bind(i64::from(account.discount_bps))
    .bind(int(account.refundable_at))
    .bind(i64::from(account.closed))
    .bind(micros(account.settled))
    .bind(micros(account.written_off))
    .bind(i64::from(account.closing))
    .bind(i64::from(account.void))
    .bind(account.frozen.clone())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use compute_futures_protocol::{Authorization, B256, Bytes, JobAuthorization};
    use proptest::prelude::*;

    use super::*;
    use crate::follow::project_unopened;
    use crate::ledger::types::SignedCeiling;

    fn account(credit: u64, ceiling: u64, bps: u16) -> Account {
        Account {
            credit: Usdc::from_micros(credit),
            chain_ceiling: Usdc::from_micros(ceiling),
            discount_bps: bps,
            ..project_unopened(AccountId::new(1, 1).unwrap())
        }
    }

    fn request(list: u64, ceiling: Option<u64>) -> HoldRequest {
        let id = AccountId::new(1, 1).unwrap();
        HoldRequest {
            account: id,
            job_id: B256::ZERO,
            key: B256::ZERO,
            request_hash: B256::ZERO,
            max_list: Usdc::from_micros(list),
            max_charge: None,
            authorization: Authorization::ComputeFutures {
                authorization: JobAuthorization {
                    account_id: id,
                    request_hash: B256::ZERO,
                    nonce: B256::ZERO,
                    max_charge: Usdc::MAX,
                    valid_until: 0,
                },
                signature: Bytes::new(),
            },
            spend_ceiling: ceiling
                .map(|ceiling| SignedCeiling { ceiling: Usdc::from_micros(ceiling), signature: bytes::Bytes::new() }),
            kind: String::new(),
            model: String::new(),
        }
    }

    fn hold(amount: Usdc, bps: u16, in_memory: bool) -> Hold {
        Hold {
            job_id: B256::ZERO,
            account: AccountId::new(1, 1).unwrap(),
            key: B256::ZERO,
            request_hash: B256::ZERO,
            amount,
            max_list: Usdc::ZERO,
            discount_bps: bps,
            lease: 0,
            kind: String::new(),
            model: String::new(),
            authorization_hash: B256::ZERO,
            authorization: String::new(),
            held_at_ms: 0,
            signed: None,
            in_memory,
        }
    }

    #[derive(Debug, Clone, Copy)]
    struct Job {
        list: u64,
        percent: u64,
        release: bool,
        in_memory: bool,
        /// Written down while it ran.
        kept: bool,
    }

    fn job() -> impl Strategy<Value = Job> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (0..300_000_u64, 0..=100_u64, flags).prop_map(|(list, percent, (release, in_memory, kept))| Job {
            list,
            percent,
            release,
            in_memory,
            kept,
        })
    }

    #[test]
    fn a_refusal_changes_nothing() {
        let mut account = account(1_000, 100, 0);
        let before = account.clone();
        assert!(account.hold(&request(2_000, Some(5_000)), true).is_err());
        assert!(account.hold(&request(500, Some(400)), false).is_err());
        assert_eq!(account, before);
    }

    #[test]
    fn a_ceiling_is_taken_only_when_it_is_needed() {
        let mut account = account(1_000, 100, 0);
        assert!(!account.hold(&request(50, Some(900)), true).unwrap().raises_ceiling);
        assert_eq!(account.ceiling(), Usdc::from_micros(100));
        assert!(account.hold(&request(100, Some(900)), false).unwrap().raises_ceiling);
        assert_eq!(account.ceiling(), Usdc::from_micros(900));
    }

    #[test]
    fn the_better_of_two_rates_counts() {
        let mut account = account(1_000_000, Usdc::MAX.micros(), 500);
        account.held = Usdc::from_micros(200_000);
        let held_at_ten = hold(Usdc::from_micros(90_000), 1_000, false);
        let priced = account.charge(Usdc::from_micros(100_000), &held_at_ten, 1).unwrap();
        assert_eq!((priced.charged, priced.discount_bps), (Usdc::from_micros(90_000), 1_000));
        account.discount_bps = 1_500;
        let held_at_five = hold(Usdc::from_micros(95_000), 500, false);
        let priced = account.charge(Usdc::from_micros(100_000), &held_at_five, 1).unwrap();
        assert_eq!((priced.charged, priced.discount_bps), (Usdc::from_micros(85_000), 1_500));
    }

    proptest! {
        /// I-2 and I-8: whatever is held and charged, Σ stays under credit and ceiling, and a charge of at most the list
        /// amount that was held for always fits under its hold.
        #[test]
        fn spending_stays_under_credit_and_ceiling(
            credit in 0..1_000_000_u64, ceiling in 0..1_000_000_u64, bps in 0..10_000_u16,
            jobs in proptest::collection::vec(job(), 0..40),
        ) {
            let mut account = account(credit, ceiling, bps);
            for Job { list, percent, release, in_memory, kept } in jobs {
                let Ok(reserved) = account.hold(&request(list, None), in_memory) else { continue };
                prop_assert!(account.committed() <= credit.min(ceiling));
                let mut held = hold(reserved.hold, bps, in_memory);
                if in_memory && kept {
                    account.keep(&held).unwrap();
                    held.in_memory = false;
                }
                prop_assert_eq!((account.held(), account.held_in_memory.is_zero()), (reserved.hold, !held.in_memory || reserved.hold.is_zero()));
                if release {
                    account.release(&held).unwrap();
                } else {
                    let priced = account.charge(Usdc::from_micros(list * percent / 100), &held, 1).unwrap();
                    prop_assert!(priced.charged <= reserved.hold);
                }
                prop_assert!(account.committed() <= credit.min(ceiling));
                prop_assert_eq!(account.held(), Usdc::ZERO);
            }
        }
    }
}
