//! Accounts of the token programs, planted as they are.

use compute_program_common::cluster::USDC;
use solana_account::Account;

use crate::Pubkey;
use crate::vm::address;

/// SPL Token.
pub const TOKEN: Pubkey = anchor_spl::token::ID;
/// Token-2022.
pub const TOKEN_2022: Pubkey = Pubkey::from_str_const("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
/// The system program.
pub const SYSTEM: Pubkey = Pubkey::new_from_array([0; 32]);
/// The sysvar in which a program reads the transaction's instructions.
pub const INSTRUCTIONS: Pubkey = Pubkey::from_str_const("Sysvar1nstructions1111111111111111111111111");
const RICH: u64 = 10_000_000;

/// The wallet's associated token account for USDC.
pub fn token_address(wallet: Pubkey) -> Pubkey {
    anchor_spl::associated_token::get_associated_token_address(&wallet, &USDC)
}

/// A mint of six decimals, nobody's authority: mint authority option, authority, supply u64, decimals, initialised, freeze option, authority.
pub fn mint(program: Pubkey) -> Account {
    let mut data = vec![0; 82];
    data[36..44].copy_from_slice(&u64::MAX.to_le_bytes());
    data[44..46].copy_from_slice(&[6, 1]);
    Account { lamports: RICH, data, owner: address(program), executable: false, rent_epoch: 0 }
}

/// A token account: mint, owner, amount u64, delegate option and key, state (1: initialised), …
pub fn token(owner: Pubkey, mint: Pubkey, amount: u64, program: Pubkey) -> Account {
    let mut data = vec![0; 165];
    data[..32].copy_from_slice(mint.as_ref());
    data[32..64].copy_from_slice(owner.as_ref());
    data[64..72].copy_from_slice(&amount.to_le_bytes());
    data[108] = 1;
    Account { lamports: RICH, data, owner: address(program), executable: false, rent_epoch: 0 }
}

/// What a token account holds.
pub fn token_amount(data: &[u8]) -> u64 {
    u64::from_le_bytes(data[64..72].try_into().unwrap())
}
