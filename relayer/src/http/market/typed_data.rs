//! What wallets show before they sign (EIP-712), for EVM chains; on Solana the digest is signed as it is.

use compute_futures_protocol::market::{EscrowTerms, FundingAuthorization, MarketDomain, OpenSession};
use compute_futures_protocol::{Chain, EvmAddress, ReceiveWithAuthorization, TokenDomain};
use serde_json::{Value, json};

fn typed(domain: &Value, primary: &str, fields: &[(&str, &str)], message: &Value) -> Value {
    let list = |fields: &[(&str, &str)]| {
        fields.iter().map(|(name, kind)| json!({ "name": name, "type": kind })).collect::<Vec<_>>()
    };
    let of_domain =
        [("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")];
    let mut types = serde_json::Map::new();
    types.insert("EIP712Domain".into(), list(&of_domain).into());
    types.insert(primary.into(), list(fields).into());
    json!({ "types": types, "primaryType": primary, "domain": domain, "message": message })
}

/// An opening; `None` on Solana.
pub(super) fn opening(chain: Chain, domain: &MarketDomain, open: &OpenSession) -> Option<Value> {
    let chain_id = chain.evm_chain_id()?;
    let domain = json!({
        "name": MarketDomain::NAME, "version": "1", "chainId": chain_id, "verifyingContract": domain.contract().to_string(),
    });
    let fields = [
        ("escrowId", "uint32"),
        ("agent", "bytes32"),
        ("nonce", "uint32"),
        ("providerId", "uint32"),
        ("contentHash", "bytes32"),
        ("meter", "bytes32"),
        ("limit", "uint48"),
        ("deadline", "uint40"),
    ];
    let message = json!({
        "escrowId": open.escrow_id,
        "agent": open.agent.into_word(),
        "nonce": open.nonce,
        "providerId": open.provider_id,
        "contentHash": open.content_hash,
        "meter": open.meter.into_word(),
        "limit": open.limit,
        "deadline": open.deadline.to_string(),
    });
    Some(typed(&domain, "OpenSession", &fields, &message))
}

fn receive(token: &TokenDomain, signed: &ReceiveWithAuthorization) -> Value {
    let domain = json!({
        "name": token.name, "version": token.version, "chainId": token.chain_id, "verifyingContract": token.token.to_string(),
    });
    let fields = [
        ("from", "address"),
        ("to", "address"),
        ("value", "uint256"),
        ("validAfter", "uint256"),
        ("validBefore", "uint256"),
        ("nonce", "bytes32"),
    ];
    let message = json!({
        "from": signed.from.to_string(),
        "to": signed.to.to_string(),
        "value": signed.value,
        "validAfter": signed.valid_after.to_string(),
        "validBefore": signed.valid_before.to_string(),
        "nonce": signed.nonce,
    });
    typed(&domain, "ReceiveWithAuthorization", &fields, &message)
}

/// A creation without gas.
pub(super) fn creation(
    token: &TokenDomain,
    contract: EvmAddress,
    creator: EvmAddress,
    terms: &EscrowTerms,
    funding: &FundingAuthorization,
) -> Value {
    receive(token, &funding.to_create(contract, creator, terms))
}

/// A funding without gas.
pub(super) fn funding(
    token: &TokenDomain,
    contract: EvmAddress,
    payer: EvmAddress,
    escrow: (u32, EvmAddress),
    funding: &FundingAuthorization,
) -> Value {
    receive(token, &funding.to_fund(contract, payer, escrow.0, escrow.1))
}
