//! The command line: every verb and flag, documented where it is declared.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use compute_futures_protocol::{Address, Chain, Usdc, parse_address};
use url::Url;

pub use crate::market_args::{EscrowCommand, ProviderCommand};
pub use crate::session_args::SessionCommand;

/// Prepaid compute on Base and Solana: deposit USDC, run jobs against it, verify every charge, take the rest back.
#[derive(Debug, Parser)]
#[command(name = "compute-futures", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Where to, and as whom.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to, and as whom")]
pub struct Global {
    /// Network; `local` and `local-solana` are those of the devnet that `compute-futures devnet` describes in target/devnet.json.
    #[arg(long, global = true, value_enum, default_value_t = Network::Local, env = "COMPUTE_FUTURES_NETWORK")]
    pub network: Network,
    /// RPC URL; several (separated by commas) are tried in order.
    #[arg(long, global = true, value_delimiter = ',', env = "COMPUTE_FUTURES_RPC", hide_env_values = true)]
    pub rpc: Vec<String>,
    /// The ComputeFutures contract; on Solana the program's id. Default: the network's.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_CONTRACT", value_parser = parse_address)]
    pub contract: Option<Address>,
    /// ProviderRegistry of the marketplace; on Solana the program's id. Default: the network's.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_PROVIDER_REGISTRY", value_name = "ADDRESS", value_parser = parse_address)]
    pub provider_registry: Option<Address>,
    /// ComputeEscrow of the marketplace; on Solana the program's id. Default: the network's.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_COMPUTE_ESCROW", value_name = "ADDRESS", value_parser = parse_address)]
    pub compute_escrow: Option<Address>,
    /// URL of the operator's relayer.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_RELAYER")]
    pub relayer: Option<Url>,
    /// URL of an indexer.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_INDEXER")]
    pub indexer: Option<Url>,
    /// Index of the operator; default: the devnet's, or the relayer's own.
    #[arg(long, global = true, env = "COMPUTE_FUTURES_OPERATOR")]
    pub operator: Option<u32>,
    /// Where the key is: env:NAME, file:PATH (mode 0600; hex, or on Solana what solana-keygen writes), keystore:PATH (password in
    /// COMPUTE_FUTURES_KEYSTORE_PASSWORD), or devnet:N for the devnet's N-th funded key.
    #[arg(long, global = true, default_value = "env:COMPUTE_FUTURES_KEY", value_name = "SOURCE")]
    pub key: String,
    /// What the devnet wrote about itself.
    #[arg(long, global = true, default_value = crate::devnet::DEFAULT_FILE, env = "COMPUTE_FUTURES_DEVNET", value_name = "PATH")]
    pub devnet: PathBuf,
    /// One JSON object on standard output; failures as JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Networks with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// Base mainnet.
    Base,
    /// Base's test network.
    BaseSepolia,
    /// The devnet on this machine, its Base.
    Local,
    /// Solana mainnet.
    Solana,
    /// Solana's test network.
    SolanaDevnet,
    /// The devnet on this machine, its Solana.
    LocalSolana,
}

impl Network {
    /// The chain; a devnet's are mainnets to whoever signs.
    #[must_use]
    pub const fn chain(self) -> Chain {
        match self {
            Self::Base | Self::Local => Chain::Base,
            Self::BaseSepolia => Chain::BaseSepolia,
            Self::Solana | Self::LocalSolana => Chain::Solana,
            Self::SolanaDevnet => Chain::SolanaDevnet,
        }
    }

    /// Whether a devnet on this machine is meant.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local | Self::LocalSolana)
    }

    /// The RPC URL used when none is given; a devnet says its own.
    #[must_use]
    pub const fn public_rpc(self) -> &'static str {
        match self {
            Self::Base => "https://mainnet.base.org",
            Self::BaseSepolia => "https://sepolia.base.org",
            Self::Solana => "https://api.mainnet-beta.solana.com",
            Self::SolanaDevnet => "https://api.devnet.solana.com",
            Self::Local | Self::LocalSolana => "",
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepay: open an account, or top one up.
    Deposit(DepositArgs),
    /// Credit, charges and what is left.
    Balance(BalanceArgs),
    /// Run a job from credit; prints the answer and its checked receipt.
    Run(RunArgs),
    /// Take back what is left.
    Refund(RefundArgs),
    /// Check a receipt: signature, authorisation, and its place in the batch on-chain.
    Verify(VerifyArgs),
    /// Raise how much the operator may charge in total.
    Ceiling(CeilingArgs),
    /// Set or clear the session key that may sign spending, never refunds.
    Delegate(DelegateArgs),
    /// Re-derive every charge of an account from receipts and chain, and say what does not add up.
    Audit(AuditArgs),
    /// The operator's verbs.
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Serve the OpenAI API on this machine, paid from credit.
    Proxy(ProxyArgs),
    /// Serve the tools of the Model Context Protocol, paid from credit.
    Mcp(McpArgs),
    /// Sell inference: register what is served at what price, take the earnings.
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Give agents a budget without giving them the money.
    #[command(subcommand)]
    Escrow(EscrowCommand),
    /// Spend an escrow's budget with a provider, session by session.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Run a relayer.
    Relayer(ServiceArgs),
    /// Run an indexer.
    Indexer(ServiceArgs),
    /// Start Base and Solana with USDC and ComputeFutures, a relayer and an indexer on this machine.
    Devnet(DevnetArgs),
    /// Play the whole story on a devnet, checking every step.
    Demo(DemoArgs),
    /// Print shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Runs a program that dies with the process that started it.
    #[command(hide = true)]
    Guard {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// `deposit`
#[derive(Debug, Args)]
pub struct DepositArgs {
    /// How much, in USDC.
    #[arg(allow_negative_numbers = true)]
    pub amount: Usdc,
    /// Top up this account (id, or CFE-…) instead of opening one.
    #[arg(long)]
    pub account: Option<String>,
    /// Most that the operator may charge in total, in USDC; default: all that is deposited.
    #[arg(long, allow_negative_numbers = true)]
    pub ceiling: Option<Usdc>,
    /// Sign only; the relayer pays the gas (Base: an EIP-3009 authorisation; Solana: as --x402).
    #[arg(long, group = "way")]
    pub gasless: bool,
    /// Transfer to the account's deposit address; anyone can turn it into credit.
    #[arg(long, group = "way")]
    pub transfer: bool,
    /// Pay the relayer's HTTP 402 as a stock x402 client does.
    #[arg(long, group = "way")]
    pub x402: bool,
    /// Solana: the relayer pays the fee. Without this it does so when the wallet has no SOL.
    #[arg(long, group = "way")]
    pub sponsored: bool,
    /// With --transfer: only print the deposit address; send from any wallet or exchange.
    #[arg(long, requires = "transfer")]
    pub print: bool,
}

/// `balance`
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// Account id, or CFE-…; default: every account of the key's address.
    pub account: Option<String>,
    /// Every account of this owner.
    #[arg(long, conflicts_with = "account", value_parser = parse_address)]
    pub owner: Option<Address>,
    /// Ask the relayer for charges not yet posted as well; costs its gate price, paid from credit.
    #[arg(long, requires = "account")]
    pub pending: bool,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The account that pays (id, or CFE-…).
    #[arg(long)]
    pub account: String,
    /// What to ask; `-` reads standard input.
    pub prompt: String,
    /// Kind of job.
    #[arg(long = "type", value_enum, default_value_t = JobType::TextInference)]
    pub job: JobType,
    /// Model id, or `auto`.
    #[arg(long, default_value = "auto")]
    pub model: String,
    /// Bound of the answer, in tokens.
    #[arg(long)]
    pub max_tokens: Option<u32>,
    /// Most this job may cost (net, USDC).
    #[arg(long, allow_negative_numbers = true)]
    pub max: Option<Usdc>,
    /// Sign a ceiling up to this (total charges, USDC) when the present one is too low.
    #[arg(long, allow_negative_numbers = true)]
    pub raise_ceiling: Option<Usdc>,
    /// Sign a ceiling as high as the account's credit when the present one is too low.
    #[arg(long, conflicts_with = "raise_ceiling")]
    pub yes: bool,
    /// Write the receipt to this file, for `compute-futures verify`.
    #[arg(long, value_name = "PATH")]
    pub receipt: Option<PathBuf>,
}

/// Kinds of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JobType {
    /// Chat or completion.
    TextInference,
    /// One vector a line of the prompt.
    Embeddings,
}

/// `proxy`
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// The account that pays (id, or CFE-…).
    #[arg(long)]
    pub account: String,
    /// Port on 127.0.0.1; 0: any free one.
    #[arg(long, default_value_t = 4030)]
    pub port: u16,
    /// Most that may be spent until the proxy is stopped (net, USDC).
    #[arg(long, default_value = "1")]
    pub limit: Usdc,
    /// Most that one request may cost (net, USDC).
    #[arg(long)]
    pub max: Option<Usdc>,
    /// Sign a ceiling up to this (total charges, USDC) when the present one is too low.
    #[arg(long)]
    pub raise_ceiling: Option<Usdc>,
    /// Stop when standard input closes: for a parent process that must not leave children behind.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// `mcp`
#[derive(Debug, Args)]
pub struct McpArgs {
    /// The account that pays (id, or CFE-…); without one only what is free works, until a deposit opens one.
    #[arg(long)]
    pub account: Option<String>,
    /// Serve streamable HTTP on this port of 127.0.0.1 (0: any free one) instead of standard input and output.
    #[arg(long, value_name = "PORT")]
    pub http: Option<u16>,
    /// Most that the tools may spend in this session (net, USDC).
    #[arg(long, default_value = "1")]
    pub limit: Usdc,
    /// Most that the tools may deposit from the wallet in this session, in USDC; by default they only say how to.
    #[arg(long, default_value = "0")]
    pub deposit_limit: Usdc,
    /// Whom the tools may let in to the wallet's escrows, beside the wallet itself: an agent can spend what is in them. Several times for
    /// several.
    #[arg(long = "agent", value_parser = parse_address, value_name = "ADDRESS")]
    pub agents: Vec<Address>,
    /// The only meter that sessions on escrows that the tools create may name: whom you trust to count. Default: each agent names its own.
    #[arg(long, value_parser = parse_address, value_name = "ADDRESS")]
    pub meter: Option<Address>,
    /// Most transactions that the tools may try to post in this session; the wallet pays their gas. 0: none.
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    pub transactions: u32,
    /// Sign a ceiling up to this (total charges, USDC) when the present one is too low.
    #[arg(long)]
    pub raise_ceiling: Option<Usdc>,
}

/// `refund`
#[derive(Debug, Args)]
pub struct RefundArgs {
    /// The account to close (id, or CFE-…).
    pub account: String,
    /// On-chain, without the operator: start the refund delay.
    #[arg(long, group = "how")]
    pub request: bool,
    /// On-chain, without the operator: take the money once the delay is over.
    #[arg(long, group = "how")]
    pub claim: bool,
    /// Solana: the relayer pays the fee of --request or --claim. Without this it does so when the wallet has no SOL.
    #[arg(long, requires = "how")]
    pub sponsored: bool,
}

/// `verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A receipt as JSON (an answer that holds one will do); `-` reads standard input.
    #[arg(required_unless_present = "hash")]
    pub receipt: Option<PathBuf>,
    /// Or the hash of a receipt, which is then looked up in its batch.
    #[arg(long, requires = "batch", conflicts_with = "receipt")]
    pub hash: Option<compute_futures_protocol::B256>,
    /// Batch number of --hash.
    #[arg(long)]
    pub batch: Option<u64>,
}

/// `ceiling`
#[derive(Debug, Args)]
pub struct CeilingArgs {
    /// The account (id, or CFE-…).
    pub account: String,
    /// New ceiling on total charges, in USDC; above the present one.
    #[arg(allow_negative_numbers = true)]
    pub ceiling: Usdc,
    /// Solana: the relayer pays the fee. Without this it does so when the wallet has no SOL.
    #[arg(long, conflicts_with = "sign")]
    pub sponsored: bool,
    /// Only sign it (`SpendCeiling`: EIP-712, or ed25519 on Solana) and print the signature; anyone can submit it.
    #[arg(long)]
    pub sign: bool,
}

/// `delegate`
#[derive(Debug, Args)]
pub struct DelegateArgs {
    /// The account (id, or CFE-…).
    pub account: String,
    /// The session key's address.
    #[arg(required_unless_present = "clear", value_parser = parse_address)]
    pub delegate: Option<Address>,
    /// Clear it.
    #[arg(long, conflicts_with = "delegate")]
    pub clear: bool,
    /// Solana: the relayer pays the fee. Without this it does so when the wallet has no SOL.
    #[arg(long)]
    pub sponsored: bool,
}

/// `audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The account (id, or CFE-…).
    pub account: String,
    /// Where the operator publishes receipts; default: --relayer.
    #[arg(long)]
    pub receipts: Option<Url>,
    /// Also compare each list price with the rate card that the account was opened under. What a job used is asked of the relayer, as
    /// the account's history: its pages are paid from credit, so this needs the key.
    #[arg(long)]
    pub prices: bool,
}

/// `operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Register the key's address as an operator, or set new terms, from a relayer's configuration.
    Register {
        /// The relayer's configuration file.
        #[arg(long, value_name = "PATH")]
        config: Option<PathBuf>,
    },
    /// What an operator offers, and where it stands on-chain.
    Terms,
    /// Seal and post the open batch now.
    Flush(AdminArgs),
    /// Queue, batches, fees and earnings of a running relayer.
    Status(AdminArgs),
    /// Withdraw earnings through a running relayer.
    Withdraw {
        /// How much, in USDC.
        #[arg(allow_negative_numbers = true)]
        amount: Usdc,
        /// To which address.
        #[arg(long, value_parser = parse_address)]
        to: Address,
        /// How to reach the relayer.
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// How to reach a relayer as its operator.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The token file that the relayer wrote at its start; default: the devnet's.
    #[arg(long, env = "COMPUTE_FUTURES_ADMIN_TOKEN_FILE", value_name = "PATH")]
    pub token_file: Option<PathBuf>,
}

/// `relayer`, `indexer`
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Configuration file (TOML); the environment overrides it.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print every setting in force, documented, and exit.
    #[arg(long)]
    pub print_config: bool,
    /// Check the configuration and exit.
    #[arg(long, conflicts_with = "print_config")]
    pub check: bool,
    /// Stop when standard input closes: for a parent process that must not leave children behind.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// `devnet`
#[derive(Debug, Clone, Args)]
pub struct DevnetArgs {
    /// Start one chain only; default: both.
    #[arg(long, value_enum)]
    pub only: Option<Only>,
    /// Seconds between blocks on Base.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub block_time: u64,
    /// Milliseconds between slots on Solana; a blockhash lives for 150 of them.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    pub slot_ms: u64,
    /// Seconds between a refund request and the refund without the operator.
    #[arg(long, default_value_t = 86_400)]
    pub refund_delay: u32,
    /// Port of the RPC of Base; 0: any free one. That of Solana is any free one.
    #[arg(long, default_value_t = 8545)]
    pub rpc_port: u16,
    /// Port of the relayer; 0: any free one.
    #[arg(long, default_value_t = 4020)]
    pub relayer_port: u16,
    /// Port of the indexer; 0: any free one.
    #[arg(long, default_value_t = 4021)]
    pub indexer_port: u16,
    /// Where chain state, books, keys and logs are kept.
    #[arg(long, default_value = "target/devnet", value_name = "PATH")]
    pub dir: PathBuf,
    /// Log filter of relayer and indexer (their logs are in --dir).
    #[arg(long, default_value = "info")]
    pub log: String,
}

/// The chains of a devnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Base.
    Base,
    /// Solana.
    Solana,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Exit after the story; otherwise the devnet stays up for a look around.
    #[arg(long)]
    pub once: bool,
    /// Play on one chain only; default: on both.
    #[arg(long, value_enum)]
    pub only: Option<Only>,
    /// Jobs to run at once on one account.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub jobs: u32,
    /// Inferences on the marketplace.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(30..=5_000))]
    pub calls: u32,
    /// Play on fixed ports 8545, 4020, 4021 instead of free ones.
    #[arg(long)]
    pub fixed_ports: bool,
}
