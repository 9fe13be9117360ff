//! The x402 scheme `compute-futures` for stock clients: a signature against prepaid credit is the payment, on Base and on Solana.
//!
//! [`Credit`] is the scheme itself: it reads an offer, makes the payload, checks the receipt, and does no I/O. [`CreditScheme`] gives it
//! to `x402-reqwest`, as scheme and as middleware:
//!
//! ```no_run
//! # use compute_futures_x402::{Credit, CreditScheme};
//! # use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};
//! # fn client(signer: compute_futures_protocol::Signer, credit: Credit) -> reqwest_middleware::ClientWithMiddleware {
//! let scheme = CreditScheme::new(signer, credit);
//! reqwest::Client::new().with_payments(X402Client::new().register(scheme.clone())).builder().with(scheme).build()
//! # }
//! ```
//!
//! [`SessionBudget`] is the scheme `compute-escrow` in the same way: an agent's order on a session of the marketplace.
//!
//! The client trusts nobody: it signs only for the contract and operator it was given, only hashes of requests that it sent itself, never
//! above its bounds, and believes no answer whose receipt does not hold (I-7).

mod credit;
mod error;
mod passing;
mod receipt;
mod scheme;
mod session;

pub use credit::{Credit, CreditTerms, SCHEME, decode_header};
pub use error::CreditError;
pub use passing::Passing;
pub use receipt::{Answered, code_of, output_hash, receipt_of};
pub use scheme::CreditScheme;
pub use session::{SESSION_SCHEME, SessionBudget, SessionOffer, SignedSessionReceipt, costs_as_published};
