//! One run of the server: who pays, from what, and how much it may still spend.

mod wallet;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use compute_futures_protocol::{AccountId, Address, JobAuthorization, SignedReceipt, Usdc, canonical_json_hash};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex as Turns, OnceCell};

use crate::args::McpArgs;
use crate::client::{Answer, Budget, ClientError, CreditPayer, Hold, Limits, Relayer, Request, receipt_of};
use crate::commands;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// How many jobs on their way are remembered.
const PENDING: usize = 1_000;

/// What all tools share.
pub(super) struct Session {
    pub(super) context: Context,
    pub(super) relayer: Relayer,
    /// What may be deposited from the wallet.
    pub(super) deposits: Arc<Budget>,
    pub(super) budget: Arc<Budget>,
    /// Who may be let in to the wallet's escrows, beside the wallet itself.
    agents: Vec<Address>,
    /// Who meters sessions on the escrows that it creates; each agent's choice when nobody is named.
    pub(super) meter: Option<Address>,
    /// How many transactions the wallet may still try. Whoever holds it posts: each takes the nonce that is next on chain.
    transactions: Turns<u32>,
    limits: Limits,
    account: Mutex<Option<AccountId>>,
    payer: OnceCell<CreditPayer>,
    /// Jobs that are charged when they end, by their id.
    pending: Mutex<HashMap<String, (JobAuthorization, Hold)>>,
}

impl Session {
    /// Resolves what the command line names.
    ///
    /// # Errors
    /// When there is no such account or no relayer, or an agent or the meter is on another chain.
    pub(super) async fn new(context: Context, args: McpArgs) -> Outcome<Self> {
        let account = match &args.account {
            Some(text) => Some(context.account(text).await?),
            None => None,
        };
        Ok(Self {
            relayer: context.relayer()?,
            deposits: Budget::new(args.deposit_limit),
            budget: Budget::new(args.limit),
            meter: args.meter.map(|meter| context.named(meter)).transpose()?,
            agents: args.agents.into_iter().map(|agent| context.named(agent)).collect::<Outcome<_>>()?,
            transactions: Turns::new(args.transactions),
            limits: Limits { max_charge: None, raise_ceiling_to: args.raise_ceiling },
            account: Mutex::new(account),
            payer: OnceCell::new(),
            pending: Mutex::default(),
            context,
        })
    }

    /// The account that pays.
    ///
    /// # Errors
    /// When there is none yet.
    pub(super) fn account(&self) -> Outcome<AccountId> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).ok_or_else(|| {
            let hint = "open one with the `deposit` tool, or start the server with --account CFE-…";
            Failure::new("no_account", "this session has no account to pay from", hint)
        })
    }

    /// The account that a deposit opened, when there was none.
    pub(super) fn opened(&self, account: AccountId) {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(account);
    }

    /// Short name of the account.
    ///
    /// # Errors
    /// When there is none yet.
    pub(super) fn futures_id(&self) -> Outcome<String> {
        Ok(self.account()?.futures_id(self.context.chain()).to_string())
    }

    async fn payer(&self) -> Outcome<&CreditPayer> {
        let account = self.account()?;
        self.payer.get_or_try_init(|| commands::payer(&self.context, account)).await
    }

    /// Sends a request and pays it from credit, within what is left of the session. The receipt is checked before the answer is
    /// believed; a job that is still on its way is charged when it ends.
    ///
    /// # Errors
    /// What was refused, by whom, and what to do.
    pub(super) async fn paid(&self, request: &Request) -> Outcome<Value> {
        let payer = self.payer().await?;
        let terms = payer.terms(Some(&self.relayer.offer(request).await?))?;
        let hold = self.budget.hold(terms.max_list)?;
        let bounded = hold.amount();
        let authorization = payer.authorization(request, bounded);
        let answer = match payer.answer(&self.relayer, request, &terms, &authorization, &self.limits).await {
            Ok((answer, _)) => answer,
            Err(error) => {
                if nothing_charged(&error) {
                    hold.release();
                }
                let clipped = error.code() == "max_charge_too_low" && bounded < terms.max_list;
                let limit = self.budget.limit();
                return Err(
                    if clipped { ClientError::SessionLimit { limit, needed: terms.max_list } } else { error }.into()
                );
            }
        };
        if answer.status == 202 && receipt_of(&answer).is_err() {
            self.remember(&answer, authorization, hold);
            return Ok(self.told(answer.body));
        }
        let charged = payer.check(request, &answer, &authorization)?.signed.receipt.charged;
        hold.settle(charged);
        Ok(self.told(answer.body))
    }

    /// How a job that was on its way is doing. When it has ended, what was set aside for it is settled by its own receipt.
    ///
    /// # Errors
    /// As [`Session::paid`]; also when the job's receipt does not hold.
    pub(super) async fn status(&self, job: &str) -> Outcome<Value> {
        let body = self.paid(&Request::get(format!("/api/v1/compute/status/{job}"))).await?;
        let settled = match body["status"].as_str() {
            Some("failed") => self.settle(job, |_, hold| {
                hold.release();
                Ok(())
            }),
            Some("completed") if body["receipt"].is_object() => {
                let payer = self.payer().await?.clone();
                self.settle(job, |authorization, hold| {
                    let signed = SignedReceipt::deserialize(&body["receipt"])
                        .map_err(|error| ClientError::BadReceipt(error.to_string()))?;
                    let output = canonical_json_hash(&body["result"]);
                    let signed = payer.credit().check_receipt(signed, &authorization, output)?;
                    hold.settle(signed.receipt.charged);
                    Ok(())
                })
            }
            _ => Ok(()),
        };
        settled?;
        Ok(self.told(body))
    }

    fn settle(
        &self,
        job: &str,
        end: impl FnOnce(JobAuthorization, Hold) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let found = self.jobs().remove(job);
        found.map_or(Ok(()), |(authorization, hold)| end(authorization, hold))
    }

    fn remember(&self, answer: &Answer, authorization: JobAuthorization, hold: Hold) {
        let mut jobs = self.jobs();
        // A hold that is not remembered counts as spent.
        if let Some(job) = answer.body["jobId"].as_str()
            && jobs.len() < PENDING
        {
            jobs.insert(job.to_owned(), (authorization, hold));
        }
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, (JobAuthorization, Hold)>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer, with what the session has left.
    pub(super) fn told(&self, mut body: Value) -> Value {
        if let Value::Object(fields) = &mut body {
            let usdc = |amount: Usdc| amount.to_string();
            let session = json!({
                "limitUsdc": usdc(self.budget.limit()),
                "spentUsdc": usdc(self.budget.spent()),
                "leftUsdc": usdc(self.budget.left()),
                "depositLeftUsdc": usdc(self.deposits.left()),
            });
            fields.insert("session".into(), session);
        }
        body
    }
}

/// Whether it is certain that the signature was not used.
pub(super) fn nothing_charged(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { may_charge, .. } => !may_charge,
        ClientError::Unreachable { .. } | ClientError::BadAnswer { .. } | ClientError::BadReceipt(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
