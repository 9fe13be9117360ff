use anchor_lang::prelude::*;

use crate::content::Content;
use crate::errors::ProviderRegistryError;
use crate::typed_data::content_hash;

/// A provider: whose it is, and the hash of what it publishes. The content itself is in events.
#[account(zero_copy)]
#[derive(Debug)]
pub struct Provider {
    /// May update, retire, and withdraw what the provider earns. Never changes.
    pub owner: Pubkey,
    /// Hash of the present content; zero once retired, so that nothing can name it (I-11).
    pub content_hash: [u8; 32],
    /// From 1.
    pub id: u32,
    /// Counts contents from 1; the number of a content is never given to another.
    pub version: u32,
    /// 1: for good.
    pub retired: u8,
    /// Of the address.
    pub bump: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

impl Provider {
    /// Bytes of the account.
    pub const SPACE: usize = 8 + core::mem::size_of::<Self>();

    /// Refuses everybody but the owner, and everything once it is retired.
    pub fn check_owner(&self, owner: &Pubkey) -> Result<()> {
        require_keys_eq!(self.owner, *owner, ProviderRegistryError::NotOwner);
        require!(self.retired == 0, ProviderRegistryError::Retired);
        Ok(())
    }

    /// The next version.
    pub fn publish(&mut self, content: &Content) -> Result<()> {
        content.check()?;
        self.version = self.version.checked_add(1).ok_or(ErrorCode::InvalidNumericConversion)?;
        self.content_hash = content_hash(content);
        Ok(())
    }

    /// No content any more.
    pub fn retire(&mut self) {
        self.retired = 1;
        self.content_hash = [0; 32];
    }
}

const _: () = assert!(Provider::SPACE == 88);
