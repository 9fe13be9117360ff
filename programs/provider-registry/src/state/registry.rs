use anchor_lang::prelude::*;

/// Gives providers their numbers. Nobody owns it (I-9).
#[account]
#[derive(InitSpace)]
pub struct Registry {
    /// Providers have the numbers 1 to this.
    pub provider_count: u32,
    /// Of the address.
    pub bump: u8,
}
