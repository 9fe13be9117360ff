//! Signing in for a path, as wallets do it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use compute_futures_protocol::keccak256;
use compute_futures_protocol::market::SessionId;
use serde_json::{Value, json};

use crate::world::{Node, World, answer};

impl World {
    /// `SIGN-IN-WITH-X` for a path of this relayer.
    pub async fn signed_in(&self, path: &str, person: u8) -> String {
        let (status, refused) = self.post(path, &json!({})).await;
        assert_eq!((status, refused["code"].as_str()), (401, Some("sign_in_needed")), "{refused}");
        let declared = &refused["extra"]["sign-in-with-x"];
        let mut fields = declared["info"].clone();
        let wallet = self.signer(person);
        fields["address"] = json!(wallet.address().to_string());
        fields["chainId"] = declared["supportedChains"][0]["chainId"].clone();
        fields["type"] = declared["supportedChains"][0]["type"].clone();
        let text = |name: &str| fields[name].as_str().unwrap().to_owned();
        let evm = matches!(self.node, Node::Evm(_));
        let (account, reference) = if evm {
            ("Ethereum", "8453".to_owned())
        } else {
            ("Solana", text("chainId").split_once(':').unwrap().1.to_owned())
        };
        let message = format!(
            "{} wants you to sign in with your {account} account:\n{}\n\n{}\n\nURI: {}\nVersion: 1\nChain ID: {reference}\nNonce: {}\n\
             Issued At: {}\nExpiration Time: {}\nResources:\n- {}",
            text("domain"),
            text("address"),
            text("statement"),
            text("uri"),
            text("nonce"),
            text("issuedAt"),
            text("expirationTime"),
            fields["resources"][0].as_str().unwrap(),
        );
        fields["signature"] = if evm {
            let digest = keccak256(format!("\x19Ethereum Signed Message:\n{}{message}", message.len()));
            json!(format!("0x{}", hex::encode(wallet.sign(digest))))
        } else {
            json!(base58(&wallet.sign_message(message.as_bytes()).unwrap()))
        };
        BASE64.encode(fields.to_string())
    }

    /// Asks for a session to be closed.
    pub async fn close(&self, id: SessionId, person: u8) -> (u16, Value) {
        let path = format!("/api/v1/market/sessions/{id}/close");
        let proof = self.signed_in(&path, person).await;
        let request = self.client.post(format!("{}{path}", self.url)).header("sign-in-with-x", proof);
        answer(request.send().await.unwrap()).await
    }
}

/// Base58 of a signature: that of an address is written so, two of them are not; so it is done by hand.
fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 58).unwrap();
            carry /= 58;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 58).unwrap());
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    digits.resize(digits.len() + zeros, 0);
    digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect()
}
