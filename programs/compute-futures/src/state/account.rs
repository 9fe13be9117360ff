use anchor_lang::prelude::*;

use super::discount::{BPS, discounted};
use super::{MAX_AMOUNT, PackedTier, discount_for};
use crate::errors::ComputeFuturesError;

/// One owner's prepaid credit with one operator, and the money rules of it (I-2, I-3). Closed accounts do not exist any more.
#[account(zero_copy)]
#[derive(Debug)]
pub struct FuturesAccount {
    /// Operator index (high 32 bits) and sequence (low 32 bits).
    pub id: u64,
    /// Deposited, micro-USDC; below 2^56.
    pub credit: u64,
    /// Net of discount; only ever rises.
    pub charged: u64,
    /// Cumulative cap on `charged`, signed by owner or delegate.
    pub ceiling: u64,
    /// First batch for which `discount_bps` binds.
    pub discount_from_batch: u64,
    /// Unix seconds from which `refund` pays; zero: not requested.
    pub refundable_at: u64,
    /// Version of the terms it was opened under.
    pub terms_version: u32,
    /// Of those terms, seconds.
    pub refund_delay: u32,
    /// Of those terms.
    pub tiers: [PackedTier; 3],
    /// What the discount division left over, in 1/10,000 micro-USDC; below 10,000.
    pub remainder: u16,
    /// What the total deposit has earned.
    pub discount_bps: u16,
    /// The least discount for batches before `discount_from_batch`.
    pub previous_discount_bps: u16,
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved: u8,
    /// Who can take the credit back.
    pub owner: Pubkey,
    /// May sign spending (ceilings, jobs), never refunds; zero: none.
    pub delegate: Pubkey,
    /// Gets the rent back.
    pub rent_payer: Pubkey,
    /// The deposit address that feeds it; zero: none.
    pub deposit_address: Pubkey,
}

/// What one row of a batch did.
#[derive(Debug, PartialEq, Eq)]
pub struct Charge {
    /// The discount applied.
    pub discount_bps: u16,
    /// What was charged.
    pub net: u64,
    /// What was not, net of discount.
    pub uncovered: u64,
}

impl FuturesAccount {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// Index of the operator that may charge it.
    pub const fn operator_index(&self) -> u32 {
        (self.id >> 32) as u32
    }

    /// Owner or delegate: who may sign spending (I-2). The zero key is nobody's.
    pub fn may_spend(&self, signer: &Pubkey) -> bool {
        *signer != Pubkey::default() && (self.owner == *signer || self.delegate == *signer)
    }

    /// Deposited and not charged.
    pub const fn unspent(&self) -> u64 {
        self.credit.saturating_sub(self.charged)
    }

    /// The least discount in this batch (I-3).
    pub const fn floor_bps(&self, batch_number: u64) -> u16 {
        if batch_number < self.discount_from_batch { self.previous_discount_bps } else { self.discount_bps }
    }

    /// One row of a batch: the discount is the stated one, raised to the floor and lowered to 10,000; the charge is clamped to
    /// min(credit, ceiling) − charged (I-2). A clamp zeroes the remainder: the fraction belongs to the shortfall.
    pub fn debit(&mut self, batch_number: u64, list_amount: u64, stated_bps: u16) -> Charge {
        let discount_bps = stated_bps.min(BPS).max(self.floor_bps(batch_number));
        let (mut net, mut rest) = discounted(list_amount, discount_bps, self.remainder);
        let allowed = self.credit.min(self.ceiling).saturating_sub(self.charged);
        let uncovered = net.saturating_sub(allowed);
        if uncovered != 0 {
            net = allowed;
            rest = 0;
        }
        self.charged += net;
        self.remainder = rest;
        Charge { discount_bps, net, uncovered }
    }

    /// Adds credit to an open account that nobody is leaving. A higher tier binds from two batches after the next, so that receipts already
    /// signed at the old rate (one batch in flight, one being filled) are charged as signed, and not a batch longer (ADR 002).
    pub fn top_up(&mut self, amount: u64, last_batch: u64) -> Result<()> {
        require!(self.refundable_at == 0, ComputeFuturesError::RefundAlreadyRequested);
        require!(amount != 0, ComputeFuturesError::DepositTooSmall);
        let credit = self.credit.checked_add(amount).filter(|credit| *credit <= MAX_AMOUNT);
        self.credit = credit.ok_or(ComputeFuturesError::CreditOverflow)?;
        let earned = discount_for(&self.tiers, self.credit);
        if earned > self.discount_bps {
            self.previous_discount_bps = self.floor_bps(last_batch + 1);
            self.discount_from_batch = last_batch + 3;
            self.discount_bps = earned;
        }
        Ok(())
    }

    /// Raises the ceiling; it never falls.
    pub fn raise_ceiling(&mut self, ceiling: u64) -> Result<()> {
        super::check_amount(ceiling)?;
        require!(ceiling > self.ceiling, ComputeFuturesError::CeilingNotRaised);
        self.ceiling = ceiling;
        Ok(())
    }
}

const _: () = assert!(FuturesAccount::SPACE == 224);
