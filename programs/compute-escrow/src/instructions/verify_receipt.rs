use anchor_lang::prelude::*;
use compute_program_common::receipts;

use crate::state::Earnings;
use crate::typed_data::SessionCost;

/// Whether a receipt is of a closed session (I-7). Changes nothing: for simulation, by anyone.
#[derive(Accounts)]
pub struct VerifyReceipt<'info> {
    /// Of this program, by owner and discriminator; the provider's by its number.
    pub earnings: AccountLoader<'info, Earnings>,
}

impl VerifyReceipt<'_> {
    pub(crate) fn process(
        ctx: Context<VerifyReceipt>,
        session_cost: SessionCost,
        number: u64,
        receipt_hash: [u8; 32],
        proof: Vec<[u8; 32]>,
        range_proof: Vec<[u8; 32]>,
    ) -> Result<bool> {
        let earnings = ctx.accounts.earnings.load()?;
        Ok(earnings.provider == session_cost.provider
            && receipts::root(&receipt_hash, &proof) == session_cost.receipts_root
            && earnings.proves(number, session_cost.struct_hash(), &range_proof))
    }
}
