//! A chain with USDC, both programs and some people on it.

pub(crate) mod instructions;
pub(crate) mod world;

pub(crate) use compute_escrow::errors::ComputeEscrowError as Refused;
pub(crate) use compute_escrow::events::*;
pub(crate) use compute_escrow::instructions::SessionRequest;
pub(crate) use compute_escrow::rows::Row;
pub(crate) use compute_escrow::state::{Agent, Earnings, Escrow, Session, session_id};
pub(crate) use compute_escrow::terms::EscrowTerms;
pub(crate) use compute_escrow::typed_data::SessionCost;
pub(crate) use compute_program_testing::accounts::{SYSTEM, TOKEN, TOKEN_2022, mint, token, token_address};
pub(crate) use compute_program_testing::ed25519::{attack, signed};
pub(crate) use compute_program_testing::events::{event, recorded};
pub(crate) use compute_program_testing::secp256r1::OtherCurve;
pub(crate) use compute_program_testing::substitute::Case;
pub(crate) use compute_program_testing::vm::{NOW, USDC, Vm, address, cases, key, keypair, root};
pub(crate) use compute_program_testing::{AccountMeta, Instruction, Keypair, Pubkey};

pub(crate) use self::instructions::*;
pub(crate) use self::world::*;
