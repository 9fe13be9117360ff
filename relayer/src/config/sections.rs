//! The sections that all networks share, with defaults and documentation. [`super::networks`] has the others.

use std::collections::BTreeMap;

use compute_futures_protocol::{JobKind, Tier, Usdc, usdc};
use serde::{Deserialize, Serialize};

use super::section::section;

section! {
    /// Where and how requests are taken.
    pub struct ServerConfig {
        /// Address and port to listen on. Put TLS in front (a reverse proxy) before binding to anything but loopback.
        bind: String = "127.0.0.1:4020".into(),
        /// URL under which clients reach this relayer, without a trailing slash; printed in the catalogue and in receipts' addresses.
        /// Empty: http:// and the address above.
        public_url: String = String::new(),
        /// Separate address for /metrics. Empty: served on `bind` like everything else.
        metrics_bind: String = String::new(),
        /// Largest request body in bytes; more is answered 413.
        body_limit_bytes: usize = 2 * 1024 * 1024,
        /// Seconds a request body may take to arrive; more is answered 408.
        body_timeout_seconds: u64 = 15,
        /// Connections open at once; further ones wait.
        connection_limit: usize = 4096,
        /// Seconds a request may take, provider and settlement included; more is answered 504. Whatever was paid or held is resolved all the same.
        request_timeout_seconds: u64 = 240,
        /// Seconds a client may take to send its headers.
        header_timeout_seconds: u64 = 10,
        /// Largest request head (request line and headers) in bytes.
        header_limit_bytes: usize = 64 * 1024,
        /// Requests served at once; more are answered 503 with Retry-After.
        concurrency_limit: usize = 1024,
        /// Requests without payment (free ones, first calls that are answered 402, and payments that are refused) a second that one IP
        /// address may send in the long run; 0 lifts the limit.
        free_requests_per_second: u32 = 100,
        /// Requests without payment that one IP address may send at once.
        free_requests_burst: u32 = 500,
        /// Take the client's address from the last entry of X-Forwarded-For. Only behind a proxy of your own that sets it.
        trust_forwarded_for: bool = false,
        /// Seconds that requests in flight get to finish when the relayer is told to stop.
        shutdown_seconds: u64 = 30,
    }
}

section! {
    /// How the books are kept; where they are, each network says itself.
    pub struct LedgerConfig {
        /// Connections to each database.
        connections: u32 = 8,
        /// Seconds after which a relayer that does not answer counts as stopped: the holds of its jobs are released.
        lease_seconds: u64 = 60,
        /// Seconds after which a hold (money reserved for a job in flight) is released although its process lives: longer than any job.
        hold_seconds: u64 = 3600,
        /// Days for which the answer of a job is kept for retries. Receipts are kept for good.
        keep_answers_days: u64 = 30,
    }
}

section! {
    /// When charges are posted to the chain; each network counts for itself.
    pub struct SettlementConfig {
        /// Post when this many receipts wait.
        max_receipts: u64 = 1000,
        /// Post when this much (USDC, net) waits.
        #[serde(with = "usdc::decimal")]
        max_value: Usdc = Usdc::from_micros(50_000_000),
        /// Post when the oldest receipt has waited this many seconds. Keep it far below terms.refund_delay_seconds.
        max_age_seconds: u64 = 300,
        /// Seconds without confirmation before a transaction is sent again with a higher fee.
        rebroadcast_seconds: u64 = 30,
        /// New jobs are refused (503) while more than this (USDC, net) waits for the chain: your risk when posting fails.
        #[serde(with = "usdc::decimal")]
        most_unposted: Usdc = Usdc::from_micros(1_000_000_000),
        /// The same for the age of the oldest receipt that waits, in seconds.
        most_unposted_seconds: u64 = 3600,
        /// Seconds that a refund with consent waits for jobs in flight and for the chain.
        refund_seconds: u64 = 60,
        /// Seconds that a stop waits for the last batch to be confirmed.
        flush_seconds: u64 = 60,
    }
}

section! {
    /// How long verifying and settling `exact` payments may take; who does it, each network says itself.
    pub struct FacilitatorConfig {
        /// Seconds to wait for an answer to verify.
        verify_timeout_seconds: u64 = 10,
        /// Seconds to wait for an answer to settle; then the chain is asked what became of the payment.
        settle_timeout_seconds: u64 = 60,
    }
}

/// What kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// Built in: extractive summaries, hashed embeddings, documents, and speech through espeak-ng; no network, no weights.
    #[default]
    Local,
    /// Anything that speaks OpenAI's API.
    OpenAi,
    /// Replicate.
    Replicate,
}

section! {
    /// One provider of inference.
    pub struct ProviderConfig {
        /// Name of your choice; models refer to it, answers and metrics show it.
        name: String = String::new(),
        /// `local` (built in), `openai` (any OpenAI-compatible API) or `replicate`.
        kind: ProviderKind = ProviderKind::Local,
        /// Base URL up to and including /v1. https, unless allow_insecure and the host is this machine.
        base_url: String = String::new(),
        /// Name of the environment variable that holds the API key. Empty: no key is sent.
        api_key_env: String = String::new(),
        /// Further headers to send, e.g. { "HTTP-Referer" = "https://example.com" }.
        @secret headers: BTreeMap<String, String> = BTreeMap::new(),
        /// Seconds for a whole answer.
        timeout_seconds: u64 = 120,
        /// Further attempts after a failed connection, a 429 or a 5xx.
        retries: u32 = 2,
        /// Largest answer in bytes.
        response_limit_bytes: usize = 8 * 1024 * 1024,
        /// Failures in a row after which the provider is left alone for a while.
        breaker_failures: u32 = 5,
        /// How long it is left alone, in seconds.
        breaker_seconds: u64 = 30,
        /// Leave it out, instead of refusing to start, when its key is not set: its models are then listed and not available.
        optional: bool = false,
        /// Largest file in bytes that it may make, or that a job may bring by its address.
        file_limit_bytes: usize = 64 * 1024 * 1024,
        /// Seconds after which it cancels a job by itself (replicate): the bound on what one job can cost you, where the model states no
        /// max_seconds.
        job_seconds: u64 = 900,
        /// Address that it tells when a job is done (replicate). Empty: that of this relayer, when server.public_url is on the public internet and
        /// webhook_secret_env is set; else it is asked.
        webhook_url: String = String::new(),
        /// Name of the environment variable that holds the secret it signs webhooks with (replicate), as whsec_….
        webhook_secret_env: String = String::new(),
        /// Allow plain http to a base_url of this machine.
        allow_insecure: bool = false,
        /// Fetch files that jobs bring by their address from anywhere, over http and inside your network too. For tests only:
        /// clients choose these addresses.
        files_anywhere: bool = false,
    }
}

section! {
    /// Where a model runs.
    pub struct RouteConfig {
        /// Name of a provider.
        provider: String = String::new(),
        /// The provider's own name of the model. Empty: the id of the model. `*`: whatever name the client asks for (kind gpu).
        model: String = String::new(),
        /// Names of input fields where the model's differ from ours (Replicate), e.g. { n = "num_outputs" }; an empty name leaves the field out.
        rename: BTreeMap<String, String> = BTreeMap::new(),
        /// Further input that the model is always given (Replicate), e.g. { prompt_optimizer = true }.
        input: BTreeMap<String, serde_json::Value> = BTreeMap::new(),
    }
}

section! {
    /// One model on offer. The rate card that agents see, and whose hash stands in the terms on-chain, is made of these.
    pub struct ModelConfig {
        /// Id that clients ask for.
        id: String = String::new(),
        /// Name for people. Empty: the id.
        name: String = String::new(),
        /// Further ids that clients may ask for.
        aliases: Vec<String> = Vec::new(),
        /// `text-inference`, `embeddings`, `image-generation`, `video-generation`, `text-to-speech`, `speech-to-text`, `document-parsing`
        /// or `gpu`.
        kind: JobKind = JobKind::TextInference,
        /// One sentence for people who choose a model.
        description: String = String::new(),
        /// Providers in order of preference; the next is tried when one fails.
        routes: Vec<RouteConfig> = Vec::new(),
        /// Price of a call in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_call: Usdc = Usdc::ZERO,
        /// Price of 1,000 tokens read, in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_1k_input: Usdc = Usdc::ZERO,
        /// Price of 1,000 tokens written, in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_1k_output: Usdc = Usdc::ZERO,
        /// Price of an image, in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_image: Usdc = Usdc::ZERO,
        /// Price of a second of audio or video, or of machine time (kind gpu), in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_second: Usdc = Usdc::ZERO,
        /// Price of 1,000 characters spoken or read out of a document, in USDC, before discount.
        #[serde(with = "usdc::decimal")]
        per_1k_characters: Usdc = Usdc::ZERO,
        /// Most seconds that one job is charged for; needed where per_second is set. A job of kind gpu is stopped after as many.
        max_seconds: u32 = 0,
        /// Tokens that the model can read and write in one call.
        context_length: u32 = 131_072,
        /// Most tokens that one answer may have.
        max_output_tokens: u32 = 4096,
        /// Whether `auto` may choose this model; the first healthy one in file order is taken.
        auto: bool = false,
    }
}

section! {
    /// Price of the call itself, in USDC, on the paid endpoints that are not jobs.
    pub struct GatesConfig {
        /// POST /api/v1/compute-futures/deposit
        #[serde(with = "usdc::decimal")]
        deposit: Usdc = Usdc::from_micros(10_000),
        /// GET /api/v1/compute-futures/balance
        #[serde(with = "usdc::decimal")]
        balance: Usdc = Usdc::from_micros(1_000),
        /// POST /api/v1/compute-futures/execute, when paid with `exact`; the job itself is charged from credit.
        #[serde(with = "usdc::decimal")]
        execute: Usdc = Usdc::from_micros(1_000),
        /// GET /api/v1/compute-futures/history
        #[serde(with = "usdc::decimal")]
        history: Usdc = Usdc::from_micros(2_000),
        /// POST /api/v1/compute-futures/refund
        #[serde(with = "usdc::decimal")]
        refund: Usdc = Usdc::from_micros(10_000),
        /// GET /api/v1/compute-futures/pricing
        #[serde(with = "usdc::decimal")]
        pricing: Usdc = Usdc::from_micros(1_000),
        /// POST /api/v1/compute/batch, when paid with `exact`: the least that a batch costs. From credit its jobs alone count.
        #[serde(with = "usdc::decimal")]
        batch: Usdc = Usdc::from_micros(50_000),
        /// GET /api/v1/compute/status/{jobId}
        #[serde(with = "usdc::decimal")]
        status: Usdc = Usdc::from_micros(1_000),
        /// GET /api/v1/gpu/status/{id}
        #[serde(with = "usdc::decimal")]
        gpu_status: Usdc = Usdc::from_micros(5_000),
    }
}

section! {
    /// One step of the volume discount.
    pub struct TierConfig {
        /// Total deposits (USDC) that earn it.
        #[serde(with = "usdc::decimal")]
        minimum_deposit: Usdc = Usdc::ZERO,
        /// Discount in basis points: 500 is 5 %.
        discount_bps: u16 = 0,
    }
}

section! {
    /// What this operator offers to accounts opened from now on; stands on-chain.
    pub struct TermsConfig {
        /// Register, and set the terms again when they differ from the chain's, when the relayer starts. Off: it refuses to start instead.
        set_on_start: bool = true,
        /// Seconds between an owner's request for a refund and the refund without anyone's help; at most 30 days. Keep it far above
        /// settlement.max_age_seconds.
        refund_delay_seconds: u32 = 24 * 60 * 60,
        /// Smallest deposit that opens an account, in USDC.
        #[serde(with = "usdc::decimal")]
        minimum_deposit: Usdc = Usdc::from_micros(1_000_000),
        /// Raise it with every change of prices: part of the rate card, whose hash stands on-chain.
        rate_card_version: u32 = 1,
        /// Up to three steps, both figures rising.
        tiers: Vec<TierConfig> = compute_futures_protocol::Terms::default_tiers().iter().map(TierConfig::from).collect(),
    }
}

impl From<&Tier> for TierConfig {
    fn from(tier: &Tier) -> Self {
        Self { minimum_deposit: tier.minimum_deposit, discount_bps: tier.discount_bps }
    }
}

section! {
    /// Where the models and their prices come from, when they are not named here.
    pub struct CatalogConfig {
        /// A file with [[providers]] and [[models]], such as relayer/rates.toml. Empty: the built-in one.
        rates: String = String::new(),
    }
}

section! {
    /// The operator's own interface: POST /admin/v1/flush, GET /admin/v1/status, POST /admin/v1/withdraw.
    pub struct AdminConfig {
        /// File that a fresh token is written to at every start, for its owner alone. Whoever can read it may use the interface, from this
        /// machine only. Empty: no such interface.
        token_file: String = String::new(),
    }
}

section! {
    /// What one job may ask for.
    pub struct LimitsConfig {
        /// Messages in a conversation.
        max_messages: usize = 512,
        /// Bytes of text in one job, all messages or inputs together.
        max_input_bytes: usize = 1024 * 1024,
        /// Texts in one embeddings job.
        max_embedding_inputs: usize = 1024,
        /// Tokens of an answer when the client does not say.
        default_max_tokens: u32 = 512,
        /// Characters of a prompt for an image or a film, or of a text to speak.
        max_prompt_characters: usize = 4096,
        /// Bytes of a recording or a document, in the request or at the address that a job names.
        max_file_bytes: usize = 25 * 1024 * 1024,
    }
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object a line.
    Json,
}

section! {
    /// Logs, to standard error.
    pub struct LogConfig {
        /// `pretty` or `json`.
        format: LogFormat = LogFormat::Pretty,
        /// What to log, as in `info,compute_futures_relayer=debug`.
        filter: String = "info".into(),
    }
}

section! {
    /// Jobs that outlive their request: long predictions and batches.
    pub struct JobsConfig {
        /// Items worked on at once by this process.
        concurrency: usize = 32,
        /// Milliseconds between two looks at the queue; new work is seen at once.
        poll_ms: u64 = 500,
        /// Seconds after which another relayer takes over from one that died.
        lease_seconds: u64 = 60,
        /// Seconds a request waits for its job to end before it is answered 202 with a job id.
        wait_seconds: u64 = 20,
        /// Seconds a job may take; then it is cancelled, and its hold released.
        timeout_seconds: u64 = 1800,
        /// Days for which an ended job can be asked for.
        keep_days: u64 = 7,
        /// Deliveries of a webhook before it is given up; the pauses between them double, from 5 seconds to an hour.
        webhook_attempts: u64 = 8,
        /// Deliver webhooks to any address, over http too. For development only: by default only public https addresses are called.
        webhooks_anywhere: bool = false,
    }
}

section! {
    /// Files that jobs make: audio, images, films.
    pub struct OutputsConfig {
        /// Days for which they are served.
        keep_days: u64 = 7,
        /// Largest file in bytes.
        max_bytes: u64 = 64 * 1024 * 1024,
        /// Directory that keeps them; relayers that share a ledger must share it too. Empty: the ledger's database.
        directory: String = String::new(),
    }
}

section! {
    /// The marketplace: metering sessions of agents with providers that registered on chain. Where it is, each network says itself
    /// (market_registry, market_escrow); the meter is the operator's key.
    pub struct MarketConfig {
        /// Seconds without a call after which a session is closed at what it cost so far.
        idle_seconds: u64 = 600,
        /// A session takes no calls in its last seconds, this many: in them it is closed. Past its deadline nobody is paid.
        close_margin_seconds: u64 = 300,
        /// Seconds between two looks for sessions to close; those found together are closed in one transaction.
        close_interval_seconds: u64 = 30,
        /// Seconds between two looks at whether a provider answers.
        probe_seconds: u64 = 60,
        /// Seconds that a provider may take for a whole answer. Keep it below close_margin_seconds.
        provider_timeout_seconds: u64 = 120,
        /// How far the tokens that a provider claims may exceed those counted here, in percent, before the count is paid instead. It is room
        /// for the vocabularies of other models.
        usage_tolerance_percent: u64 = 25,
        /// Weight of the price when a provider is chosen; only its share in all three counts.
        route_weight_price: u64 = 60,
        /// Weight of the time it takes to answer.
        route_weight_latency: u64 = 20,
        /// Weight of how often it answered.
        route_weight_uptime: u64 = 20,
        /// Smallest limit (USDC) of a session whose opening this relayer brings on chain for an agent: whoever makes it pay fees holds that
        /// much of its own.
        #[serde(with = "usdc::decimal")]
        relay_minimum: Usdc = Usdc::from_micros(100_000),
        /// Most transactions an hour that this relayer brings on chain for others: openings, creations, fundings, sweeps, expiries.
        relays_per_hour: u64 = 600,
        /// Most of them for one escrow or address.
        relays_per_hour_each: u64 = 60,
        /// Call providers anywhere, over http and on this machine too. For development only: by default only public https addresses are
        /// called.
        allow_loopback: bool = false,
    }
}
