//! What a [`MarketAction`] is as a call: whom, with what.

use alloy::primitives::aliases::{U40, U48, U56};
use alloy::primitives::{Address as EvmAddress, Bytes, U256};
use alloy::sol_types::SolCall;
use compute_futures_protocol::market::{
    EscrowTerms, FundingAuthorization, ProviderContent, SessionCost, SessionRequest,
};
use compute_futures_protocol::{Address, Usdc};

use super::super::bindings::{
    ComputeEscrow as escrow, IComputeEscrow as structs, IProviderRegistry as contents, IUsdc,
    ProviderRegistry as registry,
};
use super::super::evm;
use super::MarketContracts;
use crate::ChainError;
use crate::market::{MarketAction, SignedCost};

/// Receiver and call data. No verb sends ether.
pub(super) fn encode(
    verb: &MarketAction,
    at: MarketContracts,
    token: EvmAddress,
) -> Result<(EvmAddress, Bytes), ChainError> {
    let data = match verb {
        MarketAction::Register { content } => {
            let data = registry::registerCall { content: abi_content(content)? }.abi_encode();
            return Ok((at.registry, data.into()));
        }
        MarketAction::Update { provider_id, content } => {
            let call = registry::updateCall { providerId: *provider_id, content: abi_content(content)? };
            return Ok((at.registry, call.abi_encode().into()));
        }
        MarketAction::Retire { provider_id } => {
            return Ok((at.registry, registry::retireCall { providerId: *provider_id }.abi_encode().into()));
        }
        MarketAction::Approve { amount } => {
            let call = IUsdc::approveCall { spender: at.escrow, amount: U256::from(amount.micros()) };
            return Ok((token, call.abi_encode().into()));
        }
        MarketAction::Withdraw { provider_id, to, amount } => {
            escrow::withdrawCall { providerId: *provider_id, to: evm(*to)?, amount: amount.micros() }.abi_encode()
        }
        MarketAction::Create { terms, amount } => {
            escrow::createCall { terms: abi_terms(terms)?, amount: uint56(*amount) }.abi_encode()
        }
        MarketAction::CreateWithAuthorization { terms, authorization, signature } => {
            escrow::createWithAuthorizationCall {
                terms: abi_terms(terms)?,
                authorization: funding(authorization),
                signature: signature.clone(),
            }
            .abi_encode()
        }
        MarketAction::Fund { escrow_id, amount } => {
            escrow::fundCall { escrowId: *escrow_id, amount: uint56(*amount) }.abi_encode()
        }
        MarketAction::FundWithAuthorization { escrow_id, payer, authorization, signature } => {
            escrow::fundWithAuthorizationCall {
                escrowId: *escrow_id,
                payer: evm(*payer)?,
                authorization: funding(authorization),
                signature: signature.clone(),
            }
            .abi_encode()
        }
        MarketAction::OpenDepositAddress { .. } => {
            return Err(ChainError::Rejected(
                "a deposit address on an EVM chain needs no opening; transfer to it".into(),
            ));
        }
        MarketAction::Sweep { terms } => escrow::sweepCall { terms: abi_terms(terms)? }.abi_encode(),
        MarketAction::Recover { terms, token } => {
            escrow::recoverCall { terms: abi_terms(terms)?, token_: evm(*token)? }.abi_encode()
        }
        MarketAction::AddAgent { escrow_id, agent } => {
            escrow::addAgentCall { escrowId: *escrow_id, agent: evm(*agent)? }.abi_encode()
        }
        MarketAction::RemoveAgent { escrow_id, agent } => {
            escrow::removeAgentCall { escrowId: *escrow_id, agent: evm(*agent)? }.abi_encode()
        }
        MarketAction::OpenSession { request } => {
            escrow::openSessionCall { request: abi_request(request)? }.abi_encode()
        }
        MarketAction::OpenSessionWithSignature { open, signature } => escrow::openSessionWithSignatureCall {
            request: abi_request(&open.request())?,
            agent: evm(open.agent)?,
            signature: signature.clone(),
        }
        .abi_encode(),
        MarketAction::CloseSession { close } => escrow::closeSessionCall { close: abi_close(close)? }.abi_encode(),
        MarketAction::CloseSessions { closes } => {
            escrow::closeSessionsCall { closes: closes.iter().map(abi_close).collect::<Result<_, _>>()? }.abi_encode()
        }
        MarketAction::LapseSession { session } => escrow::lapseSessionCall { sessionId: session.get() }.abi_encode(),
        MarketAction::LapseSessions { sessions } => {
            escrow::lapseSessionsCall { sessionIds: sessions.iter().map(|session| session.get()).collect() }
                .abi_encode()
        }
        MarketAction::Refund { escrow_id, amount } => {
            escrow::refundCall { escrowId: *escrow_id, amount: uint56(*amount) }.abi_encode()
        }
        MarketAction::Expire { escrow_id } => escrow::expireCall { escrowId: *escrow_id }.abi_encode(),
        MarketAction::CloseAgent { .. } | MarketAction::CloseDepositAddress { .. } => {
            return Err(ChainError::Rejected("nothing on an EVM chain holds rent; there is nothing to close".into()));
        }
    };
    Ok((at.escrow, data.into()))
}

fn abi_content(content: &ProviderContent) -> Result<contents::Content, ChainError> {
    Ok(contents::Content {
        endpoint: content.endpoint.clone(),
        providerType: content.provider_type.number(),
        rateLimit: content.rate_limit,
        minimumCharge: uint48(content.minimum_charge)?,
        features: content.features.clone(),
        models: content
            .models
            .iter()
            .map(|model| {
                Ok(contents::Model {
                    name: model.name.clone(),
                    inputPrice: uint48(model.input_price)?,
                    outputPrice: uint48(model.output_price)?,
                    maxContext: model.max_context,
                })
            })
            .collect::<Result<_, ChainError>>()?,
    })
}

fn abi_terms(terms: &EscrowTerms) -> Result<structs::EscrowTerms, ChainError> {
    Ok(structs::EscrowTerms {
        creator: evm(terms.creator)?,
        expiry: uint40(terms.expiry)?,
        sessionLimit: uint48(terms.session_limit)?,
        meter: terms.meter.map(evm).transpose()?.unwrap_or_default(),
        openToAll: terms.open_to_all,
        agents: terms.agents.iter().map(|agent: &Address| evm(*agent)).collect::<Result<_, _>>()?,
    })
}

fn abi_request(request: &SessionRequest) -> Result<structs::SessionRequest, ChainError> {
    Ok(structs::SessionRequest {
        escrowId: request.escrow_id,
        providerId: request.provider_id,
        contentHash: request.content_hash,
        meter: evm(request.meter)?,
        limit: uint48(request.limit)?,
        deadline: uint40(request.deadline)?,
    })
}

fn abi_close(close: &SignedCost) -> Result<structs::SessionClose, ChainError> {
    let cost = &close.cost;
    let (r, vs) = SessionCost::compact(&close.signature).ok_or_else(|| {
        ChainError::Rejected(format!(
            "the signature on session {} is none of a meter's: 65 bytes with a low s are needed",
            cost.session_id
        ))
    })?;
    Ok(structs::SessionClose {
        sessionId: cost.session_id.get(),
        cost: uint48(cost.cost)?,
        receiptCount: cost.receipt_count,
        receiptsRoot: cost.receipts_root,
        r,
        vs,
    })
}

fn funding(authorization: &FundingAuthorization) -> structs::FundingAuthorization {
    structs::FundingAuthorization {
        amount: uint56(authorization.amount),
        validAfter: U256::from(authorization.valid_after),
        validBefore: U256::from(authorization.valid_before),
        salt: authorization.salt,
    }
}

fn uint56(amount: Usdc) -> U56 {
    // `Usdc` never holds more than 56 bits.
    U56::from(amount.micros())
}

fn uint48(amount: Usdc) -> Result<U48, ChainError> {
    U48::try_from(amount.micros())
        .map_err(|_| ChainError::Rejected(format!("{amount} USDC have more than the 48 bits that sessions count in")))
}

fn uint40(seconds: u64) -> Result<U40, ChainError> {
    U40::try_from(seconds)
        .map_err(|_| ChainError::Rejected(format!("{seconds} is no time: it has more than 40 bits of seconds")))
}
