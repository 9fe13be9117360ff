use anchor_lang::prelude::*;

use crate::errors::ComputeEscrowError;
use crate::seeds::AGENT;

/// An agent of an escrow. Stays when the agent is removed: a nonce never comes back (I-5).
#[account(zero_copy)]
#[derive(Debug)]
pub struct Agent {
    /// Escrow id.
    pub escrow: u32,
    /// Signed openings so far.
    pub nonce: u32,
    /// 1: on the list.
    pub allowed: u8,
    /// Of the address, which names the agent.
    pub bump: u8,
    /// Zero.
    pub reserved: [u8; 6],
    /// Gets the rent back.
    pub rent_payer: Pubkey,
}

impl Agent {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// Refuses any `address` but that of this agent in this escrow: the account itself does not say whose it is.
    pub fn check(&self, address: &Pubkey, escrow: u32, agent: &Pubkey) -> Result<()> {
        let seeds: &[&[u8]] = &[AGENT, &escrow.to_le_bytes(), agent.as_ref(), &[self.bump]];
        let theirs = Pubkey::create_program_address(seeds, &crate::ID).is_ok_and(|derived| derived == *address);
        require!(theirs, ComputeEscrowError::WrongAgentAccount);
        Ok(())
    }
}

const _: () = assert!(Agent::SPACE == 56);
