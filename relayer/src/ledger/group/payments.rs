//! Payments and what is attached to them: what a group does to payments.

use alloy::primitives::B256;

use super::Group;
use crate::ledger::command::Settled;
use crate::ledger::payments::{Payment, State};
use crate::ledger::types::{Billing, ChargeFacts, NewPayment, PaymentOutcome, StoredAnswer};
use crate::ledger::{LedgerError, now_ms};

impl Group<'_> {
    pub(super) fn begin_payment(&mut self, new: &NewPayment) -> Result<PaymentOutcome, LedgerError> {
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

    pub(super) fn payment_ready(
        &mut self,
        id: B256,
        answer: &StoredAnswer,
        charge: Option<&ChargeFacts>,
    ) -> Result<(), LedgerError> {
        let payment = self.payments.get_mut(&id).ok_or(LedgerError::UnknownPayment(id))?;
        if payment.state != State::Working {
            return Err(LedgerError::PaymentState { id, state: payment.state.name() });
        }
        if let Some(facts) = charge {
            self.keep(facts.job_id)?;
        }
        let payment = self.payments.get_mut(&id).ok_or(LedgerError::UnknownPayment(id))?;
        payment.state = State::Ready;
        // Whoever did the work settles it, whoever took the payment.
        payment.lease = self.context.lease;
        payment.answer = Some(answer.clone());
        payment.charge = charge.cloned();
        payment.ready_ms = Some(now_ms());
        self.touched_payments.insert(id);
        Ok(())
    }

    pub(super) fn payment_settled(
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

    pub(super) fn payment_failed(
        &mut self,
        id: B256,
        request_hash: Option<B256>,
        reason: &str,
    ) -> Result<(), LedgerError> {
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
}
