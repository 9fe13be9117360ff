//! What chain and contracts have against it, and what to do.

use axum::http::StatusCode;
use compute_futures_chain::{ChainError, Rejection};
use serde_json::json;

use crate::error::ApiError;
use crate::settlement::SettlementError;

/// 503: the chain could not be asked; or why it would refuse.
pub(super) fn chain(error: ChainError) -> ApiError {
    match error {
        ChainError::Reverted { name, detail } => by_contract(&name, &detail),
        ChainError::Rejected(words) => match (ChainError::Rejected(words.clone())).rejection() {
            Some(Rejection::InsufficientFunds) => {
                tracing::error!("the operator's key cannot pay for what it brings on chain for others");
                ApiError::unavailable(
                    "relayer_out_of_gas",
                    "the relayer cannot pay for it now",
                    "send it yourself, or try again later",
                )
            }
            _ => ApiError::bad_request("refused", printable(&words), "correct it and try again; nothing was sent"),
        },
        error => {
            tracing::warn!(%error, "the chain could not be asked");
            ApiError::unavailable(
                "chain_unavailable",
                "the chain does not answer",
                "retry in a moment; nothing was taken",
            )
        }
    }
}

/// The same for what goes through the outbox.
pub(super) fn explain(error: SettlementError) -> ApiError {
    match error {
        SettlementError::Chain(error) => chain(error),
        SettlementError::Refused { reason, .. } => {
            let (name, detail) = reason.split_once(' ').unwrap_or((&reason, ""));
            by_contract(name, detail)
        }
        SettlementError::Ledger(error) => error.into(),
        other => ApiError::internal(other),
    }
}

fn printable(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// The contracts' refusals.
fn by_contract(name: &str, detail: &str) -> ApiError {
    let name = name.trim_start_matches("ComputeEscrow_").trim_start_matches("ProviderRegistry_");
    let (status, code, hint) = match name {
        "UnknownEscrow" => (StatusCode::NOT_FOUND, "unknown_escrow", "check the id and the `network`"),
        "UnknownProvider" => (StatusCode::NOT_FOUND, "unknown_provider", "GET /api/v1/market/providers lists them"),
        "NotAgent" => (StatusCode::FORBIDDEN, "not_agent", "the escrow's creator adds agents"),
        "NotCreator" => (StatusCode::FORBIDDEN, "not_creator", "only the escrow's creator may"),
        "ProviderChanged" => {
            (StatusCode::CONFLICT, "provider_changed", "read what the provider publishes now, and sign that")
        }
        "InvalidNonce" => (StatusCode::CONFLICT, "wrong_nonce", "ask for a new quote: it has the agent's next nonce"),
        "InvalidSignature" => {
            (StatusCode::FORBIDDEN, "invalid_signature", "sign exactly what was quoted, with the key that it names")
        }
        "InsufficientUnreserved" => {
            (StatusCode::CONFLICT, "insufficient_unreserved", "ask for a smaller limit, or fund the escrow")
        }
        "SessionNotOpen" => (StatusCode::CONFLICT, "session_not_open", "the session is over"),
        _ => (StatusCode::CONFLICT, "refused_by_contract", "look at the escrow as it stands now; nothing was sent"),
    };
    let words = format!("the contract refuses it: {} {}", printable(name), printable(detail));
    ApiError::new(status, code, words.trim_end(), hint).with_extra(json!({ "refusal": printable(name) }))
}

/// 404.
pub(super) fn unknown_escrow(id: u32) -> ApiError {
    ApiError::not_found(
        "unknown_escrow",
        format!("there is no escrow {id}, or it was emptied"),
        "check the id and the `network`; a fresh one appears with its block",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let of = |name: &str| {
            let error = chain(ChainError::Reverted { name: format!("ComputeEscrow_{name}"), detail: "7".into() });
            (error.status, error.code)
        };
        assert_eq!(of("NotAgent"), (StatusCode::FORBIDDEN, "not_agent"));
        assert_eq!(of("InvalidNonce"), (StatusCode::CONFLICT, "wrong_nonce"));
        assert_eq!(of("NothingToSweep"), (StatusCode::CONFLICT, "refused_by_contract"));
        // An empty purse of ours is nothing that the client did, and an RPC's name is nobody's business.
        let purse = chain(ChainError::Rejected("insufficient funds for gas".into()));
        assert_eq!(purse.status, StatusCode::SERVICE_UNAVAILABLE);
        let down = chain(ChainError::Unavailable("secret-host".into()));
        assert!(down.status == StatusCode::SERVICE_UNAVAILABLE && !down.to_string().contains("secret-host"));
        let refused = SettlementError::Refused {
            purpose: crate::settlement::Purpose::new("a", "b"),
            reason: "ComputeEscrow_InvalidNonce 3".into(),
        };
        assert_eq!(explain(refused).code, "wrong_nonce");
    }
}
