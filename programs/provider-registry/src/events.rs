//! What happened, for readers off chain: the events of `IProviderRegistry`, one an instruction. The content is here and nowhere else.

use anchor_lang::Discriminator;
use anchor_lang::prelude::*;
use compute_program_common::events;

use crate::content::Content;

/// A provider came to be, at version 1.
#[event]
pub struct ProviderRegistered {
    /// Its number, from 1.
    pub provider: u32,
    /// May update, retire, and withdraw what the provider earns. Never changes.
    pub owner: Pubkey,
    /// 1.
    pub version: u32,
    /// Hash of the content (I-11).
    pub content_hash: [u8; 32],
    /// What it publishes.
    pub content: Content,
}

/// From now on sessions are opened at this content. Sessions already open keep theirs (I-11).
#[event]
pub struct ProviderUpdated {
    /// Its number.
    pub provider: u32,
    /// Its owner.
    pub owner: Pubkey,
    /// One more than before.
    pub version: u32,
    /// Hash of the content (I-11).
    pub content_hash: [u8; 32],
    /// What it publishes.
    pub content: Content,
}

/// No session is opened with it any more. Open ones end as usual, earnings stay its owner's.
#[event]
pub struct ProviderRetired {
    /// Its number.
    pub provider: u32,
    /// Its owner.
    pub owner: Pubkey,
    /// Of its last content.
    pub version: u32,
}

/// Records `event`. `authority` has been checked by `#[event_cpi]`.
pub(crate) fn record<E: AnchorSerialize + Discriminator>(authority: &AccountInfo<'_>, event: &E) -> Result<()> {
    events::record(crate::ID, authority, crate::EVENT_AUTHORITY_AND_BUMP.1, event)
}
