//! ComputeFutures on Solana: prepaid compute credit, drawn down job by job, the same verbs and the same maths as
//! `contracts/src/ComputeFutures.sol`. Accounts, instructions, events and why: docs/adr/010-solana.md.
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
pub mod typed_data;

use instructions::*;
use rows::Rows;

// The id of fixtures and tests; its key is public (docs/adr/010-solana.md). Real deployments set their own for the build.
declare_id!(Pubkey::from_str_const(match option_env!("COMPUTE_FUTURES_PROGRAM_ID") {
    Some(id) => id,
    None => "5jnhrJfXCuMBJvXDa8HKtCY4wMpjVXRXvoVHaPzzQq3g",
}));

#[cfg(not(feature = "no-entrypoint"))]
solana_security_txt::security_txt! {
    name: "ComputeFutures",
    project_url: env!("PROJECT_URL"),
    contacts: "other:a private security advisory in the repository, see SECURITY.md",
    policy: "SECURITY.md in the repository",
    preferred_languages: "en"
}

/// The verbs. Discriminators are one byte: seven bytes more room in each transaction.
#[program]
pub mod compute_futures {
    use super::*;

    /// Publishes an operator's terms; the first call registers it.
    #[instruction(discriminator = [1])]
    pub fn set_terms<'info>(ctx: Context<'info, SetTerms<'info>>, terms: Terms) -> Result<()> {
        SetTerms::process(ctx, terms)
    }

    /// Charges accounts for a batch of jobs.
    #[instruction(discriminator = [2])]
    pub fn post_debits<'info>(
        ctx: Context<'info, PostDebits<'info>>,
        batch_number: [u8; 5],
        receipts_root: [u8; 32],
        receipt_count: u32,
        rows: Rows,
    ) -> Result<()> {
        PostDebits::process(ctx, batch_number, receipts_root, receipt_count, &rows)
    }

    /// The operator pays an owner everything unspent, now.
    #[instruction(discriminator = [3])]
    pub fn close_account(ctx: Context<CloseAccount>) -> Result<()> {
        CloseAccount::process(ctx)
    }

    /// The operator takes earnings.
    #[instruction(discriminator = [4])]
    pub fn withdraw_earnings(ctx: Context<WithdrawEarnings>, amount: u64) -> Result<()> {
        WithdrawEarnings::process(ctx, amount)
    }

    /// Opens an account with credit.
    #[instruction(discriminator = [5])]
    pub fn deposit(ctx: Context<Deposit>, amount: u64, ceiling: u64) -> Result<()> {
        Deposit::process(ctx, amount, ceiling)
    }

    /// Adds credit to an open account.
    #[instruction(discriminator = [6])]
    pub fn top_up(ctx: Context<TopUp>, amount: u64, ceiling: u64) -> Result<()> {
        TopUp::process(ctx, amount, ceiling)
    }

    /// Makes a deposit address ready for plain transfers.
    #[instruction(discriminator = [7])]
    pub fn open_deposit_address(
        ctx: Context<OpenDepositAddress>,
        operator_index: u32,
        owner: Pubkey,
        ceiling: u64,
        fee: u64,
    ) -> Result<()> {
        OpenDepositAddress::process(ctx, operator_index, owner, ceiling, fee)
    }

    /// Turns what lies at a deposit address into credit.
    #[instruction(discriminator = [8])]
    pub fn sweep<'info>(ctx: Context<'info, Sweep<'info>>, owner: Pubkey, ceiling: u64, fee: u64) -> Result<()> {
        Sweep::process(ctx, owner, ceiling, fee)
    }

    /// The owner takes tokens back from its deposit address.
    #[instruction(discriminator = [9])]
    pub fn recover(ctx: Context<Recover>, operator_index: u32, ceiling: u64, fee: u64) -> Result<()> {
        Recover::process(ctx, operator_index, ceiling, fee)
    }

    /// Who opened a deposit address takes its rents back.
    #[instruction(discriminator = [10])]
    pub fn close_deposit_address(
        ctx: Context<CloseDepositAddress>,
        operator_index: u32,
        owner: Pubkey,
        ceiling: u64,
        fee: u64,
    ) -> Result<()> {
        CloseDepositAddress::process(ctx, operator_index, owner, ceiling, fee)
    }

    /// Owner or delegate raises the ceiling.
    #[instruction(discriminator = [11])]
    pub fn raise_ceiling(ctx: Context<RaiseCeiling>, ceiling: u64) -> Result<()> {
        RaiseCeiling::process(ctx, ceiling)
    }

    /// Anyone relays a ceiling that owner or delegate signed.
    #[instruction(discriminator = [12])]
    pub fn raise_ceiling_with_signature(ctx: Context<RaiseCeilingWithSignature>, ceiling: u64) -> Result<()> {
        RaiseCeilingWithSignature::process(ctx, ceiling)
    }

    /// The owner sets or clears the session key.
    #[instruction(discriminator = [13])]
    pub fn set_delegate(ctx: Context<SetDelegate>, delegate: Option<Pubkey>) -> Result<()> {
        SetDelegate::process(ctx, delegate)
    }

    /// The owner starts the refund delay.
    #[instruction(discriminator = [14])]
    pub fn request_refund(ctx: Context<RequestRefund>) -> Result<()> {
        RequestRefund::process(ctx)
    }

    /// After the delay, the owner takes everything unspent.
    #[instruction(discriminator = [15])]
    pub fn refund(ctx: Context<Refund>) -> Result<()> {
        Refund::process(ctx)
    }

    /// Whether a receipt is in a posted batch.
    #[instruction(discriminator = [16])]
    pub fn verify_receipt(
        ctx: Context<VerifyReceipt>,
        batch_number: u64,
        receipt_hash: [u8; 32],
        proof: Vec<[u8; 32]>,
        batch_proof: Vec<[u8; 32]>,
    ) -> Result<bool> {
        VerifyReceipt::process(ctx, batch_number, receipt_hash, proof, batch_proof)
    }
}
