use anchor_lang::prelude::*;

use super::{MAX_BUDGET, session_id};
use crate::errors::ComputeEscrowError;

/// No session holds money longer than this: 30 days. An agent gone bad can block a budget, but not for long (I-4).
pub const MAX_SESSION_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Gives escrows their numbers. Nobody owns it (I-9).
#[account]
#[derive(InitSpace)]
pub struct Escrows {
    /// Escrows have the numbers 1 to this.
    pub escrow_count: u32,
    /// Of the address.
    pub bump: u8,
}

/// A budget for agents, and the money rules of it (I-1, I-4, I-10). Emptied escrows do not exist any more.
#[account(zero_copy)]
#[derive(Debug)]
pub struct Escrow {
    /// Free for sessions and refunds, micro-USDC; with `reserved` below 2^56.
    pub unreserved: u64,
    /// Held by open sessions.
    pub reserved: u64,
    /// Most one session may reserve; below 2^48.
    pub session_limit: u64,
    /// Last second in which sessions may be open.
    pub expiry: u64,
    /// From 1.
    pub id: u32,
    /// Sequence of the newest session.
    pub session_count: u32,
    /// 1: anyone may open sessions.
    pub open_to_all: u8,
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved_bytes: [u8; 6],
    /// Gets back whatever is not spent.
    pub creator: Pubkey,
    /// The only meter that sessions may name; zero: agents choose.
    pub meter: Pubkey,
    /// Gets the rent back.
    pub rent_payer: Pubkey,
    /// The deposit address that feeds it; zero: none.
    pub deposit_address: Pubkey,
}

impl Escrow {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// Everything in it.
    pub const fn total(&self) -> u64 {
        self.unreserved + self.reserved
    }

    /// Money comes in.
    pub fn fund(&mut self, amount: u64, now: u64) -> Result<()> {
        require!(amount != 0, ComputeEscrowError::NothingToFund);
        require!(now <= self.expiry, ComputeEscrowError::Expired);
        let total = self.total().checked_add(amount);
        require!(total.is_some_and(|total| total <= MAX_BUDGET), ComputeEscrowError::BudgetOverflow);
        self.unreserved += amount;
        Ok(())
    }

    /// Opens the next session: its limit is reserved. Returns its id.
    pub fn reserve(&mut self, limit: u64, deadline: u64, now: u64) -> Result<u64> {
        require!(limit != 0 && limit <= self.session_limit, ComputeEscrowError::InvalidLimit); // I-10
        let latest = self.expiry.min(now.saturating_add(MAX_SESSION_SECONDS));
        require!(deadline >= now && deadline <= latest, ComputeEscrowError::InvalidDeadline); // I-4
        let left = self.unreserved.checked_sub(limit);
        let left = left.ok_or(ComputeEscrowError::InsufficientUnreserved)?; // I-1
        let sequence = self.session_count.checked_add(1).ok_or(ComputeEscrowError::SessionsExhausted)?;
        self.session_count = sequence;
        self.unreserved = left;
        self.reserved += limit;
        Ok(session_id(self.id, sequence))
    }

    /// Ends a session: its limit is no longer reserved, what it did not cost is free again (I-10). `cost` is at most the limit.
    pub fn release(&mut self, limit: u64, cost: u64) {
        self.reserved -= limit;
        self.unreserved += limit - cost;
    }

    /// Takes at most `amount` of what is unreserved; says how much (I-4).
    pub fn refund(&mut self, amount: u64) -> Result<u64> {
        let paid = amount.min(self.unreserved);
        require!(paid != 0, ComputeEscrowError::NothingToRefund);
        self.unreserved -= paid;
        Ok(paid)
    }
}

const _: () = assert!(Escrow::SPACE == 184);
