//! The receipts' side: every receipt of the account against the chain's figures, one after another, remainder carried.

use std::collections::{HashMap, HashSet};

use compute_futures_chain::ChainReader;
use compute_futures_protocol::{
    Address, Authorization, AuthorizationError, B256, BatchDocument, Domain, ExactPayment, SignatureError,
    SignedReceipt, Usdc, charge,
};

use super::{
    AuditReport, Finding,
    chain_side::{Batch, ChainSide},
};
use crate::{error::Result, receipts::verify};

/// How far a relayer's clock and the chain's may be apart, in seconds.
const CLOCK_SLACK: u64 = 300;
/// How long a job may take after its authorisation expires, in seconds.
const JOB_SLACK: u64 = 900;

/// Walks the batches in order.
pub(super) struct ReceiptCheck<'a> {
    reader: &'a dyn ChainReader,
    chain: &'a ChainSide,
    domain: Domain,
    /// Sequence of the next receipt; unknown after a batch that could not be checked.
    next: Option<u64>,
    remainder: u16,
    authorizations: HashSet<B256>,
    receipts: usize,
    charged: u64,
    findings: Vec<Finding>,
}

impl<'a> ReceiptCheck<'a> {
    pub(super) fn new(reader: &'a dyn ChainReader, chain: &'a ChainSide, domain: Domain) -> Self {
        Self {
            reader,
            chain,
            domain,
            next: Some(1),
            remainder: 0,
            authorizations: HashSet::new(),
            receipts: 0,
            charged: 0,
            findings: Vec::new(),
        }
    }

    /// The batch's receipts cannot be had: its debits are not backed.
    pub(super) fn missing(&mut self, batch: &Batch, why: String) {
        self.unchecked(batch, "receipts_missing", why);
    }

    /// Checks one batch against its document.
    pub(super) async fn batch(&mut self, batch: &Batch, document: BatchDocument) -> Result<()> {
        let id = self.chain.account.id;
        if let Err(refused) =
            verify(&document, id.operator_index(), batch.number, batch.root, &self.domain, self.chain.operator)
        {
            self.unchecked(batch, "document", refused.to_string());
            return Ok(());
        }
        let mut receipts: Vec<SignedReceipt> = document.receipts;
        receipts.retain(|signed| signed.receipt.account_id == id);
        receipts.sort_by_key(|signed| signed.receipt.sequence);
        for signed in &receipts {
            self.receipt(batch, signed);
            self.authorization(signed).await?;
        }
        self.sums(batch, &receipts);
        // A clamp drops the fraction, so the chain's own remainder is what the next batch starts from.
        self.remainder = batch.remainder;
        Ok(())
    }

    pub(super) fn finish(self, report: &mut AuditReport) {
        report.receipts = self.receipts;
        report.receipts_charged = Usdc::from_micros(self.charged);
        report.findings.extend(self.findings);
        report.backed = report.findings.is_empty();
    }

    fn unchecked(&mut self, batch: &Batch, code: &'static str, why: String) {
        let detail = format!("{why}; {} USDC charged in this batch are not backed", Usdc::from_micros(batch.charged));
        self.findings.push(Finding::new(code, batch.number, detail));
        self.next = None;
        self.remainder = batch.remainder;
    }

    /// Place in the sequence, discount, charge (I-3, I-7).
    fn receipt(&mut self, batch: &Batch, signed: &SignedReceipt) {
        let receipt = &signed.receipt;
        self.receipts += 1;
        self.charged += receipt.charged.micros();
        if let Some(expected) = self.next.filter(|expected| *expected != receipt.sequence) {
            let detail =
                format!("receipt {} follows {}: a receipt is missing or doubled", receipt.sequence, expected - 1);
            self.findings.push(Finding::of("sequence", signed, detail));
        }
        self.next = Some(receipt.sequence + 1);
        if receipt.discount_bps < batch.floor {
            let detail = format!("{} bps were given, {} are due", receipt.discount_bps, batch.floor);
            self.findings.push(Finding::of("discount_below_floor", signed, detail));
        }
        let (due, remainder) = charge(receipt.list_amount, receipt.discount_bps, self.remainder);
        if due != receipt.charged {
            let detail = format!(
                "{} USDC at {} bps with remainder {} is {due} USDC, the receipt charges {}",
                receipt.list_amount, receipt.discount_bps, self.remainder, receipt.charged
            );
            self.findings.push(Finding::of("charge", signed, detail));
        }
        self.remainder = remainder;
        if receipt.issued_at > batch.time + CLOCK_SLACK {
            let detail = format!("issued at {}, after its batch was posted at {}", receipt.issued_at, batch.time);
            self.findings.push(Finding::of("issued_late", signed, detail));
        }
    }

    /// Whether the depositor wanted this job: signed by who might spend then, once, in time (I-2).
    async fn authorization(&mut self, signed: &SignedReceipt) -> Result<()> {
        let receipt = &signed.receipt;
        if !self.authorizations.insert(receipt.authorization_hash) {
            let detail = "another receipt names the same authorisation: one authorisation is one job".into();
            self.findings.push(Finding::of("authorization_reused", signed, detail));
        }
        if !self.signed_by_spender(signed).await? {
            let detail = match signed.authorization.authorizer(&self.domain, &self.spenders(signed)) {
                Err(AuthorizationError::Signature(SignatureError::Stranger(Some(signer)))) => {
                    format!("signed by {signer}, who was neither owner nor delegate at {}", receipt.issued_at)
                }
                Err(why) => format!("not signed by owner or delegate: {why}"),
                Ok(signer) => format!("the chain does not take {signer}'s signature"),
            };
            self.findings.push(Finding::of("authorization", signed, detail));
        }
        match &signed.authorization {
            Authorization::ComputeFutures { authorization, .. } => {
                if receipt.issued_at > authorization.valid_until + JOB_SLACK {
                    let detail = format!(
                        "the authorisation ended at {}, the job at {}",
                        authorization.valid_until, receipt.issued_at
                    );
                    self.findings.push(Finding::of("authorization_expired", signed, detail));
                }
            }
            Authorization::Exact { payment } => {
                if payment.network() != self.reader.chain() || self.reader.token() != payment.asset() {
                    let detail = format!("the payment is in {} on {}", payment.asset(), payment.network());
                    self.findings.push(Finding::of("payment_elsewhere", signed, detail));
                } else if !self.paid(payment, receipt.issued_at).await? {
                    let detail = "the payment that authorised the job was never made".into();
                    self.findings.push(Finding::of("payment_not_made", signed, detail));
                }
            }
        }
        Ok(())
    }

    /// Whether the money of a payment moved. What a chain says of recent payments only is looked up in its history, from well
    /// before the job on.
    async fn paid(&self, payment: &ExactPayment, issued_at: u64) -> Result<bool> {
        let (payer, nonce) = (payment.from(), payment.nonce());
        if self.reader.payment_used(payer, nonce).await? {
            return Ok(true);
        }
        let now = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or_default();
        let back = now.saturating_sub(issued_at) + JOB_SLACK + CLOCK_SLACK;
        Ok(self.reader.payment_transaction(payer, nonce, back).await?.is_some())
    }

    /// Who might spend when the job was done.
    fn spenders(&self, signed: &SignedReceipt) -> Vec<Address> {
        let at = signed.receipt.issued_at;
        self.chain
            .spenders
            .iter()
            .filter(|spender| {
                spender.from <= at.saturating_add(CLOCK_SLACK) && at <= spender.until.saturating_add(CLOCK_SLACK)
            })
            .map(|spender| spender.address)
            .collect()
    }

    async fn signed_by_spender(&self, signed: &SignedReceipt) -> Result<bool> {
        let spenders = self.spenders(signed);
        let (payer, digest, bytes) = match &signed.authorization {
            Authorization::ComputeFutures { authorization, signature } => {
                (None, Some(authorization.digest(&self.domain)), signature)
            }
            Authorization::Exact { payment } => (Some(payment.from()), payment.digest(), payment.signature()),
        };
        if signed.authorization.authorizer(&self.domain, &spenders).is_ok() {
            return Ok(true);
        }
        // A contract wallet signs in its own way: ask it (EIP-1271).
        let Some(digest) = digest else { return Ok(false) };
        for spender in spenders.into_iter().filter(|spender| payer.is_none_or(|payer| payer == *spender)) {
            if self.reader.is_valid_signature(spender, digest, bytes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the receipts come to what the batch took.
    fn sums(&mut self, batch: &Batch, receipts: &[SignedReceipt]) {
        let mut listed: HashMap<u16, u64> = HashMap::new();
        let mut charged = 0;
        for signed in receipts {
            *listed.entry(signed.receipt.discount_bps).or_default() += signed.receipt.list_amount.micros();
            charged += signed.receipt.charged.micros();
        }
        // A row that nothing could be charged for leaves no list amount on chain to compare with.
        if listed != batch.listed && batch.uncovered == 0 {
            let detail = format!(
                "list amounts by discount are {:?} in receipts, {:?} on chain (micro-USDC)",
                sorted(&listed),
                sorted(&batch.listed)
            );
            self.findings.push(Finding::new("batch_listed", batch.number, detail));
        }
        if charged != batch.due().micros() {
            let detail =
                format!("receipts come to {} USDC, the batch took {}", Usdc::from_micros(charged), batch.due());
            self.findings.push(Finding::new("batch_charged", batch.number, detail));
        }
    }
}

fn sorted(listed: &HashMap<u16, u64>) -> Vec<(u16, u64)> {
    let mut entries: Vec<(u16, u64)> = listed.iter().map(|(bps, amount)| (*bps, *amount)).collect();
    entries.sort_unstable();
    entries
}
