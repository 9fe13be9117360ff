//! [`ChainReader`] over Solana's JSON-RPC.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::solana::solana_deposit_address;
use compute_futures_protocol::{
    AccountId, Address, B256, Chain, DepositTerms, Domain, SolanaAddress, Terms, TransactionId, Usdc, signer_among,
};
use futures::stream::BoxStream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::compile;
use super::payment::PaidTransaction;
use super::program::Program;
use super::state::{FuturesAccount, Operator, fed_account, operator_index, token_amount};
use super::{SolanaConfig, failure, solana};
use crate::transport::{Head, Rpc};
use crate::{AccountOnChain, BlockRef, ChainError, ChainEvent, ChainReader, EventRange, Heads, OperatorOnChain};

/// Reads one deployment of the program on a Solana cluster.
pub struct SolanaReader {
    pub(super) rpc: Rpc,
    pub(super) program: Program,
    /// Signatures at which pages of a program's history ended, by slot: where to start for an older range.
    pub(super) pages: Mutex<HashMap<SolanaAddress, BTreeMap<u64, String>>>,
    /// Roots of batches that their operators' accounts hold no more, by operator and number.
    pub(super) roots: Mutex<BTreeMap<(u32, u64), B256>>,
    /// The node is Surfpool, as it says itself: a simulation on somebody's machine, which differs from a cluster in what
    /// [`super::follow`] says.
    pub(super) simulated: bool,
    chain: Chain,
    domain: Domain,
    deployment_slot: u64,
}

impl fmt::Debug for SolanaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SolanaReader")
            .field("chain", &self.chain)
            .field("program", &self.program.id)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Context<T> {
    value: T,
}

#[derive(Deserialize)]
struct Account {
    data: (String, String),
    owner: SolanaAddress,
    executable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LatestBlockhash {
    blockhash: SolanaAddress,
    last_valid_block_height: u64,
}

/// What a simulation says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Simulated {
    err: Option<Value>,
    #[serde(default)]
    logs: Option<Vec<String>>,
    #[serde(default)]
    units_consumed: Option<u64>,
    #[serde(default)]
    return_data: Option<Returned>,
}

#[derive(Deserialize)]
struct Returned {
    data: (String, String),
}

impl SolanaReader {
    /// Connects, and checks that the program is there.
    ///
    /// # Errors
    /// [`ChainError::Config`] says which setting is wrong; [`ChainError::Unavailable`] when no endpoint answers.
    pub async fn connect(config: SolanaConfig) -> Result<Arc<Self>, ChainError> {
        let mint = config.validate()?;
        let domain =
            Domain::new(config.chain, config.program.into()).map_err(|error| ChainError::Config(error.to_string()))?;
        let mut reader = Self {
            rpc: Rpc::new(&config.rpc_urls, config.request_timeout, config.max_head_lag, Head::Solana)?,
            program: Program::new(config.program, mint),
            pages: Mutex::default(),
            roots: Mutex::default(),
            simulated: false,
            chain: config.chain,
            domain,
            deployment_slot: config.deployment_slot,
        };
        match reader.is_program(&config.program).await? {
            true => {
                let version: Result<Value, _> = reader.rpc.call("getVersion", json!([])).await;
                reader.simulated = version.is_ok_and(|version| version.get("surfnet-version").is_some());
                Ok(Arc::new(reader))
            }
            false => Err(ChainError::Config(format!(
                "there is no program at {} on {}; check the ComputeFutures address",
                config.program, config.chain
            ))),
        }
    }

    /// Lamports of any address: what a key has left for fees and rent.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn lamports(&self, holder: Address) -> Result<u64, ChainError> {
        let params = json!([solana(holder)?, {"commitment": "confirmed"}]);
        Ok(self.rpc.call::<_, Context<u64>>("getBalance", params).await?.value)
    }

    async fn raw_account(&self, address: &SolanaAddress) -> Result<Option<Account>, ChainError> {
        let params = json!([address, {"encoding": "base64", "commitment": "confirmed"}]);
        Ok(self.rpc.call::<_, Context<Option<Account>>>("getAccountInfo", params).await?.value)
    }

    /// Data of an account that `owner` owns; `None` when there is none.
    pub(super) async fn data_of(
        &self,
        address: &SolanaAddress,
        owner: &SolanaAddress,
    ) -> Result<Option<Vec<u8>>, ChainError> {
        let Some(account) = self.raw_account(address).await?.filter(|account| account.owner == *owner) else {
            return Ok(None);
        };
        STANDARD
            .decode(account.data.0)
            .map(Some)
            .map_err(|error| ChainError::Inconsistent(format!("data of {address} is not base64: {error}")))
    }

    /// Whether there is a program at an address.
    pub(super) async fn is_program(&self, address: &SolanaAddress) -> Result<bool, ChainError> {
        Ok(self.raw_account(address).await?.is_some_and(|account| account.executable))
    }

    /// Whether there is nothing at an address.
    pub(super) async fn is_missing(&self, address: &SolanaAddress) -> Result<bool, ChainError> {
        Ok(self.raw_account(address).await?.is_none())
    }

    /// An account of the program, decoded.
    pub(super) async fn state<T>(
        &self,
        address: &SolanaAddress,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, ChainError> {
        self.state_of(address, &self.program.id, decode).await
    }

    /// An account of a program, decoded.
    pub(super) async fn state_of<T>(
        &self,
        address: &SolanaAddress,
        program: &SolanaAddress,
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, ChainError> {
        let Some(data) = self.data_of(address, program).await? else { return Ok(None) };
        decode(&data)
            .map(Some)
            .ok_or_else(|| ChainError::Inconsistent(format!("account {address} has another layout than it should")))
    }

    pub(super) async fn operator_state(&self, index: u32) -> Result<Option<Operator>, ChainError> {
        self.state(&self.program.operator(index), Operator::decode).await
    }

    pub(super) async fn account_state(&self, id: AccountId) -> Result<Option<FuturesAccount>, ChainError> {
        self.state(&self.program.account(id), FuturesAccount::decode).await
    }

    /// Whether a deposit address is open, and the account it feeds.
    pub(super) async fn fed_by(&self, address: &SolanaAddress) -> Result<Option<Option<AccountId>>, ChainError> {
        self.state(address, fed_account).await
    }

    /// Whether an account is there.
    pub(super) async fn exists(&self, address: &SolanaAddress) -> Result<bool, ChainError> {
        Ok(self.raw_account(address).await?.is_some())
    }

    /// Runs a transaction without sending it, whatever its signatures and its blockhash are.
    pub(super) async fn simulate(&self, transaction: &[u8]) -> Result<Simulated, ChainError> {
        self.run(transaction, true).await
    }

    /// Runs a signed transaction as it stands without sending it: with a blockhash that ran out it fails.
    pub(super) async fn simulate_signed(&self, transaction: &[u8]) -> Result<Simulated, ChainError> {
        self.run(transaction, false).await
    }

    async fn run(&self, transaction: &[u8], any_blockhash: bool) -> Result<Simulated, ChainError> {
        let settings = json!({
            "encoding": "base64", "commitment": "confirmed", "sigVerify": !any_blockhash,
            "replaceRecentBlockhash": any_blockhash,
        });
        let params = json!([STANDARD.encode(transaction), settings]);
        Ok(self.rpc.call::<_, Context<Simulated>>("simulateTransaction", params).await?.value)
    }

    /// What a transaction signed now names, and the last block height at which it may be included.
    pub(super) async fn newest_blockhash(&self) -> Result<(B256, u64), ChainError> {
        let params = json!([{"commitment": "confirmed"}]);
        let latest: Context<LatestBlockhash> = self.rpc.call("getLatestBlockhash", params).await?;
        Ok((B256::new(latest.value.blockhash.0), latest.value.last_valid_block_height))
    }

    async fn slot(&self, commitment: &str) -> Result<u64, ChainError> {
        Ok(self.rpc.newest("getSlot", json!([{ "commitment": commitment }]), |slot: &u64| *slot).await?)
    }
}

impl Simulated {
    /// Compute units used.
    ///
    /// # Errors
    /// The program's refusal.
    pub(super) fn units(&self) -> Result<u64, ChainError> {
        match &self.err {
            Some(error) => Err(failure::reverted(error, self.logs.as_deref().unwrap_or_default())),
            None => Ok(self.units_consumed.unwrap_or_default()),
        }
    }
}

fn lost(number: u64) -> ChainError {
    ChainError::Unavailable(format!(
        "the RPC endpoint keeps no transaction as old as batch {number}; use one with older history, or ask an indexer"
    ))
}

#[async_trait]
impl ChainReader for SolanaReader {
    fn chain(&self) -> Chain {
        self.chain
    }

    fn domain(&self) -> Domain {
        self.domain
    }

    fn contract(&self) -> Address {
        self.program.id.into()
    }

    fn token(&self) -> Address {
        self.program.mint.into()
    }

    fn deployment_block(&self) -> u64 {
        self.deployment_slot
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        let newest = self.slot("confirmed").await?;
        let params = json!([{ "commitment": "finalized" }]);
        let finalized: u64 = self.rpc.call("getSlot", params).await?;
        let latest = self
            .read_block(newest)
            .await?
            .ok_or_else(|| ChainError::Unavailable(format!("slot {newest} has no block yet")))?;
        Ok(Heads { latest, safe: newest, finalized: finalized.min(newest) })
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.read_block(number).await
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        self.events_in(&self.futures(), from, to).await
    }

    fn events_stream(&self, from: u64, to: u64, concurrency: usize) -> BoxStream<'_, Result<EventRange, ChainError>> {
        self.stream_events(self.futures(), from, to, concurrency)
    }

    /// The account, or `None` when it does not exist: a closed account is deleted on Solana, its history is in its events.
    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError> {
        let Some(account) = self.account_state(id).await? else { return Ok(None) };
        Ok(Some(AccountOnChain {
            id: account.id,
            owner: account.owner.into(),
            delegate: account.delegate.map(Address::Solana),
            state: account.state,
            refundable_at: account.refundable_at,
            terms_version: account.terms_version,
            closed: false,
        }))
    }

    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError> {
        Ok(self.operator_state(index).await?.map(|operator| OperatorOnChain {
            index: operator.index,
            operator: operator.authority.into(),
            terms_version: operator.terms_version,
            last_sequence: operator.last_sequence,
            last_batch: operator.last_batch,
            earnings: operator.earnings,
        }))
    }

    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError> {
        let Some(authority) = operator.solana() else { return Ok(None) };
        self.state(&self.program.operator_of(&authority), operator_index).await
    }

    /// The present terms from the operator's account, older ones from the event that set them.
    async fn terms(&self, operator_index: u32, version: u32) -> Result<Option<Terms>, ChainError> {
        let Some(operator) = self.operator_state(operator_index).await? else { return Ok(None) };
        match version {
            _ if version == operator.terms_version => Ok(Some(operator.terms)),
            _ if version == 0 || version > operator.terms_version => Ok(None),
            _ => self.terms_set(self.program.operator_of(&operator.authority), operator_index, version).await,
        }
    }

    fn deposit_address(&self, terms: &DepositTerms) -> Result<Address, ChainError> {
        solana(terms.owner)?;
        solana_deposit_address(&self.program.id, terms)
            .map(Address::Solana)
            .ok_or_else(|| ChainError::Rejected(format!("{} is no address on Solana", terms.owner)))
    }

    async fn account_of_deposit_address(&self, address: Address) -> Result<Option<AccountId>, ChainError> {
        let Some(address) = address.solana() else { return Ok(None) };
        Ok(self.fed_by(&address).await?.flatten())
    }

    /// USDC in the associated token account of `holder`; of the program itself: in its vault. With `block`: at the end of that
    /// slot, from the newest transaction up to it that names the token account.
    async fn token_balance(&self, holder: Address, block: Option<u64>) -> Result<Usdc, ChainError> {
        let holder = solana(holder)?;
        let wallet = if holder == self.program.id { self.program.vault } else { self.program.wallet(&holder) };
        if let Some(slot) = block {
            return self.balance_at(wallet, slot).await;
        }
        let Some(data) = self.data_of(&wallet, &compute_futures_protocol::solana::TOKEN_PROGRAM).await? else {
            return Ok(Usdc::ZERO);
        };
        token_amount(&data)
            .and_then(|amount| Usdc::try_from(amount).ok())
            .ok_or_else(|| ChainError::Inconsistent(format!("token account {wallet} cannot be read")))
    }

    /// `nonce` is keccak256 of the transaction's message: a payment on Solana is a transaction that the payer signed.
    async fn payment_used(&self, payer: Address, nonce: B256) -> Result<bool, ChainError> {
        // A blockhash lives for 150 blocks, about a minute; what has not landed by then never does.
        Ok(self.payment_transaction(payer, nonce, 300).await?.is_some())
    }

    async fn payment_transaction(
        &self,
        payer: Address,
        nonce: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        self.find_payment(solana(payer)?, nonce, seconds_back).await
    }

    async fn block_height(&self) -> Result<u64, ChainError> {
        Ok(self.rpc.call("getBlockHeight", json!([{"commitment": "finalized"}])).await?)
    }

    /// Whoever signed until now named a block that a node has at least processed.
    async fn last_block_height(&self) -> Result<Option<u64>, ChainError> {
        let params = json!([{"commitment": "processed"}]);
        let latest: Context<LatestBlockhash> = self.rpc.call("getLatestBlockhash", params).await?;
        Ok(Some(latest.value.last_valid_block_height))
    }

    async fn transfers_in(&self, id: TransactionId) -> Result<Option<(PaidTransaction, B256)>, ChainError> {
        let Some(paid) = self.transfers_of(id).await? else { return Ok(None) };
        let message = self.message_hash(&id.to_string()).await?;
        Ok(message.map(|message| (paid, message)))
    }

    async fn is_valid_signature(&self, signer: Address, digest: B256, signature: &[u8]) -> Result<bool, ChainError> {
        Ok(signer.solana().is_some() && signer_among(digest, signature, &[signer]).is_ok())
    }

    async fn verify_receipt(
        &self,
        operator_index: u32,
        batch_number: u64,
        receipt_hash: B256,
        proof: &[B256],
    ) -> Result<bool, ChainError> {
        let Some(operator) = self.operator_state(operator_index).await? else { return Ok(false) };
        match operator.root(batch_number) {
            Ok(None) => return Ok(false),
            // The program would want a proof of the batch too, which takes every root around it. Its own event says as much.
            Err(()) => {
                let root = self.posted_root(operator_index, batch_number).await?;
                let root = root.ok_or_else(|| lost(batch_number))?;
                return Ok(compute_futures_protocol::verify(root, receipt_hash, proof));
            }
            Ok(Some(_)) => {}
        }
        let instruction = self.program.verify_receipt(operator_index, batch_number, receipt_hash, proof);
        // Nobody pays for a simulation, but its fee payer must exist.
        let transaction = compile(operator.authority, &[instruction], B256::ZERO).unsigned()?;
        let simulated = self.simulate(&transaction).await?;
        simulated.units()?;
        let returned = simulated.return_data.and_then(|returned| STANDARD.decode(returned.data.0).ok());
        Ok(returned.as_deref() == Some(&[1]))
    }

    /// One of the newest 64 from the operator's account, an older one from the event that posted it.
    async fn batch_root(&self, operator_index: u32, batch_number: u64) -> Result<Option<B256>, ChainError> {
        let Some(operator) = self.operator_state(operator_index).await? else { return Ok(None) };
        match operator.root(batch_number) {
            Ok(root) => Ok(root),
            Err(()) => {
                let root = self.posted_root(operator_index, batch_number).await?;
                root.map(Some).ok_or_else(|| lost(batch_number))
            }
        }
    }
}
