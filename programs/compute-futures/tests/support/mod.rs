//! A chain with USDC, the program and some people on it.

pub(crate) mod instructions;
pub(crate) mod world;

/// What is planted, and whose.
pub(crate) mod accounts {
    pub(crate) use compute_program_testing::accounts::*;
    pub(crate) use compute_program_testing::vm::key;
}

pub(crate) use compute_futures::errors::ComputeFuturesError as Refused;
pub(crate) use compute_futures::events::*;
pub(crate) use compute_futures::instructions::Terms;
pub(crate) use compute_futures::rows::Row;
pub(crate) use compute_futures::state::{FuturesAccount, Operator, Tier};
pub(crate) use compute_program_testing::ed25519::{attack, signed};
pub(crate) use compute_program_testing::events::{event, recorded};
pub(crate) use compute_program_testing::secp256r1::OtherCurve;
pub(crate) use compute_program_testing::substitute;
pub(crate) use compute_program_testing::vm::{NOW, USDC, Vm, address, cases, keypair, root};
pub(crate) use compute_program_testing::{AccountMeta, Instruction, Keypair, Pubkey};

pub(crate) use self::instructions::*;
pub(crate) use self::world::*;
