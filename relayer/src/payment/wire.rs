//! What a client sends: `PAYMENT-SIGNATURE` (x402 V2) or `X-PAYMENT` (V1), read strictly and bounded in size.
//!
//! Nothing here is believed yet: a [`Presented`] payment is only well formed. The gate compares it with what it would offer
//! for this very request, and the schemes check signatures.

use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use compute_futures_protocol::serde_util::u256_string;
use compute_futures_protocol::solana::{SolanaTransaction, associated_token_address};
use compute_futures_protocol::{
    Address, B256, Bytes, Chain, EvmAddress, EvmPayment, ExactPayment, JobAuthorization, SolanaAddress, SolanaPayment,
    TransactionId, U256, Usdc,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use x402_types::proto::v1::X402Version1;
use x402_types::proto::v2;

use super::exact::mismatch;
use super::settings::{Asset, PaymentSettings};
use crate::error::{ApiError, ApiResult};

/// V2: the offer, on a 402.
pub const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static("payment-required");
/// V2: the payment.
pub const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
/// V2: what became of the payment.
pub const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("payment-response");
/// V1: the payment.
pub const X_PAYMENT: HeaderName = HeaderName::from_static("x-payment");
/// V1: what became of the payment.
pub const X_PAYMENT_RESPONSE: HeaderName = HeaderName::from_static("x-payment-response");
/// A transfer on Solana that was made already: its signature.
pub const X_SOLANA_TX: HeaderName = HeaderName::from_static("x-solana-tx");
/// Headers a browser must be allowed to read (CORS `Access-Control-Expose-Headers`).
pub const EXPOSED_HEADERS: [HeaderName; 3] = [PAYMENT_REQUIRED, PAYMENT_RESPONSE, X_PAYMENT_RESPONSE];
/// Headers a browser must be allowed to send. The last one is what the stock JavaScript client sends by mistake.
pub const ACCEPTED_HEADERS: [HeaderName; 4] =
    [PAYMENT_SIGNATURE, X_PAYMENT, X_SOLANA_TX, HeaderName::from_static("access-control-expose-headers")];

/// Longest payment header that is looked at. A payment is about 1 KB; contract wallets sign with a few KB.
pub const MAX_PAYMENT_HEADER: usize = 16 * 1024;
/// Extension by which a client names its payment (an idempotency key).
pub const PAYMENT_IDENTIFIER: &str = "payment-identifier";

/// Scheme of plain payments.
pub const EXACT: &str = "exact";
/// Scheme of payments from prepaid credit.
pub const COMPUTE_FUTURES: &str = "compute-futures";

/// Standard base64; padding is optional, as clients differ.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// x402 protocol version a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `X-PAYMENT`; terms in the body of a 402.
    V1,
    /// `PAYMENT-SIGNATURE`; terms in the `PAYMENT-REQUIRED` header.
    V2,
}

impl Version {
    /// The number in `x402Version`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Header of the settlement result.
    #[must_use]
    pub const fn response_header(self) -> HeaderName {
        match self {
            Self::V1 => X_PAYMENT_RESPONSE,
            Self::V2 => PAYMENT_RESPONSE,
        }
    }
}

/// A payment as presented: well formed, nothing more.
#[derive(Debug)]
pub struct Presented {
    /// Protocol version.
    pub version: Version,
    /// V2: the terms the client says it accepted. V1 names only scheme and network.
    pub accepted: Accepted,
    /// What was signed.
    pub payload: Payload,
    /// `payment-identifier` extension, checked for form.
    pub identifier: Option<String>,
    /// The decoded JSON as sent, for the facilitator.
    pub document: Vec<u8>,
}

/// Terms that the client says it accepted.
#[derive(Debug)]
pub enum Accepted {
    /// V1 repeats scheme and network only.
    V1 {
        /// Name of the network, e.g. `base`.
        network: String,
    },
    /// A transfer made before the request names nothing but itself; it is on Solana.
    Nothing,
    /// V2 repeats the whole entry of `accepts`.
    V2(Box<v2::PaymentRequirements>),
}

impl Accepted {
    /// Whether it names this network.
    #[must_use]
    pub fn is_on(&self, chain: Chain) -> bool {
        match self {
            Self::V1 { network } => network == chain.v1_name(),
            Self::Nothing => chain.evm_chain_id().is_none(),
            Self::V2(accepted) => {
                chain.caip2().split_once(':') == Some((accepted.network.namespace(), accepted.network.reference()))
            }
        }
    }

    /// Whether it names a Solana cluster, served here or not.
    fn is_on_solana(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::V1 { network } => network == "solana" || network.starts_with("solana-"),
            Self::V2(accepted) => accepted.network.namespace() == "solana",
        }
    }
}

/// The signed part, by scheme.
#[derive(Debug)]
pub enum Payload {
    /// A USDC transfer.
    Exact(Box<ExactPayload>),
    /// A job authorisation against prepaid credit.
    Credit(Box<CreditPayload>),
    /// A transfer made before.
    Transfer(TransactionId),
}

/// Payload of scheme `exact`.
#[derive(Debug, Clone)]
pub enum ExactPayload {
    /// A transfer authorisation (EIP-3009).
    Evm(EvmPayload),
    /// A transaction that its fee payer has still to sign.
    Solana(SolanaTransaction),
}

/// Payload of scheme `exact` on EVM chains.
#[derive(Debug, Clone, Deserialize)]
pub struct EvmPayload {
    /// Signature over the authorisation.
    pub signature: Bytes,
    /// What was signed.
    pub authorization: ExactAuthorization,
}

/// Payload of scheme `exact` on Solana.
#[derive(Deserialize)]
struct SolanaPayload<'a> {
    #[serde(borrow)]
    transaction: std::borrow::Cow<'a, str>,
}

/// EIP-3009 `TransferWithAuthorization` as x402 writes it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ExactAuthorization {
    pub from: EvmAddress,
    pub to: EvmAddress,
    pub value: Usdc,
    #[serde(with = "u256_string")]
    pub valid_after: U256,
    #[serde(with = "u256_string")]
    pub valid_before: U256,
    pub nonce: B256,
}

/// Payload of scheme `compute-futures`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditPayload {
    /// EIP-712 signature by owner or delegate.
    pub signature: Bytes,
    /// What was signed.
    pub authorization: JobAuthorization,
    /// Raises the account's ceiling before the job, when the present one is too low.
    #[serde(default)]
    pub spend_ceiling: Option<SpendCeilingPayload>,
}

/// A signed ceiling that comes with a job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendCeilingPayload {
    /// New cumulative cap on charges.
    pub ceiling: Usdc,
    /// EIP-712 `SpendCeiling` by owner or delegate.
    pub signature: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope1<'a> {
    #[allow(dead_code)]
    x402_version: X402Version1,
    scheme: String,
    network: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope2<'a> {
    #[allow(dead_code)]
    x402_version: v2::X402Version2,
    accepted: v2::PaymentRequirements,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    #[serde(rename = "payment-identifier", default)]
    payment_identifier: Option<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(default)]
    info: Option<IdentifierInfo>,
}

#[derive(Deserialize)]
struct IdentifierInfo {
    #[serde(default)]
    id: Option<String>,
}

/// Reads the payment of a request; `None` when it carries none.
///
/// # Errors
/// 400 `malformed_payment`, `unsupported_scheme` or `invalid_payment_identifier`, saying what is wrong.
pub fn presented(headers: &HeaderMap) -> ApiResult<Option<Presented>> {
    let (version, name, value) = match (headers.get(PAYMENT_SIGNATURE), headers.get(X_PAYMENT)) {
        (Some(value), _) => (Version::V2, "PAYMENT-SIGNATURE", value),
        (None, Some(value)) => (Version::V1, "X-PAYMENT", value),
        (None, None) => return transfer(headers),
    };
    if value.len() > MAX_PAYMENT_HEADER {
        return Err(malformed(name, &format!("it is longer than {MAX_PAYMENT_HEADER} bytes")));
    }
    let document = BASE64.decode(value.as_bytes()).map_err(|_| malformed(name, "it is not base64"))?;
    let wrong = |error: serde_json::Error| malformed(name, &printable(&error));
    let (accepted, scheme, payload, identifier) = match version {
        Version::V1 => {
            let envelope: Envelope1<'_> = serde_json::from_slice(&document).map_err(wrong)?;
            (Accepted::V1 { network: envelope.network }, envelope.scheme, envelope.payload, None)
        }
        Version::V2 => {
            let envelope: Envelope2<'_> = serde_json::from_slice(&document).map_err(wrong)?;
            let identifier = envelope.extensions.and_then(|e| e.payment_identifier?.info?.id);
            let scheme = envelope.accepted.scheme.clone();
            (Accepted::V2(Box::new(envelope.accepted)), scheme, envelope.payload, identifier)
        }
    };
    let payload = match scheme.as_str() {
        EXACT if accepted.is_on_solana() => {
            let payload: SolanaPayload<'_> = serde_json::from_str(payload.get()).map_err(wrong)?;
            let transaction = BASE64
                .decode(payload.transaction.as_bytes())
                .ok()
                .and_then(|bytes| SolanaTransaction::parse(&bytes))
                .ok_or_else(|| malformed(name, "`transaction` is not a Solana transaction in base64"))?;
            Payload::Exact(Box::new(ExactPayload::Solana(transaction)))
        }
        EXACT => {
            let payload = serde_json::from_str(payload.get()).map_err(wrong)?;
            Payload::Exact(Box::new(ExactPayload::Evm(payload)))
        }
        COMPUTE_FUTURES => Payload::Credit(serde_json::from_str(payload.get()).map_err(wrong)?),
        _ => {
            return Err(ApiError::bad_request(
                "unsupported_scheme",
                "the payment names a scheme that is not offered here",
                "use `exact` or `compute-futures`, as listed in `accepts`",
            ));
        }
    };
    if let Some(id) = &identifier {
        check_identifier(id)?;
    }
    Ok(Some(Presented { version, accepted, payload, identifier, document }))
}

/// A transfer made before; `None` when the request names none.
fn transfer(headers: &HeaderMap) -> ApiResult<Option<Presented>> {
    let Some(value) = headers.get(X_SOLANA_TX) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse::<TransactionId>().ok());
    let id = id.filter(|id| id.solana().is_some()).ok_or_else(|| {
        ApiError::bad_request(
            "malformed_payment",
            "the X-Solana-Tx header is not the signature of a transaction",
            "send the transfer's signature, 64 bytes in base58",
        )
    })?;
    Ok(Some(Presented {
        version: Version::V2,
        accepted: Accepted::Nothing,
        payload: Payload::Transfer(id),
        identifier: None,
        document: Vec::new(),
    }))
}

fn check_identifier(id: &str) -> ApiResult<()> {
    let form = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (16..=128).contains(&id.len()) && id.bytes().all(form) {
        return Ok(());
    }
    Err(ApiError::bad_request(
        "invalid_payment_identifier",
        "the payment-identifier is not 16 to 128 letters, digits, hyphens and underscores",
        "send a fresh UUID for every new request, and the same one when you retry",
    ))
}

fn malformed(header: &str, reason: &str) -> ApiError {
    ApiError::bad_request(
        "malformed_payment",
        format!("the {header} header cannot be read: {reason}"),
        "send base64 of the JSON that an x402 client makes from the 402 answer",
    )
}

/// A parser's message without the input it may quote at length.
pub(crate) fn printable(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

impl Presented {
    /// Scheme of the payload.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        match self.payload {
            Payload::Exact(_) | Payload::Transfer(_) => EXACT,
            Payload::Credit(_) => COMPUTE_FUTURES,
        }
    }
}

impl ExactPayload {
    /// The payment with its network and token, to `pay_to`: what is verified, and what receipts publish.
    ///
    /// # Errors
    /// 402 `payment_mismatch` when it pays somebody else.
    pub fn on(&self, settings: &PaymentSettings, pay_to: Address) -> ApiResult<ExactPayment> {
        match (self, &settings.token) {
            (Self::Evm(payload), Asset::Evm(token)) => {
                let ExactAuthorization { from, to, value, valid_after, valid_before, nonce } = payload.authorization;
                if Address::Evm(to) != pay_to {
                    return Err(mismatch(&format!("it pays {to}, not {pay_to}")));
                }
                let (network, asset, signature) = (settings.chain, token.token, payload.signature.clone());
                let payment =
                    EvmPayment { asset, from, network, nonce, signature, to, valid_after, valid_before, value };
                Ok(ExactPayment::Evm(payment))
            }
            (Self::Solana(transaction), Asset::Solana { mint, .. }) => {
                let to = pay_to.solana().ok_or_else(|| ApiError::internal("payTo is no address on Solana"))?;
                solana_payment(transaction, settings.chain, *mint, to).map(ExactPayment::Solana)
            }
            _ => Err(mismatch("it is a payment of another kind of chain")),
        }
    }
}

/// The one transfer of a transaction that pays `to`.
fn solana_payment(
    transaction: &SolanaTransaction,
    network: Chain,
    asset: SolanaAddress,
    to: SolanaAddress,
) -> ApiResult<SolanaPayment> {
    let destination = associated_token_address(&to, &asset);
    let mut ours = transaction.message.transfers().filter(|transfer| transfer.destination == destination);
    let transfer = match (ours.next(), ours.next()) {
        (Some(transfer), None) if transfer.mint == asset => transfer,
        (Some(_), Some(_)) => return Err(mismatch("it pays twice")),
        _ => {
            return Err(mismatch(&format!(
                "it has no TransferChecked of USDC to the associated token account of {to}"
            )));
        }
    };
    let value = Usdc::try_from(transfer.amount).map_err(|_| mismatch("it pays more than there can be"))?;
    let signature = transaction
        .signature_of(&transfer.authority)
        .filter(|_| transaction.is_signed_by(&transfer.authority))
        .ok_or_else(|| mismatch(&format!("it is not signed by {}, whose money it moves", transfer.authority)))?;
    Ok(SolanaPayment {
        asset,
        from: transfer.authority,
        message: transaction.message.bytes.clone().into(),
        network,
        signature: signature.to_vec().into(),
        to,
        value,
    })
}
