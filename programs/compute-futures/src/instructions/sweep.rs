use anchor_lang::prelude::*;
use anchor_spl::token::{Token, TokenAccount};
use compute_program_common::accounts;
use compute_program_common::tokens::{self, Move};

use super::shared::address::DepositTerms;
use super::shared::opening::{self, Opening};
use crate::errors::ComputeFuturesError;
use crate::events::{self, Swept};
use crate::seeds::{USDC, VAULT_TOKEN_ACCOUNT};
use crate::state::{self, FuturesAccount, Operator};

/// Turns what lies at a deposit address, less the fee, into credit: opens its account with the committed ceiling, or tops up the
/// one it feeds (whose ceiling stays). Anyone may.
#[event_cpi]
#[derive(Accounts)]
pub struct Sweep<'info> {
    /// Pays the rents of what is new and gets them back. Any signer.
    #[account(mut)]
    pub payer: Signer<'info>,
    /// Of this program, by owner and discriminator; the address commits to its index.
    #[account(mut)]
    pub operator: AccountLoader<'info, Operator>,
    /// CHECK: the PDA of the terms, derived; created where it is not there.
    #[account(mut)]
    pub deposit_address: UncheckedAccount<'info>,
    /// Any USDC token account of the deposit address, by what it stores, the associated one where the record is not there yet; the
    /// token program checks the mint.
    #[account(mut)]
    pub deposit_token: Account<'info, TokenAccount>,
    /// CHECK: the account that the address feeds, by id; or the PDA of the operator's next sequence, derived when it is created.
    #[account(mut)]
    pub account: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(mut, address = VAULT_TOKEN_ACCOUNT @ ComputeFuturesError::WrongVault)]
    pub vault: UncheckedAccount<'info>,
    /// CHECK: a constant.
    #[account(address = USDC @ ComputeFuturesError::WrongMint)]
    pub mint: UncheckedAccount<'info>,
    /// SPL Token.
    pub token_program: Program<'info, Token>,
    /// For the rents.
    pub system_program: Program<'info, System>,
}

impl Sweep<'_> {
    pub(crate) fn process<'info>(
        ctx: Context<'info, Sweep<'info>>,
        owner: Pubkey,
        ceiling: u64,
        fee: u64,
    ) -> Result<()> {
        let accounts = ctx.accounts;
        let address = accounts.deposit_address.key();
        state::check_amount(fee)?;
        let token = &accounts.deposit_token;
        let theirs = token.owner == address && token.mint == USDC;
        require!(theirs, ComputeFuturesError::WrongTokenAccount);
        let balance = token.amount;
        require!(balance > fee, ComputeFuturesError::NothingToSweep);
        let amount = balance - fee;

        let mut operator = accounts.operator.load_mut()?;
        let terms = DepositTerms::check(&address, operator.index, owner, ceiling, fee)?;
        let payer: &AccountInfo<'info> = accounts.payer.as_ref();
        // Who makes the record gets the rent of the associated token account as well, so that one must be there already (T-37). What
        // lies elsewhere waits for `open_deposit_address`, which is anybody's.
        let recorded = *accounts.deposit_address.owner == crate::ID;
        require!(recorded || tokens::is_associated(&token.key(), &address), ComputeFuturesError::WrongTokenAccount);
        let mut record = terms.record(&accounts.deposit_address, payer)?;
        let mut event = if record.account == 0 {
            let opening = Opening { owner, payer: address, amount, ceiling, deposit_address: address };
            let opened = opening.open(&mut operator, &accounts.account, payer)?;
            record.account = opened.account;
            accounts::store(&accounts.deposit_address, &record)?;
            opened
        } else {
            let loader = AccountLoader::<FuturesAccount>::try_from(&accounts.account)?;
            let mut account = loader.load_mut()?;
            require!(account.id == record.account, ComputeFuturesError::WrongDepositAccount);
            opening::top_up(&mut account, &operator, address, amount, None)?
        };
        let earnings = operator.earnings.checked_add(fee);
        operator.earnings = earnings.ok_or(ErrorCode::InvalidNumericConversion)?;
        drop(operator);
        event.swept = Some(Swept { deposit_address: address, fee });

        let funds = Move {
            from: token.to_account_info(),
            to: accounts.vault.to_account_info(),
            authority: accounts.deposit_address.to_account_info(),
            mint: accounts.mint.to_account_info(),
        };
        funds.by_pda(&accounts.token_program, balance, &[&terms.seeds()])?;
        events::record(&accounts.event_authority, &event)
    }
}
