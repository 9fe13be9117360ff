//! A signature checked by the runtime: the ed25519 program verified it in an instruction of the same transaction, and here it is
//! read what that instruction verified. Anything but the one form that signs exactly one message, in its own data, is refused.

use anchor_lang::prelude::*;
use solana_instructions_sysvar::{load_current_index_checked, load_instruction_at_checked};

const PROGRAM: Pubkey = pubkey!("Ed25519SigVerify111111111111111111111111111");

/// One signature, then seven u16: signature offset 48, its instruction (this one), key offset 16, this one, message offset 112,
/// message size 32, this one. With "another instruction" or other offsets, what was verified would not be what is read here.
const HEADER: [u8; 16] = [1, 0, 48, 0, 0xff, 0xff, 16, 0, 0xff, 0xff, 112, 0, 32, 0, 0xff, 0xff];
const KEY: core::ops::Range<usize> = 16..48;
const MESSAGE: core::ops::Range<usize> = 112..144;

/// Who signed `digest`, by the instruction directly before the current one; `None` when that is not the one form over these bytes.
/// `instructions` must have been checked to be the sysvar.
pub fn signer_of(digest: &[u8; 32], instructions: &AccountInfo<'_>) -> Result<Option<Pubkey>> {
    let current = load_current_index_checked(instructions)?;
    let Some(previous) = current.checked_sub(1) else { return Ok(None) };
    let instruction = load_instruction_at_checked(usize::from(previous), instructions)?;
    let data = instruction.data.as_slice();
    let signs = instruction.program_id == PROGRAM
        && data.len() == MESSAGE.end
        && data.starts_with(&HEADER)
        && data[MESSAGE] == digest[..];
    Ok(if signs { Pubkey::try_from(&data[KEY]).ok() } else { None })
}
