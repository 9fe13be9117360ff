//! `sign-in-with-x`: reads that are free for whoever owns what is read.
//!
//! The header `SIGN-IN-WITH-X` carries, in base64, the fields of a CAIP-122 message and its signature: EIP-4361 text with
//! `personal_sign` on EVM chains, Sign-In-With-Solana text with ed25519 on Solana. It is bound to this host and this very path, is
//! valid for five minutes, and is taken once.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use compute_futures_protocol::{Address, Chain, keccak256};
use futures::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::jobs::webhook::eip191;
use crate::payment::gates::refuse;
use crate::payment::offer::Offer;
use crate::payment::report::Answer;
use crate::payment::{Gate, Gates, PaidRequest, Payer, Service, wire};

/// The proof.
pub const HEADER: HeaderName = HeaderName::from_static("sign-in-with-x");
/// Key of the extension in a 402.
pub const EXTENSION: &str = "sign-in-with-x";
/// How old a message may be.
const VALID: Duration = Duration::from_secs(300);
/// How far a client's clock may be ahead.
const AHEAD: Duration = Duration::from_secs(60);
/// Largest header that is looked at.
const MOST: usize = 8 * 1024;
const STATEMENT: &str = "Read what is yours, without paying";

/// Nonces that were used, for longer than a message is valid.
static USED: LazyLock<moka::sync::Cache<String, ()>> =
    LazyLock::new(|| moka::sync::Cache::builder().max_capacity(200_000).time_to_live(VALID + AHEAD + AHEAD).build());

/// A read that may be free for somebody.
#[async_trait]
pub(super) trait Read: Service {
    /// Whether it is free for this wallet, beyond what [`Service::authorise`] says.
    async fn is_mine(&self, reader: Address) -> ApiResult<()>;
}

/// Answers a read: free with a sign-in, else as paid.
pub(super) async fn or_paid(
    state: &AppState,
    gates: &Gates,
    request: &PaidRequest,
    offer: Offer,
    service: impl Read,
) -> Response {
    let Some(proof) = request.headers.get(HEADER) else {
        return gates.serve(request, offer, service).boxed().await;
    };
    match signed_in(state, request, proof, &service).boxed().await {
        Ok(answer) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-store")];
            (answer.status, headers, answer.body).into_response()
        }
        Err(error) => refuse(request, error),
    }
}

async fn signed_in(
    state: &AppState,
    request: &PaidRequest,
    proof: &HeaderValue,
    service: &dyn Read,
) -> ApiResult<Answer> {
    let payer = verify(state, request, proof).await?;
    service.authorise(&payer).await?;
    service.is_mine(payer.address).await?;
    Ok(service.work(&payer).await?.answer.render(None))
}

/// The wallet that signed in for this request, where nothing can be paid instead.
///
/// # Errors
/// 401: without the header with what to sign in `extra`, else with what is wrong with it.
pub(super) async fn signer_of(state: &AppState, request: &PaidRequest) -> ApiResult<Address> {
    let Some(proof) = request.headers.get(HEADER) else {
        let path = request.target.split('?').next().unwrap_or_default();
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "sign_in_needed",
            "this is for certain wallets only, and nobody has signed in",
            "sign the fields in `extra` and send them with the signature in the header SIGN-IN-WITH-X, in base64",
        )
        .with_extra(json!({ EXTENSION: declaration(state, path) })));
    };
    Ok(verify(state, request, proof).await?.address)
}

/// The fields of a sign-in message, and its signature.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proof {
    domain: String,
    address: String,
    statement: Option<String>,
    uri: String,
    version: String,
    chain_id: String,
    nonce: String,
    issued_at: String,
    expiration_time: Option<String>,
    not_before: Option<String>,
    request_id: Option<String>,
    resources: Option<Vec<String>>,
    signature: String,
}

/// Who signed in for this request.
///
/// # Errors
/// 401 that says what is wrong with the proof.
async fn verify(state: &AppState, request: &PaidRequest, header: &HeaderValue) -> ApiResult<Payer> {
    let bytes = Some(header.as_bytes()).filter(|bytes| bytes.len() <= MOST);
    let decoded = bytes.and_then(|bytes| wire::BASE64.decode(bytes).ok());
    let proof: Proof = decoded
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| wrong("the header is not base64 of the sign-in's fields"))?;
    let public: Url = state.public_url.parse().map_err(ApiError::internal)?;
    let path = request.target.split('?').next().unwrap_or_default();
    let uri: Url = proof.uri.parse().map_err(|_| wrong("`uri` is not a URL"))?;
    if proof.domain != authority(&public) {
        return Err(wrong("`domain` is another host"));
    }
    if uri.origin() != public.origin() || !uri.path().ends_with(path) {
        return Err(wrong("`uri` is another resource"));
    }
    if proof.version != "1" {
        return Err(wrong("`version` is not 1"));
    }
    let chain = state.networks.chains().find(|chain| proof.chain_id == chain.caip2());
    let chain = chain.ok_or_else(|| wrong("`chainId` is a network that is not served here"))?;
    check_time(&proof, OffsetDateTime::now_utc())?;
    let nonce_ok =
        (8..=128).contains(&proof.nonce.len()) && proof.nonce.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !nonce_ok {
        return Err(wrong("`nonce` is not 8 to 128 letters and digits"));
    }
    let single_lines = [&proof.domain, &proof.uri, &proof.address, &proof.issued_at].into_iter();
    let optional = [&proof.statement, &proof.expiration_time, &proof.not_before, &proof.request_id];
    let resources = proof.resources.iter().flatten();
    if single_lines.chain(optional.into_iter().flatten()).chain(resources).any(|field| field.contains(['\n', '\r'])) {
        return Err(wrong("a field holds a line break"));
    }
    let address = compute_futures_protocol::parse_address(&proof.address)
        .ok()
        .filter(|address| address.is_on(chain))
        .ok_or_else(|| wrong("`address` is not a wallet of this network"))?;
    let signed = match address {
        Address::Evm(_) => by_evm(&state.networks.get(chain)?.gate, address, &proof).await?,
        Address::Solana(_) => by_solana(address, &proof),
    };
    if !signed {
        return Err(wrong("the signature is not the address's over these fields"));
    }
    // Last, so that nobody uses up a nonce of others.
    let used = format!("{address}:{}", proof.nonce);
    if USED.entry(used).or_insert(()).is_fresh() {
        Ok(Payer { chain, address, account: None })
    } else {
        Err(wrong("the `nonce` was used before"))
    }
}

async fn by_evm(gate: &Gate, address: Address, proof: &Proof) -> ApiResult<bool> {
    let Some(signature) = proof.signature.strip_prefix("0x").and_then(|hex| hex::decode(hex).ok()) else {
        return Ok(false);
    };
    let reference = proof.chain_id.split_once(':').map_or("", |(_, reference)| reference);
    // Wallets show the address with its checksum, and sign it as they show it.
    let digest = eip191(&text(proof, "Ethereum", reference));
    if compute_futures_protocol::recover(digest, &signature).is_ok_and(|signer| address == signer) {
        return Ok(true);
    }
    gate.is_signed_by_contract(address, digest, &signature).await
}

fn by_solana(address: Address, proof: &Proof) -> bool {
    let reference = proof.chain_id.split_once(':').map_or("", |(_, reference)| reference);
    let Address::Solana(key) = address else { return false };
    let text = text(proof, "Solana", reference);
    compute_futures_protocol::signed_message(key, text.as_bytes(), &proof.signature)
}

/// The message as wallets write it (EIP-4361, and the same for Solana).
fn text(proof: &Proof, account: &str, reference: &str) -> String {
    let mut text = format!("{} wants you to sign in with your {account} account:\n{}\n", proof.domain, proof.address);
    if let Some(statement) = &proof.statement {
        text += &format!("\n{statement}\n");
    }
    text += &format!(
        "\nURI: {}\nVersion: {}\nChain ID: {reference}\nNonce: {}\nIssued At: {}",
        proof.uri, proof.version, proof.nonce, proof.issued_at
    );
    for (name, value) in [
        ("Expiration Time", &proof.expiration_time),
        ("Not Before", &proof.not_before),
        ("Request ID", &proof.request_id),
    ] {
        if let Some(value) = value {
            text += &format!("\n{name}: {value}");
        }
    }
    if let Some(resources) = &proof.resources {
        text += "\nResources:";
        for resource in resources {
            text += &format!("\n- {resource}");
        }
    }
    text
}

fn check_time(proof: &Proof, now: OffsetDateTime) -> ApiResult<()> {
    let parse = |name: &str, text: &str| {
        OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| wrong(&format!("`{name}` is not a time as 2026-01-31T12:00:00Z")))
    };
    let issued = parse("issuedAt", &proof.issued_at)?;
    if issued > now + AHEAD || issued + VALID < now {
        return Err(wrong("the sign-in is not of the last five minutes"));
    }
    if let Some(text) = &proof.expiration_time
        && parse("expirationTime", text)? <= now
    {
        return Err(wrong("the sign-in has expired"));
    }
    if let Some(text) = &proof.not_before
        && parse("notBefore", text)? > now + AHEAD
    {
        return Err(wrong("the sign-in is not valid yet"));
    }
    Ok(())
}

/// `host` or `host:port`.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn wrong(what: &str) -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_sign_in",
        format!("SIGN-IN-WITH-X: {what}"),
        "sign the fields of extensions[\"sign-in-with-x\"] of the 402 answer with the wallet that owns the account, or pay",
    )
}

/// What a 402 says about it.
pub(super) fn declaration(state: &AppState, path: &str) -> Value {
    let now = OffsetDateTime::now_utc();
    let at = |time: OffsetDateTime| time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default();
    let nonce = hex::encode(&keccak256(uuid::Uuid::new_v4().as_bytes())[..16]);
    let kind = |chain: Chain| if chain.evm_chain_id().is_some() { "eip191" } else { "ed25519" };
    let chains: Vec<Value> =
        state.networks.chains().map(|chain| json!({ "chainId": chain.caip2(), "type": kind(chain) })).collect();
    let uri = format!("{}{path}", state.public_url);
    let domain = state.public_url.parse().map(|url: Url| authority(&url)).unwrap_or_default();
    json!({
        "info": {
            "domain": domain,
            "uri": uri,
            "version": "1",
            "statement": STATEMENT,
            "nonce": nonce,
            "issuedAt": at(now),
            "expirationTime": at(now + VALID),
            "resources": [uri],
        },
        "supportedChains": chains,
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "domain": { "type": "string" },
                "address": { "type": "string" },
                "uri": { "type": "string", "format": "uri" },
                "version": { "type": "string" },
                "chainId": { "type": "string" },
                "type": { "type": "string" },
                "nonce": { "type": "string" },
                "issuedAt": { "type": "string", "format": "date-time" },
                "signature": { "type": "string" }
            },
            "required": ["domain", "address", "uri", "version", "chainId", "nonce", "issuedAt", "signature"]
        }
    })
}
