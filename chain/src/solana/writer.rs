//! [`ChainWriter`] for one key: its own fee payer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{Address, B256, Bytes, Signer, SolanaAddress, TransactionId, keccak256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instruction::compute_budget;
use super::market::no_market;
use super::message::{Instruction, MOST_ACCOUNTS, Message, Table, compile_with};
use super::plan::Roles;
use super::tables::Kept;
use super::{SolanaMarket, SolanaReader, failure, solana};
use crate::{
    Action, ChainError, ChainReader, ChainWriter, Fees, Lifetime, Progress, SignedTransaction, Sponsorship,
    TransactionOutcome,
};

/// Most compute units a transaction may ask for.
const MOST_UNITS: u64 = 1_400_000;
/// Compute units over the estimate: state may change between estimate and inclusion.
const HEADROOM_PERCENT: u64 = 20;
/// Actions whose instructions are kept between estimate and signature.
const MOST_PLANS: usize = 256;
pub(super) const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// The text of `TransactionError::AlreadyProcessed`, which every node passes on.
const ALREADY_PROCESSED: &str = "already been processed";
/// How often a transaction is sent again while it is waited for: leaders drop what they have no room for.
const RESEND: Duration = Duration::from_secs(2);
/// How long something is waited for that takes a slot.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Lamports offered at most for the place in a block of what others sign.
const SPONSORED: u64 = 40_000;
/// Rows of different accounts that a transaction holds by its bytes.
const ROWS: u64 = 20;
/// With lookup tables, by its accounts: fee payer, operator, event authority, both programs, and one to spare.
const ROWS_BY_TABLES: u64 = MOST_ACCOUNTS as u64 - 6;
/// Sessions of different escrows, providers and rent payers that a transaction closes: 182 bytes each beside some 260. Those of one
/// escrow and provider are ten. Lookup tables are no help: a session's account is named twice in its life.
pub(super) const SESSION_ROWS: u64 = 5;
/// Accounts whose recent fees can be asked for at once.
const MOST_FEE_ACCOUNTS: usize = 128;

/// The most that is paid for a place in a block, on top of 5,000 lamports a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeLimits {
    /// Micro-lamports a compute unit.
    pub micro_lamports: u64,
    /// Lamports a transaction.
    pub lamports: u64,
}

impl Default for FeeLimits {
    /// A lamport a compute unit, and a thousandth of a SOL in all.
    fn default() -> Self {
        Self { micro_lamports: 1_000_000, lamports: 1_000_000 }
    }
}

impl FeeLimits {
    /// The price a compute unit within both limits.
    fn price(self, fees: Fees, units: u64) -> u64 {
        let offered = fees.max_priority_fee.min(fees.max_fee);
        let whole = u128::from(self.lamports) * 1_000_000 / u128::from(units.max(1));
        u64::try_from(offered.min(whole).min(self.micro_lamports.into())).unwrap_or(u64::MAX)
    }
}

/// Signs transactions with one key and posts them.
pub struct SolanaWriter {
    pub(super) reader: Arc<SolanaReader>,
    pub(super) key: Signer,
    pub(super) sender: SolanaAddress,
    market: Option<Arc<SolanaMarket>>,
    limits: FeeLimits,
    sponsored: u64,
    by_tables: bool,
    /// The lookup tables of this key, oldest first; `None` until they are looked for.
    pub(super) tables: tokio::sync::Mutex<Option<Vec<Kept>>>,
    /// Estimated actions. They name accounts that only the chain knows, and signing asks nobody.
    plans: Mutex<HashMap<B256, Planned>>,
}

/// What an action is as instructions, and the tables that make them fit.
#[derive(Clone)]
struct Planned {
    instructions: Vec<Instruction>,
    tables: Vec<Table>,
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
        Ok(Self {
            reader,
            key,
            sender,
            market: None,
            limits: FeeLimits::default(),
            sponsored: SPONSORED,
            by_tables: true,
            tables: tokio::sync::Mutex::default(),
            plans: Mutex::default(),
        })
    }

    /// Posts [`Action::Market`] to this deployment of the marketplace.
    #[must_use]
    pub fn with_market(mut self, market: Arc<SolanaMarket>) -> Self {
        self.market = Some(market);
        self
    }

    /// The instructions of an action.
    pub(super) async fn plan(&self, roles: Roles, action: &Action) -> Result<Vec<Instruction>, ChainError> {
        match action {
            Action::Market(verb) => self.market.as_ref().ok_or_else(no_market)?.plan(roles, verb).await,
            other => self.reader.plan(roles, other).await,
        }
    }

    /// Never offers more than this.
    #[must_use]
    pub const fn with_limits(mut self, limits: FeeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Never offers more lamports than this for the place in a block of somebody else's transaction, which its signer may raise up
    /// to that. Signatures and rent come on top.
    #[must_use]
    pub const fn with_sponsored_priority(mut self, lamports: u64) -> Self {
        self.sponsored = lamports;
        self
    }

    /// Makes no lookup tables: no rent, 20 rows in a batch instead of 58.
    #[must_use]
    pub const fn without_tables(mut self) -> Self {
        self.by_tables = false;
        self
    }

    pub(super) fn price(&self, fees: Fees, units: u64) -> u64 {
        self.limits.price(fees, units)
    }

    /// The same for what others sign and we pay.
    pub(super) fn sponsored_price(&self, fees: Fees, units: u64) -> u64 {
        let lamports = self.limits.lamports.min(self.sponsored);
        FeeLimits { lamports, ..self.limits }.price(fees, units)
    }

    fn message(&self, planned: &Planned, units: u64, price: u64, blockhash: B256) -> Message {
        let units = u32::try_from(units.min(MOST_UNITS)).unwrap_or(u32::MAX);
        let budget = compute_budget(units, price).into_iter();
        let instructions: Vec<Instruction> = budget.chain(planned.instructions.iter().cloned()).collect();
        compile_with(self.sender, &instructions, blockhash, &planned.tables)
    }

    /// The transaction of a plan, to be simulated, with lookup tables when it does not fit without.
    async fn fitted(&self, action: &Action, instructions: Vec<Instruction>) -> Result<(Planned, Vec<u8>), ChainError> {
        let mut planned = Planned { instructions, tables: Vec::new() };
        let whole = |planned: &Planned| self.message(planned, MOST_UNITS, 0, B256::ZERO).unsigned();
        match whole(&planned) {
            Ok(transaction) => Ok((planned, transaction)),
            Err(error) => {
                let large = match action {
                    // Refused before anything is made for it.
                    Action::PostDebits { rows, .. } => self.by_tables && rows.len() as u64 <= ROWS_BY_TABLES,
                    _ => false,
                };
                if !large {
                    return Err(error);
                }
                planned.tables = self.tables_for(&planned.instructions).await?;
                whole(&planned).map(|transaction| (planned, transaction))
            }
        }
    }

    /// What recent blocks took for writing these accounts; nothing is fine.
    async fn recent_fees(&self, written: &[SolanaAddress]) -> Result<Fees, ChainError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Recent {
            prioritization_fee: u64,
        }
        let params = json!([&written[..written.len().min(MOST_FEE_ACCOUNTS)]]);
        let mut recent: Vec<u64> =
            match self.reader.rpc.call::<_, Vec<Recent>>("getRecentPrioritizationFees", params).await {
                Ok(recent) => recent.into_iter().map(|recent| recent.prioritization_fee).collect(),
                // Not every node tells.
                Err(crate::transport::RpcFailure::Refused(_)) => Vec::new(),
                Err(failure) => return Err(failure.into()),
            };
        recent.sort_unstable();
        let fee = recent.get(recent.len() * 3 / 4).copied().unwrap_or_default().min(self.limits.micro_lamports);
        Ok(Fees { max_fee: fee.into(), max_priority_fee: fee.into() })
    }

    pub(super) async fn fees_for_plan(&self, plan: &[Instruction]) -> Result<Fees, ChainError> {
        let accounts = plan.iter().flat_map(|instruction| &instruction.accounts);
        let mut written: Vec<SolanaAddress> = accounts.filter(|meta| meta.writable).map(|meta| meta.key).collect();
        written.sort_unstable();
        written.dedup();
        self.recent_fees(&written).await
    }

    fn planned(&self, action: &Action) -> Result<Planned, ChainError> {
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let found = plans.get(&key_of(action)?).cloned();
        found.ok_or_else(|| ChainError::Config("the action was not estimated before it is signed".into()))
    }

    /// Signs and posts instructions of our own, and waits for them.
    pub(super) async fn post(&self, instructions: &[Instruction], tables: &[Table]) -> Result<(), ChainError> {
        let planned = Planned { instructions: instructions.to_vec(), tables: tables.to_vec() };
        let transaction = self.message(&planned, MOST_UNITS, 0, B256::ZERO).unsigned()?;
        let units = with_headroom(self.reader.simulate(&transaction).await?.units()?);
        let price = self.price(self.fees_for_plan(instructions).await?, units);
        let (blockhash, last) = self.reader.newest_blockhash().await?;
        let lifetime = Lifetime::Blockhash { hash: blockhash, last_valid_block_height: last };
        let (signature, raw) = self.message(&planned, units, price, blockhash).sign(&self.key)?;
        let fees = Fees { max_fee: price.into(), max_priority_fee: price.into() };
        let id = TransactionId::Solana(signature);
        self.landing(&SignedTransaction { id, raw: raw.into(), validity: lifetime.validity(), fees }).await.map(|_| ())
    }

    /// Broadcasts until the transaction is in a block, or can be in none any more.
    async fn landing(&self, transaction: &SignedTransaction) -> Result<TransactionOutcome, ChainError> {
        let (mut sent, mut pause) = (None::<Instant>, FIRST_POLL);
        loop {
            if sent.is_none_or(|sent| sent.elapsed() >= RESEND) {
                self.broadcast(transaction).await?;
                sent = Some(Instant::now());
            }
            if let Some(outcome) = self.outcome(transaction.id).await? {
                if outcome.succeeded {
                    return Ok(outcome);
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

/// Compute units to ask for.
pub(super) fn with_headroom(units: u64) -> u64 {
    units.saturating_add(units.saturating_mul(HEADROOM_PERCENT).div_ceil(100)).min(MOST_UNITS)
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

    /// What recent blocks took for writing the vault.
    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        self.recent_fees(&[self.reader.program.vault]).await
    }

    async fn fees_for(&self, action: &Action) -> Result<Fees, ChainError> {
        match action {
            // They are in it already.
            Action::Sponsored { .. } => Ok(Fees { max_fee: 0, max_priority_fee: 0 }),
            _ => {
                let planned = self.planned(action)?;
                self.fees_for_plan(&planned.instructions).await
            }
        }
    }

    fn max_rows(&self) -> u64 {
        if self.by_tables { ROWS_BY_TABLES } else { ROWS }
    }

    fn max_session_rows(&self) -> u64 {
        SESSION_ROWS
    }

    async fn sponsor(&self, owner: Address, verb: &Action) -> Result<Bytes, ChainError> {
        self.offer(owner, verb).await
    }

    async fn countersign(&self, verb: &Action, transaction: &[u8]) -> Result<Bytes, ChainError> {
        self.agree(verb, transaction).await
    }

    fn sponsorship(&self, owner: Address, verb: &Action, transaction: &[u8]) -> Result<Sponsorship, ChainError> {
        self.read_sponsored(owner, verb, transaction)
    }

    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        if let Action::Sponsored { owner, verb, transaction } = action {
            return self.estimate_sponsored(*owner, verb, transaction).await;
        }
        let plan = self.plan(Roles { payer: self.sender, actor: self.sender }, action).await?;
        let (planned, transaction) = self.fitted(action, plan).await?;
        let units = self.reader.simulate(&transaction).await?.units()?;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        plans.insert(key_of(action)?, planned);
        Ok(with_headroom(units))
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
        if let Action::Sponsored { owner, transaction, .. } = action {
            return self.sign_sponsored(*owner, transaction, lifetime);
        }
        let planned = self.planned(action)?;
        let price = self.price(fees, gas_limit);
        let (signature, raw) = self.message(&planned, gas_limit, price, hash).sign(&self.key)?;
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
        let fees = self.fees_for(action).await?;
        let lifetime = self.lifetime(self.progress().await?).await?;
        let transaction = self.sign(action, lifetime, units, fees)?;
        let outcome = self.landing(&transaction).await?;
        Ok((transaction.id, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_stays_within_both_limits() {
        let limits = FeeLimits { micro_lamports: 500, lamports: 10 };
        let price = |fee: u128, units| limits.price(Fees { max_fee: fee, max_priority_fee: fee }, units);
        assert_eq!(price(7, 1_000), 7);
        assert_eq!(price(u128::MAX, 1_000), 500);
        // Ten lamports for a hundred thousand units.
        assert_eq!(price(u128::MAX, 100_000), 100);
        assert_eq!(limits.price(Fees { max_fee: 3, max_priority_fee: 9 }, 1), 3);
        assert_eq!(price(5, 0), 5);
    }
}
