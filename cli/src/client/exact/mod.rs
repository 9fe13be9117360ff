//! Scheme `exact` with the stock x402 client: each call is paid by a transfer of USDC that the wallet signs, once this client has
//! decided that it may.

mod allowed;
mod solana;

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::signers::local::PrivateKeySigner;
use compute_futures_chain::ChainReader;
use compute_futures_chain::solana::SolanaReader;
use compute_futures_protocol::{Address, Chain, Signer, Usdc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use x402_chain_eip155::V2Eip155ExactClient;
use x402_reqwest::{ClientSchemes, parse_payment_required};

use super::{Answer, ClientError, Relayer, Request};
use allowed::Allowed;
pub use allowed::Payee;

const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static("payment-signature");
/// Pause before a payment is sent again whose outcome is still to come.
const AGAIN: Duration = Duration::from_secs(2);

/// Pays calls one by one from a wallet: in USDC, on its own network, never more than a bound each.
pub struct ExactPayer {
    schemes: ClientSchemes,
    chain: Chain,
    token: Address,
    most: Usdc,
}

/// A signed payment. It is taken once, however often it is sent.
#[derive(Debug, Clone)]
pub struct Payment {
    headers: HeaderMap,
    amount: Usdc,
}

impl ExactPayer {
    /// Pays with `key` in `token` (USDC) on an EVM chain, at most `most` a call.
    #[must_use]
    pub fn new(key: &PrivateKeySigner, chain: Chain, token: Address, most: Usdc) -> Self {
        let mut schemes = ClientSchemes::default();
        schemes.push(V2Eip155ExactClient::new(Arc::new(key.clone())));
        Self { schemes, chain, token, most }
    }

    /// Pays with `key` on the cluster that `reader` reads, at most `most` a call. The wallet needs no SOL.
    #[must_use]
    pub fn solana(key: Signer, reader: Arc<SolanaReader>, most: Usdc) -> Self {
        let (chain, token) = (reader.chain(), reader.token());
        let mut schemes = ClientSchemes::default();
        schemes.push(solana::SolanaExact { signer: key, reader });
        Self { schemes, chain, token, most }
    }

    /// Sends, pays whoever asks for it, and retries with the same payment.
    ///
    /// # Errors
    /// When there is no answer, no payable offer within the bound, or the server refuses.
    pub async fn send(&self, relayer: &Relayer, request: &Request) -> Result<Answer, ClientError> {
        let first = relayer.once(request, &HeaderMap::new()).await?;
        if first.status() != StatusCode::PAYMENT_REQUIRED {
            return Answer::read(first).await?.success();
        }
        let payment = self.signed(first, &Payee::Anyone).await?;
        relayer.send(request, &payment.headers).await?.success()
    }

    /// What a request asks for, signed if it may be: to send it when all else is ready. Nothing is paid until then.
    ///
    /// # Errors
    /// When there is no answer, or none that asks for a payment; [`ClientError::TooExpensive`] above the bound,
    /// [`ClientError::Untrusted`] when something else is asked for than may be paid, or to somebody else.
    pub async fn payment(&self, relayer: &Relayer, request: &Request, payee: &Payee) -> Result<Payment, ClientError> {
        let first = relayer.once(request, &HeaderMap::new()).await?;
        if first.status() == StatusCode::PAYMENT_REQUIRED {
            return self.signed(first, payee).await;
        }
        Answer::read(first).await?.success()?;
        let reason = "it does not ask for a payment".into();
        Err(ClientError::BadAnswer { url: relayer.url(&request.path), reason })
    }

    /// The headers that pay for a request, to whoever asks: to send it later, or more than once (it is paid once).
    ///
    /// # Errors
    /// As [`ExactPayer::payment`].
    pub async fn headers(&self, relayer: &Relayer, request: &Request) -> Result<HeaderMap, ClientError> {
        Ok(self.payment(relayer, request, &Payee::Anyone).await?.headers)
    }

    async fn signed(&self, offer: reqwest::Response, payee: &Payee) -> Result<Payment, ClientError> {
        let signing = |error: &dyn std::fmt::Display| ClientError::Signing(error.to_string());
        let url = offer.url().to_string();
        let offer = parse_payment_required(offer)
            .await
            .ok_or_else(|| ClientError::BadAnswer { url, reason: "its 402 has no readable PAYMENT-REQUIRED".into() })?;
        let candidates = self.schemes.candidates(&offer);
        let allowed = Allowed { chain: self.chain, token: self.token, most: self.most, payee };
        let (candidate, amount) = allowed.choose(&candidates)?;
        let payload = candidate.sign().await.map_err(|error| signing(&error))?;
        let payload = HeaderValue::from_str(&payload).map_err(|error| signing(&error))?;
        Ok(Payment { headers: HeaderMap::from_iter([(PAYMENT_SIGNATURE, payload)]), amount })
    }
}

impl Payment {
    /// What it moves.
    #[must_use]
    pub const fn amount(&self) -> Usdc {
        self.amount
    }

    /// Sends it with its request, for what ends on chain: while the answer is 202 it is sent again, for at most `patience`. An answer
    /// that is still 202 then goes on by itself.
    ///
    /// # Errors
    /// When there is no answer, or the server refuses.
    pub async fn send_to_the_end(
        &self,
        relayer: &Relayer,
        request: &Request,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let until = Instant::now() + patience;
        loop {
            let answer = relayer.send(request, &self.headers).await?.success()?;
            if answer.status != StatusCode::ACCEPTED.as_u16() || Instant::now() >= until {
                return Ok(answer);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
