//! Holds, charges and releases: what a group does to jobs.

use std::sync::Arc;

use alloy::primitives::B256;
use compute_futures_protocol::{Receipt, SignedReceipt};

use super::Group;
use crate::ledger::holds::Hold;
use crate::ledger::receipts::{Issued, Used};
use crate::ledger::types::{Billing, ChargeFacts, Charged, HoldOutcome, HoldRequest, StoredAnswer};
use crate::ledger::{LedgerError, now_ms};

impl Group<'_> {
    pub(super) fn hold(
        &mut self,
        request: &HoldRequest,
        authorization: &str,
        hash: B256,
    ) -> Result<HoldOutcome, LedgerError> {
        if let Some(used) = self.uses.get(&(request.account, request.key)) {
            return match &used.job {
                _ if used.request_hash != request.request_hash => Ok(HoldOutcome::KeyReused),
                None => Ok(HoldOutcome::InProgress),
                Some(job) => match self.issued.get(job).and_then(|issued| issued.answer.clone()) {
                    Some(answer) => Ok(HoldOutcome::Replay(answer)),
                    None => Err(LedgerError::AnswerExpired(*job)),
                },
            };
        }
        let account = self.accounts.get_mut(&request.account).ok_or(LedgerError::UnknownAccount(request.account))?;
        account.require_active()?;
        self.context.require_settlement_keeps_up()?;
        if let Some(room) = &mut self.room {
            room.take(account, self.context)?;
        }
        if self.holds.contains_key(&request.job_id) {
            return Err(LedgerError::DuplicateJob(request.job_id));
        }
        let reserved = account.hold(request, self.in_memory)?;
        let discount_bps = account.discount_bps;
        if reserved.raises_ceiling
            && let Some(signed) = &request.spend_ceiling
        {
            self.new_ceilings.push((request.account, signed.ceiling, signed.signature.clone()));
            self.touched_accounts.insert(request.account);
        }
        self.uses.insert(
            (request.account, request.key),
            Used { account: request.account, key: request.key, request_hash: request.request_hash, job: None },
        );
        let hold = Arc::new(Hold {
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
            signed: self.in_memory.then(|| request.authorization.clone()),
            held_at_ms: now_ms(),
            in_memory: self.in_memory,
        });
        self.add_hold(hold);
        Ok(HoldOutcome::Held { hold: reserved.hold, discount_bps })
    }

    /// Charges a job, or returns what it was charged before.
    pub(super) fn charge(
        &mut self,
        facts: &ChargeFacts,
        render: impl FnOnce(&Billing) -> StoredAnswer,
    ) -> Result<Charged, LedgerError> {
        if let Some(issued) = self.issued.get(&facts.job_id) {
            return self.charged_before(issued);
        }
        let hold = self.holds.get(&facts.job_id).cloned().ok_or(LedgerError::UnknownJob(facts.job_id))?;
        let authorization = hold.signed()?;
        let account = self.accounts.get_mut(&hold.account).ok_or(LedgerError::UnknownAccount(hold.account))?;
        let batch = self.batch.as_mut().ok_or_else(|| LedgerError::Corrupt("a charge without an open batch".into()))?;
        let priced = account.charge(facts.list_amount, &hold, batch.number)?;
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
        let signed = SignedReceipt::sign(receipt.clone(), authorization, &identity.domain, &identity.signer);
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
        self.remove_hold(&hold);
        self.new_receipts.push(billing.receipt.clone());
        self.issued.insert(facts.job_id, issued);
        Ok(Charged {
            receipt: billing.receipt,
            charged: billing.charged,
            balance_remaining: billing.balance_remaining,
            answer,
        })
    }

    pub(super) fn charged_before(&self, issued: &Issued) -> Result<Charged, LedgerError> {
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
    pub(super) fn release(&mut self, job: B256) -> Result<(), LedgerError> {
        let Some(hold) = self.holds.get(&job).cloned() else {
            return Ok(());
        };
        let account = self.accounts.get_mut(&hold.account).ok_or(LedgerError::UnknownAccount(hold.account))?;
        account.release(&hold)?;
        self.uses.remove(&(hold.account, hold.key));
        self.remove_hold(&hold);
        Ok(())
    }

    /// Writes a hold down that only memory knows: from now on something outlives the process that hangs on it.
    pub(super) fn keep(&mut self, job: B256) -> Result<(), LedgerError> {
        let hold = self.holds.get(&job).cloned().ok_or(LedgerError::UnknownJob(job))?;
        if hold.in_memory {
            let account = self.accounts.get_mut(&hold.account).ok_or(LedgerError::UnknownAccount(hold.account))?;
            account.keep(&hold)?;
            self.running.gone.push(job);
            self.add_hold(Arc::new(Hold { in_memory: false, ..(*hold).clone() }));
        }
        Ok(())
    }

    fn add_hold(&mut self, hold: Arc<Hold>) {
        if hold.in_memory {
            self.running.new.push(Arc::clone(&hold));
        } else {
            self.new_holds.push(hold.job_id);
            self.touched_accounts.insert(hold.account);
        }
        self.holds.insert(hold.job_id, hold);
    }

    fn remove_hold(&mut self, hold: &Hold) {
        self.holds.remove(&hold.job_id);
        if hold.in_memory {
            self.running.gone.push(hold.job_id);
        } else {
            self.gone_holds.push(hold.job_id);
            self.touched_accounts.insert(hold.account);
        }
    }
}
