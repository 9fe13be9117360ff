use anchor_lang::prelude::*;
use compute_program_common::accounts;

use crate::errors::ComputeEscrowError;
use crate::seeds::AGENT;
use crate::state::{Agent, Escrow};

/// Puts an agent on the escrow's list, rent from `payer`. Its nonce, if it was there before, goes on (I-5).
pub(in crate::instructions) fn add<'info>(
    escrow: &Escrow,
    agent: &Pubkey,
    account: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
) -> Result<()> {
    let listed = escrow.open_to_all == 0 && *agent != Pubkey::default();
    require!(listed, ComputeEscrowError::InvalidAgent);
    if *account.owner != crate::ID {
        make(escrow.id, agent, account, payer)?;
    }
    let mut it = of(escrow.id, agent, account)?;
    require!(it.allowed == 0, ComputeEscrowError::AgentUnchanged);
    it.allowed = 1;
    Ok(())
}

/// The account of this agent in this escrow, by owner, discriminator and address.
pub(in crate::instructions) fn of<'a>(
    escrow: u32,
    agent: &Pubkey,
    account: &'a AccountInfo<'_>,
) -> Result<core::cell::RefMut<'a, Agent>> {
    let it = accounts::view::<Agent>(account, &crate::ID).ok_or(ComputeEscrowError::WrongAgentAccount)?;
    it.check(account.key, escrow, agent)?;
    Ok(it)
}

/// Creates the account of an agent, which is not on the list yet.
pub(in crate::instructions) fn make<'info>(
    escrow: u32,
    agent: &Pubkey,
    account: &AccountInfo<'info>,
    payer: &AccountInfo<'info>,
) -> Result<()> {
    let escrow_seed = escrow.to_le_bytes();
    let (address, bump) = Pubkey::find_program_address(&[AGENT, &escrow_seed, agent.as_ref()], &crate::ID);
    require_keys_eq!(*account.key, address, ComputeEscrowError::WrongAgentAccount);
    let seeds: &[&[u8]] = &[AGENT, &escrow_seed, agent.as_ref(), &[bump]];
    accounts::create(payer.clone(), account.clone(), Agent::SPACE, seeds, &crate::ID)?;
    let mut it = accounts::fresh::<Agent>(account)?;
    it.escrow = escrow;
    it.bump = bump;
    it.rent_payer = *payer.key;
    Ok(())
}
