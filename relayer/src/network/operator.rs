//! Registering as an operator, and offering the configured terms. The same on every chain.

use std::time::Duration;

use anyhow::{Context, bail};
use compute_futures_chain::{Action, ChainReader, ChainWriter};
use compute_futures_protocol::Terms;

use crate::settlement::{Purpose, Settlement};

/// The operator's index; registers the operator when it is new. Its key has sent nothing then, so this needs no outbox.
pub(super) async fn index(
    reader: &dyn ChainReader,
    writer: &dyn ChainWriter,
    terms: &Terms,
    may_set: bool,
) -> anyhow::Result<u32> {
    let (operator, chain) = (writer.sender(), reader.chain());
    if let Some(index) = reader.operator_index_of(operator).await? {
        return Ok(index);
    }
    if !may_set {
        bail!(
            "{operator} is not registered as an operator on {chain}; run `compute-futures operator register`, or set terms.set_on_start = true"
        );
    }
    tracing::info!(%operator, %chain, "registering the operator with its terms");
    let registered = writer.execute(&Action::SetTerms { terms: terms.clone() }).await;
    // Another relayer of ours may have been faster, and its transaction may still be on its way.
    for _ in 0..10 {
        if let Some(index) = reader.operator_index_of(operator).await? {
            return Ok(index);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    match registered {
        Err(error) => {
            let coin = if chain.evm_chain_id().is_some() { "ETH" } else { "SOL" };
            Err(error).with_context(|| {
                format!("{operator} could not be registered; it needs some {coin} on {chain} for fees")
            })
        }
        Ok(_) => bail!("{operator} was registered and is not there; the chain may have been reorganised: start again"),
    }
}

/// Offers the configured terms to new accounts, when they differ from those on-chain.
pub(super) async fn offer_terms(
    reader: &dyn ChainReader,
    settlement: &Settlement,
    index: u32,
    terms: &Terms,
    may_set: bool,
) -> anyhow::Result<()> {
    let Some(on_chain) = reader.operator(index).await? else {
        bail!("operator {index} is not on-chain; the RPC may be behind: start again")
    };
    if reader.terms(index, on_chain.terms_version).await?.as_ref() == Some(terms) {
        return Ok(());
    }
    if !may_set {
        bail!(
            "the terms on-chain differ from the configured ones; run `compute-futures operator register`, or set terms.set_on_start = true"
        );
    }
    tracing::info!(version = on_chain.terms_version + 1, chain = %reader.chain(), "the terms differ from those on-chain; setting them");
    // The version makes the purpose unique, so that terms can be changed back too.
    let purpose = Purpose::new("terms", format!("{index}:{}", on_chain.terms_version));
    settlement.submit(&purpose, Action::SetTerms { terms: terms.clone() }).await?;
    if let Err(error) = settlement.wait(&purpose, Duration::from_secs(60)).await {
        tracing::warn!(%error, "the new terms are not on-chain yet; accounts opened until then get the old ones");
    }
    Ok(())
}
