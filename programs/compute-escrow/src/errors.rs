//! What is refused, and what to do about it. Names follow `IComputeEscrow`.

use anchor_lang::prelude::*;

/// Codes start at 6000, in this order; the order never changes.
#[error_code]
pub enum ComputeEscrowError {
    /// 6000
    #[msg("only the creator may do this")]
    NotCreator,
    /// 6001
    #[msg("the agent is not on the escrow's list")]
    NotAgent,
    /// 6002
    #[msg("only the owner of the provider may withdraw what it earned")]
    NotProviderOwner,
    /// 6003
    #[msg(
        "an ed25519 instruction by the agent over this request with its next nonce must stand directly before, in the canonical form"
    )]
    InvalidAgentSignature,
    /// 6004
    #[msg(
        "an ed25519 instruction by the session's meter over this cost must stand directly before, in the canonical form"
    )]
    InvalidMeterSignature,
    /// 6005
    #[msg("terms: the creator is zero or this program: nobody could ever take the money back")]
    InvalidCreator,
    /// 6006
    #[msg("terms: the expiry is in the past, or not below 2^40")]
    InvalidExpiry,
    /// 6007
    #[msg("terms: the session limit is zero or not below 2^48")]
    InvalidSessionLimit,
    /// 6008
    #[msg("terms: an escrow that is open to all must name its meter, or anyone could pay itself")]
    MeterRequired,
    /// 6009
    #[msg("terms: at most 32 agents, none when open to all, and an account for each after the instruction's own")]
    InvalidAgents,
    /// 6010
    #[msg("the agent is zero, or the escrow is open to all and has no list")]
    InvalidAgent,
    /// 6011
    #[msg("the agent is on the list already, or not on it")]
    AgentUnchanged,
    /// 6012
    #[msg("the meter is zero, or not the one that the escrow pins")]
    InvalidMeter,
    /// 6013
    #[msg("the provider's content is not the one named, or it is retired; read it and ask again")]
    ProviderChanged,
    /// 6014
    #[msg("the limit is zero or above the escrow's session limit")]
    InvalidLimit,
    /// 6015
    #[msg("the deadline must lie between now and the escrow's expiry, at most 30 days away")]
    InvalidDeadline,
    /// 6016
    #[msg("less is unreserved; ask for less, or fund the escrow")]
    InsufficientUnreserved,
    /// 6017
    #[msg("the escrow has opened 2^32 - 1 sessions")]
    SessionsExhausted,
    /// 6018
    #[msg("too late to close: the session's deadline has passed")]
    DeadlinePassed,
    /// 6019
    #[msg("too early to lapse: the session's deadline has not passed")]
    DeadlineNotPassed,
    /// 6020
    #[msg("escrow, earnings or rent payer are not those of the session")]
    WrongSessionAccounts,
    /// 6021
    #[msg("fund it with something")]
    NothingToFund,
    /// 6022
    #[msg("the escrow would hold more than 56 bits (72 billion USDC)")]
    BudgetOverflow,
    /// 6023
    #[msg("the escrow has expired: no money in; create another one")]
    Expired,
    /// 6024
    #[msg("the escrow has not expired")]
    NotExpired,
    /// 6025
    #[msg("nothing is unreserved")]
    NothingToRefund,
    /// 6026
    #[msg("the deposit address holds nothing")]
    NothingToSweep,
    /// 6027
    #[msg("the recipient is the vault")]
    InvalidRecipient,
    /// 6028
    #[msg("more than was earned and not withdrawn")]
    InsufficientEarnings,
    /// 6029
    #[msg("costs are below 2^48")]
    AmountTooLarge,
    /// 6030
    #[msg("not the address of the next escrow or session; read the count and build the transaction again")]
    WrongAddress,
    /// 6031
    #[msg("not the escrow that this is about")]
    WrongEscrow,
    /// 6032
    #[msg("the escrow is still there")]
    EscrowOpen,
    /// 6033
    #[msg("not the agent account of this escrow and agent")]
    WrongAgentAccount,
    /// 6034
    #[msg("not the provider that this is about")]
    WrongProvider,
    /// 6035
    #[msg("not the earnings of this provider")]
    WrongEarnings,
    /// 6036
    #[msg("not the deposit address of these terms, or not the one the escrow remembers")]
    WrongDepositAddress,
    /// 6037
    #[msg("the deposit address still feeds an escrow")]
    DepositAddressInUse,
    /// 6038
    #[msg("rent goes back to who paid it and to nobody else")]
    WrongRentPayer,
    /// 6039
    #[msg("the token account is not the one needed: another owner, or another mint than USDC")]
    WrongTokenAccount,
    /// 6040
    #[msg("not the vault of this program")]
    WrongVault,
    /// 6041
    #[msg("not the USDC mint")]
    WrongMint,
    /// 6042
    #[msg("Token-2022 mints with extensions are not supported")]
    TokenNotPlain,
    /// 6043
    #[msg("each row needs its accounts after the instruction's own: four to close, three to lapse")]
    InvalidRows,
    /// 6044
    #[msg("the agent has signed 2^32 - 1 openings of this escrow")]
    NoncesExhausted,
}
