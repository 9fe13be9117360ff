//! The sections `[base]` and `[solana]`: all that belongs to one network.

use compute_futures_chain::KeySource;
use compute_futures_protocol::{Address, Chain, SolanaAddress, Usdc, usdc};

use super::section::section;

/// Nobody's address on Solana: "not set".
const NO_SOLANA_ADDRESS: Address = Address::Solana(SolanaAddress::new([0; 32]));

section! {
    /// Base. Everything that belongs to this network alone; it has its own ledger and its own keys, and nothing of it waits for another
    /// network. Keys are places, never keys: `{ env = "NAME" }` (hex), `{ file = "/path" }` (hex; readable by its owner alone, mode
    /// 0600), `{ keystore = "/path", password_env = "NAME" }` or `{ keystore = "/path", password_file = "/path" }` (encrypted JSON).
    pub struct BaseConfig {
        /// Whether this relayer serves Base.
        enabled: bool = true,
        /// CAIP-2 name of the network: eip155:8453 (Base) or eip155:84532 (Base Sepolia).
        network: Chain = Chain::Base,
        /// RPC URLs, tried in this order when one fails. They often hold a key, so only their hosts are ever printed or logged.
        @secret rpc_urls: Vec<String> = vec!["https://mainnet.base.org".into()],
        /// Address of the ComputeFutures contract. The zero address: where the deterministic deployment puts it on that network.
        contract: Address = Address::ZERO,
        /// Address of USDC on that network. The zero address: Circle's.
        token: Address = Address::ZERO,
        /// EIP-712 name of that token, over which payments are signed. Empty: that of Circle's USDC on the network.
        token_name: String = String::new(),
        /// EIP-712 version of that token.
        token_version: String = "2".into(),
        /// The block the contract was deployed in: following starts here. 0: searched for, which needs an RPC with old state.
        deployment_block: u64 = 0,
        /// Milliseconds between two looks at the chain's head.
        poll_interval_ms: u64 = 1000,
        /// Milliseconds that one RPC request may take before the next URL is tried.
        request_timeout_ms: u64 = 10_000,
        /// Most blocks asked for in one eth_getLogs; what a provider allows below that is found out.
        max_log_range: u64 = 10_000,
        /// Blocks under the newest one that count as safe where the RPC has no `safe` tag.
        safe_depth: u64 = 300,
        /// Blocks under the newest one that count as finalized where the RPC has no `finalized` tag.
        finalized_depth: u64 = 900,
        /// An RPC this many blocks behind the best one is passed over.
        max_head_lag: u64 = 15,
        /// Deposits of an account up to this sum (USDC) may be spent as soon as they are in the newest block.
        #[serde(with = "usdc::decimal")]
        trust_latest: Usdc = Usdc::from_micros(100_000_000),
        /// Deposits of an account up to this sum (USDC) may be spent once their block is safe; more once it is finalized.
        #[serde(with = "usdc::decimal")]
        trust_safe: Usdc = Usdc::from_micros(10_000_000_000),
        /// Blocks behind the newest one from which on the network counts as not ready.
        max_follow_lag_blocks: u64 = 30,
        /// The operator's key: signs receipts and posts debits.
        operator_key: KeySource = KeySource::Env { env: "COMPUTE_FUTURES_OPERATOR_KEY".into() },
        /// The facilitator's key: pays the gas of `exact` payments. Must be another key, because both count nonces on their own.
        /// Not used with a remote facilitator.
        facilitator_key: KeySource = KeySource::Env { env: "COMPUTE_FUTURES_FACILITATOR_KEY".into() },
        /// URL of a remote x402 facilitator. Empty: the embedded one, with facilitator_key.
        facilitator_url: String = String::new(),
        /// Name of the environment variable that holds a bearer token for the remote facilitator. Empty: none.
        facilitator_token_env: String = String::new(),
        /// Most gas that settling one payment may need (embedded facilitator). An ordinary wallet's needs about 100,000; what a contract
        /// wallet's signature check needs is its owner's choice, and you pay for it.
        facilitator_max_gas: u64 = 500_000,
        /// Address that `exact` payments for calls go to. The zero address: the operator's own.
        pay_to: Address = Address::ZERO,
        /// Where the books of this network are: `sqlite:///path/to/ledger.db` for one relayer, `postgres://user:password@host/database`
        /// for many. Each network needs its own.
        @secret ledger_url: String = "sqlite://compute-futures-relayer.db".into(),
        /// Never pay more than this many gwei per gas.
        max_fee_gwei: u64 = 50,
        /// Post when this many rows wait; an account is one row, rarely two.
        max_rows: u64 = 200,
        /// ProviderRegistry of the marketplace.
        market_registry: Address = Address::ZERO,
        /// ComputeEscrow of the marketplace that this relayer meters sessions of, with the operator's key. The zero address: no marketplace here.
        market_escrow: Address = Address::ZERO,
        /// The block it was deployed in: following it starts here. 0: searched for, which needs an RPC with old state.
        market_deployment_block: u64 = 0,
    }
}

section! {
    /// Solana, likewise. Keys: `{ env = "NAME" }` or `{ file = "/path" }` with a Solana keypair: the 64 numbers that `solana-keygen`
    /// writes, or 64 bytes in base58.
    pub struct SolanaConfig {
        /// Whether this relayer serves Solana.
        enabled: bool = false,
        /// CAIP-2 name of the cluster: solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp (mainnet) or solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1 (devnet).
        network: Chain = Chain::Solana,
        /// RPC URLs, tried in this order when one fails. They often hold a key, so only their hosts are ever printed or logged.
        @secret rpc_urls: Vec<String> = vec!["https://api.mainnet-beta.solana.com".into()],
        /// The ComputeFutures program. Must be set.
        contract: Address = NO_SOLANA_ADDRESS,
        /// The mint of USDC. Zero: Circle's on that cluster, the only one that the program knows.
        token: Address = NO_SOLANA_ADDRESS,
        /// The slot of the program's deployment: following starts here.
        deployment_block: u64 = 0,
        /// Milliseconds between two looks at the newest slot.
        poll_interval_ms: u64 = 1000,
        /// Milliseconds that one RPC request may take before the next URL is tried.
        request_timeout_ms: u64 = 10_000,
        /// An RPC this many slots behind the best one is passed over.
        max_head_lag: u64 = 50,
        /// Deposits of an account up to this sum (USDC) may be spent as soon as they are confirmed (voted for by two thirds of the stake).
        #[serde(with = "usdc::decimal")]
        trust_latest: Usdc = Usdc::from_micros(10_000_000_000),
        /// The same once their slot is safe, which on Solana is the same as confirmed; more once it is finalized.
        #[serde(with = "usdc::decimal")]
        trust_safe: Usdc = Usdc::from_micros(10_000_000_000),
        /// Slots behind the newest one from which on the network counts as not ready.
        max_follow_lag_blocks: u64 = 150,
        /// The operator's key: signs receipts and posts debits.
        operator_key: KeySource = KeySource::Env { env: "COMPUTE_FUTURES_SOLANA_OPERATOR_KEY".into() },
        /// The facilitator's key: pays the fees of `exact` payments (`extra.feePayer`). Must be another key: whoever pays may have it named in
        /// a transaction of his own making. Not used with a remote facilitator.
        facilitator_key: KeySource = KeySource::Env { env: "COMPUTE_FUTURES_SOLANA_FACILITATOR_KEY".into() },
        /// URL of a remote x402 facilitator. Empty: the embedded one, with facilitator_key.
        facilitator_url: String = String::new(),
        /// Name of the environment variable that holds a bearer token for the remote facilitator. Empty: none.
        facilitator_token_env: String = String::new(),
        /// Most lamports that settling one payment may cost in fees (embedded facilitator): 10,000 for its two signatures, the rest for
        /// what the payer's wallet offers for priority.
        facilitator_max_lamports: u64 = 50_000,
        /// Most token accounts an hour that the embedded facilitator opens for new deposit addresses. Each holds 0.002 SOL of rent,
        /// which comes back when the address is closed.
        accounts_per_hour: u32 = 200,
        /// Most lamports a day (any 24 hours) that the operator's key lays out for verbs of owners without SOL (`/compute-futures/sponsored`):
        /// fees, and 0.00245 SOL of rent for each account that such a deposit opens, which come back when it is closed. Deposits may use
        /// half of it. 0: none are paid for.
        sponsored_lamports_per_day: u64 = 20_000_000,
        /// Most such verbs a day for one owner.
        sponsored_per_owner_per_day: u32 = 20,
        /// Most lamports that one of them may cost in fees: 10,000 for its two signatures, the rest for priority, which its signer may raise.
        sponsored_max_lamports: u64 = 50_000,
        /// Wallet that `exact` payments for calls go to. Zero: the operator's own.
        pay_to: Address = NO_SOLANA_ADDRESS,
        /// Where the books of this network are; as in [base], and never the same.
        @secret ledger_url: String = "sqlite://compute-futures-relayer-solana.db".into(),
        /// Never offer more than this many micro-lamports per compute unit.
        max_fee_micro_lamports: u64 = 1_000_000,
        /// Post when this many rows wait; an account is one row, rarely two. A transaction holds some 50; jobs of more accounts than
        /// that wait for the next batch.
        max_rows: u64 = 40,
        /// The provider-registry program of the marketplace.
        market_registry: Address = NO_SOLANA_ADDRESS,
        /// The compute-escrow program of the marketplace that this relayer meters sessions of, with the operator's key. Zero: no marketplace here.
        market_escrow: Address = NO_SOLANA_ADDRESS,
        /// The slot of its deployment: following it starts here.
        market_deployment_block: u64 = 0,
    }
}

/// Lamports of the two signatures of a sponsored transaction.
const TWO_SIGNATURES: u64 = 10_000;

impl SolanaConfig {
    /// What a sponsored transaction may offer for its place in a block, in lamports.
    #[must_use]
    pub const fn sponsored_priority(&self) -> u64 {
        self.sponsored_max_lamports.saturating_sub(TWO_SIGNATURES)
    }
}
