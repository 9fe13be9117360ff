//! Checking a receipt at once, with nothing but the answer and what the client itself asked for (I-7).

use compute_futures_protocol::{
    B256, Chain, JobAuthorization, SignatureError, SignedReceipt, keccak256, refund_order_hash,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::passing::attested;
use crate::{Credit, CreditError};

/// The one call whose receipt covers an order, not its answer.
const REFUND: &str = "/api/v1/compute-futures/refund";

/// An answer to a paid request.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Path of the request, without its query.
    pub path: &'a str,
    /// The body as received: hashes are over these bytes.
    pub bytes: &'a [u8],
    /// The body, when it is JSON.
    pub body: &'a Value,
    /// `PAYMENT-RESPONSE`, decoded.
    pub report: Option<&'a Value>,
}

#[derive(Deserialize)]
struct Job<'a> {
    #[serde(borrow)]
    compute: &'a RawValue,
}

/// What a receipt of an answer attests: the bytes of `compute` where the receipt stands next to it, otherwise the whole body.
#[must_use]
pub fn output_hash(bytes: &[u8], body: &Value) -> B256 {
    match serde_json::from_slice::<Job<'_>>(bytes) {
        Ok(job) if body.get("receipt").is_some() => keccak256(job.compute.get()),
        _ => keccak256(bytes),
    }
}

/// The code of a refusal: of the relayer's own form, or of OpenAI's.
#[must_use]
pub fn code_of(refusal: &Value) -> Option<&str> {
    refusal.get("code").or_else(|| refusal.pointer("/error/code")).and_then(Value::as_str)
}

/// The receipt of an answer: in the body of an `execute`, in `PAYMENT-RESPONSE` of everything else.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn receipt_of(body: &Value, report: Option<&Value>) -> Result<SignedReceipt, CreditError> {
    // A job that is looked up later has its own receipt in the body, and the one of the look-up in the header.
    let in_body = body.get("receipt").filter(|_| body.get("compute").is_some());
    let in_header = || report?.get("extra")?.get("receipt");
    let receipt =
        in_body.or_else(in_header).ok_or_else(|| CreditError::BadReceipt("the answer holds no receipt".into()))?;
    SignedReceipt::deserialize(receipt).map_err(|error| CreditError::BadReceipt(error.to_string()))
}

impl Credit {
    /// The receipt of a paid answer, if it holds: for this account, this authorisation, within what it allows, over this output.
    ///
    /// # Errors
    /// [`CreditError::BadReceipt`] names the first thing that does not hold.
    pub fn check(&self, answer: &Answered<'_>, authorization: &JobAuthorization) -> Result<SignedReceipt, CreditError> {
        let signed = receipt_of(answer.body, answer.report)?;
        self.check_receipt(signed, authorization, self.attested(answer)?)
    }

    /// As [`Credit::check`], of a receipt that came another way: at the end of a stream.
    ///
    /// # Errors
    /// As [`Credit::check`].
    pub fn check_receipt(
        &self,
        signed: SignedReceipt,
        authorization: &JobAuthorization,
        output_hash: B256,
    ) -> Result<SignedReceipt, CreditError> {
        let bad = |what: String| Err(CreditError::BadReceipt(what));
        let receipt = &signed.receipt;
        if receipt.authorization_hash != authorization.digest(&self.domain) {
            return bad("it names another authorisation than the one signed".into());
        }
        if receipt.charged > authorization.max_charge {
            return bad(format!(
                "it charges {} USDC, above the {} USDC that were signed",
                receipt.charged, authorization.max_charge
            ));
        }
        self.holds(&signed, authorization.request_hash, output_hash)?;
        Ok(signed)
    }

    /// That the receipt's hash is its own, that the operator signed it, that it is for this account and this request, that its
    /// authorisation is the one next to it, and that the output is what it attests.
    ///
    /// # Errors
    /// As [`Credit::check`].
    pub fn holds(&self, signed: &SignedReceipt, request_hash: B256, output_hash: B256) -> Result<(), CreditError> {
        let bad = |what: String| Err(CreditError::BadReceipt(what));
        let receipt = &signed.receipt;
        let digest = receipt.digest(&self.domain);
        if digest != signed.receipt_hash {
            return bad(format!("it states hash {} but has hash {digest}", signed.receipt_hash));
        }
        match signed.signature.verify(digest, self.operator) {
            Ok(()) => {}
            Err(SignatureError::Stranger(Some(signer))) => {
                return bad(format!("it is signed by {signer}, not by the operator {}", self.operator));
            }
            Err(error) => return bad(error.to_string()),
        }
        if receipt.account_id != self.account {
            return bad(format!("it charges account {}, not {}", receipt.account_id, self.account));
        }
        if receipt.request_hash != request_hash {
            return bad("it is for another request than the one sent".into());
        }
        if receipt.authorization_hash != signed.authorization.hash(&self.domain) {
            return bad("it names another authorisation than the one next to it".into());
        }
        if receipt.output_hash != output_hash {
            return bad("it attests another output than the one received".into());
        }
        Ok(())
    }

    /// What the receipt must attest: the answer. A refund is charged before the account can close, so there it is the order to
    /// refund this account, and what came of it is in the answer and on chain.
    fn attested(&self, answer: &Answered<'_>) -> Result<B256, CreditError> {
        if answer.path != REFUND {
            let output = output_hash(answer.bytes, answer.body);
            return answer.report.map_or(Ok(output), |report| attested(report, output));
        }
        let network = self.domain.network();
        let chain: Chain =
            network.parse().map_err(|_| CreditError::Untrusted(format!("chain {network} is not one of ours")))?;
        let named = &answer.body["refund"]["accountId"];
        if named.as_str() != Some(self.account.to_string().as_str()) {
            return Err(CreditError::BadReceipt(format!("the answer refunds account {named}, not {}", self.account)));
        }
        Ok(refund_order_hash(self.account, chain))
    }
}
