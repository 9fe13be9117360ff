use anchor_lang::prelude::*;
use compute_program_common::{history, receipts};

use crate::state::Operator;

/// Whether a receipt is in a posted batch (I-7). Changes nothing: for simulation, by anyone.
#[derive(Accounts)]
pub struct VerifyReceipt<'info> {
    /// Of this program, by owner and discriminator.
    pub operator: AccountLoader<'info, Operator>,
}

impl VerifyReceipt<'_> {
    pub(crate) fn process(
        ctx: Context<VerifyReceipt>,
        batch_number: u64,
        receipt_hash: [u8; 32],
        proof: Vec<[u8; 32]>,
        batch_proof: Vec<[u8; 32]>,
    ) -> Result<bool> {
        let operator = ctx.accounts.operator.load()?;
        let root = receipts::root(&receipt_hash, &proof);
        if batch_proof.is_empty() && operator.recent_root(batch_number) == Some(root) {
            return Ok(true);
        }
        Ok(history::proves(&operator.peaks, operator.last_batch, batch_number, root, &batch_proof))
    }
}
