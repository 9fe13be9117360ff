//! [`ChainReader`] over JSON-RPC.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256, aliases::U40};
use alloy::sol_types::SolCall;
use async_trait::async_trait;
use compute_futures_protocol::{
    AccountId, AccountState, Address, Chain, DepositTerms, DiscountFloor, Domain, MAX_BATCH_NUMBER, Terms, Tier,
    TransactionId, Usdc, deposit_address, recover,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde_json::json;

use super::bindings::{ComputeFutures as abi, IERC1271, IUsdc};
use super::blocks::quantity;
use super::logs::LogSpan;
use super::revert::refusal;
use super::{EvmConfig, evm};
use crate::transport::{Head, Rpc};
use crate::{AccountOnChain, BlockRef, ChainError, ChainEvent, ChainReader, EventRange, Heads, OperatorOnChain};

/// Reads one deployment of the contract on an EVM chain.
pub struct EvmReader {
    pub(super) rpc: Rpc,
    pub(super) chain_id: u64,
    pub(super) contract: EvmAddress,
    pub(super) token: EvmAddress,
    pub(super) log_span: LogSpan,
    pub(super) heads_cache: Mutex<Option<Heads>>,
    /// `safe` and `finalized`, once an endpoint said that it does not know them.
    pub(super) unsupported_tags: [AtomicBool; 2],
    pub(super) safe_depth: u64,
    pub(super) finalized_depth: u64,
    chain: Chain,
    vault_implementation: EvmAddress,
    deployment_block: u64,
}

impl fmt::Debug for EvmReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmReader")
            .field("chain", &self.chain)
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}

impl EvmReader {
    /// Connects, and checks that the endpoint serves the chain, that the contract is there and that it holds the token.
    ///
    /// # Errors
    /// [`ChainError::Config`] says which setting is wrong; [`ChainError::Unavailable`] when no endpoint answers.
    pub async fn connect(config: EvmConfig) -> Result<Arc<Self>, ChainError> {
        let chain_id = config.validate()?;
        let mut reader = Self {
            rpc: Rpc::new(&config.rpc_urls, config.request_timeout, config.max_head_lag, Head::Evm)?,
            chain_id,
            contract: config.contract,
            token: config.token,
            log_span: LogSpan::new(config.max_log_range),
            heads_cache: Mutex::default(),
            unsupported_tags: Default::default(),
            safe_depth: config.safe_depth,
            finalized_depth: config.finalized_depth.max(config.safe_depth),
            chain: config.chain,
            vault_implementation: EvmAddress::ZERO,
            deployment_block: 0,
        };
        let served: alloy::primitives::U64 = reader.rpc.call("eth_chainId", ()).await?;
        if served.to::<u64>() != chain_id {
            return Err(ChainError::Config(format!(
                "the RPC endpoint serves chain {served}, but {} is chain {chain_id}; change the URL or the chain",
                config.chain
            )));
        }
        if !reader.has_code(config.contract, "latest").await? {
            return Err(ChainError::Config(format!(
                "there is no contract at {} on {}; check the ComputeFutures address",
                config.contract, config.chain
            )));
        }
        let no_contract_of_ours = |error| match error {
            ChainError::Inconsistent(_) | ChainError::Reverted { .. } => {
                ChainError::Config(format!("the contract at {} is not a ComputeFutures contract", config.contract))
            }
            other => other,
        };
        let token = reader.view(config.contract, abi::tokenCall {}).await.map_err(no_contract_of_ours)?;
        if token != config.token {
            return Err(ChainError::Config(format!(
                "the contract at {} holds the token {token}, not {}; set token to it",
                config.contract, config.token
            )));
        }
        reader.vault_implementation =
            reader.view(config.contract, abi::vaultImplementationCall {}).await.map_err(no_contract_of_ours)?;
        reader.deployment_block = match config.deployment_block {
            Some(block) => block,
            None => reader.find_deployment(reader.contract).await?,
        };
        Ok(Arc::new(reader))
    }

    /// EIP-155 chain id.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// USDC that `spender` may take from `holder`.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn allowance(&self, holder: Address, spender: Address) -> Result<U256, ChainError> {
        self.view(self.token, IUsdc::allowanceCall { holder: evm(holder)?, spender: evm(spender)? }).await
    }

    /// Ether of any address, in wei: what a key has left for gas.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn gas_balance(&self, holder: Address) -> Result<U256, ChainError> {
        Ok(self.rpc.call("eth_getBalance", (evm(holder)?, "latest")).await?)
    }

    /// Calls a view of a contract at the newest block.
    pub(super) async fn view<C: SolCall + Send>(&self, to: EvmAddress, call: C) -> Result<C::Return, ChainError> {
        self.view_at(to, call, "latest").await
    }

    async fn view_at<C: SolCall + Send>(&self, to: EvmAddress, call: C, block: &str) -> Result<C::Return, ChainError> {
        let transaction = json!({"to": to, "input": Bytes::from(call.abi_encode())});
        let answer: Bytes =
            self.rpc.call("eth_call", (transaction, block)).await.map_err(|failure| refusal(failure, &[]))?;
        C::abi_decode_returns_validate(&answer)
            .map_err(|error| ChainError::Inconsistent(format!("answer of {to} to {}: {error}", C::SIGNATURE)))
    }

    pub(super) async fn has_code(&self, address: EvmAddress, block: &str) -> Result<bool, ChainError> {
        let code: Bytes = self.rpc.call("eth_getCode", (address, block)).await?;
        Ok(!code.is_empty())
    }

    /// The first block in which a contract has code, by halving.
    pub(super) async fn find_deployment(&self, contract: EvmAddress) -> Result<u64, ChainError> {
        let mut with_code = self.read_heads().await?.latest.number;
        let mut without = None;
        while without.map_or(0, |block: u64| block + 1) < with_code {
            let middle = without.map_or(0, |block| block + 1).midpoint(with_code);
            let deployed = self.has_code(contract, &quantity(middle)).await.map_err(|error| {
                ChainError::Config(format!(
                    "cannot find the block the contract was deployed in ({error}); set deployment_block, or use an RPC endpoint that keeps old state"
                ))
            })?;
            if deployed {
                with_code = middle;
            } else {
                without = Some(middle);
            }
        }
        Ok(with_code)
    }
}

pub(super) fn usdc(what: &str, amount: U256) -> Result<Usdc, ChainError> {
    u64::try_from(amount)
        .ok()
        .and_then(|micros| Usdc::try_from(micros).ok())
        .ok_or_else(|| ChainError::Inconsistent(format!("{what} of {amount} micro-USDC is more than there is")))
}

pub(super) fn non_zero(address: EvmAddress) -> Option<Address> {
    (!address.is_zero()).then_some(address.into())
}

#[async_trait]
impl ChainReader for EvmReader {
    fn chain(&self) -> Chain {
        self.chain
    }

    fn domain(&self) -> Domain {
        Domain::evm(self.chain_id, self.contract)
    }

    fn contract(&self) -> Address {
        self.contract.into()
    }

    fn token(&self) -> Address {
        self.token.into()
    }

    fn deployment_block(&self) -> u64 {
        self.deployment_block
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        self.read_heads().await
    }

    async fn block(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.read_block(number).await
    }

    async fn events(&self, from: u64, to: u64) -> Result<Vec<ChainEvent>, ChainError> {
        self.events_in(self.futures(), from, to).await
    }

    fn events_stream(&self, from: u64, to: u64, concurrency: usize) -> BoxStream<'_, Result<EventRange, ChainError>> {
        self.stream_events(self.futures(), from, to, concurrency).boxed()
    }

    async fn account(&self, id: AccountId) -> Result<Option<AccountOnChain>, ChainError> {
        let account = self.view(self.contract, abi::accountCall { accountId: id.get() }).await?;
        Ok(non_zero(account.owner).map(|owner| AccountOnChain {
            id,
            owner,
            delegate: non_zero(account.delegate),
            state: AccountState {
                credit: Usdc::from_micros(account.credit.to()),
                charged: Usdc::from_micros(account.charged.to()),
                ceiling: Usdc::from_micros(account.ceiling.to()),
                remainder: account.remainder,
                discount: DiscountFloor {
                    discount_bps: account.discountBps,
                    previous_discount_bps: account.previousDiscountBps,
                    discount_from_batch: account.discountFromBatch.to(),
                },
            },
            refundable_at: Some(account.refundableAt.to()).filter(|time| *time != 0),
            terms_version: account.termsVersion,
            closed: account.closed,
        }))
    }

    async fn operator(&self, index: u32) -> Result<Option<OperatorOnChain>, ChainError> {
        let operator = self.view(self.contract, abi::operatorCall { operatorIndex: index }).await?;
        if operator.operator.is_zero() {
            return Ok(None);
        }
        Ok(Some(OperatorOnChain {
            index,
            operator: operator.operator.into(),
            terms_version: operator.termsVersion,
            last_sequence: operator.lastSequence,
            last_batch: operator.lastBatch.to(),
            earnings: usdc("earnings", U256::from(operator.earnings))?,
        }))
    }

    async fn operator_index_of(&self, operator: Address) -> Result<Option<u32>, ChainError> {
        let Some(operator) = operator.evm() else { return Ok(None) };
        let index = self.view(self.contract, abi::operatorIndexOfCall { operatorAddress: operator }).await?;
        Ok(Some(index).filter(|index| *index != 0))
    }

    async fn terms(&self, operator_index: u32, version: u32) -> Result<Option<Terms>, ChainError> {
        let call = abi::termsCall { operatorIndex: operator_index, termsVersion: version };
        let terms = self.view(self.contract, call).await?;
        // The contract takes no terms without a minimum deposit, so zero means that there are none.
        if terms.minimumDeposit.is_zero() {
            return Ok(None);
        }
        Ok(Some(Terms {
            refund_delay: terms.refundDelay,
            minimum_deposit: Usdc::from_micros(terms.minimumDeposit.to()),
            rate_card_hash: terms.rateCardHash,
            tiers: terms
                .tiers
                .iter()
                .map(|tier| Tier {
                    minimum_deposit: Usdc::from_micros(tier.minimumDeposit.to()),
                    discount_bps: tier.discountBps,
                })
                .collect(),
        }))
    }

    fn deposit_address(&self, terms: &DepositTerms) -> Result<Address, ChainError> {
        evm(terms.owner)?;
        Ok(deposit_address(self.contract, self.vault_implementation, terms).into())
    }

    async fn account_of_deposit_address(&self, address: Address) -> Result<Option<AccountId>, ChainError> {
        let Some(address) = address.evm() else { return Ok(None) };
        let id = self.view(self.contract, abi::accountOfDepositAddressCall { depositAddress_: address }).await?;
        match id {
            0 => Ok(None),
            id => AccountId::try_from(id)
                .map(Some)
                .map_err(|error| ChainError::Inconsistent(format!("account {id}: {error}"))),
        }
    }

    async fn token_balance(&self, holder: Address, block: Option<u64>) -> Result<Usdc, ChainError> {
        let holder = evm(holder)?;
        let block = block.map_or_else(|| "latest".to_owned(), quantity);
        usdc("balance", self.view_at(self.token, IUsdc::balanceOfCall { holder }, &block).await?)
    }

    async fn payment_used(&self, payer: Address, nonce: B256) -> Result<bool, ChainError> {
        self.view(self.token, IUsdc::authorizationStateCall { authorizer: evm(payer)?, nonce }).await
    }

    async fn payment_transaction(
        &self,
        payer: Address,
        nonce: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        Ok(self.find_authorization(evm(payer)?, nonce, seconds_back).await?.map(TransactionId::Evm))
    }

    async fn is_valid_signature(&self, signer: Address, digest: B256, signature: &[u8]) -> Result<bool, ChainError> {
        let Some(signer) = signer.evm() else { return Ok(false) };
        // The same order as in the contract: code decides, also for wallets that were given code by EIP-7702.
        if !self.has_code(signer, "latest").await? {
            return Ok(recover(digest, signature).is_ok_and(|recovered| recovered == signer));
        }
        let call = IERC1271::isValidSignatureCall { hash: digest, signature: Bytes::copy_from_slice(signature) };
        match self.view(signer, call).await {
            Ok(magic) => Ok(magic.0 == IERC1271::isValidSignatureCall::SELECTOR),
            // A wallet may refuse in any way it likes.
            Err(ChainError::Reverted { .. } | ChainError::Inconsistent(_) | ChainError::Rejected(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn verify_receipt(
        &self,
        operator_index: u32,
        batch_number: u64,
        receipt_hash: B256,
        proof: &[B256],
    ) -> Result<bool, ChainError> {
        let Some(batch) = batch_argument(batch_number) else { return Ok(false) };
        self.view(
            self.contract,
            abi::verifyReceiptCall {
                operatorIndex: operator_index,
                batchNumber: batch,
                receiptHash: receipt_hash,
                proof: proof.to_vec(),
            },
        )
        .await
    }

    async fn batch_root(&self, operator_index: u32, batch_number: u64) -> Result<Option<B256>, ChainError> {
        let Some(batch) = batch_argument(batch_number) else { return Ok(None) };
        let root =
            self.view(self.contract, abi::batchRootCall { operatorIndex: operator_index, batchNumber: batch }).await?;
        Ok(Some(root).filter(|root| !root.is_zero()))
    }
}

/// Batch numbers have 40 bits on chain; a longer one was never posted.
pub(super) fn batch_argument(number: u64) -> Option<U40> {
    (number <= MAX_BATCH_NUMBER).then(|| U40::from(number))
}
