//! Who and what the story is about, on one chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compute_futures_chain::{Action, ChainError, ChainReader, EventKind, TransactionOutcome};
use compute_futures_protocol::{AccountId, Address, Chain, Domain, SignedReceipt, TokenDomain, TransactionId, Usdc};

use crate::chain::Connection;
use crate::client::{CreditPayer, ExactPayer, Relayer};
use crate::context::on;
use crate::devnet::DevnetFile;
use crate::failure::{Failure, Outcome};
use crate::keys::Key;

/// How long the story waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent with a wallet, and its account once it has one.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    pub(super) name: &'static str,
    pub(super) key: Key,
    pub(super) account: Option<AccountId>,
    /// What went into its account.
    pub(super) deposited: Usdc,
    /// Receipts of its jobs.
    pub(super) receipts: Vec<SignedReceipt>,
}

impl Agent {
    pub(super) fn new(name: &'static str, key: Key) -> Self {
        Self { name, key, account: None, deposited: Usdc::ZERO, receipts: Vec::new() }
    }

    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// Its account; the story opens it before it is used.
    pub(super) fn account(&self) -> Outcome<AccountId> {
        self.account.ok_or_else(|| Failure::broken(format!("{} has no account yet", self.name)))
    }

    /// What its receipts say it was charged.
    pub(super) fn charged(&self) -> Outcome<Usdc> {
        Usdc::checked_sum(self.receipts.iter().map(|signed| signed.receipt.charged))
            .ok_or_else(|| Failure::broken("the receipts add up to more than exists"))
    }
}

/// One chain of the devnet and ways to it.
pub(super) struct World {
    pub(super) chain: Chain,
    pub(super) file: DevnetFile,
    pub(super) connection: Connection,
    pub(super) reader: Arc<dyn ChainReader>,
    pub(super) domain: Domain,
    /// For deposits by a signature alone, where there are such.
    pub(super) token: Option<TokenDomain>,
    pub(super) relayer: Relayer,
    pub(super) indexer: Relayer,
    pub(super) operator: Address,
    pub(super) operator_index: u32,
}

impl World {
    pub(super) async fn new(file: &DevnetFile, chain: Chain) -> Outcome<Self> {
        let deployment = file.deployment(chain)?;
        let connection = deployment.connect().await?;
        let missing = || Failure::broken(format!("the devnet names no operator on {chain}"));
        let (operator, operator_index) = file.operator(chain).ok_or_else(missing)?;
        Ok(Self {
            chain,
            reader: connection.reader(),
            connection,
            domain: deployment.domain()?,
            token: deployment.token_domain(),
            relayer: Relayer::new(file.relayer.clone()),
            indexer: Relayer::new(file.indexer.clone()),
            operator,
            operator_index,
            file: file.clone(),
        })
    }

    /// The devnet's `index`-th funded key.
    pub(super) fn funded(&self, index: usize) -> Outcome<Key> {
        let keys = self.file.funded_keys(self.chain);
        Key::parse(keys.get(index).ok_or_else(|| Failure::broken("the devnet has too few funded keys"))?)
    }

    /// A wallet that never existed before.
    pub(super) fn stranger(&self) -> Outcome<Key> {
        Key::from_bytes(&rand::random(), self.chain)
    }

    /// The stock x402 client of a wallet.
    pub(super) fn exact(&self, key: &Key, most: Usdc) -> Outcome<ExactPayer> {
        self.connection.exact(key, most)
    }

    /// A path that means something else on each chain.
    pub(super) fn here(&self, path: &str) -> String {
        on(path, self.chain)
    }

    /// Posts as `key`.
    pub(super) async fn post(&self, key: &Key, action: &Action) -> Outcome<(TransactionId, TransactionOutcome)> {
        let (hash, outcome) = self.try_post(key, action).await?;
        if outcome.succeeded {
            Ok((hash, outcome))
        } else {
            Err(Failure::broken(format!("transaction {hash} reverted")))
        }
    }

    /// Posts as `key`, and hands a refusal back.
    pub(super) async fn try_post(
        &self,
        key: &Key,
        action: &Action,
    ) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        self.connection.writer(key.signer.clone())?.execute(action).await
    }

    /// Events of one transaction.
    pub(super) async fn events(&self, transaction: TransactionId, block: u64) -> Outcome<Vec<EventKind>> {
        let events = self.reader.events(block, block).await?;
        Ok(events.into_iter().filter(|event| event.meta.transaction == transaction).map(|event| event.kind).collect())
    }

    /// Every event there was.
    pub(super) async fn history(&self) -> Outcome<Vec<compute_futures_chain::ChainEvent>> {
        let head = self.reader.heads().await?.latest.number;
        Ok(self.reader.events(self.reader.deployment_block(), head).await?)
    }

    /// USDC of a wallet.
    pub(super) async fn usdc_of(&self, holder: Address) -> Outcome<Usdc> {
        Ok(self.reader.token_balance(holder, None).await?)
    }

    /// What the account has been charged on-chain. Where closed accounts are deleted, their last debit says it.
    pub(super) async fn charged_on_chain(&self, account: AccountId) -> Outcome<Usdc> {
        if let Some(account) = self.reader.account(account).await? {
            return Ok(account.state.charged);
        }
        let charged = self.history().await?.into_iter().rev().find_map(|event| match event.kind {
            EventKind::Debited { account: debited, total_charged, .. } if debited == account => Some(total_charged),
            _ => None,
        });
        charged.ok_or_else(|| Failure::broken("the account does not exist on-chain"))
    }

    /// Pays from the agent's credit with its signature.
    pub(super) fn payer(&self, agent: &Agent) -> Outcome<CreditPayer> {
        Ok(CreditPayer {
            signer: agent.key.signer.clone(),
            account: agent.account()?,
            domain: self.domain,
            operator: self.operator,
        })
    }

    /// Asks again until `check` is content.
    pub(super) async fn until<T, F>(&self, what: &str, mut check: impl FnMut() -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<Option<T>>>,
    {
        let started = Instant::now();
        loop {
            match check().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if started.elapsed() > PATIENCE => {
                    return Err(Failure::broken(format!("waited {} s in vain for {what}", PATIENCE.as_secs())));
                }
                Ok(None) => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(failure) => return Err(failure),
            }
        }
    }
}
