//! x402 `exact` on Solana, V1 and V2, in this process, with a key of its own that pays the fees. See docs/adr/011-networks.md for why
//! it is not x402-rs.

mod policy;

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use compute_futures_chain::solana::FeePayer;
use compute_futures_chain::{ChainError, ChainReader};
use compute_futures_protocol::solana::{SolanaTransaction, TokenTransfer, associated_token_address};
use compute_futures_protocol::{Bytes, Chain, DepositTerms, SolanaAddress, TransactionId, Usdc};
use serde_json::{Value, json};

use super::{Landed, SettleError, Settled, Verified, VerifyError};
use crate::payment::wire::BASE64;
use policy::{Due, Refusal};

/// Pause between two looks at a transaction under way.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is sent again meanwhile: leaders drop what they have no room for.
const RESEND: Duration = Duration::from_secs(2);
/// A blockhash that the payer's node knows may not have reached ours yet.
const BLOCKHASH_TRIES: u32 = 4;
const BLOCKHASH_PAUSE: Duration = Duration::from_millis(400);
/// Window of the limit of opened accounts.
const HOUR: Duration = Duration::from_secs(3600);

/// What the embedded facilitator on Solana needs.
#[derive(Debug)]
pub struct SolanaFacilitatorConfig {
    /// The cluster.
    pub chain: Chain,
    /// Its key. Not the operator's: payers choose what transactions it signs, within the policy.
    pub fee_payer: FeePayer,
    /// USDC.
    pub mint: SolanaAddress,
    /// Most lamports that settling one payment may cost.
    pub max_lamports: u64,
    /// Most deposit addresses opened an hour.
    pub accounts_per_hour: u32,
    /// Longest wait for an answer to verify.
    pub verify_timeout: Duration,
    /// Longest wait for a payment to be confirmed.
    pub settle_timeout: Duration,
}

/// The running facilitator.
#[derive(Debug)]
pub(super) struct Solana {
    config: SolanaFacilitatorConfig,
    /// Transactions that are being settled right now: presented a second time meanwhile, they are not sent twice.
    settling: Mutex<HashSet<TransactionId>>,
    /// When accounts were opened within the last hour.
    opened: Mutex<VecDeque<Instant>>,
}

/// A payment that fits what is due.
struct Payment {
    transaction: SolanaTransaction,
    transfer: TokenTransfer,
    pay_to: SolanaAddress,
}

impl Solana {
    pub(super) fn new(config: SolanaFacilitatorConfig) -> Self {
        Self { config, settling: Mutex::default(), opened: Mutex::default() }
    }

    fn transaction(document: &Value) -> Option<SolanaTransaction> {
        let text = document.get("payload")?.get("transaction")?.as_str()?;
        SolanaTransaction::parse(&BASE64.decode(text).ok()?)
    }

    fn read(&self, request: &Value) -> Result<Payment, Refusal> {
        let malformed = ("invalid_format", "payload and requirements cannot be read");
        let requirements = &request["paymentRequirements"];
        let text = |name: &str| requirements.get(name).and_then(Value::as_str);
        let name = if request["x402Version"] == 1 { self.config.chain.v1_name() } else { self.config.chain.caip2() };
        if text("network") != Some(name) {
            return Err(("invalid_network", "it is for another network"));
        }
        let amount = text("amount").or_else(|| text("maxAmountRequired")).and_then(|text| text.parse().ok());
        let pay_to = text("payTo").and_then(|text| text.parse().ok());
        let (Some(amount), Some(pay_to), Some(transaction)) =
            (amount, pay_to, Self::transaction(&request["paymentPayload"]))
        else {
            return Err(malformed);
        };
        if text("asset").and_then(|text| text.parse().ok()) != Some(self.config.mint) {
            return Err(("invalid_exact_svm_payload_mint_mismatch", "only USDC is taken"));
        }
        let due = Due { mint: self.config.mint, pay_to, amount };
        let transfer = policy::check(&transaction, &self.config.fee_payer.address(), due, self.config.max_lamports)?;
        Ok(Payment { transaction, transfer, pay_to })
    }

    pub(super) async fn verify(&self, request: &Value) -> Result<Verified, VerifyError> {
        let payment = self.read(request).map_err(|(reason, detail)| VerifyError::Refused {
            reason: reason.into(),
            detail: detail.into(),
            payer: None,
        })?;
        let payer = payment.transfer.authority.to_string();
        let checked = tokio::time::timeout(self.config.verify_timeout, self.would_settle(&payment)).await;
        match checked {
            Ok(Ok(())) => Ok(Verified { payer }),
            Ok(Err(Trouble::Refused(reason, detail))) => {
                Err(VerifyError::Refused { reason: reason.into(), detail, payer: Some(payer) })
            }
            Ok(Err(Trouble::Unavailable(cause))) => Err(VerifyError::Unavailable(cause)),
            Err(_) => Err(VerifyError::Unavailable("no RPC answered in time".into())),
        }
    }

    /// Whether it would settle now. Where the account that is paid is not open yet (a new deposit address) it cannot be run, so the
    /// payer's money is looked at instead; the account is opened when it is settled, because that costs us rent.
    async fn would_settle(&self, payment: &Payment) -> Result<(), Trouble> {
        if self.config.fee_payer.has_account(&payment.pay_to).await? {
            return self.run(payment).await;
        }
        let TokenTransfer { source, authority, amount, .. } = payment.transfer;
        if source != associated_token_address(&authority, &self.config.mint) {
            let detail = "the first payment to an address must come from the payer's associated token account";
            return Err(Trouble::Refused("invalid_exact_svm_payload_source", detail.into()));
        }
        let held = self.config.fee_payer.reader().token_balance(authority.into(), None).await?;
        if held < Usdc::from_micros(amount) {
            return Err(Trouble::Refused("insufficient_funds", "the payer holds less than the amount".into()));
        }
        Ok(())
    }

    /// Runs the completed transaction without sending it.
    async fn run(&self, payment: &Payment) -> Result<(), Trouble> {
        let (_, raw) = self.config.fee_payer.complete(payment.transaction.clone())?;
        self.rehearse(&raw).await.map_err(judge)
    }

    async fn rehearse(&self, raw: &[u8]) -> Result<(), ChainError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.config.fee_payer.simulate(raw).await {
                Err(ChainError::Rejected(words)) if words == "BlockhashNotFound" && tries < BLOCKHASH_TRIES => {
                    tokio::time::sleep(BLOCKHASH_PAUSE).await;
                }
                ran => return ran.map(|_| ()),
            }
        }
    }

    /// `terms`: of the deposit address that is paid, if one is.
    pub(super) async fn settle(&self, request: &Value, terms: Option<&DepositTerms>) -> Result<Settled, SettleError> {
        let refused = |reason: &str, detail: String| SettleError::Refused { reason: reason.into(), detail };
        let payment = self.read(request).map_err(|(reason, detail)| refused(reason, detail.into()))?;
        let unknown = |error: ChainError| SettleError::Unknown(error.to_string());
        let (id, raw) = self.config.fee_payer.complete(payment.transaction.clone()).map_err(unknown)?;
        let Some(_settling) = self.begin(id) else {
            return Err(SettleError::Unknown("the same transaction is being settled".into()));
        };
        // Before a crash, or for a client that presents it again: it may be there already.
        if self.status(id).await.map_err(unknown)? == Landed::No {
            let ready = async {
                self.open_paid(payment.pay_to, terms).await?;
                self.run(&payment).await
            };
            ready.await.map_err(|trouble| match trouble {
                Trouble::Refused(reason, detail) => refused(reason, detail),
                // Nothing of this payment was sent; an earlier attempt may have been.
                Trouble::Unavailable(cause) => SettleError::Unknown(cause),
            })?;
        }
        match self.deliver(id, &raw).await {
            Ok(Landed::Paid(transaction)) => Ok(Settled {
                transaction,
                network: self.config.chain.caip2().into(),
                payer: payment.transfer.authority.to_string(),
            }),
            Ok(Landed::Failed) => Err(refused("transaction_failed", "it failed on chain; nothing moved".into())),
            Ok(Landed::No) => Err(SettleError::Unknown("it was not confirmed in time".into())),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Opens what a payment goes to, unless it is there. Bounded: rent is money that somebody else could make us lay out. And only as
    /// a deposit address, in one instruction with the record that says whose the rents are (T-37).
    async fn open_paid(&self, pay_to: SolanaAddress, terms: Option<&DepositTerms>) -> Result<(), Trouble> {
        if self.config.fee_payer.has_account(&pay_to).await? {
            return Ok(());
        }
        let Some(terms) = terms else {
            let detail = "the account that is paid is not open, and is no deposit address that was asked for here";
            return Err(Trouble::Refused("recipient_not_open", detail.into()));
        };
        let opening = self.config.fee_payer.opening_address(terms).await?;
        // What fails costs its fee as well.
        self.rehearse(&opening.1).await?;
        self.count_opening()?;
        self.deliver_opening(opening).await
    }

    /// Opens the associated account of a wallet of ours.
    pub(super) async fn open(&self, owner: SolanaAddress) -> Result<(), Trouble> {
        if self.config.fee_payer.has_account(&owner).await? {
            return Ok(());
        }
        let opening = self.config.fee_payer.opening_wallet(owner).await?;
        self.deliver_opening(opening).await
    }

    async fn deliver_opening(&self, (id, raw): (TransactionId, Bytes)) -> Result<(), Trouble> {
        match self.deliver(id, &raw).await? {
            Landed::Paid(_) => Ok(()),
            Landed::Failed => Err(Trouble::Unavailable("the token account could not be opened".into())),
            Landed::No => Err(Trouble::Unavailable("the token account was not opened in time".into())),
        }
    }

    fn count_opening(&self) -> Result<(), Trouble> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        while opened.front().is_some_and(|at| at.elapsed() > HOUR) {
            opened.pop_front();
        }
        if opened.len() >= self.config.accounts_per_hour as usize {
            tracing::warn!("no more token accounts are opened within this hour; see solana.accounts_per_hour");
            let detail = "too many new deposit addresses; try later, or open its USDC account yourself";
            return Err(Trouble::Refused("too_many_new_accounts", detail.into()));
        }
        opened.push_back(Instant::now());
        Ok(())
    }

    /// Sends a transaction until it is in a confirmed block, for at most the settle timeout.
    async fn deliver(&self, id: TransactionId, raw: &[u8]) -> Result<Landed, ChainError> {
        let (started, mut sent) = (Instant::now(), None::<Instant>);
        loop {
            let found = self.status(id).await?;
            if found != Landed::No || started.elapsed() >= self.config.settle_timeout {
                return Ok(found);
            }
            if sent.is_none_or(|sent| sent.elapsed() >= RESEND) {
                self.config.fee_payer.send(raw).await?;
                sent = Some(Instant::now());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn status(&self, id: TransactionId) -> Result<Landed, ChainError> {
        Ok(match self.config.fee_payer.reader().payment_status(id).await? {
            None => Landed::No,
            Some(status) if status.error.is_some() => Landed::Failed,
            Some(_) => Landed::Paid(id.to_string()),
        })
    }

    /// What became of a payment that was settled here. Its name is our signature, which is the same each time. `None` for one of
    /// another fee payer: our key may have been another when it was taken.
    pub(super) async fn landed(&self, document: &Value) -> Result<Option<Landed>, ChainError> {
        let named =
            Self::transaction(document).and_then(|transaction| self.config.fee_payer.complete(transaction).ok());
        match named {
            Some((id, _)) => self.status(id).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn supported(&self) -> Value {
        let (chain, extra) = (self.config.chain, json!({ "feePayer": self.config.fee_payer.address() }));
        json!({
            "kinds": [
                { "x402Version": 1, "scheme": "exact", "network": chain.v1_name(), "extra": extra },
                { "x402Version": 2, "scheme": "exact", "network": chain.caip2(), "extra": extra },
            ],
            "extensions": [],
        })
    }

    fn begin(&self, id: TransactionId) -> Option<Settling<'_>> {
        let fresh = self.settling.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        fresh.then_some(Settling { facilitator: self, id })
    }
}

/// While this lives, the same transaction is not settled a second time.
struct Settling<'a> {
    facilitator: &'a Solana,
    id: TransactionId,
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.facilitator.settling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Why something is not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The payment's own fault: x402's reason, and words.
    Refused(&'static str, String),
    /// Nothing was learned about it.
    Unavailable(String),
}

impl From<ChainError> for Trouble {
    fn from(error: ChainError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What a failed run says about the payment.
fn judge(error: ChainError) -> Trouble {
    match error {
        ChainError::Rejected(words) if words == "BlockhashNotFound" => {
            Trouble::Refused("transaction_expired", "its blockhash ran out; sign a new one".into())
        }
        ChainError::Rejected(words) if words == "AlreadyProcessed" => {
            Trouble::Refused("transaction_already_used", "it is on chain already".into())
        }
        ChainError::Reverted { detail, .. }
            if detail.contains("insufficient funds") || detail.contains("custom program error: 0x1") =>
        {
            Trouble::Refused("insufficient_funds", "the payer holds less than the amount".into())
        }
        ChainError::Reverted { detail, .. } => Trouble::Refused("transaction_simulation_failed", detail),
        // An empty purse of ours among them.
        other => {
            tracing::warn!(error = %other, "a payment on Solana could not be run");
            Trouble::Unavailable(other.to_string())
        }
    }
}
