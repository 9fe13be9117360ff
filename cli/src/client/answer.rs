//! An answer over HTTP.

use compute_futures_protocol::B256;
use compute_futures_x402::decode_header;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::{ClientError, nothing_charged};

/// Header with what became of a payment (x402 V2).
const PAYMENT_RESPONSE: &str = "payment-response";

/// A JSON answer and what became of the payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; a JSON string when it is not JSON.
    pub body: Value,
    /// The body as received: hashes are over these bytes.
    pub bytes: Vec<u8>,
    /// `PAYMENT-RESPONSE`, decoded.
    pub payment: Option<Value>,
    /// An earlier delivery of the same request got no answer that says what became of it.
    pub in_doubt: bool,
}

impl Answer {
    /// Reads a response whole.
    pub(super) async fn read(response: Response) -> Result<Self, ClientError> {
        let url = response.url().to_string();
        let status = response.status().as_u16();
        let payment = response.headers().get(PAYMENT_RESPONSE).and_then(|header| decode_header(header.as_bytes()));
        let bytes = response
            .bytes()
            .await
            .map_err(|error| ClientError::Unreachable { url, reason: error.without_url().to_string() })?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).chars().take(500).collect()));
        Ok(Self { status, body, bytes: bytes.to_vec(), payment, in_doubt: false })
    }

    /// What a receipt of this answer attests: the bytes of `compute` where the receipt stands next to it, otherwise the
    /// whole body.
    #[must_use]
    pub fn output_hash(&self) -> B256 {
        compute_futures_x402::output_hash(&self.bytes, &self.body)
    }

    /// Whether a payment that came with the request may be charged, if not by this delivery then by an earlier one.
    #[must_use]
    pub fn may_charge(&self) -> bool {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        self.in_doubt || status.is_success() || !nothing_charged(status, &self.body)
    }

    /// The body of a 2xx answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the server's own words otherwise.
    pub fn success(self) -> Result<Self, ClientError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        // Below /v1/ errors have OpenAI's form: an object, whose message says what to do as well.
        let text = |paths: [&str; 2]| {
            paths.iter().find_map(|path| self.body.pointer(path).and_then(Value::as_str)).map(str::to_owned)
        };
        Err(ClientError::Refused {
            status: self.status,
            code: text(["/code", "/error/code"]).unwrap_or_else(|| "unknown".into()),
            error: text(["/error", "/error/message"]).unwrap_or_else(|| self.body.to_string()),
            hint: text(["/hint", "/error/hint"]).unwrap_or_else(|| "see the relayer's log".into()),
            extra: self.body.get("extra").cloned(),
            may_charge: self.may_charge(),
        })
    }
}
