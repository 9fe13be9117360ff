use anchor_lang::prelude::*;

/// Gives operators their indexes. Nobody owns it (I-9).
#[account]
#[derive(InitSpace)]
pub struct Registry {
    /// Operators have the indexes 1 to this.
    pub operator_count: u32,
    /// Of the address.
    pub bump: u8,
}

/// From an operator's authority to its index.
#[account]
#[derive(InitSpace)]
pub struct OperatorOf {
    /// From 1.
    pub operator_index: u32,
    /// Of the address.
    pub bump: u8,
}
