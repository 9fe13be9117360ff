use anchor_lang::prelude::*;
use anchor_lang::system_program::{self, Allocate, Assign, CreateAccount, Transfer};

/// Creates the PDA of `seeds` (bump included), owned by this program, with `space` zero bytes and rent from `payer`. Lamports that
/// somebody sent there before do not stand in the way.
pub(in crate::instructions) fn pda<'info>(
    payer: AccountInfo<'info>,
    account: AccountInfo<'info>,
    space: usize,
    seeds: &[&[u8]],
) -> Result<()> {
    let signer: &[&[&[u8]]] = &[seeds];
    let rent = Rent::get()?.minimum_balance(space);
    let there = account.lamports();
    let space = space as u64;
    let program = system_program::ID;
    if there == 0 {
        let accounts = CreateAccount { from: payer, to: account };
        return system_program::create_account(
            CpiContext::new_with_signer(program, accounts, signer),
            rent,
            space,
            &crate::ID,
        );
    }
    if there < rent {
        let accounts = Transfer { from: payer, to: account.clone() };
        system_program::transfer(CpiContext::new(program, accounts), rent - there)?;
    }
    let accounts = Allocate { account_to_allocate: account.clone() };
    system_program::allocate(CpiContext::new_with_signer(program, accounts, signer), space)?;
    let accounts = Assign { account_to_assign: account };
    system_program::assign(CpiContext::new_with_signer(program, accounts, signer), &crate::ID)
}
