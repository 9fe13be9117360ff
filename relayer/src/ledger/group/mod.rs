//! One transaction for a group of commands: load what they touch, decide in memory, write what changed.
//!
//! A command that is refused changes nothing and fails alone. Rows are locked in one order everywhere (payments, holds,
//! accounts by id, the open batch), so that two relayers never wait for each other.

mod jobs;
mod payments;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, SignedReceipt, Usdc};

use super::account::{self, Account};
use super::command::{Command, Reply};
use super::dialect::Engine;
use super::holds::{self, Hold};
use super::payments::{Payment, lock as lock_payments, store as store_payment};
use super::receipts::{self, Issued, Used};
use super::room::Room;
use super::running::Changes;
use super::sql::{Columns, Session};
use super::{Context, LedgerError, now_ms};

type Answer = Result<Reply, LedgerError>;

const RAISE_CEILING: &str = "INSERT INTO ceilings (account, ceiling, signature) VALUES ($1, $2, $3) \
     ON CONFLICT (account) DO UPDATE SET ceiling = excluded.ceiling, signature = excluded.signature";
pub(super) const OPEN_BATCH: &str = "SELECT number, receipts, debit_rows FROM batches WHERE state = 'open'";
const ADD_TO_BATCH: &str = "UPDATE batches SET receipts = receipts + $1, debit_rows = debit_rows + $2, charged = charged + $3, \
     first_receipt_ms = COALESCE(first_receipt_ms, $4) WHERE number = $5 AND state = 'open'";

/// Everything a group touches, as it will be after it.
struct Group<'a> {
    context: &'a Context,
    payments: HashMap<B256, Payment>,
    holds: HashMap<B256, Arc<Hold>>,
    accounts: BTreeMap<AccountId, Account>,
    uses: HashMap<(AccountId, B256), Used>,
    /// Receipts by job: those found, and those issued by this group.
    issued: HashMap<B256, Issued>,
    batch: Option<Batch>,
    room: Option<Room>,
    // What to write.
    new_holds: Vec<B256>,
    gone_holds: Vec<B256>,
    new_receipts: Vec<SignedReceipt>,
    new_ceilings: Vec<(AccountId, Usdc, bytes::Bytes)>,
    touched_accounts: BTreeSet<AccountId>,
    touched_payments: BTreeSet<B256>,
    /// Payments of which nobody knew before this group.
    unknown_payments: BTreeSet<B256>,
    /// Whether new holds stay in memory.
    in_memory: bool,
    /// What becomes of those that do.
    running: Changes,
}

/// What this group adds to the open batch.
#[derive(Debug, Clone, Copy, Default)]
struct Batch {
    number: u64,
    added_receipts: u64,
    added_rows: u64,
    added_charged: u64,
}

/// Runs a group inside the session's transaction. An error means that nothing at all was decided; refusals are in the answers.
/// The changes are the caller's to make, once the transaction is committed.
pub(crate) async fn run(
    session: &mut impl Session,
    context: &Context,
    commands: &[&Command],
) -> Result<(Vec<Answer>, Changes), LedgerError> {
    let mut group = Group::load(session, context, commands).await?;
    let answers = commands.iter().map(|command| group.apply(command)).collect();
    group.store(session).await?;
    Ok((answers, group.running))
}

impl<'a> Group<'a> {
    async fn load(
        session: &mut impl Session,
        context: &'a Context,
        commands: &[&Command],
    ) -> Result<Self, LedgerError> {
        let payment_ids: BTreeSet<B256> = commands.iter().filter_map(|command| command.payment()).collect();
        let payments: HashMap<B256, Payment> = lock_payments(session, &sorted(payment_ids))
            .await?
            .into_iter()
            .map(|payment| (payment.new.id, payment))
            .collect();

        let mut jobs: BTreeSet<B256> = commands.iter().filter_map(|command| command.job()).collect();
        jobs.extend(payments.values().filter_map(|payment| payment.charge.as_ref().map(|charge| charge.job_id)));
        let jobs = sorted(jobs);
        let holds = Self::holds(session, context, commands, &jobs).await?;

        let missing: Vec<B256> = jobs.iter().copied().filter(|job| !holds.contains_key(job)).collect();
        let domain = &context.identity.domain;
        let by_job = |issued: Vec<Issued>| issued.into_iter().map(|issued| (issued.receipt.job_id, issued));
        let mut issued: HashMap<B256, Issued> = by_job(receipts::of_jobs(session, domain, &missing).await?).collect();

        let mut ids: BTreeSet<AccountId> = holds.values().map(|hold| hold.account).collect();
        ids.extend(issued.values().map(|issued| issued.receipt.account_id));
        ids.extend(commands.iter().filter_map(|command| command.account()));
        let mut accounts: BTreeMap<AccountId, Account> =
            account::lock(session, &sorted(ids)).await?.into_iter().map(|account| (account.id, account)).collect();
        for account in accounts.values_mut() {
            account.held_in_memory = context.running.held(account.id);
        }

        // After the accounts are locked nobody else can use a key of theirs.
        let keys: BTreeSet<B256> = commands.iter().filter_map(|command| command.key()).collect();
        let mut uses: HashMap<_, _> = receipts::uses_of(session, &sorted(keys))
            .await?
            .into_iter()
            .map(|used| ((used.account, used.key), used))
            .collect();
        let answered: Vec<B256> = uses.values().filter_map(|used: &Used| used.job).collect();
        issued.extend(by_job(receipts::of_jobs(session, domain, &answered).await?));
        for (account, key) in commands.iter().filter_map(|command| Some((command.account()?, command.key()?))) {
            if let Some(request_hash) = context.running.use_of(account, key) {
                uses.insert((account, key), Used { account, key, request_hash, job: None });
            }
        }

        let charges = !holds.is_empty() && commands.iter().any(|command| command.charges());
        let batch = if charges { Some(Batch::open(session, context).await?) } else { None };

        let holds_credit = commands.iter().any(|command| matches!(command, Command::Hold { .. }));
        let room = if holds_credit { Room::look(session, context).await? } else { None };

        Ok(Self {
            context,
            payments,
            holds,
            accounts,
            uses,
            issued,
            batch,
            room,
            new_holds: Vec::new(),
            gone_holds: Vec::new(),
            new_receipts: Vec::new(),
            new_ceilings: Vec::new(),
            touched_accounts: BTreeSet::new(),
            touched_payments: BTreeSet::new(),
            unknown_payments: BTreeSet::new(),
            // Who counts the rows of a batch (Solana) counts the accounts that hold credit: those need rows of their own.
            in_memory: session.engine() == Engine::Sqlite && context.config.most_rows.is_none(),
            running: Changes::default(),
        })
    }

    /// The holds of these jobs, and whatever holds credit under the id of a new one.
    async fn holds(
        session: &mut impl Session,
        context: &Context,
        commands: &[&Command],
        jobs: &[B256],
    ) -> Result<HashMap<B256, Arc<Hold>>, LedgerError> {
        let new = commands.iter().filter_map(|command| match command {
            Command::Hold { request, .. } => Some(request.job_id),
            _ => None,
        });
        let known: Vec<B256> = jobs.iter().copied().chain(new).collect();
        let mut holds: HashMap<B256, Arc<Hold>> =
            context.running.of_jobs(&known).into_iter().map(|hold| (hold.job_id, hold)).collect();
        let rows: Vec<B256> = jobs.iter().copied().filter(|job| !holds.contains_key(job)).collect();
        holds.extend(holds::lock(session, &rows).await?.into_iter().map(|hold| (hold.job_id, Arc::new(hold))));
        Ok(holds)
    }

    fn apply(&mut self, command: &Command) -> Answer {
        match command {
            Command::Hold { request, authorization, authorization_hash } => {
                self.hold(request, authorization, *authorization_hash).map(Reply::Hold)
            }
            Command::Charge(request) => {
                let charged = self.charge(&request.facts, |billing| (request.render)(billing))?;
                Ok(Reply::Charged(Box::new(charged)))
            }
            Command::Release { job } => self.release(*job).map(|()| Reply::Done),
            Command::Keep { job } => self.keep(*job).map(|()| Reply::Done),
            Command::Sync => Ok(Reply::Done),
            Command::BeginPayment(new) => self.begin_payment(new).map(|outcome| Reply::Payment(Box::new(outcome))),
            Command::PaymentReady { id, answer, charge } => {
                self.payment_ready(*id, answer, charge.as_ref()).map(|()| Reply::Done)
            }
            Command::PaymentSettled { id, transaction, render } => self
                .payment_settled(*id, transaction, |template, billing| render(template, billing))
                .map(|settled| Reply::Settled(Box::new(settled))),
            Command::PaymentFailed { id, request_hash, reason } => {
                self.payment_failed(*id, *request_hash, reason).map(|()| Reply::Done)
            }
        }
    }

    async fn store(&self, session: &mut impl Session) -> Result<(), LedgerError> {
        if !self.gone_holds.is_empty() {
            holds::delete(session, &self.gone_holds).await?;
        }
        let holds: Vec<&Hold> = self.new_holds.iter().filter_map(|job| Some(&**self.holds.get(job)?)).collect();
        if !holds.is_empty() {
            holds::insert(session, &holds).await?;
        }
        let issued = |signed: &'_ SignedReceipt| self.issued.get(&signed.receipt.job_id);
        let receipts: Vec<(&Issued, &SignedReceipt)> =
            self.new_receipts.iter().filter_map(|signed| Some((issued(signed)?, signed))).collect();
        if !receipts.is_empty() {
            receipts::insert(session, &receipts).await?;
        }
        for (account, ceiling, signature) in &self.new_ceilings {
            session
                .execute(RAISE_CEILING, &[account.get().into(), (*ceiling).into(), signature.as_ref().into()])
                .await?;
        }
        let accounts: Vec<&Account> = self.touched_accounts.iter().filter_map(|id| self.accounts.get(id)).collect();
        if !accounts.is_empty() {
            account::store(session, &accounts).await?;
        }
        for id in &self.touched_payments {
            if let Some(payment) = self.payments.get(id) {
                store_payment(session, payment, !self.unknown_payments.contains(id)).await?;
            }
        }
        if let Some(batch) = &self.batch
            && batch.added_receipts > 0
        {
            batch.store(session, self.context).await?;
        }
        Ok(())
    }
}

impl Batch {
    /// The open batch as this process knows it; [`Batch::store`] finds out whether it still is.
    async fn open(session: &mut impl Session, context: &Context) -> Result<Self, LedgerError> {
        if let (number @ 1.., ..) = context.progress.open_batch() {
            return Ok(Self { number, ..Self::default() });
        }
        let rows = session.fetch(OPEN_BATCH, &[]).await?;
        let row = rows.first().ok_or_else(|| LedgerError::Corrupt("there is no open batch".into()))?;
        let mut columns = Columns::of(row);
        let number = columns.int()?;
        context.progress.record(number, columns.int()?, columns.int()?);
        Ok(Self { number, ..Self::default() })
    }

    /// Puts the receipts into the batch, and locks it: nobody closes it before this transaction ends. If somebody closed it
    /// already the whole group is decided again, for the next batch.
    async fn store(&self, session: &mut impl Session, context: &Context) -> Result<(), LedgerError> {
        let values = [
            self.added_receipts.into(),
            self.added_rows.into(),
            self.added_charged.into(),
            now_ms().into(),
            self.number.into(),
        ];
        let stored = session.execute(ADD_TO_BATCH, &values).await?;
        if stored == 1 {
            context.progress.add(self.added_receipts, self.added_rows);
            return Ok(());
        }
        context.progress.record(0, 0, 0);
        Err(LedgerError::Conflict { detail: "the batch was closed".into(), transient: true, unique: false })
    }
}

fn sorted<T: Ord>(set: BTreeSet<T>) -> Vec<T> {
    set.into_iter().collect()
}
