//! A body for each endpoint, as short as it can be: for discovery, where a schema alone says too little.

use serde_json::{Value, json};

use super::{Endpoint, Id};

/// The smallest body that the endpoint takes; `{}` where it takes none.
pub(super) fn of(endpoint: &Endpoint) -> Value {
    let messages = json!([{ "role": "user", "content": "Summarize this contract: …" }]);
    match endpoint.id {
        Id::TextInference | Id::ChatCompletions => json!({ "model": "auto", "messages": messages }),
        Id::Embeddings | Id::OpenAiEmbeddings => json!({ "model": "auto", "input": ["a text"] }),
        Id::ImageGeneration | Id::OpenAiImages => {
            json!({ "model": "auto", "prompt": "a serene mountain lake at sunset" })
        }
        Id::VideoGeneration => json!({ "model": "auto", "prompt": "a paper boat on a stream" }),
        Id::TextToSpeech | Id::OpenAiSpeech => json!({ "model": "auto", "input": "Hello." }),
        Id::SpeechToText => json!({ "model": "auto", "audio_url": "https://example.com/talk.mp3" }),
        Id::OpenAiTranscriptions => json!({ "model": "auto", "file": "talk.mp3" }),
        Id::DocumentParsing => json!({ "model": "auto", "document_url": "https://example.com/paper.pdf" }),
        Id::Batch => json!({ "jobs": [
            { "type": "text-inference", "messages": messages },
            { "type": "embeddings", "input": ["a text"] },
        ] }),
        Id::Estimate => json!({ "type": "text-inference", "messages": messages }),
        Id::GpuRun => json!({ "model": "flux-pro", "input": { "prompt": "a serene mountain lake at sunset" } }),
        Id::Run => json!({ "service": "text-inference", "input": { "prompt": "Summarize this contract: …" } }),
        Id::Deposit => json!({ "depositor": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "amount": "50" }),
        Id::Execute => json!({ "futuresId": "CFE-ABC12345", "type": "text-inference", "messages": messages }),
        Id::Refund => json!({ "futuresId": "CFE-ABC12345" }),
        Id::MarketInference => json!({ "model": "llama-3.3-70b", "messages": messages, "maxTokens": 256 }),
        Id::MarketQuote => json!({
            "escrowId": 1, "agent": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "model": "llama-3.3-70b", "limit": "5000000",
        }),
        Id::EscrowCreate => json!({ "terms": terms(), "amount": "100000000" }),
        Id::EscrowSweep => json!({ "terms": terms(), "relay": true }),
        Id::EscrowFund => json!({ "payer": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "amount": "50000000" }),
        Id::EscrowAgents => json!({ "agent": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "allowed": true }),
        Id::EscrowRefund => json!({ "amount": "5000000" }),
        Id::EscrowExpire => json!({ "relay": true }),
        Id::MarketOpen => json!({
            "open": {
                "escrowId": 1,
                "agent": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
                "nonce": 0,
                "providerId": 1,
                "contentHash": "0x0000000000000000000000000000000000000000000000000000000000000000",
                "meter": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
                "limit": "5000000",
                "deadline": "1801728000",
            },
            "signature": "0x00",
        }),
        _ => json!({}),
    }
}

fn terms() -> Value {
    json!({
        "creator": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
        "expiry": "1801728000",
        "sessionLimit": "10000000",
        "meter": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        "openToAll": false,
        "agents": ["0x90F79bf6EB2c4f870365E785982E1f101E93b906"],
    })
}
