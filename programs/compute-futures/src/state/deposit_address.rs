use anchor_lang::prelude::*;

/// What stands behind a deposit address; its PDA commits to operator, owner, ceiling and fee, and owns the token account.
#[account]
#[derive(InitSpace)]
pub struct DepositAddress {
    /// The open account it feeds; zero: none, the next sweep opens one.
    pub account: u64,
    /// Who opened it, and gets the rents back.
    pub rent_payer: Pubkey,
}
