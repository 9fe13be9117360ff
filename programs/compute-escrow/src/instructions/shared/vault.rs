use anchor_lang::prelude::*;
use anchor_spl::associated_token::{self, AssociatedToken, Create};
use anchor_spl::token::Token;

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
    let (token, associated_token, system) = programs;
    let created = Create {
        payer: payer.clone(),
        associated_token: vault.clone(),
        authority: authority.clone(),
        mint: mint.clone(),
        system_program: system.to_account_info(),
        token_program: token.to_account_info(),
    };
    associated_token::create(CpiContext::new(associated_token.key(), created))
}
