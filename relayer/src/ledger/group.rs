//! One transaction for a group of commands: load what they touch, decide in memory, write what changed.
//!
//! A command that is refused changes nothing and fails alone. Rows are locked in one order everywhere (payments, holds,
//! accounts by id, the open batch), so that two relayers never wait for each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::primitives::B256;
use compute_futures_protocol::{AccountId, Receipt, SignedReceipt, Usdc};

use super::account::{self, Account};
use super::command::{Command, Reply, Settled};
use super::holds::{self, Hold};
use super::payments::{self, Payment, State};
use super::receipts::{self, Issued, Used};
use super::room::Room;
use super::sql::{Columns, Session, from_json};
use super::types::{Billing, ChargeFacts, Charged, HoldOutcome, HoldRequest, NewPayment, PaymentOutcome, StoredAnswer};
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
    holds: HashMap<B256, Hold>,
    accounts: BTreeMap<AccountId, Account>,
    uses: HashMap<(AccountId, B256), Used>,
    /// Receipts by job: those found, and those issued by this group.
    issued: HashMap<B256, Issued>,
    batch: Option<Batch>,
    room: Option<Room>,
    // What to write.
    new_holds: Vec<Hold>,
    gone_holds: Vec<B256>,
    new_receipts: Vec<Issued>,
    new_ceilings: Vec<(AccountId, Usdc, bytes::Bytes)>,
    touched_accounts: BTreeSet<AccountId>,
    touched_payments: BTreeSet<B256>,
    /// Payments of which nobody knew before this group.
    unknown_payments: BTreeSet<B256>,
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
pub(crate) async fn run(
    session: &mut impl Session,
    context: &Context,
    commands: &[&Command],
) -> Result<Vec<Answer>, LedgerError> {
    let mut group = Group::load(session, context, commands).await?;
    let answers = commands.iter().map(|command| group.apply(command)).collect();
    group.store(session).await?;
    Ok(answers)
}

impl<'a> Group<'a> {
    async fn load(
        session: &mut impl Session,
        context: &'a Context,
        commands: &[&Command],
    ) -> Result<Self, LedgerError> {
        let payment_ids: BTreeSet<B256> = commands.iter().filter_map(|command| command.payment()).collect();
        let payments: HashMap<B256, Payment> = payments::lock(session, &sorted(payment_ids))
            .await?
            .into_iter()
            .map(|payment| (payment.new.id, payment))
            .collect();

        let mut jobs: BTreeSet<B256> = commands.iter().filter_map(|command| command.job()).collect();
        jobs.extend(payments.values().filter_map(|payment| payment.charge.as_ref().map(|charge| charge.job_id)));
        let jobs = sorted(jobs);
        let holds: HashMap<B256, Hold> =
            holds::lock(session, &jobs).await?.into_iter().map(|hold| (hold.job_id, hold)).collect();

        let missing: Vec<B256> = jobs.iter().copied().filter(|job| !holds.contains_key(job)).collect();
        let issued: HashMap<B256, Issued> = receipts::of_jobs(session, &missing)
            .await?
            .into_iter()
            .map(|issued| (issued.receipt.job_id, issued))
            .collect();

        let mut ids: BTreeSet<AccountId> = holds.values().map(|hold| hold.account).collect();
        ids.extend(issued.values().map(|issued| issued.receipt.account_id));
        ids.extend(commands.iter().filter_map(|command| command.account()));
        let accounts =
            account::lock(session, &sorted(ids)).await?.into_iter().map(|account| (account.id, account)).collect();

        // After the accounts are locked nobody else can use a key of theirs.
        let keys: BTreeSet<B256> = commands.iter().filter_map(|command| command.key()).collect();
        let uses = receipts::uses_of(session, &sorted(keys))
            .await?
            .into_iter()
            .map(|used| ((used.account, used.key), used))
            .collect();

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
        })
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

    fn hold(&mut self, request: &HoldRequest, authorization: &str, hash: B256) -> Result<HoldOutcome, LedgerError> {
        if let Some(used) = self.uses.get(&(request.account, request.key)) {
            return match &used.job {
                _ if used.request_hash != request.request_hash => Ok(HoldOutcome::KeyReused),
                None => Ok(HoldOutcome::InProgress),
                Some((_, Some(answer))) => Ok(HoldOutcome::Replay(answer.clone())),
                Some((job, None)) => Err(LedgerError::AnswerExpired(*job)),
            };
        }
        let account = self.accounts.get_mut(&request.account).ok_or(LedgerError::UnknownAccount(request.account))?;
        account.require_active()?;
        self.context.require_settlement_keeps_up()?;
        if let Some(room) = &mut self.room {
            room.take(account, self.context)?;
        }
        let reserved = account.hold(request)?;
        let discount_bps = account.discount_bps;
        if reserved.raises_ceiling
            && let Some(signed) = &request.spend_ceiling
        {
            self.new_ceilings.push((request.account, signed.ceiling, signed.signature.clone()));
        }
        self.touched_accounts.insert(request.account);
        self.uses.insert(
            (request.account, request.key),
            Used { account: request.account, key: request.key, request_hash: request.request_hash, job: None },
        );
        self.new_holds.push(Hold {
            job_id: request.job_id,
            account: request.account,
            key: request.key,
            request_hash: request.request_hash,
            amount: reserved.hold,
            max_list: request.max_list,
            discount_bps,
            lease: self.context.lease,
            kind: request.kind.clone(),
            model: request.model.clone(),
            authorization_hash: hash,
            authorization: authorization.to_owned(),
            held_at_ms: now_ms(),
        });
        Ok(HoldOutcome::Held { hold: reserved.hold, discount_bps })
    }

    /// Charges a job, or returns what it was charged before.
    fn charge(
        &mut self,
        facts: &ChargeFacts,
        render: impl FnOnce(&Billing) -> StoredAnswer,
    ) -> Result<Charged, LedgerError> {
        if let Some(issued) = self.issued.get(&facts.job_id) {
            return self.charged_before(issued);
        }
        let hold = self.holds.get(&facts.job_id).ok_or(LedgerError::UnknownJob(facts.job_id))?;
        let account = self.accounts.get_mut(&hold.account).ok_or(LedgerError::UnknownAccount(hold.account))?;
        let batch = self.batch.as_mut().ok_or_else(|| LedgerError::Corrupt("a charge without an open batch".into()))?;
        let priced = account.charge(facts.list_amount, hold, batch.number)?;
        let receipt = Receipt {
            account_id: hold.account,
            batch_number: batch.number,
            sequence: priced.sequence,
            job_id: hold.job_id,
            authorization_hash: hold.authorization_hash,
            request_hash: hold.request_hash,
            output_hash: facts.output_hash,
            list_amount: facts.list_amount,
            discount_bps: priced.discount_bps,
            charged: priced.charged,
            issued_at: now_ms() / 1000,
        };
        let identity = &self.context.identity;
        let signed =
            SignedReceipt::sign(receipt.clone(), from_json(&hold.authorization)?, &identity.domain, &identity.signer);
        let billing = Billing {
            receipt: signed,
            charged: priced.charged,
            list_amount: facts.list_amount,
            discount_bps: priced.discount_bps,
            balance_remaining: account.balance(),
        };
        let answer = render(&billing);
        let issued = Issued {
            receipt,
            signature: billing.receipt.signature,
            key: hold.key,
            remainder: priced.remainder,
            kind: hold.kind.clone(),
            model: facts.model.clone().unwrap_or_else(|| hold.model.clone()),
            authorization: hold.authorization.clone(),
            usage: facts.usage.to_string(),
            answer: Some(answer.clone()),
        };
        batch.added_receipts += 1;
        batch.added_rows += u64::from(priced.opens_row);
        batch.added_charged += priced.charged.micros();
        self.touched_accounts.insert(hold.account);
        self.gone_holds.push(facts.job_id);
        self.holds.remove(&facts.job_id);
        self.new_receipts.push(issued.clone());
        self.issued.insert(facts.job_id, issued);
        Ok(Charged {
            receipt: billing.receipt,
            charged: billing.charged,
            balance_remaining: billing.balance_remaining,
            answer,
        })
    }

    fn charged_before(&self, issued: &Issued) -> Result<Charged, LedgerError> {
        let job = issued.receipt.job_id;
        let account = self
            .accounts
            .get(&issued.receipt.account_id)
            .ok_or(LedgerError::UnknownAccount(issued.receipt.account_id))?;
        Ok(Charged {
            receipt: issued.signed(&self.context.identity.domain)?,
            charged: issued.receipt.charged,
            balance_remaining: account.balance(),
            answer: issued.answer.clone().ok_or(LedgerError::AnswerExpired(job))?,
        })
    }

    /// Releases a hold. A job that was charged or released before stays as it is.
    fn release(&mut self, job: B256) -> Result<(), LedgerError> {
        let Some(hold) = self.holds.get(&job) else {
            return Ok(());
        };
        let account = self.accounts.get_mut(&hold.account).ok_or(LedgerError::UnknownAccount(hold.account))?;
        account.release(hold.amount)?;
        self.touched_accounts.insert(hold.account);
        self.uses.remove(&(hold.account, hold.key));
        self.holds.remove(&job);
        self.gone_holds.push(job);
        Ok(())
    }

    fn begin_payment(&mut self, new: &NewPayment) -> Result<PaymentOutcome, LedgerError> {
        if let Some(payment) = self.payments.get(&new.id) {
            if payment.new.request_hash != new.request_hash && payment.state != State::Failed {
                return Ok(PaymentOutcome::KeyReused);
            }
            match payment.state {
                State::Working => return Ok(PaymentOutcome::InProgress),
                State::Ready => return Ok(PaymentOutcome::Unresolved(Box::new(payment.unresolved()?))),
                State::Settled => {
                    let answer = payment.answer.clone().ok_or(LedgerError::AnswerExpired(new.id))?;
                    return Ok(PaymentOutcome::Replay {
                        answer,
                        transaction: payment.transaction.clone().unwrap_or_default(),
                    });
                }
                // Nothing was served and nothing was taken: it may be tried again.
                State::Failed => {}
            }
        } else {
            self.unknown_payments.insert(new.id);
        }
        self.payments.insert(
            new.id,
            Payment {
                new: new.clone(),
                state: State::Working,
                lease: self.context.lease,
                charge: None,
                answer: None,
                transaction: None,
                reason: None,
                created_ms: now_ms(),
                ready_ms: None,
            },
        );
        self.touched_payments.insert(new.id);
        Ok(PaymentOutcome::New)
    }

    fn payment_ready(
        &mut self,
        id: B256,
        answer: &StoredAnswer,
        charge: Option<&ChargeFacts>,
    ) -> Result<(), LedgerError> {
        if let Some(facts) = charge
            && !self.holds.contains_key(&facts.job_id)
        {
            return Err(LedgerError::UnknownJob(facts.job_id));
        }
        let payment = self.payments.get_mut(&id).ok_or(LedgerError::UnknownPayment(id))?;
        if payment.state != State::Working {
            return Err(LedgerError::PaymentState { id, state: payment.state.name() });
        }
        payment.state = State::Ready;
        // Whoever did the work settles it, whoever took the payment.
        payment.lease = self.context.lease;
        payment.answer = Some(answer.clone());
        payment.charge = charge.cloned();
        payment.ready_ms = Some(now_ms());
        self.touched_payments.insert(id);
        Ok(())
    }

    fn payment_settled(
        &mut self,
        id: B256,
        transaction: &str,
        render: impl FnOnce(&StoredAnswer, Option<&Billing>) -> StoredAnswer,
    ) -> Result<Settled, LedgerError> {
        let payment = self.payments.get(&id).ok_or(LedgerError::UnknownPayment(id))?;
        let stored = payment.answer.clone();
        let charge = payment.charge.clone();
        let settled = match payment.state {
            State::Settled => {
                let answer = stored.ok_or(LedgerError::AnswerExpired(id))?;
                let charged = match charge.and_then(|facts| self.issued.get(&facts.job_id)) {
                    Some(issued) => Some(self.charged_before(issued)?),
                    None => None,
                };
                return Ok(Settled { answer, charged });
            }
            State::Ready => {
                let template =
                    stored.ok_or_else(|| LedgerError::Corrupt(format!("payment {id} is ready without an answer")))?;
                match charge {
                    Some(facts) => {
                        let charged = self.charge(&facts, |billing| render(&template, Some(billing)))?;
                        Settled { answer: charged.answer.clone(), charged: Some(charged) }
                    }
                    None => Settled { answer: render(&template, None), charged: None },
                }
            }
            state @ (State::Working | State::Failed) => {
                return Err(LedgerError::PaymentState { id, state: state.name() });
            }
        };
        if let Some(payment) = self.payments.get_mut(&id) {
            payment.state = State::Settled;
            payment.answer = Some(settled.answer.clone());
            payment.transaction = Some(transaction.to_owned());
        }
        self.touched_payments.insert(id);
        Ok(settled)
    }

    fn payment_failed(&mut self, id: B256, request_hash: Option<B256>, reason: &str) -> Result<(), LedgerError> {
        let payment = self.payments.get(&id).ok_or(LedgerError::UnknownPayment(id))?;
        match payment.state {
            State::Failed => return Ok(()),
            // It failed before, and pays for another request now.
            _ if request_hash.is_some_and(|hash| hash != payment.new.request_hash) => return Ok(()),
            State::Settled => {
                return Err(LedgerError::PaymentState { id, state: State::Settled.name() });
            }
            State::Working | State::Ready => {}
        }
        if let Some(facts) = payment.charge.clone() {
            self.release(facts.job_id)?;
        }
        if let Some(payment) = self.payments.get_mut(&id) {
            payment.state = State::Failed;
            payment.reason = Some(reason.chars().take(500).collect());
            payment.answer = None;
            payment.charge = None;
        }
        self.touched_payments.insert(id);
        Ok(())
    }

    async fn store(&self, session: &mut impl Session) -> Result<(), LedgerError> {
        if !self.gone_holds.is_empty() {
            holds::delete(session, &self.gone_holds).await?;
        }
        if !self.new_holds.is_empty() {
            holds::insert(session, &self.new_holds).await?;
        }
        if !self.new_receipts.is_empty() {
            receipts::insert(session, &self.new_receipts).await?;
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
                payments::store(session, payment, !self.unknown_payments.contains(id)).await?;
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
