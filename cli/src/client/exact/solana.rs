//! Scheme `exact` on Solana for the stock client: the payer signs a transfer, whoever settles it pays its fee.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_chain::ChainReader;
use compute_futures_chain::solana::SolanaReader;
use compute_futures_protocol::{Address, Signer, U256, Usdc};
use serde_json::{Value, json};
use x402_types::proto::v2::{self, ExtensionsJson, ResourceInfo};
use x402_types::proto::{OriginalJson, PaymentRequired};
use x402_types::scheme::X402SchemeId;
use x402_types::scheme::client::{PaymentCandidate, PaymentCandidateSigner, X402Error, X402SchemeClient};

/// Signs `exact` payments on one cluster.
pub(super) struct SolanaExact {
    pub(super) signer: Signer,
    pub(super) reader: Arc<SolanaReader>,
}

/// One offer, read.
struct Offer {
    signer: Signer,
    reader: Arc<SolanaReader>,
    fee_payer: Address,
    pay_to: Address,
    amount: Usdc,
    memo: Option<String>,
    accepted: OriginalJson,
    resource: Option<ResourceInfo>,
    extensions: ExtensionsJson,
}

impl X402SchemeId for SolanaExact {
    fn namespace(&self) -> &str {
        "solana"
    }

    fn scheme(&self) -> &str {
        "exact"
    }
}

impl X402SchemeClient for SolanaExact {
    fn accept(&self, offered: &PaymentRequired) -> Vec<PaymentCandidate> {
        let PaymentRequired::V2(offered) = offered else { return Vec::new() };
        offered
            .accepts
            .iter()
            .filter_map(|entry| self.candidate(entry, offered.resource.clone(), offered.extensions.clone()))
            .collect()
    }
}

impl SolanaExact {
    fn candidate(
        &self,
        accepted: &OriginalJson,
        resource: Option<ResourceInfo>,
        extensions: ExtensionsJson,
    ) -> Option<PaymentCandidate> {
        let entry: Value = serde_json::from_str(accepted.0.get()).ok()?;
        let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
        let address = |pointer: &str| text(pointer)?.parse::<Address>().ok();
        let ours = text("/scheme") == Some("exact")
            && text("/network") == Some(self.reader.chain().caip2())
            && address("/asset") == Some(self.reader.token());
        if !ours {
            return None;
        }
        let amount = Usdc::parse_micros(text("/amount")?).ok()?;
        let offer = Offer {
            signer: self.signer.clone(),
            reader: self.reader.clone(),
            fee_payer: address("/extra/feePayer")?,
            pay_to: address("/payTo")?,
            amount,
            memo: text("/extra/memo").map(str::to_owned),
            accepted: accepted.clone(),
            resource,
            extensions,
        };
        Some(PaymentCandidate {
            chain_id: self.reader.chain().caip2().parse().ok()?,
            asset: self.reader.token().to_string(),
            amount: U256::from(amount.micros()),
            scheme: "exact".into(),
            x402_version: 2,
            pay_to: offer.pay_to.to_string(),
            signer: Box::new(offer),
        })
    }
}

#[async_trait]
impl PaymentCandidateSigner for Offer {
    async fn sign_payment(&self) -> Result<String, X402Error> {
        // Two equal payments in one block would be one transaction.
        let memo = self.memo.clone().unwrap_or_else(|| hex::encode(rand::random::<[u8; 16]>()));
        let transaction = self
            .reader
            .sign_payment(&self.signer, self.fee_payer, self.pay_to, self.amount, &memo)
            .await
            .map_err(|error| X402Error::SigningError(error.to_string()))?;
        let payload = v2::PaymentPayload {
            x402_version: v2::X402Version2,
            accepted: self.accepted.clone(),
            resource: self.resource.clone(),
            payload: json!({ "transaction": STANDARD.encode(transaction) }),
            extensions: self.extensions.clone(),
        };
        Ok(STANDARD.encode(serde_json::to_vec(&payload)?))
    }
}
