//! Checking a receipt at once, with nothing but the answer and what the client itself asked for (I-7).

use compute_futures_protocol::SignedReceipt;

use super::{Answer, ClientError};

/// A receipt whose hash, signature, request and output were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedReceipt {
    /// The receipt.
    pub signed: SignedReceipt,
}

/// The receipt of an answer: in the body of a job's, in `PAYMENT-RESPONSE` of a read's.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn receipt_of(answer: &Answer) -> Result<SignedReceipt, ClientError> {
    Ok(compute_futures_x402::receipt_of(&answer.body, answer.payment.as_ref())?)
}
