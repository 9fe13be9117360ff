//! `X-Solana-Tx`: a transfer that was made already, named by its signature.
//!
//! Everybody can read a signature on chain, so it proves nothing about who sends it. What binds a transfer to its purpose is its memo:
//! the hash of the very request that it pays for. A stranger who copies the signature can only repeat that request, if he knows it
//! to the byte, and gets the answer that was paid for. Therefore transfers are taken only where the answer does not depend on who
//! asks (T-36), and each once.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use compute_futures_chain::ChainError;
use compute_futures_chain::solana::PaidTransaction;
use compute_futures_protocol::solana::associated_token_address;
use compute_futures_protocol::{B256, SolanaAddress, TransactionId, Usdc};
use serde_json::json;

use super::answer::Template;
use super::collect::WORK_SECONDS;
use super::credit::unix_now;
use super::exact::{Standing, chain_unavailable, identity};
use super::gate::{Charged, Gate, Kept, PaidRequest, Refusal, detached};
use super::offer::{Line, payment_required};
use super::service::{Payer, Service};
use super::settings::Asset;
use super::wire::{EXACT, Version};
use crate::error::{ApiError, ApiResult};
use crate::ledger::{NewPayment, StoredAnswer};

/// How old a transfer may be: long enough for a client that comes back after a crash.
const MOST_SECONDS: u64 = 3600;
/// Seconds that the validators' clock may be ahead of ours.
const CLOCK_SLACK: u64 = 60;

/// A transfer that pays for a request.
#[derive(Debug, Clone)]
struct Transferred {
    id: B256,
    payer: Payer,
    amount: Usdc,
    transaction: String,
    new: NewPayment,
}

impl Gate {
    /// Serves a request that was paid for before it was sent.
    pub(super) async fn by_transfer(
        &self,
        request: &PaidRequest,
        line: &Line,
        transaction: TransactionId,
        service: Arc<dyn Service>,
    ) -> Result<Charged, Refusal> {
        let made = self.transferred(request, line, transaction).await?;
        if let Standing::Settled { answer, .. } = self.standing(made.id, request.request_hash).await? {
            return Ok(made.charged(answer));
        }
        if service.authorise(&made.payer).await?.is_some() {
            return Err(ApiError::internal("a transfer was taken where the payer decides").into());
        }
        let gate = self.clone();
        detached(async move {
            if let Standing::Settled { answer, .. } = gate.begin(&made.new).await? {
                return Ok(made.charged(answer));
            }
            let limit = std::time::Duration::from_secs(WORK_SECONDS);
            let done = match gate.work(&*service, &made.payer, None, limit).await {
                Ok(done) => done,
                Err(error) => {
                    // The transfer stays good for this request: it is tried again with the same header.
                    gate.ledger().payment_failed(made.id, error.code).await?;
                    return Err(Refusal::Plain(error));
                }
            };
            gate.ledger().payment_ready(made.id, &done.answer.pack(), None).await?;
            let answer = gate.conclude(made.id, &made.transaction).await?;
            Ok(made.charged(answer))
        })
        .await
    }

    /// The same for an action on chain: [`Gate::collect`].
    pub(super) async fn collect_transfer<A, F>(
        &self,
        request: &PaidRequest,
        line: &Line,
        transaction: TransactionId,
        allow: A,
    ) -> Result<Charged, Refusal>
    where
        A: FnOnce(Payer) -> F + Send,
        F: Future<Output = ApiResult<()>> + Send,
    {
        let made = self.transferred(request, line, transaction).await?;
        if let Standing::Settled { answer, .. } = self.standing(made.id, request.request_hash).await? {
            return Ok(made.charged(answer));
        }
        allow(made.payer.clone()).await?;
        let gate = self.clone();
        detached(async move {
            if let Standing::Settled { answer, .. } = gate.begin(&made.new).await? {
                return Ok(made.charged(answer));
            }
            let pending = Template::Pending(Bytes::from_static(b"{}")).pack();
            gate.ledger().payment_ready(made.id, &pending, None).await?;
            let answer = gate.conclude(made.id, &made.transaction).await?;
            Ok(made.charged(answer))
        })
        .await
    }

    /// Reads a transfer from the chain and compares it with the offer.
    async fn transferred(
        &self,
        request: &PaidRequest,
        line: &Line,
        transaction: TransactionId,
    ) -> ApiResult<Transferred> {
        let settings = &line.settings;
        let (Asset::Solana { mint, .. }, Some(owner)) = (&settings.token, line.exact.pay_to.solana()) else {
            return Err(ApiError::internal("a transfer was offered on another chain than Solana"));
        };
        let found = {
            let _turn = self.turn_to_verify().await?;
            let find = async {
                let Some((paid, message)) = self.reader().transfers_in(transaction).await? else { return Ok(None) };
                // Of the block: what nodes say with the transaction is not the same everywhere.
                let block = self.reader().block(paid.slot).await?;
                Ok(block.map(|block| (paid, message, block.timestamp)))
            };
            find.await.map_err(|error: ChainError| chain_unavailable(&error))?
        };
        let (paid, message, timestamp) = found.ok_or_else(|| {
            payment_required(
                "transfer_not_found",
                "the transaction is not on chain, or not confirmed yet",
                "wait until it is confirmed and send the request again with the same X-Solana-Tx",
            )
            .with_retry_after(2)
        })?;
        let destination = associated_token_address(&owner, mint);
        let (from, amount) = judge(&paid, mint, &destination, line.exact.amount, request.request_hash)?;
        request.proven.mark();
        let payer = Payer { chain: settings.chain, address: from.into(), account: None };
        let id = identity(settings.chain, (*mint).into(), payer.address, message);
        let known = self.ledger().find_payment(id, request.request_hash).await?.is_some();
        if !known && unix_now().saturating_sub(timestamp) > MOST_SECONDS + CLOCK_SLACK {
            return Err(payment_required(
                "transfer_too_old",
                "the transfer is older than an hour",
                "pay one of the entries of `accepts`; ask the operator about the old transfer",
            ));
        }
        let new = NewPayment {
            id,
            request_hash: request.request_hash,
            scheme: EXACT.to_owned(),
            network: settings.chain.caip2().to_owned(),
            payer: payer.address.to_string(),
            amount,
            price: line.exact.price,
            details: json!({ "transfer": transaction }),
        };
        Ok(Transferred { id, payer, amount, transaction: transaction.to_string(), new })
    }
}

impl Transferred {
    fn charged(&self, answer: StoredAnswer) -> Charged {
        tracing::debug!(payment = %self.id, amount = %self.amount, "paid by a transfer made before");
        Charged {
            id: self.id,
            payer: self.payer.clone(),
            version: Version::V2,
            transaction: self.transaction.clone(),
            answer,
            kept: Kept::Payment,
        }
    }
}

/// Whether a transaction pays `amount` for the request, and who paid.
fn judge(
    paid: &PaidTransaction,
    mint: &SolanaAddress,
    destination: &SolanaAddress,
    amount: Usdc,
    request_hash: B256,
) -> ApiResult<(SolanaAddress, Usdc)> {
    let refuse = |what: &str, hint: &str| payment_required("transfer_mismatch", what, hint);
    let pay = "pay one of the entries of `accepts`";
    if paid.error.is_some() {
        return Err(refuse("the transaction failed on chain; nothing was paid", pay));
    }
    let memo = request_hash.to_string();
    if !paid.memos.iter().any(|found| found.trim().eq_ignore_ascii_case(&memo)) {
        return Err(refuse(
            "the transfer's memo does not name this request",
            "put the requestHash of this very request (`extra.requestHash` of `accepts`) into the transfer's Memo instruction",
        )
        .with_extra(json!({ "requestHash": request_hash })));
    }
    let received = Usdc::try_from(paid.received(destination, mint)).unwrap_or_default();
    if received < amount {
        let what = format!(
            "the transaction brought {received} USDC to payTo's associated token account, the price is {amount} USDC"
        );
        return Err(refuse(&what, pay));
    }
    let mut payers = paid
        .transfers
        .iter()
        .filter(|transfer| transfer.destination == *destination && transfer.mint == *mint)
        .map(|transfer| transfer.authority);
    match payers.next() {
        Some(first) if payers.all(|other| other == first) => Ok((first, received)),
        _ => Err(refuse("the transaction does not say who paid: its transfers have several authorities", pay)),
    }
}

/// Of a payment that the ledger stored: the transaction that had paid it before it was taken.
pub(super) fn made_before(payment: &NewPayment) -> Option<&str> {
    payment.details.get("transfer")?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_chain::solana::{TokenBalance, TokenTransfer};

    use super::*;

    const MINT: SolanaAddress = SolanaAddress::new([9; 32]);
    const TO: SolanaAddress = SolanaAddress::new([8; 32]);
    const HASH: B256 = B256::repeat_byte(0x11);

    fn transfer(authority: u8, destination: SolanaAddress) -> TokenTransfer {
        TokenTransfer {
            mint: MINT,
            source: SolanaAddress::new([1; 32]),
            source_owner: None,
            destination,
            destination_owner: None,
            authority: SolanaAddress::new([authority; 32]),
            amount: 30_000,
        }
    }

    fn paid() -> PaidTransaction {
        PaidTransaction {
            slot: 1,
            block_time: Some(1),
            fee_payer: SolanaAddress::new([2; 32]),
            error: None,
            memos: vec!["thanks".into(), HASH.to_string()],
            transfers: vec![transfer(2, TO), transfer(3, SolanaAddress::new([7; 32]))],
            balances: vec![TokenBalance { account: TO, mint: MINT, owner: None, before: 5, after: 30_005 }],
        }
    }

    #[test]
    fn a_transfer_pays_for_the_request_that_its_memo_names() {
        let judge = |paid: &PaidTransaction| judge(paid, &MINT, &TO, Usdc::from_micros(30_000), HASH);
        assert_eq!(judge(&paid()).unwrap(), (SolanaAddress::new([2; 32]), Usdc::from_micros(30_000)));
        let mut more = paid();
        more.balances[0].after += 1;
        assert_eq!(judge(&more).unwrap().1, Usdc::from_micros(30_001), "more is the payer's loss, not ours to refuse");

        type Spoil = fn(&mut PaidTransaction);
        let cases: [(&str, Spoil); 6] = [
            ("failed on chain", |paid| paid.error = Some("x".into())),
            ("does not name this request", |paid| paid.memos = vec![B256::ZERO.to_string()]),
            ("does not name this request", |paid| paid.memos.clear()),
            ("the price is", |paid| paid.balances[0].after -= 1),
            ("who paid", |paid| paid.transfers.push(transfer(4, TO))),
            ("who paid", |paid| paid.transfers.clear()),
        ];
        for (words, spoil) in cases {
            let mut bad = paid();
            spoil(&mut bad);
            let error = judge(&bad).unwrap_err();
            assert!(error.code == "transfer_mismatch" && error.error.contains(words), "{words}: {error}");
        }
    }
}
