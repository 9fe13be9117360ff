//! The domain with no I/O: amounts, tiers, discount maths, ids, receipts, Merkle trees, typed data.
//!
//! Every rule of the product stands here once. The contracts are checked against the same vectors
//! (`tests/vectors/*.json`), so what this crate computes is what the chain computes.

mod account;
mod address;
mod batch;
mod chain;
mod deposit;
mod discount;
mod eip3009;
pub mod history;
mod id;
mod job;
pub mod market;
mod merkle;
mod payment;
mod rate_card;
mod receipt;
mod refund;
mod request;
pub mod serde_util;
mod signature;
mod signer;
pub mod solana;
mod terms;
mod transaction;
mod typed_data;
pub mod usdc;

pub use account::{AccountError, AccountState, DebitOutcome};
pub use address::{Address, AddressError, SolanaAddress, parse_address};
pub use batch::{BatchDocument, ReceiptError};
pub use chain::{Chain, UnknownChain};
pub use deposit::{DepositAuthorization, DepositTerms, deposit_address, deposit_nonce};
pub use discount::{BPS, DiscountFloor, charge, hold_amount};
pub use eip3009::{ReceiveWithAuthorization, TokenDomain, TransferWithAuthorization};
pub use id::{AccountId, FuturesId, IdError, MAX_SEQUENCE};
pub use job::{JobKind, Usage};
pub use merkle::{MerkleError, ReceiptTree, leaf, verify};
pub use payment::{EvmPayment, ExactPayment, PaymentFault, SolanaPayment};
pub use rate_card::{ModelRate, PriceFault, RateCard, RateCardError};
pub use receipt::{Authorization, AuthorizationError, ReceiptFault, SignedReceipt};
pub use refund::{refund_order, refund_order_hash};
pub use request::{CanonicalJsonError, canonical_json, canonical_json_hash, canonical_value, request_hash};
pub use signature::{Signature, SignatureError, recover, signed_message, signer_among};
pub use signer::Signer;
pub use terms::{MAX_REFUND_DELAY, MAX_THRESHOLD, MAX_TIERS, Terms, TermsError, Tier};
pub use transaction::{NotATransaction, TransactionId};
pub use typed_data::{Domain, JobAuthorization, MAX_BATCH_NUMBER, Receipt, SpendCeiling, WrongChain};
pub use usdc::{ParseUsdcError, Usdc};

pub use alloy_primitives::{Address as EvmAddress, B256, Bytes, U256, keccak256};
