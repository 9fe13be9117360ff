//! A devnet of its own for each test, on free ports, in its own folder.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compute_futures_chain::evm::{EvmReader, EvmWriter};
use compute_futures_chain::{Action, ChainError, ChainReader, ChainWriter, TransactionOutcome};
use compute_futures_cli::args::DevnetArgs;
use compute_futures_cli::client::{Answer, CreditPayer, Relayer, Request};
use compute_futures_cli::devnet::Devnet;
use compute_futures_protocol::{AccountId, Address, Domain, Signer, TokenDomain, TransactionId, Usdc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::Agent;

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

/// Chain, relayer and indexer, and ways to them.
pub struct World {
    /// The processes.
    pub net: Devnet,
    /// Reads the chain.
    pub reader: Arc<EvmReader>,
    /// Domain of signatures.
    pub domain: Domain,
    /// Domain of USDC's own signatures.
    pub token: TokenDomain,
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
    /// Starts everything; `name` is the folder under `target/tests`.
    pub async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// Starts everything, with these further settings of the relayer (environment variables).
    pub async fn start_with(name: &str, settings: &[(String, String)]) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository");
        let dir = root.join("target").join("tests").join(name);
        let args = DevnetArgs {
            block_time: 1,
            refund_delay: 600,
            rpc_port: 0,
            relayer_port: 0,
            indexer_port: 0,
            dir: dir.clone(),
            log: "info".into(),
        };
        let mut net = Devnet::start(&args, &dir.with_extension("json")).await.expect("the devnet starts");
        if !settings.is_empty() {
            net.restart_relayer(settings).await.expect("the relayer starts with its settings");
        }
        let evm = &net.file.evm;
        Self {
            reader: EvmReader::connect(net.chain_config()).await.expect("the chain answers"),
            domain: Domain::evm(evm.chain_id, evm.compute_futures),
            token: TokenDomain::usdc(evm.chain_id, evm.usdc),
            relayer: Relayer::new(net.file.relayer.clone()),
            indexer: Relayer::new(net.file.indexer.clone()),
            operator: evm.operator,
            operator_index: evm.operator_index,
            net,
        }
    }

    /// The `index`-th funded wallet, without an account.
    #[must_use]
    pub fn wallet(&self, index: usize) -> Signer {
        Signer::from_hex(&self.net.file.evm.funded_keys[index]).expect("a devnet key")
    }

    /// Its key in hex, for clients that are not ours.
    #[must_use]
    pub fn key(&self, index: usize) -> String {
        self.net.file.evm.funded_keys[index].clone()
    }

    /// A wallet that holds nothing.
    #[must_use]
    pub fn stranger(&self) -> Signer {
        Signer::from_bytes(&rand::random()).expect("almost every 32 bytes are a key")
    }

    /// Opens an account on-chain and waits until the relayer knows it.
    pub async fn agent(&self, wallet: usize, deposit: &str, ceiling: Usdc) -> Agent {
        let signer = self.wallet(wallet);
        let amount = crate::usdc(deposit);
        let action = Action::Deposit { operator_index: self.operator_index, owner: signer.address(), amount, ceiling };
        self.post(&signer, &action).await;
        let operator = self.reader.operator(self.operator_index).await.expect("the chain answers").expect("registered");
        let account = AccountId::new(self.operator_index, operator.last_sequence).expect("an id");
        let agent = Agent::new(signer, account);
        self.known(&agent).await;
        agent
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
        EvmWriter::new(self.reader.clone(), signer.clone())?.execute(action).await
    }

    /// What the account has been charged on-chain.
    pub async fn charged_on_chain(&self, account: AccountId) -> Usdc {
        self.reader.account(account).await.expect("the chain answers").expect("the account exists").state.charged
    }

    /// USDC of a wallet.
    pub async fn usdc_of(&self, holder: Address) -> Usdc {
        self.reader.token_balance(holder, None).await.expect("the chain answers")
    }

    /// The operator's own interface.
    pub async fn admin(&self, request: &Request) -> Answer {
        let token = std::fs::read_to_string(&self.net.file.admin_token_file).expect("the admin token");
        let value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).expect("a header");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        self.relayer.send(request, &headers).await.expect("the relayer answers")
    }

    /// Seals and posts what is open.
    pub async fn flush(&self) -> Value {
        let answer = self.admin(&Request::post("/admin/v1/flush", &json!({}))).await;
        assert_eq!(answer.status, 200, "flush: {}", answer.body);
        answer.body
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
                "waited {} s in vain for {what}; logs: {}",
                PATIENCE.as_secs(),
                self.net.file.dir.display()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
