//! Which transaction used an EIP-3009 authorisation.

use alloy::primitives::{Address as EvmAddress, B256};
use alloy::sol_types::SolEvent;
use serde::Deserialize;
use serde_json::json;

use super::super::EvmReader;
use super::super::bindings::IUsdc;
use super::super::blocks::quantity;
use super::span::Span;
use crate::ChainError;
use crate::transport::RpcFailure;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    transaction_hash: B256,
}

impl EvmReader {
    /// Looks through the token's events of the last `seconds_back` blocks, newest first: the authorisation is a fresh one.
    pub(in super::super) async fn find_authorization(
        &self,
        authorizer: EvmAddress,
        nonce: B256,
        seconds_back: u64,
    ) -> Result<Option<B256>, ChainError> {
        let newest = self.read_heads().await?.latest.number;
        let oldest = newest.saturating_sub(seconds_back);
        let mut next = newest;
        loop {
            let span = Span { from: next.saturating_sub(self.log_span.most() - 1).max(oldest), to: next };
            if let Some(found) = self.authorization_in(span, authorizer, nonce).await? {
                return Ok(Some(found));
            }
            if span.from == oldest {
                return Ok(None);
            }
            next = span.from - 1;
        }
    }

    async fn authorization_in(
        &self,
        span: Span,
        authorizer: EvmAddress,
        nonce: B256,
    ) -> Result<Option<B256>, ChainError> {
        let mut pending = vec![span];
        while let Some(span) = pending.pop() {
            let filter = json!([{
                "address": self.token,
                "fromBlock": quantity(span.from),
                "toBlock": quantity(span.to),
                "topics": [IUsdc::AuthorizationUsed::SIGNATURE_HASH, authorizer.into_word(), nonce],
            }]);
            match self.rpc.call_at::<_, Vec<Used>>(span.to, "eth_getLogs", filter).await {
                Ok(logs) => {
                    if let Some(used) = logs.first() {
                        return Ok(Some(used.transaction_hash));
                    }
                }
                Err(RpcFailure::TooLarge(why)) => {
                    let (first, second) = span.halves().ok_or(ChainError::Unavailable(why))?;
                    pending.push(first);
                    pending.push(second);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(None)
    }
}
