//! [`ChainWriter`] for one key: its own fee payer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{
    AccountId, Address, B256, DepositTerms, Signer, SolanaAddress, SpendCeiling, TransactionId, Usdc, keccak256,
    signer_among,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instruction::{DepositAddress, Exit, check_signature, compute_budget, create_wallet, transfer};
use super::message::{Instruction, compile};
use super::state::operator_count;
use super::{SolanaReader, failure, solana};
use crate::{
    Action, ChainError, ChainReader, ChainWriter, Fees, Lifetime, Progress, SignedTransaction, TransactionOutcome,
};

/// Most compute units a transaction may ask for.
const MOST_UNITS: u64 = 1_400_000;
/// Compute units over the estimate: state may change between estimate and inclusion.
const HEADROOM_PERCENT: u64 = 20;
/// Actions whose instructions are kept between estimate and signature.
const MOST_PLANS: usize = 256;
const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// The text of `TransactionError::AlreadyProcessed`, which every node passes on.
const ALREADY_PROCESSED: &str = "already been processed";
/// How often a transaction is sent again while it is waited for: leaders drop what they have no room for.
const RESEND: Duration = Duration::from_secs(2);

/// Signs transactions with one key and posts them.
pub struct SolanaWriter {
    reader: Arc<SolanaReader>,
    key: Signer,
    sender: SolanaAddress,
    /// The instructions of estimated actions. They name accounts that only the chain knows, and signing asks nobody.
    plans: Mutex<HashMap<B256, Vec<Instruction>>>,
}

impl fmt::Debug for SolanaWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaWriter").field("sender", &self.sender).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Context<T> {
    value: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    slot: u64,
    err: Option<Value>,
    confirmation_status: Option<String>,
}

#[derive(Deserialize)]
struct Landed {
    meta: LandedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LandedMeta {
    fee: u64,
    #[serde(default)]
    compute_units_consumed: Option<u64>,
    #[serde(default)]
    log_messages: Option<Vec<String>>,
}

impl SolanaWriter {
    /// A writer to the deployment that `reader` reads.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a key of another chain.
    pub fn new(reader: Arc<SolanaReader>, key: Signer) -> Result<Self, ChainError> {
        let sender = solana(key.address()).map_err(|_| {
            ChainError::Config("the key is a secp256k1 key; transactions on Solana need a Solana keypair".into())
        })?;
        Ok(Self { reader, key, sender, plans: Mutex::default() })
    }

    async fn own_index(&self) -> Result<u32, ChainError> {
        self.reader.operator_index_of(self.sender()).await?.ok_or_else(|| refused("NotOperator"))
    }

    /// The id the operator's next account gets.
    async fn next_account(&self, operator_index: u32) -> Result<AccountId, ChainError> {
        let operator = self.reader.operator_state(operator_index).await?.ok_or_else(|| refused("UnknownOperator"))?;
        AccountId::new(operator_index, operator.last_sequence + 1).map_err(|_| refused("SequenceExhausted"))
    }

    async fn exit(&self, account: AccountId) -> Result<Exit, ChainError> {
        let found = self.reader.account_state(account).await?.ok_or_else(|| refused("UnknownAccount"))?;
        Ok(Exit { owner: found.owner, rent_payer: found.rent_payer, deposit_address: found.deposit_address })
    }

    fn address_of(&self, terms: &DepositTerms) -> Result<DepositAddress, ChainError> {
        let address = solana(self.reader.deposit_address(terms)?)?;
        Ok(DepositAddress { address, owner: solana(terms.owner)?, terms: *terms })
    }

    /// What an action is as instructions, as the chain stands now.
    async fn plan(&self, action: &Action) -> Result<Vec<Instruction>, ChainError> {
        let (program, me) = (&self.reader.program, self.sender);
        let wallet = |owner| create_wallet(me, owner, program.mint);
        Ok(match action {
            Action::SetTerms { terms } => {
                let index = match self.reader.operator_index_of(self.sender()).await? {
                    Some(index) => index,
                    None => self.reader.state(&program.registry, operator_count).await?.unwrap_or_default() + 1,
                };
                vec![wallet(program.vault_authority), program.set_terms(me, index, terms)]
            }
            Action::PostDebits { batch_number, receipts_root, receipt_count, rows } => {
                let index = self.own_index().await?;
                vec![program.post_debits(me, index, *batch_number, *receipts_root, *receipt_count, rows)?]
            }
            Action::CloseAccount { account } => {
                let exit = self.exit(*account).await?;
                vec![wallet(exit.owner), program.close_account(me, *account, &exit)]
            }
            Action::Refund { account } => {
                let exit = self.exit(*account).await?;
                vec![wallet(exit.owner), program.refund(*account, &exit)]
            }
            Action::WithdrawEarnings { to, amount } => {
                let to = solana(*to)?;
                vec![wallet(to), program.withdraw_earnings(me, self.own_index().await?, to, *amount)]
            }
            Action::Deposit { operator_index, owner, amount, ceiling } => {
                let account = self.next_account(*operator_index).await?;
                vec![program.deposit(me, solana(*owner)?, account, *amount, *ceiling)]
            }
            Action::TopUp { account, amount, ceiling } => vec![program.top_up(me, *account, *amount, *ceiling)],
            Action::Sweep { terms } => {
                let address = self.address_of(terms)?;
                let fed = self.reader.fed_by(&address.address).await?;
                let account = match fed.flatten() {
                    Some(account) => account,
                    None => self.next_account(terms.operator_index).await?,
                };
                let sweep = program.sweep(me, &address, account);
                if fed.is_some() { vec![sweep] } else { vec![program.open_deposit_address(me, &address), sweep] }
            }
            Action::Recover { terms, token } => {
                let (address, mint) = (self.address_of(terms)?, solana(*token)?);
                let recover = program.recover(&address, mint);
                let mut plan = vec![create_wallet(me, address.owner, mint), recover];
                if self.reader.fed_by(&address.address).await?.is_none() {
                    plan.insert(0, program.open_deposit_address(me, &address));
                }
                plan
            }
            Action::RaiseCeiling { account, ceiling } => vec![program.raise_ceiling(me, *account, *ceiling)],
            Action::RaiseCeilingWithSignature { account, ceiling, signature } => {
                self.signed_ceiling(*account, *ceiling, signature).await?
            }
            Action::SetDelegate { account, delegate } => {
                vec![program.set_delegate(me, *account, delegate.map(solana).transpose()?)]
            }
            Action::RequestRefund { account } => vec![program.request_refund(me, *account)],
            Action::Transfer { to, amount } => {
                let to = solana(*to)?;
                vec![wallet(to), transfer(program, me, to, *amount)]
            }
            Action::Approve { .. } | Action::Noop | Action::DepositWithAuthorization { .. } => {
                return Err(ChainError::Rejected("there is no such action on Solana".into()));
            }
        })
    }

    /// The runtime checks a signature of a named key; whose it is, is found out here.
    async fn signed_ceiling(
        &self,
        account: AccountId,
        ceiling: Usdc,
        signature: &[u8],
    ) -> Result<Vec<Instruction>, ChainError> {
        let found = self.reader.account_state(account).await?.ok_or_else(|| refused("UnknownAccount"))?;
        let digest = SpendCeiling { account_id: account, ceiling }.digest(&self.reader.domain());
        let spenders: Vec<Address> = std::iter::once(found.owner).chain(found.delegate).map(Address::Solana).collect();
        let signer = signer_among(digest, signature, &spenders).map_err(|_| refused("InvalidSignature"))?;
        let bytes = signature.try_into().map_err(|_| refused("InvalidSignature"))?;
        let program = &self.reader.program;
        Ok(vec![
            check_signature(solana(signer)?, bytes, digest),
            program.raise_ceiling_with_signature(account, ceiling),
        ])
    }

    fn message(&self, plan: &[Instruction], units: u64, price: u64, blockhash: B256) -> super::message::Message {
        let units = u32::try_from(units.min(MOST_UNITS)).unwrap_or(u32::MAX);
        let instructions: Vec<Instruction> = compute_budget(units, price).into_iter().chain(plan.to_vec()).collect();
        compile(self.sender, &instructions, blockhash)
    }

    async fn status(&self, transaction: TransactionId) -> Result<Option<Status>, ChainError> {
        let params = json!([[transaction], {"searchTransactionHistory": true}]);
        let found: Context<Vec<Option<Status>>> = self.reader.rpc.call("getSignatureStatuses", params).await?;
        Ok(found.value.into_iter().next().flatten().filter(|status| {
            // Not voted for yet: it may still be on a fork that dies.
            status.confirmation_status.as_deref() != Some("processed")
        }))
    }

    async fn landed(&self, transaction: TransactionId) -> Result<Option<LandedMeta>, ChainError> {
        let settings = json!({"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0});
        let found: Option<Landed> = self.reader.rpc.call("getTransaction", json!([transaction, settings])).await?;
        Ok(found.map(|landed| landed.meta))
    }
}

/// A refusal that is known before anything is sent, under the name the contract gives it on EVM chains.
fn refused(name: &str) -> ChainError {
    ChainError::Reverted { name: format!("ComputeFutures_{name}"), detail: String::new() }
}

/// Names an action between estimate and signature.
fn key_of(action: &Action) -> Result<B256, ChainError> {
    serde_json::to_vec(action).map(keccak256).map_err(|error| ChainError::Inconsistent(error.to_string()))
}

#[async_trait]
impl ChainWriter for SolanaWriter {
    fn sender(&self) -> Address {
        self.sender.into()
    }

    async fn progress(&self) -> Result<Progress, ChainError> {
        let params = json!([{"commitment": "finalized"}]);
        Ok(Progress::BlockHeight(self.reader.rpc.call("getBlockHeight", params).await?))
    }

    async fn lifetime(&self, _: Progress) -> Result<Lifetime, ChainError> {
        let (hash, last_valid_block_height) = self.reader.newest_blockhash().await?;
        Ok(Lifetime::Blockhash { hash, last_valid_block_height })
    }

    /// What recent blocks took for writing the vault, which nearly every transaction of ours competes for; nothing is fine.
    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Recent {
            prioritization_fee: u64,
        }
        let params = json!([[self.reader.program.vault]]);
        let mut recent: Vec<u64> =
            match self.reader.rpc.call::<_, Vec<Recent>>("getRecentPrioritizationFees", params).await {
                Ok(recent) => recent.into_iter().map(|recent| recent.prioritization_fee).collect(),
                // Not every node tells.
                Err(crate::transport::RpcFailure::Refused(_)) => Vec::new(),
                Err(failure) => return Err(failure.into()),
            };
        recent.sort_unstable();
        let fee = u128::from(recent.get(recent.len() * 3 / 4).copied().unwrap_or_default());
        Ok(Fees { max_fee: fee, max_priority_fee: fee })
    }

    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        let plan = self.plan(action).await?;
        let transaction = self.message(&plan, MOST_UNITS, 0, B256::ZERO).unsigned()?;
        let units = self.reader.simulate(&transaction).await?.units()?;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert(key_of(action)?, plan);
        Ok(units.saturating_add(units.saturating_mul(HEADROOM_PERCENT).div_ceil(100)).min(MOST_UNITS))
    }

    /// The action must have been estimated by this writer: that is when the accounts it names are looked up.
    fn sign(
        &self,
        action: &Action,
        lifetime: Lifetime,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<SignedTransaction, ChainError> {
        let Lifetime::Blockhash { hash, .. } = lifetime else {
            return Err(ChainError::Config("a transaction on Solana is signed with a blockhash, not a nonce".into()));
        };
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans
            .get(&key_of(action)?)
            .ok_or_else(|| ChainError::Config("the action was not estimated before it is signed".into()))?;
        let price = u64::try_from(fees.max_priority_fee.min(fees.max_fee)).unwrap_or(u64::MAX);
        let (signature, raw) = self.message(plan, gas_limit, price, hash).sign(&self.key)?;
        Ok(SignedTransaction {
            id: TransactionId::Solana(signature),
            raw: raw.into(),
            validity: lifetime.validity(),
            fees,
        })
    }

    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        // It was simulated when it was estimated; what it does now, its status says.
        let settings = json!({"encoding": "base64", "skipPreflight": true});
        let params = json!([STANDARD.encode(&transaction.raw), settings]);
        let error = match self.reader.rpc.call::<_, TransactionId>("sendTransaction", params).await {
            Ok(id) if id == transaction.id => return Ok(()),
            Ok(id) => {
                return Err(ChainError::Inconsistent(format!("{id} in answer to transaction {}", transaction.id)));
            }
            Err(failure) => ChainError::from(failure),
        };
        // A node refuses what it has processed already, also what failed there: it says so, at once, or the status tells.
        if let ChainError::Rejected(reason) = &error
            && (reason.contains(ALREADY_PROCESSED) || self.status(transaction.id).await?.is_some())
        {
            return Ok(());
        }
        Err(error)
    }

    async fn outcome(&self, transaction: TransactionId) -> Result<Option<TransactionOutcome>, ChainError> {
        if transaction.solana().is_none() {
            return Ok(None);
        }
        let Some(status) = self.status(transaction).await? else { return Ok(None) };
        let Some(landed) = self.landed(transaction).await? else { return Ok(None) };
        let Some(block) = self.reader.block(status.slot).await? else { return Ok(None) };
        Ok(Some(TransactionOutcome {
            block_number: status.slot,
            block_hash: block.hash,
            succeeded: status.err.is_none(),
            gas_used: landed.compute_units_consumed.unwrap_or_default(),
            effective_fee: u128::from(landed.fee),
        }))
    }

    async fn execute(&self, action: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        let units = self.estimate(action).await?;
        let fees = self.suggest_fees().await?;
        let lifetime = self.lifetime(self.progress().await?).await?;
        let transaction = self.sign(action, lifetime, units, fees)?;
        let (mut sent, mut pause) = (None::<Instant>, FIRST_POLL);
        loop {
            if sent.is_none_or(|sent| sent.elapsed() >= RESEND) {
                self.broadcast(&transaction).await?;
                sent = Some(Instant::now());
            }
            if let Some(outcome) = self.outcome(transaction.id).await? {
                if outcome.succeeded {
                    return Ok((transaction.id, outcome));
                }
                let error = self.status(transaction.id).await?.and_then(|status| status.err).unwrap_or_default();
                let logs = self.landed(transaction.id).await?.and_then(|landed| landed.log_messages);
                return Err(failure::reverted(&error, &logs.unwrap_or_default()));
            }
            if transaction.validity.is_over(self.progress().await?) {
                // Once more: it may have landed between the two questions.
                if self.status(transaction.id).await?.is_none() {
                    return Err(ChainError::Unavailable(format!(
                        "transaction {} was not included before its blockhash ran out; try again",
                        transaction.id
                    )));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(SLOWEST_POLL);
        }
    }
}
