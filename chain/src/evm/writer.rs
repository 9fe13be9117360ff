//! [`ChainWriter`] for one key.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address as EvmAddress, B256, Bytes, Signature, TxKind, U64, U256};
use alloy::providers::utils::{EIP1559_FEE_ESTIMATION_PAST_BLOCKS, eip1559_default_estimator};
use alloy::rpc::types::FeeHistory;
use async_trait::async_trait;
use compute_futures_protocol::{Address, Signer, TransactionId, Usdc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::blocks::quantity;
use super::call::{Addresses, encode, no_market, pulled_by};
use super::revert::refusal;
use super::{EvmMarket, EvmReader, evm};
use crate::transport::RpcFailure;
use crate::{
    Action, ChainError, ChainReader, ChainWriter, Fees, Lifetime, Progress, Rejection, SignedTransaction,
    TransactionOutcome,
};

/// Gas limit over the estimate: state may change between estimate and inclusion.
const HEADROOM_PERCENT: u64 = 20;
/// Tip below which nodes drop transactions: 0.001 gwei.
const LEAST_TIP: u128 = 1_000_000;
/// Percentile of the tips paid in recent blocks that a transaction offers.
const TIP_PERCENTILE: u8 = 20;
/// How long [`ChainWriter::execute`] waits for its transaction.
const PATIENCE: Duration = Duration::from_secs(180);
const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(2);

/// Signs EIP-1559 transactions with one key and posts them.
pub struct EvmWriter {
    reader: Arc<EvmReader>,
    key: Signer,
    sender: EvmAddress,
    market: Option<Arc<EvmMarket>>,
    /// One [`ChainWriter::execute`] at a time: each takes the next nonce.
    turn: Mutex<()>,
}

impl fmt::Debug for EvmWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmWriter")
            .field("sender", &self.key.address())
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    block_number: U64,
    block_hash: B256,
    status: U64,
    gas_used: U64,
    effective_gas_price: alloy::primitives::U128,
}

impl EvmWriter {
    /// A writer to the deployment that `reader` reads.
    ///
    /// # Errors
    /// [`ChainError::Config`] for a key of another chain.
    pub fn new(reader: Arc<EvmReader>, key: Signer) -> Result<Self, ChainError> {
        let sender = evm(key.address()).map_err(|_| {
            ChainError::Config("the key is a Solana keypair; transactions on Base need a secp256k1 key in hex".into())
        })?;
        Ok(Self { reader, key, sender, market: None, turn: Mutex::default() })
    }

    /// Posts [`Action::Market`] to this deployment of the marketplace.
    #[must_use]
    pub fn with_market(mut self, market: Arc<EvmMarket>) -> Self {
        self.market = Some(market);
        self
    }

    /// The next nonce the chain would take, by mined transactions alone.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn nonce_floor(&self) -> Result<u64, ChainError> {
        let count: U64 = self.reader.rpc.call("eth_getTransactionCount", (self.sender, "latest")).await?;
        Ok(count.to())
    }

    /// The reader it goes through.
    #[must_use]
    pub const fn reader(&self) -> &Arc<EvmReader> {
        &self.reader
    }

    fn encode(&self, action: &Action) -> Result<(EvmAddress, Bytes), ChainError> {
        if let Action::Market(verb) = action {
            return self.market.as_ref().ok_or_else(no_market)?.encode(verb);
        }
        let at = Addresses { contract: self.reader.contract, token: self.reader.token, sender: self.sender };
        encode(action, at)
    }

    fn call_object(&self, action: &Action) -> Result<Value, ChainError> {
        let (to, input) = self.encode(action)?;
        Ok(json!({"from": self.sender, "to": to, "input": input}))
    }

    /// The revert data of a call, for nodes that leave it out of a failed estimate.
    async fn revert_data(&self, call: &Value, block: &str) -> Bytes {
        match self.reader.rpc.call::<_, Bytes>("eth_call", (call, block)).await {
            Err(RpcFailure::Refused(payload)) => payload.as_revert_data().unwrap_or_default(),
            _ => Bytes::new(),
        }
    }

    async fn knows(&self, transaction: TransactionId) -> Result<bool, ChainError> {
        let Some(hash) = transaction.evm() else { return Ok(false) };
        let found: Option<serde::de::IgnoredAny> = self.reader.rpc.call("eth_getTransactionByHash", [hash]).await?;
        Ok(found.is_some())
    }

    /// One transaction of [`ChainWriter::execute`], from estimate to block.
    async fn send(&self, action: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        let gas_limit = self.estimate(action).await?;
        let fees = self.suggest_fees().await?;
        let nonce: U64 = self.reader.rpc.call("eth_getTransactionCount", (self.sender, "pending")).await?;
        let transaction = self.sign(action, Lifetime::Nonce(nonce.to()), gas_limit, fees)?;
        self.broadcast(&transaction).await?;
        let outcome = self.wait(transaction.id).await?;
        if !outcome.succeeded {
            // The state it ran on was that of the block before, or a part of its own block: the reason is nearly always the same.
            let data = self.revert_data(&self.call_object(action)?, &quantity(outcome.block_number)).await;
            return Err(super::revert::reverted(&data));
        }
        Ok((transaction.id, outcome))
    }

    async fn wait(&self, transaction: TransactionId) -> Result<TransactionOutcome, ChainError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_POLL;
        while Instant::now() < until {
            match self.outcome(transaction).await {
                Ok(Some(outcome)) => return Ok(outcome),
                // It is broadcast: an endpoint that fails now must not hide what becomes of it.
                Ok(None) | Err(ChainError::Unavailable(_)) => tokio::time::sleep(pause).await,
                Err(error) => return Err(error),
            }
            pause = (pause * 3 / 2).min(SLOWEST_POLL);
        }
        Err(ChainError::Unavailable(format!(
            "transaction {transaction} was sent but is in no block after {} s; it may still be included",
            PATIENCE.as_secs()
        )))
    }

    /// Before money is pulled: is it there, and may the contract take it?
    async fn prepare(&self, amount: Usdc, approval: &Action) -> Result<(), ChainError> {
        let balance = self.reader.token_balance(self.sender(), None).await?;
        if balance < amount {
            return Err(ChainError::Rejected(format!(
                "{} has {balance} USDC but {amount} USDC are needed; fund it first",
                self.sender()
            )));
        }
        let spender = match (approval, &self.market) {
            (Action::Market(_), market) => market.as_ref().ok_or_else(no_market)?.escrow_address(),
            _ => self.reader.contract,
        };
        if self.reader.allowance(self.sender(), spender.into()).await? < U256::from(amount.micros()) {
            self.send(approval).await?;
        }
        Ok(())
    }
}

fn not_a_nonce() -> ChainError {
    ChainError::Config("a transaction on an EVM chain is signed with a nonce, not with a blockhash".into())
}

#[async_trait]
impl ChainWriter for EvmWriter {
    fn sender(&self) -> Address {
        self.sender.into()
    }

    async fn progress(&self) -> Result<Progress, ChainError> {
        self.nonce_floor().await.map(Progress::NextNonce)
    }

    async fn lifetime(&self, progress: Progress) -> Result<Lifetime, ChainError> {
        match progress {
            Progress::NextNonce(next) => Ok(Lifetime::Nonce(next)),
            Progress::BlockHeight(_) => Err(not_a_nonce()),
        }
    }

    async fn suggest_fees(&self) -> Result<Fees, ChainError> {
        let params = (quantity(EIP1559_FEE_ESTIMATION_PAST_BLOCKS), "latest", [TIP_PERCENTILE]);
        let history: FeeHistory = self.reader.rpc.call("eth_feeHistory", params).await?;
        let base = history
            .next_block_base_fee()
            .ok_or_else(|| ChainError::Inconsistent("a fee history without base fees".into()))?;
        let estimate = eip1559_default_estimator(base, &history.reward.unwrap_or_default());
        let tip = estimate.max_priority_fee_per_gas.max(LEAST_TIP);
        let added = tip.saturating_sub(estimate.max_priority_fee_per_gas);
        Ok(Fees { max_fee: estimate.max_fee_per_gas.saturating_add(added), max_priority_fee: tip })
    }

    async fn estimate(&self, action: &Action) -> Result<u64, ChainError> {
        let call = self.call_object(action)?;
        match self.reader.rpc.call::<_, U64>("eth_estimateGas", (&call, "latest")).await {
            Ok(gas) => {
                let gas = gas.to::<u64>();
                Ok(gas.saturating_add(gas.saturating_mul(HEADROOM_PERCENT).div_ceil(100)))
            }
            Err(failure) => {
                let reported = matches!(&failure, RpcFailure::Refused(payload) if payload.as_revert_data().is_none());
                let fallback = if reported { self.revert_data(&call, "latest").await } else { Bytes::new() };
                Err(refusal(failure, &fallback))
            }
        }
    }

    fn sign(
        &self,
        action: &Action,
        lifetime: Lifetime,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<SignedTransaction, ChainError> {
        let Lifetime::Nonce(nonce) = lifetime else { return Err(not_a_nonce()) };
        let (to, input) = self.encode(action)?;
        let transaction = TxEip1559 {
            chain_id: self.reader.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.max_priority_fee.min(fees.max_fee),
            to: TxKind::Call(to),
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let signature = Signature::from_raw(self.key.sign(transaction.signature_hash()).as_bytes())
            .map_err(|error| ChainError::Config(format!("the key does not sign: {error}")))?;
        let signed = TxEnvelope::from(transaction.into_signed(signature));
        Ok(SignedTransaction {
            id: (*signed.tx_hash()).into(),
            raw: signed.encoded_2718().into(),
            validity: lifetime.validity(),
            fees,
        })
    }

    async fn broadcast(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        let error = match self.reader.rpc.call::<_, B256>("eth_sendRawTransaction", [&transaction.raw]).await {
            Ok(hash) if transaction.id == hash.into() => return Ok(()),
            Ok(hash) => {
                return Err(ChainError::Inconsistent(format!(
                    "hash {hash} in answer to transaction {}",
                    transaction.id
                )));
            }
            Err(failure) => ChainError::from(failure),
        };
        match error.rejection() {
            Some(Rejection::AlreadyKnown) => Ok(()),
            // Ours may be the one that used the nonce.
            Some(Rejection::NonceTooLow) if self.knows(transaction.id).await? => Ok(()),
            _ => Err(error),
        }
    }

    async fn outcome(&self, transaction: TransactionId) -> Result<Option<TransactionOutcome>, ChainError> {
        let Some(hash) = transaction.evm() else { return Ok(None) };
        let receipt: Option<Receipt> = self.reader.rpc.call("eth_getTransactionReceipt", [hash]).await?;
        Ok(receipt.map(|receipt| TransactionOutcome {
            block_number: receipt.block_number.to(),
            block_hash: receipt.block_hash,
            succeeded: !receipt.status.is_zero(),
            gas_used: receipt.gas_used.to(),
            effective_fee: receipt.effective_gas_price.to(),
        }))
    }

    async fn execute(&self, action: &Action) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        let _turn = self.turn.lock().await;
        if let Some((amount, approval)) = pulled_by(action) {
            self.prepare(amount, &approval).await?;
        }
        self.send(action).await
    }
}
