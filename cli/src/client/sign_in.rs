//! `sign-in-with-x`: proof of who asks, for one path of one host, for some minutes (docs/api.md).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::{Address, Chain, Signer, TransactionId, keccak256};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use super::{ClientError, Relayer};

const HEADER: HeaderName = HeaderName::from_static("sign-in-with-x");

/// The header that says who asks for `path` (its query is not signed).
///
/// # Errors
/// When the server's URL has no host.
pub fn sign_in(signer: &Signer, chain: Chain, relayer: &Relayer, path: &str) -> Result<HeaderMap, ClientError> {
    let uri = relayer.url(path.split('?').next().unwrap_or_default());
    let domain =
        authority(relayer.base()).ok_or_else(|| ClientError::Signing("the relayer's URL has no host".into()))?;
    let (address, account) = match signer.address() {
        // Wallets show the address with its checksum, and sign it as they show it.
        Address::Evm(address) => (address.to_checksum(None), "Ethereum"),
        address @ Address::Solana(_) => (address.to_string(), "Solana"),
    };
    let nonce = hex::encode(rand::random::<[u8; 16]>());
    let issued_at =
        OffsetDateTime::now_utc().format(&Rfc3339).map_err(|error| ClientError::Signing(error.to_string()))?;
    let reference = chain.caip2().split_once(':').map_or("", |(_, reference)| reference);
    let text = format!(
        "{domain} wants you to sign in with your {account} account:\n{address}\n\nURI: {uri}\nVersion: 1\nChain ID: {reference}\nNonce: \
         {nonce}\nIssued At: {issued_at}"
    );
    let signature = match signer.sign_message(text.as_bytes()) {
        Some(signature) => TransactionId::Solana(signature).to_string(),
        None => {
            let prefix = format!("\x19Ethereum Signed Message:\n{}", text.len());
            let digest = keccak256([prefix.as_bytes(), text.as_bytes()].concat());
            format!("0x{}", hex::encode(signer.sign(digest).to_vec()))
        }
    };
    let proof = json!({
        "domain": domain, "address": address, "uri": uri, "version": "1", "chainId": chain.caip2(), "nonce": nonce,
        "issuedAt": issued_at, "signature": signature,
    });
    let value = HeaderValue::from_str(&STANDARD.encode(proof.to_string()))
        .map_err(|error| ClientError::Signing(error.to_string()))?;
    Ok(HeaderMap::from_iter([(HEADER, value)]))
}

fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_proof_names_host_path_and_wallet() {
        let relayer = Relayer::new("http://127.0.0.1:4020/base".parse().unwrap());
        let path = "/api/v1/market/sessions/1/close?network=x";
        for (signer, chain) in
            [(Signer::from_bytes(&[1; 32]).unwrap(), Chain::Base), (Signer::ed25519(&[1; 32]), Chain::Solana)]
        {
            let headers = sign_in(&signer, chain, &relayer, path).unwrap();
            let proof = compute_futures_x402::decode_header(headers[HEADER].as_bytes()).unwrap();
            assert_eq!(proof["domain"], "127.0.0.1:4020");
            assert_eq!(proof["uri"], "http://127.0.0.1:4020/base/api/v1/market/sessions/1/close");
            assert_eq!(proof["chainId"], chain.caip2());
            assert_eq!(proof["address"].as_str().unwrap().parse::<Address>().unwrap(), signer.address());
            assert_ne!(headers, sign_in(&signer, chain, &relayer, path).unwrap(), "a nonce is used once");
        }
    }
}
