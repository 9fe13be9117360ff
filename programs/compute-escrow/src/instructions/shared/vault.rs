use anchor_lang::prelude::*;
use anchor_spl::associated_token::AssociatedToken;
use anchor_spl::token::Token;
use compute_program_common::tokens;

/// Makes the vault ready, which somebody has to once; rent from `payer`. Addresses have been checked: the two are constants.
pub(in crate::instructions) fn ready<'info>(
    payer: &AccountInfo<'info>,
    vault: &AccountInfo<'info>,
    authority: &AccountInfo<'info>,
    mint: &AccountInfo<'info>,
    programs: (&Program<'info, Token>, &Program<'info, AssociatedToken>, &Program<'info, System>),
) -> Result<()> {
    if !vault.data_is_empty() {
        return Ok(());
    }
    tokens::open(vault, authority, mint, payer, programs)
}
