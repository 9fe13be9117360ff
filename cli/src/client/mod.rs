//! A client of a relayer: x402 `exact` with stock parts, and the `compute-futures` scheme.
//!
//! A client trusts nobody: it signs only for the contract it was configured with, only hashes of requests it made itself,
//! never above its own bounds, and checks each receipt before it believes it.

mod answer;
mod budget;
mod credit;
mod deposit;
mod error;
mod exact;
mod receipts;
mod refusal;
mod relayer;
mod session;
mod sign_in;

pub use answer::Answer;
pub use budget::{Budget, Hold};
pub use credit::{CreditPayer, CreditTerms, Limits, Paid};
pub use deposit::{GaslessDeposit, sign_gasless};
pub use error::ClientError;
pub use exact::{ExactPayer, Payee, Payment};
pub use receipts::{CheckedReceipt, receipt_of};
pub(crate) use refusal::nothing_charged;
pub use relayer::{Relayer, Request};
pub use session::{SessionBudget, SessionOffer, SessionPaid, SessionPayer, SignedSessionReceipt};
pub use sign_in::sign_in;
