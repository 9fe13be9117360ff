//! What the chain says about a payment whose settlement is not known.

use compute_futures_chain::ChainError;
use compute_futures_protocol::{EvmPayment, ExactPayment, U256};

use super::credit::unix_now;
use super::exact::Checked;
use super::facilitator::Landed;
use super::gate::Gate;

/// How far back the chain is searched for a payment, beyond the time since it was first seen.
const LOOK_BACK_SECONDS: u64 = 600;
/// After its validity ended, an unused payment is given up only when the chain's clock is past it for sure.
const EXPIRY_GRACE_SECONDS: u64 = 120;

/// What the chain says about a payment.
pub(super) enum OnChain {
    /// Not there (yet).
    Unused,
    /// Not there, and it can be no more.
    Expired,
    /// The money moved.
    Paid(String),
    /// Used up without money moving: the payer cancelled the authorisation, or (Solana) the transaction failed on chain.
    Cancelled,
}

impl Checked {
    /// Seconds back to search the chain.
    fn look_back(&self) -> u64 {
        unix_now().saturating_sub(self.seen_at) + LOOK_BACK_SECONDS
    }
}

impl Gate {
    /// What the chain says about a payment.
    pub(super) async fn on_chain(&self, checked: &Checked) -> Result<OnChain, ()> {
        let found = match &checked.payment {
            ExactPayment::Evm(payment) => self.on_evm(checked, payment).await,
            ExactPayment::Solana(_) => self.on_solana(checked).await,
        };
        found.map_err(|error| {
            tracing::warn!(payment = %checked.id, %error, "the chain could not be asked about a payment");
        })
    }

    async fn on_evm(&self, checked: &Checked, payment: &EvmPayment) -> Result<OnChain, ChainError> {
        let (from, nonce) = (payment.from.into(), payment.nonce);
        if !self.reader().payment_used(from, nonce).await? {
            // Past its validity on any clock.
            let over = payment.valid_before < U256::from(unix_now().saturating_sub(EXPIRY_GRACE_SECONDS));
            return Ok(if over { OnChain::Expired } else { OnChain::Unused });
        }
        let transaction = self.reader().payment_transaction(from, nonce, checked.look_back()).await?;
        Ok(transaction.map_or(OnChain::Cancelled, |transaction| OnChain::Paid(transaction.to_string())))
    }

    /// The height comes first: what is not there after its last block was final will never be.
    async fn on_solana(&self, checked: &Checked) -> Result<OnChain, ChainError> {
        let height = self.reader().block_height().await?;
        let (from, nonce) = (checked.payment.from(), checked.payment.nonce());
        match self.facilitator().landed(&checked.document).await? {
            Some(Landed::Paid(transaction)) => return Ok(OnChain::Paid(transaction)),
            Some(Landed::Failed) => return Ok(OnChain::Cancelled),
            Some(Landed::No) => {}
            // Somebody else pays the fee, whose signature names the transaction: it is found by what the payer signed.
            None => {
                let found = self.reader().payment_transaction(from, nonce, checked.look_back()).await?;
                if let Some(transaction) = found {
                    return Ok(OnChain::Paid(transaction.to_string()));
                }
            }
        }
        let over = checked.last_block_height.is_some_and(|last| last < height);
        Ok(if over { OnChain::Expired } else { OnChain::Unused })
    }
}
