//! What an [`Action`] is as a call: whom, with what.

use alloy::primitives::{Address as EvmAddress, Bytes, U256, aliases::U40, aliases::U56};
use alloy::sol_types::SolCall;
use compute_futures_protocol::{AccountId, DepositTerms, Usdc};

use super::bindings::{ComputeFutures as abi, IComputeFutures as structs, IUsdc};
use super::evm;
use super::reader::batch_argument;
use crate::market::MarketAction;
use crate::{Action, ChainError};

/// Addresses a call may go to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) contract: EvmAddress,
    pub(super) token: EvmAddress,
    pub(super) sender: EvmAddress,
}

/// Receiver and call data. No action sends ether.
pub(super) fn encode(action: &Action, at: Addresses) -> Result<(EvmAddress, Bytes), ChainError> {
    let data = match action {
        Action::SetTerms { terms } => abi::setTermsCall { terms: abi_terms(terms) }.abi_encode(),
        Action::PostDebits { batch_number, receipts_root, receipt_count, rows } => abi::postDebitsCall {
            batchNumber: batch(*batch_number)?,
            receiptsRoot: *receipts_root,
            receiptCount: *receipt_count,
            rows: rows
                .iter()
                .map(|row| structs::Debit {
                    accountId: row.account.get(),
                    listAmount: uint56(row.list_amount),
                    discountBps: row.discount_bps,
                })
                .collect(),
        }
        .abi_encode(),
        Action::CloseAccount { account } => abi::closeAccountCall { accountId: account.get() }.abi_encode(),
        Action::WithdrawEarnings { to, amount } => {
            abi::withdrawEarningsCall { to: evm(*to)?, amount: amount.micros() }.abi_encode()
        }
        Action::Deposit { operator_index, owner, amount, ceiling } => abi::depositCall {
            operatorIndex: *operator_index,
            owner: evm(*owner)?,
            amount: uint56(*amount),
            ceiling: uint56(*ceiling),
        }
        .abi_encode(),
        Action::TopUp { account, amount, ceiling } => {
            abi::topUpCall { accountId: account.get(), amount: uint56(*amount), ceiling: uint56(*ceiling) }.abi_encode()
        }
        Action::DepositWithAuthorization { authorization, signature } => abi::depositWithAuthorizationCall {
            authorization: structs::DepositAuthorization {
                operatorIndex: authorization.operator_index,
                owner: authorization.owner,
                accountId: authorization.account.map_or(0, AccountId::get),
                amount: uint56(authorization.amount),
                ceiling: uint56(authorization.ceiling),
                validAfter: U256::from(authorization.valid_after),
                validBefore: U256::from(authorization.valid_before),
                salt: authorization.salt,
            },
            signature: signature.clone(),
        }
        .abi_encode(),
        Action::Sweep { terms } => abi::sweepCall { terms: deposit_terms(terms)? }.abi_encode(),
        Action::Recover { terms, token } => {
            abi::recoverCall { terms: deposit_terms(terms)?, token_: evm(*token)? }.abi_encode()
        }
        Action::RaiseCeiling { account, ceiling } => {
            abi::raiseCeilingCall { accountId: account.get(), ceiling: uint56(*ceiling) }.abi_encode()
        }
        Action::RaiseCeilingWithSignature { account, ceiling, signature } => abi::raiseCeilingWithSignatureCall {
            accountId: account.get(),
            ceiling: uint56(*ceiling),
            signature: signature.clone(),
        }
        .abi_encode(),
        Action::SetDelegate { account, delegate } => abi::setDelegateCall {
            accountId: account.get(),
            delegate: delegate.map(evm).transpose()?.unwrap_or_default(),
        }
        .abi_encode(),
        Action::RequestRefund { account } => abi::requestRefundCall { accountId: account.get() }.abi_encode(),
        Action::Refund { account } => abi::refundCall { accountId: account.get() }.abi_encode(),
        Action::Approve { amount } => {
            let call = IUsdc::approveCall { spender: at.contract, amount: U256::from(amount.micros()) };
            return Ok((at.token, call.abi_encode().into()));
        }
        Action::Transfer { to, amount } => {
            let call = IUsdc::transferCall { to: evm(*to)?, amount: U256::from(amount.micros()) };
            return Ok((at.token, call.abi_encode().into()));
        }
        Action::Market(_) => return Err(no_market()),
        Action::Noop => return Ok((at.sender, Bytes::new())),
        Action::Sponsored { .. } => {
            return Err(ChainError::Rejected(
                "there are no sponsored transactions on EVM chains; sign an authorisation".into(),
            ));
        }
    };
    Ok((at.contract, data.into()))
}

/// USDC of the sender that a contract will pull, if the action makes it, and what allows it that.
pub(super) fn pulled_by(action: &Action) -> Option<(Usdc, Action)> {
    match action {
        Action::Deposit { amount, .. } | Action::TopUp { amount, .. } => {
            Some((*amount, Action::Approve { amount: *amount }))
        }
        Action::Market(MarketAction::Create { amount, .. } | MarketAction::Fund { amount, .. }) => {
            Some((*amount, Action::Market(MarketAction::Approve { amount: *amount })))
        }
        _ => None,
    }
}

/// A verb of the marketplace for a writer that was not told where it is.
pub(super) fn no_market() -> ChainError {
    ChainError::Config("no marketplace is named on this chain; name its ProviderRegistry and ComputeEscrow".into())
}

fn abi_terms(terms: &compute_futures_protocol::Terms) -> structs::Terms {
    structs::Terms {
        refundDelay: terms.refund_delay,
        minimumDeposit: uint56(terms.minimum_deposit),
        rateCardHash: terms.rate_card_hash,
        tiers: terms
            .tiers
            .iter()
            .map(|tier| structs::Tier { minimumDeposit: uint56(tier.minimum_deposit), discountBps: tier.discount_bps })
            .collect(),
    }
}

fn deposit_terms(terms: &DepositTerms) -> Result<structs::DepositTerms, ChainError> {
    Ok(structs::DepositTerms {
        operatorIndex: terms.operator_index,
        owner: evm(terms.owner)?,
        ceiling: uint56(terms.ceiling),
        fee: uint56(terms.fee),
    })
}

fn uint56(amount: Usdc) -> U56 {
    // `Usdc` never holds more than 56 bits.
    U56::from(amount.micros())
}

fn batch(number: u64) -> Result<U40, ChainError> {
    batch_argument(number).ok_or_else(|| ChainError::Rejected(format!("batch number {number} has more than 40 bits")))
}
