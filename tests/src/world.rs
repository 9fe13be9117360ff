//! One chain of a devnet, as a test sees it: ways to its parts, wallets, and patience.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compute_futures_chain::{Action, ChainError, ChainEvent, ChainReader, EventKind, TransactionOutcome};
use compute_futures_cli::chain::Connection;
use compute_futures_cli::client::{Answer, CreditPayer, ExactPayer, Relayer, Request};
use compute_futures_cli::devnet::DevnetFile;
use compute_futures_cli::keys::Key;
use compute_futures_protocol::{AccountId, Address, Chain, Domain, Signer, TokenDomain, TransactionId, Usdc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::cheats::Cheats;
use crate::{Agent, usdc};

/// How long a test waits for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Id of a model with per-token prices that do not divide evenly, so that remainders matter.
pub const METERED: &str = "metered";

/// Settings of a relayer that offers [`METERED`] beside the flat default, both done by the local provider.
#[must_use]
pub fn metered_models() -> (String, String) {
    let models = format!(
        r#"[{{id="{METERED}",name="Metered",kind="text-inference",routes=[{{provider="local",model="local/extractive-summary"}}],per_call="0.000777",per_1k_input="0.00313",per_1k_output="0.00717",context_length=65536,max_output_tokens=256,auto=false}},
{{id="local/extractive-summary",name="Summary",kind="text-inference",routes=[{{provider="local"}}],per_call="0.03",context_length=65536,max_output_tokens=256,auto=true}}]"#
    );
    ("COMPUTE_FUTURES_RELAYER__MODELS".into(), models.replace('\n', ""))
}

/// A chain with relayer and indexer, and ways to them.
#[derive(Clone)]
pub struct World {
    /// Which chain.
    pub chain: Chain,
    /// What the devnet says about itself.
    pub file: DevnetFile,
    /// Reads and writes the chain.
    pub connection: Connection,
    /// Reads the chain.
    pub reader: Arc<dyn ChainReader>,
    /// What no real chain lets one do.
    pub cheats: Cheats,
    /// Domain of signatures.
    pub domain: Domain,
    /// Domain of USDC's own signatures, where it has any.
    pub token: Option<TokenDomain>,
    /// The relayer.
    pub relayer: Relayer,
    /// The indexer.
    pub indexer: Relayer,
    /// The operator's address.
    pub operator: Address,
    /// Its index.
    pub operator_index: u32,
}

impl World {
    /// A running devnet on one of its chains.
    pub(crate) async fn on(file: &DevnetFile, chain: Chain) -> Self {
        let deployment = file.deployment(chain).expect("the devnet has the chain");
        let connection = deployment.connect().await.expect("the chain answers");
        let (operator, operator_index) = file.operator(chain).expect("an operator");
        Self {
            chain,
            cheats: Cheats::on(file, chain),
            reader: connection.reader(),
            connection,
            domain: deployment.domain().expect("a deployment's domain"),
            token: deployment.token_domain(),
            relayer: Relayer::new(file.relayer.clone()),
            indexer: Relayer::new(file.indexer.clone()),
            operator,
            operator_index,
            file: file.clone(),
        }
    }

    /// A path that means something else on each chain.
    #[must_use]
    pub fn here(&self, path: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}network={}", self.chain.caip2())
    }

    /// Key of the `index`-th funded wallet.
    #[must_use]
    pub fn key(&self, index: usize) -> Key {
        Key::parse(&self.key_text(index)).expect("a devnet key")
    }

    /// The key as clients that are not ours take it.
    #[must_use]
    pub fn key_text(&self, index: usize) -> String {
        self.file.funded_keys(self.chain)[index].clone()
    }

    /// The `index`-th funded wallet, without an account.
    #[must_use]
    pub fn wallet(&self, index: usize) -> Signer {
        self.key(index).signer
    }

    /// A wallet that holds nothing.
    #[must_use]
    pub fn stranger(&self) -> Key {
        Key::from_bytes(&rand::random(), self.chain).expect("almost every 32 bytes are a key")
    }

    /// The stock x402 client of a wallet.
    #[must_use]
    pub fn stock(&self, key: &Key) -> ExactPayer {
        self.connection.exact(key, usdc("500")).expect("a key of the chain")
    }

    /// Opens an account on-chain and waits until the relayer knows it.
    pub async fn agent(&self, wallet: usize, deposit: &str, ceiling: Usdc) -> Agent {
        let signer = self.wallet(wallet);
        let amount = usdc(deposit);
        let action = Action::Deposit { operator_index: self.operator_index, owner: signer.address(), amount, ceiling };
        let account = self.opened(&signer, &action).await;
        let agent = Agent::new(signer, account, self.chain);
        self.known(&agent).await;
        agent
    }

    /// Posts a deposit; the account it credits.
    pub async fn opened(&self, signer: &Signer, deposit: &Action) -> AccountId {
        let (transaction, outcome) = self.post(signer, deposit).await;
        let events = self.reader.events(outcome.block_number, outcome.block_number).await.expect("the chain answers");
        let credited = events.into_iter().filter(|event| event.meta.transaction == transaction).find_map(|event| {
            match event.kind {
                EventKind::Deposited { account, .. } => Some(account),
                _ => None,
            }
        });
        credited.expect("a deposit emits Deposited")
    }

    /// Waits until the relayer lets the account run jobs.
    pub async fn known(&self, agent: &Agent) {
        self.until("the relayer to see the deposit", || async {
            let answer = self.run(agent, &agent.summary("One. Two. Three.")).await;
            matches!(&answer, Ok(answer) if answer.status == 200).then_some(())
        })
        .await;
    }

    /// Runs a job as the agent; keeps nothing.
    ///
    /// # Errors
    /// In words, when no answer came.
    pub async fn run(&self, agent: &Agent, request: &Request) -> Result<Answer, String> {
        let payer = self.payer(agent);
        let offer = self.relayer.offer(request).await.map_err(|error| error.to_string())?;
        let terms = payer.terms(Some(&offer)).map_err(|error| error.to_string())?;
        let headers = payer
            .headers(&terms, &payer.authorization(request, terms.max_list), None)
            .map_err(|error| error.to_string())?;
        self.relayer.send(request, &headers).await.map_err(|error| error.to_string())
    }

    /// Pays from the agent's credit.
    #[must_use]
    pub fn payer(&self, agent: &Agent) -> CreditPayer {
        CreditPayer {
            signer: agent.signer.clone(),
            account: agent.account,
            domain: self.domain,
            operator: self.operator,
        }
    }

    /// Posts as `signer`; it must succeed.
    pub async fn post(&self, signer: &Signer, action: &Action) -> (TransactionId, TransactionOutcome) {
        let (hash, outcome) = self.try_post(signer, action).await.expect("the transaction is taken");
        assert!(outcome.succeeded, "transaction {hash} reverted");
        (hash, outcome)
    }

    /// Posts as `signer`.
    ///
    /// # Errors
    /// What the chain refuses.
    pub async fn try_post(
        &self,
        signer: &Signer,
        action: &Action,
    ) -> Result<(TransactionId, TransactionOutcome), ChainError> {
        self.connection.writer(signer.clone())?.execute(action).await
    }

    /// Every event there was.
    pub async fn history(&self) -> Vec<ChainEvent> {
        let head = self.reader.heads().await.expect("the chain answers").latest.number;
        self.reader.events(self.reader.deployment_block(), head).await.expect("the chain answers")
    }

    /// Whether an account that was opened is closed: marked so on Base, gone on Solana.
    pub async fn is_closed(&self, account: AccountId) -> bool {
        self.reader.account(account).await.expect("the chain answers").is_none_or(|account| account.closed)
    }

    /// What the account has been charged on-chain; by its last debit where closed accounts are deleted.
    pub async fn charged_on_chain(&self, account: AccountId) -> Usdc {
        if let Some(found) = self.reader.account(account).await.expect("the chain answers") {
            return found.state.charged;
        }
        let (mut opened, mut charged) = (false, Usdc::ZERO);
        for event in self.history().await {
            match event.kind {
                EventKind::AccountOpened { account: id, .. } if id == account => opened = true,
                EventKind::Debited { account: id, total_charged, .. } if id == account => charged = total_charged,
                _ => {}
            }
        }
        assert!(opened, "account {account} never existed");
        charged
    }

    /// USDC of a wallet.
    pub async fn usdc_of(&self, holder: Address) -> Usdc {
        self.reader.token_balance(holder, None).await.expect("the chain answers")
    }

    /// The operator's own interface.
    pub async fn admin(&self, request: &Request) -> Answer {
        let token = std::fs::read_to_string(&self.file.admin_token_file).expect("the admin token");
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).expect("a header");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        self.relayer.send(request, &headers).await.expect("the relayer answers")
    }

    /// Seals and posts what is open.
    pub async fn flush(&self) -> Value {
        let answer = self.admin(&Request::post(self.here("/admin/v1/flush"), &json!({}))).await;
        assert_eq!(answer.status, 200, "flush: {}", answer.body);
        answer.body
    }

    /// Where the indexer shows an account.
    #[must_use]
    pub fn account_path(&self, account: AccountId) -> String {
        self.here(&format!("/api/v1/accounts/{account}"))
    }

    /// Asks again until there is an answer.
    pub async fn until<T, F: Future<Output = Option<T>>>(&self, what: &str, mut check: impl FnMut() -> F) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = check().await {
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "waited {} s in vain for {what} on {}; logs: {}",
                PATIENCE.as_secs(),
                self.chain,
                self.file.dir.display()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
