//! Telling answers from failures: nodes have no common error codes, so their words count.

use std::fmt;

use alloy::rpc::json_rpc::ErrorPayload;

use crate::ChainError;

/// A call that brought no result.
#[derive(Debug)]
pub(crate) enum RpcFailure {
    /// The node's answer is an error (a revert, a refused transaction, bad parameters): every other node would say the same.
    Refused(ErrorPayload),
    /// The request asks for more than the node gives at once: a smaller one may succeed.
    TooLarge(String),
    /// The endpoint has not reached the block that was asked for, or has dropped its state: nothing is wrong with it otherwise.
    Behind(String),
    /// Not reachable, too slow, limits us or fails inside: another endpoint may do better.
    Endpoint {
        /// What happened.
        why: String,
        /// The time was used up, so trying again at once is no use.
        slow: bool,
    },
    /// Not JSON-RPC, or not the type that the method answers with.
    Malformed(String),
}

impl RpcFailure {
    pub(super) fn nobody() -> Self {
        Self::Endpoint { why: "no endpoint".into(), slow: false }
    }

    pub(super) fn from_payload(payload: ErrorPayload) -> Self {
        if lacks_block(&payload) {
            return Self::Behind(payload.message.into_owned());
        }
        if asks_too_much(&payload) {
            return Self::TooLarge(payload.message.into_owned());
        }
        if node_trouble(&payload) {
            return Self::Endpoint { why: format!("{} (code {})", payload.message, payload.code), slow: false };
        }
        Self::Refused(payload)
    }

    /// Whether asking another endpoint is pointless.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge(_))
    }

    pub(crate) const fn was_slow(&self) -> bool {
        matches!(self, Self::Endpoint { slow: true, .. })
    }

    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::TooLarge(_) => "too_large",
            Self::Behind(_) => "behind",
            Self::Endpoint { slow: true, .. } => "timeout",
            Self::Endpoint { .. } => "failed",
            Self::Malformed(_) => "malformed",
        }
    }

    pub(super) fn explained(self, why: String) -> Self {
        match self {
            Self::Endpoint { slow, .. } => Self::Endpoint { why, slow },
            Self::Malformed(_) => Self::Malformed(why),
            other => other,
        }
    }
}

impl fmt::Display for RpcFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(payload) => write!(f, "{} (code {})", payload.message, payload.code),
            Self::TooLarge(why) | Self::Behind(why) | Self::Endpoint { why, .. } => f.write_str(why),
            Self::Malformed(why) => write!(f, "malformed answer: {why}"),
        }
    }
}

impl From<RpcFailure> for ChainError {
    fn from(failure: RpcFailure) -> Self {
        match failure {
            RpcFailure::Refused(payload) => Self::Rejected(payload.message.into_owned()),
            RpcFailure::Malformed(why) => Self::Inconsistent(why),
            RpcFailure::TooLarge(why) | RpcFailure::Behind(why) | RpcFailure::Endpoint { why, .. } => {
                Self::Unavailable(why)
            }
        }
    }
}

/// Range and size limits of log queries, as providers word them. The words stand for whole sentences such as "query returned
/// more than 10000 results" (geth, Infura), "Log response size exceeded" and "up to a 10 block range" (Alchemy), "eth_getLogs is
/// limited to a 10,000 range" (QuickNode), "block range is too large" (Ankr, bor), "query exceeds max results 20000" (reth).
fn asks_too_much(payload: &ErrorPayload) -> bool {
    const WORDS: [&str; 17] = [
        "query returned more than",
        "query exceeds max",
        "exceeds max results",
        "max results",
        "response size exceeded",
        "response size should not",
        "response is too big",
        "response too large",
        "block range",
        "blocks range",
        "range is too",
        "range too large",
        "exceed maximum block range",
        "limited to a",
        "too many blocks",
        "too many logs",
        "query timeout exceeded",
    ];
    // geth's limit on answers, and EIP-1474's "limit exceeded" when it is about results rather than about the rate of requests.
    let message = payload.message.to_ascii_lowercase();
    WORDS.iter().any(|words| message.contains(words))
        || (payload.code == -32005 && !message.contains("rate") && !message.contains("request"))
}

/// Blocks too new or too old for the node.
fn lacks_block(payload: &ErrorPayload) -> bool {
    const WORDS: [&str; 12] = [
        // Solana: a node that dropped a block another may have kept, or has not written down what happened in it yet.
        "cleaned up",
        "history is not available",
        "status not yet available",
        // Solana: a node that has not got as far as it was asked for, or says that it is ill.
        "node is behind",
        "node is unhealthy",
        "minimum context slot has not been reached",
        "header not found",
        "missing trie node",
        "state not available",
        "state is not available",
        "historical state",
        "pruned",
    ];
    let message = payload.message.to_ascii_lowercase();
    payload.code != 3 && WORDS.iter().any(|words| message.contains(words))
}

/// The node's own trouble, not a verdict on the request.
fn node_trouble(payload: &ErrorPayload) -> bool {
    const WORDS: [&str; 13] = [
        "not synced",
        "syncing",
        "timeout",
        "timed out",
        "unavailable",
        "upstream",
        "overloaded",
        "capacity",
        "unauthorized",
        "api key",
        "internal server error",
        "try again",
        "too many requests",
    ];
    let message = payload.message.to_ascii_lowercase();
    // A revert's words are the contract's: nothing in them says anything about the node.
    if payload.code == 3 || message.contains("revert") {
        return false;
    }
    // -32601: another endpoint may have the method.
    payload.is_retry_err() || payload.code == -32601 || WORDS.iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn classify(code: i64, message: &str) -> &'static str {
        let payload = serde_json::from_value(serde_json::json!({"code": code, "message": message})).unwrap();
        RpcFailure::from_payload(payload).label()
    }

    #[test]
    fn limits_of_log_queries_are_recognised() {
        for (code, message) in [
            (-32005, "query returned more than 10000 results"),
            (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range"),
            (-32614, "eth_getLogs is limited to a 10,000 range"),
            (-32600, "block range is too large"),
            (-32602, "query exceeds max results 20000, retry with the range 1-5"),
            (-32602, "query exceeds max block range 100000"),
            (-32000, "exceed maximum block range: 50000"),
            (-32005, "limit exceeded"),
            (-32002, "query timeout exceeded"),
        ] {
            assert_eq!(classify(code, message), "too_large", "{message}");
        }
    }

    #[test]
    fn trouble_of_the_node_is_recognised() {
        for (code, message) in [
            (429, "Too Many Requests"),
            (-32005, "daily request count exceeded, request rate limited"),
            (-32603, "upstream connect error"),
            (-32601, "the method eth_foo does not exist/is not available"),
            (-32016, "over rate limit"),
        ] {
            assert_eq!(classify(code, message), "failed", "{message}");
        }
    }

    #[test]
    fn missing_blocks_are_recognised() {
        for message in [
            "header not found",
            "missing trie node 0xabc (path )",
            "required historical state unavailable",
            "Block 5 cleaned up, does not exist on node. First available block: 9",
            "Transaction history is not available from this node",
            "Block status not yet available for slot 5",
        ] {
            assert_eq!(classify(-32000, message), "behind", "{message}");
        }
    }

    #[test]
    fn verdicts_are_answers() {
        for (code, message) in [
            (3, "execution reverted: try again later"),
            (-32000, "nonce too low: next nonce 5, tx nonce 4"),
            (-32000, "insufficient funds for gas * price + value"),
            (-32000, "replacement transaction underpriced"),
            (-32000, "already known"),
            (-32602, "invalid argument 0"),
            (-32003, "transaction rejected"),
        ] {
            assert_eq!(classify(code, message), "refused", "{message}");
        }
    }
}
