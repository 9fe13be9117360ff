//! Scheme `exact` with the stock x402 client: each call is paid by a transfer of USDC that the wallet signs.

mod solana;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::signers::local::PrivateKeySigner;
use compute_futures_chain::solana::SolanaReader;
use compute_futures_protocol::{Signer, U256, Usdc};
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use x402_chain_eip155::V2Eip155ExactClient;
use x402_reqwest::X402Client;
use x402_types::scheme::client::{MaxAmount, X402Error};

use super::{Answer, ClientError, Relayer, Request};

/// Pause before a payment is sent again whose outcome is still to come.
const AGAIN: Duration = Duration::from_secs(2);

/// Pays calls one by one from a wallet, never more than a bound each.
pub struct ExactPayer {
    client: X402Client<MaxAmount>,
    most: Usdc,
}

impl ExactPayer {
    /// Pays with `key` on an EVM chain, at most `most` a call.
    #[must_use]
    pub fn new(key: &PrivateKeySigner, most: Usdc) -> Self {
        let client = X402Client::new().register(V2Eip155ExactClient::new(Arc::new(key.clone())));
        Self { client: client.with_selector(MaxAmount(U256::from(most.micros()))), most }
    }

    /// Pays with `key` on the cluster that `reader` reads, at most `most` a call. The wallet needs no SOL.
    #[must_use]
    pub fn solana(key: Signer, reader: Arc<SolanaReader>, most: Usdc) -> Self {
        let client = X402Client::new().register(solana::SolanaExact { signer: key, reader });
        Self { client: client.with_selector(MaxAmount(U256::from(most.micros()))), most }
    }

    /// Sends, pays when asked to, and retries with the same payment.
    ///
    /// # Errors
    /// When there is no answer, no payable offer within the bound, or the server refuses.
    pub async fn send(&self, relayer: &Relayer, request: &Request) -> Result<Answer, ClientError> {
        let first = relayer.once(request, &HeaderMap::new()).await?;
        if first.status() != StatusCode::PAYMENT_REQUIRED {
            return Answer::read(first).await?.success();
        }
        relayer.send(request, &self.signed(first).await?).await?.success()
    }

    /// As [`ExactPayer::send`], for what ends on chain: while the answer is 202 the same payment is sent again, for at most
    /// `patience`. It is taken once; an answer that is still 202 then goes on by itself.
    ///
    /// # Errors
    /// As [`ExactPayer::send`].
    pub async fn send_to_the_end(
        &self,
        relayer: &Relayer,
        request: &Request,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let first = relayer.once(request, &HeaderMap::new()).await?;
        if first.status() != StatusCode::PAYMENT_REQUIRED {
            return Answer::read(first).await?.success();
        }
        let headers = self.signed(first).await?;
        let until = Instant::now() + patience;
        loop {
            let answer = relayer.send(request, &headers).await?.success()?;
            if answer.status != StatusCode::ACCEPTED.as_u16() || Instant::now() >= until {
                return Ok(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The headers that pay for a request: to send it later, or more than once (it is paid once).
    ///
    /// # Errors
    /// When there is no answer, or no payable offer within the bound.
    pub async fn headers(&self, relayer: &Relayer, request: &Request) -> Result<HeaderMap, ClientError> {
        self.signed(relayer.once(request, &HeaderMap::new()).await?).await
    }

    async fn signed(&self, offer: Response) -> Result<HeaderMap, ClientError> {
        self.client.make_payment_headers(offer).await.map_err(|error| match error {
            X402Error::NoMatchingPaymentOption => {
                ClientError::TooExpensive(format!("no `exact` offer on this network costs {} USDC or less", self.most))
            }
            other => ClientError::Signing(other.to_string()),
        })
    }
}
