//! What is refused, and what to do about it. Names follow `IComputeFutures`.

use anchor_lang::prelude::*;

/// Codes start at 6000, in this order; the order never changes.
#[error_code]
pub enum ComputeFuturesError {
    /// 6000
    #[msg("only the operator's authority may do this")]
    NotOperator,
    /// 6001
    #[msg("only the owner may do this; nobody else may authorise spending either")]
    NotOwner,
    /// 6002
    #[msg("the account belongs to another operator")]
    NotAccountOperator,
    /// 6003
    #[msg("only owner or delegate may raise the ceiling")]
    NotSpender,
    /// 6004
    #[msg(
        "an ed25519 instruction by owner or delegate over this ceiling must stand directly before, in the canonical form"
    )]
    InvalidSignature,
    /// 6005
    #[msg("refund delay above 30 days")]
    InvalidRefundDelay,
    /// 6006
    #[msg("minimum deposit is zero or not below 2^48")]
    InvalidMinimumDeposit,
    /// 6007
    #[msg("more than three tiers")]
    TooManyTiers,
    /// 6008
    #[msg("tier thresholds must rise and be below 2^48")]
    InvalidTierThreshold,
    /// 6009
    #[msg("tier discounts must rise, from 1 to 9999")]
    InvalidTierDiscount,
    /// 6010
    #[msg("the owner is zero or this program: nobody could ever take the money back")]
    InvalidOwner,
    /// 6011
    #[msg("the recipient is the vault")]
    InvalidRecipient,
    /// 6012
    #[msg("below the minimum deposit of the terms, or a top-up of zero")]
    DepositTooSmall,
    /// 6013
    #[msg("credit would not fit 56 bits (72 billion USDC)")]
    CreditOverflow,
    /// 6014
    #[msg("ceilings and fees are below 2^56")]
    AmountTooLarge,
    /// 6015
    #[msg("a ceiling only rises")]
    CeilingNotRaised,
    /// 6016
    #[msg("batches are numbered one by one: this must be the operator's last batch plus one")]
    WrongBatchNumber,
    /// 6017
    #[msg("the deposit address holds no more than the fee, or nothing to recover")]
    NothingToSweep,
    /// 6018
    #[msg("the account is in its refund delay: no second request, no deposits")]
    RefundAlreadyRequested,
    /// 6019
    #[msg("request the refund first")]
    RefundNotRequested,
    /// 6020
    #[msg("the refund delay has not passed")]
    RefundNotDue,
    /// 6021
    #[msg("more than the operator has earned and not withdrawn")]
    InsufficientEarnings,
    /// 6022
    #[msg("the operator has opened 2^28 - 1 accounts")]
    SequenceExhausted,
    /// 6023
    #[msg("not the address of the operator's next account; read the operator and build the transaction again")]
    WrongAccountAddress,
    /// 6024
    #[msg("not the deposit address of these terms, or not the one the account remembers")]
    WrongDepositAddress,
    /// 6025
    #[msg("not the account that the deposit address feeds")]
    WrongDepositAccount,
    /// 6026
    #[msg("the deposit address still feeds an open account")]
    DepositAddressInUse,
    /// 6027
    #[msg("rent goes back to who paid it and to nobody else")]
    WrongRentPayer,
    /// 6028
    #[msg("the token account is not the one needed: another owner, or another mint than USDC")]
    WrongTokenAccount,
    /// 6029
    #[msg("not the vault of this program")]
    WrongVault,
    /// 6030
    #[msg("not the USDC mint")]
    WrongMint,
    /// 6031
    #[msg("Token-2022 mints with extensions are not supported")]
    TokenNotPlain,
    /// 6032
    #[msg("rows are 12 bytes each, with one account each after the instruction's own")]
    InvalidRows,
    /// 6033
    #[msg("the account of a row must be writable")]
    RowNotWritable,
    /// 6034
    #[msg("not the address of the next operator; read the registry and build the transaction again")]
    WrongOperatorAddress,
}
