//! A bound on the gas that a payment may make us spend.
//!
//! Who pays with a contract wallet decides what its signature check does, and an ERC-6492 signature even names a contract to
//! call: without a bound a payment of a tenth of a cent could burn a block of gas at our expense.

use std::sync::Arc;

use alloy::{
    network::TransactionBuilder,
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use x402_chain_eip155::chain::{
    Eip155ChainProvider, Eip155ChainReference, Eip155MetaTransactionProvider, Eip155SignerAddresses, MetaTransaction,
    MetaTransactionSendError,
};
use x402_types::chain::{ChainId, ChainProviderOps};

/// Starts the error of a payment that costs too much gas; see [`super::embedded`].
pub(super) const TOO_MUCH_GAS: &str = "the settlement needs too much gas";

/// x402-rs's provider, which sends nothing that needs more than so much gas.
#[derive(Debug, Clone)]
pub(super) struct Bounded {
    pub(super) inner: Arc<Eip155ChainProvider>,
    pub(super) most_gas: u64,
}

impl Eip155MetaTransactionProvider for Bounded {
    type Error = MetaTransactionSendError;
    type Inner = <Eip155ChainProvider as Eip155MetaTransactionProvider>::Inner;

    fn inner(&self) -> &Self::Inner {
        self.inner.inner()
    }

    fn chain(&self) -> &Eip155ChainReference {
        self.inner.chain()
    }

    async fn send_transaction(&self, tx: MetaTransaction) -> Result<TransactionReceipt, Self::Error> {
        let mut request = TransactionRequest::default().with_to(tx.to).with_input(tx.calldata.clone());
        if let Some(from) = tx.from.or_else(|| Eip155SignerAddresses::signer_addresses(&*self.inner).first().copied()) {
            request = request.with_from(from);
        }
        let gas = self.inner().estimate_gas(request).await?;
        if gas > self.most_gas {
            let text = format!("{TOO_MUCH_GAS}: {gas}, where {} is the most", self.most_gas);
            return Err(MetaTransactionSendError::Custom(text));
        }
        self.inner.send_transaction(tx).await
    }
}

impl ChainProviderOps for Bounded {
    fn signer_addresses(&self) -> Vec<String> {
        ChainProviderOps::signer_addresses(&self.inner)
    }

    fn chain_id(&self) -> ChainId {
        self.inner.chain_id()
    }
}
