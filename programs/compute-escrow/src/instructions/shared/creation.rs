use anchor_lang::prelude::*;
use compute_program_common::accounts;

use super::{address, agents};
use crate::errors::ComputeEscrowError;
use crate::events::EscrowFunded;
use crate::seeds::ESCROW;
use crate::state::{self, Escrow, Escrows};
use crate::terms::EscrowTerms;

/// What a new escrow is made of.
pub(in crate::instructions) struct Creation<'a, 'info> {
    pub terms: &'a EscrowTerms,
    pub escrows: &'a mut Escrows,
    /// The next escrow's address.
    pub escrow: &'a AccountInfo<'info>,
    /// One for each of the first agents.
    pub agents: &'a [AccountInfo<'info>],
    /// Pays the rents.
    pub payer: &'a AccountInfo<'info>,
    /// Zero: none.
    pub deposit_address: Pubkey,
}

impl Creation<'_, '_> {
    /// Creates the next escrow, which holds nothing yet, and its first agents. Returns its id.
    pub(in crate::instructions) fn create(self) -> Result<u32> {
        let Self { terms, escrows, escrow: account, agents: agent_accounts, payer, deposit_address } = self;
        terms.check(state::now()?)?;
        require!(terms.agents.len() <= agent_accounts.len(), ComputeEscrowError::InvalidAgents);
        let id = escrows.escrow_count.checked_add(1).ok_or(ErrorCode::InvalidNumericConversion)?;
        escrows.escrow_count = id;

        let (address, bump) = address::escrow(id);
        require_keys_eq!(*account.key, address, ComputeEscrowError::WrongAddress);
        let seeds: &[&[u8]] = &[ESCROW, &id.to_le_bytes(), &[bump]];
        accounts::create(payer.clone(), account.clone(), Escrow::SPACE, seeds, &crate::ID)?;
        let mut escrow = accounts::fresh(account)?;
        *escrow = Escrow {
            unreserved: 0,
            reserved: 0,
            session_limit: terms.session_limit,
            expiry: terms.expiry,
            id,
            session_count: 0,
            open_to_all: terms.open_to_all.into(),
            bump,
            reserved_bytes: [0; 6],
            creator: terms.creator,
            meter: terms.meter,
            rent_payer: *payer.key,
            deposit_address,
        };
        for (agent, account) in terms.agents.iter().zip(agent_accounts) {
            agents::add(&escrow, agent, account, payer)?;
        }
        Ok(id)
    }
}

/// Adds money to the escrow in `account`; `wanted` says which that must be. The tokens are the caller's business.
pub(in crate::instructions) fn fund(
    account: &AccountInfo<'_>,
    wanted: u32,
    payer: Pubkey,
    amount: u64,
) -> Result<EscrowFunded> {
    let escrow = accounts::view::<Escrow>(account, &crate::ID).filter(|escrow| escrow.id == wanted);
    let mut escrow = escrow.ok_or(ComputeEscrowError::WrongEscrow)?;
    escrow.fund(amount, state::now()?)?;
    let unreserved = escrow.unreserved;
    Ok(EscrowFunded { escrow: wanted, payer, amount, unreserved, created: None, swept: None })
}
