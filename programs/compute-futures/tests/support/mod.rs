//! A chain with USDC, the program and some people on it.

pub(crate) mod accounts;
pub(crate) mod events;
pub(crate) mod instructions;
pub(crate) mod substitute;
pub(crate) mod world;

pub(crate) use anchor_lang::prelude::Pubkey;
pub(crate) use compute_futures::errors::ComputeFuturesError as Refused;
pub(crate) use compute_futures::events::*;
pub(crate) use compute_futures::instructions::Terms;
pub(crate) use compute_futures::rows::Row;
pub(crate) use compute_futures::state::{FuturesAccount, Operator, Tier};
pub(crate) use solana_instruction::{AccountMeta, Instruction};
pub(crate) use solana_keypair::Keypair;

pub(crate) use self::events::*;
pub(crate) use self::instructions::*;
pub(crate) use self::world::*;
