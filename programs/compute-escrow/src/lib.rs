//! ComputeEscrow on Solana: budgets for agents, spent session by session, never handed to them; the same verbs and the same rules as
//! `contracts/src/ComputeEscrow.sol`. Accounts, instructions, events and why: docs/adr/014-marketplace.md.
//!
//! No admin, no pause (I-9); the program is to be deployed final. Reading order: `instructions/` a verb a file, `state/` the rules.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// What Anchor's macros generate.
#![allow(deprecated, missing_docs, clippy::diverging_sub_expression)]

use anchor_lang::prelude::*;

pub mod errors;
pub mod events;
pub mod instructions;
pub mod rows;
pub mod seeds;
pub mod state;
pub mod terms;
pub mod typed_data;

use instructions::*;
use rows::Rows;
use terms::EscrowTerms;
use typed_data::SessionCost;

// The id of fixtures and tests; its key is public (docs/adr/014-marketplace.md). Real deployments set their own for the build, and
// that of the registry, which is a constant in here as well.
declare_id!(Pubkey::from_str_const(match option_env!("COMPUTE_ESCROW_PROGRAM_ID") {
    Some(id) => id,
    None => "CC8zD27zrKy3zpCYybJXJY1zK6KViuyEqyoW67265hmC",
}));

#[cfg(not(feature = "no-entrypoint"))]
solana_security_txt::security_txt! {
    name: "ComputeEscrow",
    project_url: env!("PROJECT_URL"),
    contacts: "other:a private security advisory in the repository, see SECURITY.md",
    policy: "SECURITY.md in the repository",
    preferred_languages: "en"
}

/// The verbs. Discriminators are one byte: seven bytes more room in each transaction.
#[program]
pub mod compute_escrow {
    use super::*;

    /// Creates an escrow with the creator's USDC.
    #[instruction(discriminator = [1])]
    pub fn create<'info>(ctx: Context<'info, Create<'info>>, terms: EscrowTerms, amount: u64) -> Result<()> {
        Create::process(ctx, terms, amount)
    }

    /// Adds anybody's USDC to an escrow.
    #[instruction(discriminator = [2])]
    pub fn fund(ctx: Context<Fund>, amount: u64) -> Result<()> {
        Fund::process(ctx, amount)
    }

    /// Makes a deposit address ready for plain transfers.
    #[instruction(discriminator = [3])]
    pub fn open_deposit_address(ctx: Context<OpenDepositAddress>, terms_hash: [u8; 32]) -> Result<()> {
        OpenDepositAddress::process(ctx, terms_hash)
    }

    /// Turns what lies at a deposit address into a budget.
    #[instruction(discriminator = [4])]
    pub fn sweep<'info>(ctx: Context<'info, Sweep<'info>>, terms: EscrowTerms) -> Result<()> {
        Sweep::process(ctx, terms)
    }

    /// Sends tokens of a deposit address back to the creator.
    #[instruction(discriminator = [5])]
    pub fn recover(ctx: Context<Recover>, terms: EscrowTerms) -> Result<()> {
        Recover::process(ctx, terms)
    }

    /// Who opened a deposit address takes its rents back.
    #[instruction(discriminator = [6])]
    pub fn close_deposit_address(ctx: Context<CloseDepositAddress>, terms: EscrowTerms) -> Result<()> {
        CloseDepositAddress::process(ctx, terms)
    }

    /// The creator lets an agent open sessions.
    #[instruction(discriminator = [7])]
    pub fn add_agent(ctx: Context<AddAgent>, agent: Pubkey) -> Result<()> {
        AddAgent::process(ctx, agent)
    }

    /// The creator takes an agent off the list.
    #[instruction(discriminator = [8])]
    pub fn remove_agent(ctx: Context<RemoveAgent>, agent: Pubkey) -> Result<()> {
        RemoveAgent::process(ctx, agent)
    }

    /// Who paid an agent account's rent takes it back once the escrow is gone.
    #[instruction(discriminator = [9])]
    pub fn close_agent(ctx: Context<CloseAgent>) -> Result<()> {
        CloseAgent::process(ctx)
    }

    /// An agent opens a session: its limit is reserved.
    #[instruction(discriminator = [10])]
    pub fn open_session(ctx: Context<OpenSession>, request: SessionRequest) -> Result<()> {
        OpenSession::process(ctx, request)
    }

    /// The same, signed by the agent and relayed by anyone.
    #[instruction(discriminator = [11])]
    pub fn open_session_with_signature(
        ctx: Context<OpenSessionWithSignature>,
        request: SessionRequest,
        agent: Pubkey,
    ) -> Result<()> {
        OpenSessionWithSignature::process(ctx, request, agent)
    }

    /// Closes a session at the cost its meter signed.
    #[instruction(discriminator = [12])]
    pub fn close_session(
        ctx: Context<CloseSession>,
        cost: u64,
        receipt_count: u32,
        receipts_root: [u8; 32],
    ) -> Result<()> {
        CloseSession::process(ctx, cost, receipt_count, receipts_root)
    }

    /// The meter closes many.
    #[instruction(discriminator = [13])]
    pub fn close_sessions<'info>(ctx: Context<'info, CloseSessions<'info>>, rows: Rows) -> Result<()> {
        CloseSessions::process(ctx, &rows)
    }

    /// After its deadline, gives a session's reservation back to the escrow.
    #[instruction(discriminator = [14])]
    pub fn lapse_session(ctx: Context<LapseSession>) -> Result<()> {
        LapseSession::process(ctx)
    }

    /// The same for many.
    #[instruction(discriminator = [15])]
    pub fn lapse_sessions<'info>(ctx: Context<'info, LapseSessions<'info>>) -> Result<()> {
        LapseSessions::process(ctx)
    }

    /// Pays the creator what is unreserved, at most `amount`.
    #[instruction(discriminator = [16])]
    pub fn refund(ctx: Context<Refund>, amount: u64) -> Result<()> {
        Refund::process(ctx, amount)
    }

    /// After the expiry, sends everything to the creator and ends the escrow.
    #[instruction(discriminator = [17])]
    pub fn expire(ctx: Context<Expire>) -> Result<()> {
        Expire::process(ctx)
    }

    /// The provider's owner takes earnings.
    #[instruction(discriminator = [18])]
    pub fn withdraw(ctx: Context<Withdraw>, amount: u64) -> Result<()> {
        Withdraw::process(ctx, amount)
    }

    /// Whether a receipt is of a closed session.
    #[instruction(discriminator = [19])]
    pub fn verify_receipt(
        ctx: Context<VerifyReceipt>,
        session_cost: SessionCost,
        number: u64,
        receipt_hash: [u8; 32],
        proof: Vec<[u8; 32]>,
        range_proof: Vec<[u8; 32]>,
    ) -> Result<bool> {
        VerifyReceipt::process(ctx, session_cost, number, receipt_hash, proof, range_proof)
    }
}
