//! Events as the data of a call of a program to itself (as `emit_cpi!` does), because logs can be cut short by whoever calls the
//! program from another one (docs/adr/010-solana.md).

use anchor_lang::Discriminator;
use anchor_lang::event::EVENT_IX_TAG_LE;
use anchor_lang::prelude::*;
use anchor_lang::solana_program::instruction::Instruction;
use anchor_lang::solana_program::program::invoke_signed;

/// Seed of the PDA that signs events.
pub const EVENT_AUTHORITY: &[u8] = b"__event_authority";

/// Records `event` of `program`. `authority` has been checked by `#[event_cpi]`, `bump` is its; the call ends in Anchor's own event
/// handler, which lets nobody else in.
pub fn record<E: AnchorSerialize + Discriminator>(
    program: Pubkey,
    authority: &AccountInfo<'_>,
    bump: u8,
    event: &E,
) -> Result<()> {
    let mut data = Vec::with_capacity(256);
    data.extend_from_slice(EVENT_IX_TAG_LE);
    data.extend_from_slice(E::DISCRIMINATOR);
    event.serialize(&mut data)?;
    let accounts = vec![AccountMeta::new_readonly(*authority.key, true)];
    let instruction = Instruction { program_id: program, accounts, data };
    let seeds: &[&[u8]] = &[EVENT_AUTHORITY, &[bump]];
    Ok(invoke_signed(&instruction, core::slice::from_ref(authority), &[seeds])?)
}
