//! Checking a receipt at once, with nothing but the answer and what the client itself asked for (I-7).

use compute_futures_protocol::{AccountId, Address, B256, Domain, SignatureError, SignedReceipt};
use serde_json::Value;

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
    let in_header = || answer.payment.as_ref()?.get("extra")?.get("receipt");
    let receipt: &Value = answer
        .body
        .get("receipt")
        .or_else(in_header)
        .ok_or_else(|| ClientError::BadReceipt("the answer holds no receipt".into()))?;
    serde_json::from_value(receipt.clone()).map_err(|error| ClientError::BadReceipt(error.to_string()))
}

/// Checks the receipt of an answer: that its hash is its own, that the operator signed it, that it is for this account and
/// this request, that its authorisation is the one it names, and that the output is what it attests.
///
/// # Errors
/// [`ClientError::BadReceipt`] names the first thing that does not hold.
pub fn check_receipt(
    signed: SignedReceipt,
    domain: &Domain,
    operator: Address,
    account: AccountId,
    request_hash: B256,
    output_hash: B256,
) -> Result<CheckedReceipt, ClientError> {
    let bad = |what: String| Err(ClientError::BadReceipt(what));
    let receipt = &signed.receipt;
    let digest = receipt.digest(domain);
    if digest != signed.receipt_hash {
        return bad(format!("it states hash {} but has hash {digest}", signed.receipt_hash));
    }
    match signed.signature.verify(digest, operator) {
        Ok(()) => {}
        Err(SignatureError::Stranger(Some(signer))) => {
            return bad(format!("it is signed by {signer}, not by the operator {operator}"));
        }
        Err(error) => return bad(error.to_string()),
    }
    if receipt.account_id != account {
        return bad(format!("it charges account {}, not {account}", receipt.account_id));
    }
    if receipt.request_hash != request_hash {
        return bad("it is for another request than the one sent".into());
    }
    if receipt.authorization_hash != signed.authorization.hash(domain) {
        return bad("it names another authorisation than the one next to it".into());
    }
    if receipt.output_hash != output_hash {
        return bad("it attests another output than the one received".into());
    }
    Ok(CheckedReceipt { signed })
}
