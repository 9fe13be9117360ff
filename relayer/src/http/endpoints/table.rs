//! Every endpoint, in the order of the documents.

use compute_futures_protocol::JobKind;

use super::super::futures::sponsored;
use super::super::shapes::{self, jobs};
use super::market;
use super::{Endpoint, GateName, Id, Method, Param, Price, Schemes, Shape, free, paid};

const JOB_ID: Param = Param {
    name: "jobId",
    in_path: true,
    required: true,
    description: "As the 202 answered it: 0x and 64 hex digits; for one job of a batch with its number, as 0x….3.",
};

const FUTURES_ID: Param = Param {
    name: "futuresId",
    in_path: false,
    required: false,
    description: "The account: CFE-XXXXXXXX. May be left out when the payment itself names the account, or the payer owns exactly one.",
};

const NETWORK: Param = Param {
    name: "network",
    in_path: false,
    required: false,
    description: "CAIP-2 name of the network; needed where several are served and the account is named by its number alone.",
};

/// Every endpoint.
pub const ENDPOINTS: &[Endpoint] = &[
    paid(
        Id::TextInference,
        Method::Post,
        "/api/v1/compute/text-inference",
        "Chat or completion",
        Price::Job(JobKind::TextInference),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::TextAnswer>(),
    )
    .takes(Shape::of::<shapes::TextRequest>()),
    paid(
        Id::ImageGeneration,
        Method::Post,
        "/api/v1/compute/image-generation",
        "Images from a text",
        Price::Job(JobKind::ImageGeneration),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::ImageAnswer>(),
    )
    .takes(Shape::of::<jobs::ImageRequest>()),
    paid(
        Id::VideoGeneration,
        Method::Post,
        "/api/v1/compute/video-generation",
        "A film from a text; takes minutes, so ask for its status",
        Price::Job(JobKind::VideoGeneration),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::VideoAnswer>(),
    )
    .takes(Shape::of::<jobs::VideoRequest>())
    .may_take_long(),
    paid(
        Id::TextToSpeech,
        Method::Post,
        "/api/v1/compute/text-to-speech",
        "A voice reads a text",
        Price::Job(JobKind::TextToSpeech),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::SpeechAnswer>(),
    )
    .takes(Shape::of::<jobs::SpeechRequest>()),
    paid(
        Id::SpeechToText,
        Method::Post,
        "/api/v1/compute/speech-to-text",
        "The text of a recording",
        Price::Job(JobKind::SpeechToText),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::TranscriptAnswer>(),
    )
    .takes(Shape::of::<jobs::TranscriptRequest>()),
    paid(
        Id::Embeddings,
        Method::Post,
        "/api/v1/compute/embeddings",
        "Vectors of texts",
        Price::Job(JobKind::Embeddings),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::EmbeddingsAnswer>(),
    )
    .takes(Shape::of::<shapes::EmbeddingsRequest>()),
    paid(
        Id::DocumentParsing,
        Method::Post,
        "/api/v1/compute/document-parsing",
        "The text of a PDF, an HTML page or a plain text",
        Price::Job(JobKind::DocumentParsing),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::DocumentAnswer>(),
    )
    .takes(Shape::of::<jobs::DocumentRequest>()),
    paid(
        Id::Batch,
        Method::Post,
        "/api/v1/compute/batch",
        "Up to 50 jobs of any kind in one payment, at 10% less; each succeeds or fails on its own",
        Price::Batch,
        Schemes::ExactAndCredit,
        Shape::of::<jobs::BatchAnswer>(),
    )
    .takes(Shape::of::<jobs::BatchRequest>())
    .may_take_long(),
    paid(
        Id::Status,
        Method::Get,
        "/api/v1/compute/status/{jobId}",
        "How a job is doing, and its result; for whoever paid for it",
        Price::Gate(GateName::Status),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::StatusAnswer>(),
    )
    .with(&[JOB_ID])
    .free_for_its_owner(),
    free(
        Id::Models,
        Method::Get,
        "/api/v1/compute/models",
        "Models on offer, with prices",
        Some(Shape::of::<shapes::ModelList>()),
    ),
    free(
        Id::Estimate,
        Method::Post,
        "/api/v1/compute/estimate",
        "What a job would cost: the same computation that quotes and charges it",
        Some(Shape::of::<shapes::Estimate>()),
    )
    .takes(Shape::of::<shapes::EstimateRequest>()),
    paid(
        Id::GpuRun,
        Method::Post,
        "/api/v1/gpu/run",
        "Any model of a GPU cloud, by shortcut or as owner/model, with its own input",
        Price::Job(JobKind::Gpu),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::GpuAnswer>(),
    )
    .takes(Shape::of::<jobs::GpuRequest>())
    .may_take_long(),
    paid(
        Id::GpuStatus,
        Method::Get,
        "/api/v1/gpu/status/{id}",
        "How a prediction is doing, and its result; for whoever paid for it",
        Price::Gate(GateName::GpuStatus),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::StatusAnswer>(),
    )
    .with(&[Param { name: "id", ..JOB_ID }])
    .free_for_its_owner(),
    free(
        Id::GpuModels,
        Method::Get,
        "/api/v1/gpu/models",
        "Shortcuts for models of GPU clouds, with prices",
        Some(Shape::of::<shapes::ModelList>()),
    ),
    paid(
        Id::Run,
        Method::Post,
        "/run",
        "Any job by the name of a service: a kind of job, or a model",
        Price::AnyJob,
        Schemes::ExactAndCredit,
        Shape::of::<shapes::Opaque>(),
    )
    .takes(Shape::of::<jobs::RunRequest>())
    .may_take_long(),
    free(
        Id::Artifact,
        Method::Get,
        "/api/v1/artifacts/{hash}",
        "A file that a job made, by the hash of its bytes",
        None,
    )
    .with(&[Param {
        name: "hash",
        in_path: true,
        required: true,
        description: "keccak256 of the file, 0x and 64 hex digits, as the answer names it.",
    }]),
    paid(
        Id::Deposit,
        Method::Post,
        "/api/v1/compute-futures/deposit",
        "Open a prepaid account, or add to one; the payment is the amount and the price of the call",
        Price::Gate(GateName::Deposit),
        Schemes::Exact,
        Shape::of::<shapes::DepositAnswer>(),
    )
    .takes(Shape::of::<shapes::DepositRequest>()),
    free(
        Id::DepositAddress,
        Method::Get,
        "/api/v1/compute-futures/deposit-address",
        "The address where any plain USDC transfer becomes credit of a depositor, and what waits there",
        Some(Shape::of::<shapes::DepositAddressAnswer>()),
    )
    .with(&[
        Param { name: "depositor", in_path: false, required: true, description: "Address that owns what arrives." },
        Param {
            name: "ceiling",
            in_path: false,
            required: false,
            description: "Most that may ever be charged, in USDC. Left out: all that arrives.",
        },
    ]),
    paid(
        Id::Balance,
        Method::Get,
        "/api/v1/compute-futures/balance",
        "Balance, tier, discount and use of an account",
        Price::Gate(GateName::Balance),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::BalanceAnswer>(),
    )
    .with(&[
        FUTURES_ID,
        Param {
            name: "depositor",
            in_path: false,
            required: false,
            description: "Instead: every account of this address.",
        },
        NETWORK,
    ])
    .free_for_its_owner(),
    paid(
        Id::Execute,
        Method::Post,
        "/api/v1/compute-futures/execute",
        "Run a job out of prepaid credit, at the account's discount",
        Price::Gate(GateName::Execute),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::ExecuteAnswer>(),
    )
    .takes(Shape::of::<shapes::ExecuteRequest>())
    .may_take_long(),
    paid(
        Id::History,
        Method::Get,
        "/api/v1/compute-futures/history",
        "Deposits, charges and refunds of an account, newest first",
        Price::Gate(GateName::History),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::HistoryAnswer>(),
    )
    .with(&[
        FUTURES_ID,
        Param { name: "limit", in_path: false, required: false, description: "Entries on one page." },
        Param {
            name: "before",
            in_path: false,
            required: false,
            description: "Cursor of the last entry seen, for the next page.",
        },
        NETWORK,
    ])
    .free_for_its_owner(),
    paid(
        Id::Refund,
        Method::Post,
        "/api/v1/compute-futures/refund",
        "Post what is owed, close the account, and pay what is left to its owner",
        Price::Gate(GateName::Refund),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::RefundAnswer>(),
    )
    .takes(Shape::of::<shapes::RefundRequest>()),
    paid(
        Id::Pricing,
        Method::Get,
        "/api/v1/compute-futures/pricing",
        "Tiers, discounts and the rate card whose hash stands on-chain",
        Price::Gate(GateName::Pricing),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::PricingAnswer>(),
    ),
    free(
        Id::SponsorOffer,
        Method::Post,
        "/api/v1/compute-futures/sponsor",
        "A transaction of an owner that the relayer would pay for, to be signed (Solana)",
        Some(Shape::of::<sponsored::SponsorOffer>()),
    )
    .takes(Shape::of::<sponsored::SponsorRequest>()),
    free(
        Id::SponsorSubmit,
        Method::Post,
        "/api/v1/compute-futures/sponsor/submit",
        "The same, signed: the relayer signs beside the owner, pays and posts it, once",
        Some(Shape::of::<sponsored::SponsorAnswer>()),
    )
    .takes(Shape::of::<sponsored::SponsorRequest>()),
    market::PROVIDERS,
    market::PROVIDER,
    market::QUOTE,
    market::OPEN,
    market::SESSION_OF,
    market::CLOSE,
    market::RECEIPTS,
    market::RECEIPT,
    market::INFERENCE,
    market::OUTCOMES,
    market::CREATE,
    market::SWEEP,
    market::ESCROW_OF,
    market::FUND,
    market::AGENTS,
    market::REFUND,
    market::EXPIRE,
    free(
        Id::Receipts,
        Method::Get,
        "/api/v1/receipts/{operatorIndex}/{batchNumber}",
        "The signed receipts of a posted batch; their Merkle root stands on-chain",
        Some(Shape::of::<shapes::Receipts>()),
    )
    .with(&[
        Param {
            name: "operatorIndex",
            in_path: true,
            required: true,
            description: "Index of the operator in the contract.",
        },
        Param { name: "batchNumber", in_path: true, required: true, description: "Number of the batch, from 1." },
        Param {
            name: "network",
            in_path: false,
            required: false,
            description: "CAIP-2 name of the network, where several are served. Left out: Base, or the only one.",
        },
    ]),
    free(
        Id::RateCard,
        Method::Get,
        "/api/v1/rate-cards/{hash}",
        "The price list that terms on-chain name by its hash: nobody whose account was opened under it pays more",
        Some(Shape::of::<shapes::Opaque>()),
    )
    .with(&[Param {
        name: "hash",
        in_path: true,
        required: true,
        description: "keccak256 of the answer's bytes, 0x and 64 hex digits: `rateCardHash` of the terms.",
    }]),
    paid(
        Id::ChatCompletions,
        Method::Post,
        "/v1/chat/completions",
        "Chat as OpenAI's clients ask for it; `stream` too",
        Price::Job(JobKind::TextInference),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::TextAnswer>(),
    )
    .takes(Shape::of::<shapes::TextRequest>()),
    paid(
        Id::OpenAiEmbeddings,
        Method::Post,
        "/v1/embeddings",
        "Embeddings as OpenAI's clients ask for them",
        Price::Job(JobKind::Embeddings),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::EmbeddingsAnswer>(),
    )
    .takes(Shape::of::<shapes::EmbeddingsRequest>()),
    paid(
        Id::OpenAiImages,
        Method::Post,
        "/v1/images/generations",
        "Images as OpenAI's clients ask for them",
        Price::Job(JobKind::ImageGeneration),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::OpenAiImageAnswer>(),
    )
    .takes(Shape::of::<jobs::ImageRequest>()),
    paid(
        Id::OpenAiSpeech,
        Method::Post,
        "/v1/audio/speech",
        "Speech as OpenAI's clients ask for it; the answer is the audio",
        Price::Job(JobKind::TextToSpeech),
        Schemes::ExactAndCredit,
        Shape::of::<shapes::Opaque>(),
    )
    .takes(Shape::of::<jobs::OpenAiSpeechRequest>())
    .answers_bytes(),
    paid(
        Id::OpenAiTranscriptions,
        Method::Post,
        "/v1/audio/transcriptions",
        "Transcription as OpenAI's clients ask for it",
        Price::Job(JobKind::SpeechToText),
        Schemes::ExactAndCredit,
        Shape::of::<jobs::TranscriptAnswer>(),
    )
    .takes_form(Shape::of::<jobs::TranscriptionForm>()),
    free(
        Id::OpenAiModels,
        Method::Get,
        "/v1/models",
        "Models that run now, as OpenAI's clients list them",
        Some(Shape::of::<shapes::Opaque>()),
    ),
    free(
        Id::Discovery,
        Method::Get,
        "/.well-known/x402.json",
        "This catalogue for machines: endpoints, prices, schemes, contracts, terms",
        Some(Shape::of::<shapes::Opaque>()),
    ),
    free(
        Id::OpenApi,
        Method::Get,
        "/openapi.json",
        "This interface as OpenAPI 3.1",
        Some(Shape::of::<shapes::Opaque>()),
    ),
    free(Id::Llms, Method::Get, "/llms.txt", "This interface in a page, for language models", None),
    free(Id::Health, Method::Get, "/health", "Whether the process lives", Some(Shape::of::<shapes::Health>())),
    free(
        Id::Ready,
        Method::Get,
        "/ready",
        "Whether it can serve: ledger, chain and settlement of each network, providers; 503 with reasons when not",
        Some(Shape::of::<shapes::Ready>()),
    )
    .with(&[Param {
        name: "network",
        in_path: false,
        required: false,
        description: "CAIP-2 name of a network: 200 when that one is served. Left out: when any is.",
    }]),
    free(Id::Metrics, Method::Get, "/metrics", "Figures for Prometheus", None),
];
