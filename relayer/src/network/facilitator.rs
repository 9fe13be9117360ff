//! Who verifies and settles `exact` payments on a network, and USDC as they name it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use compute_futures_chain::ChainReader;
use compute_futures_chain::solana::FeePayer;
use compute_futures_protocol::{Address, Signer};

use super::start::Connection;
use crate::config::{Config, NetworkSettings};
use crate::payment::Asset;
use crate::payment::facilitator::{EmbeddedConfig, Facilitator, SolanaFacilitatorConfig};

/// A facilitator, and USDC as payments through it name it.
pub(super) struct Started {
    pub(super) facilitator: Facilitator,
    pub(super) asset: Asset,
}

pub(super) async fn start(
    config: &Config,
    settings: &NetworkSettings<'_>,
    connection: &Connection,
    operator: Address,
) -> anyhow::Result<Started> {
    let timeouts = &config.facilitator;
    let (verify, settle) =
        (Duration::from_secs(timeouts.verify_timeout_seconds), Duration::from_secs(timeouts.settle_timeout_seconds));
    match connection {
        Connection::Evm(reader, ..) => {
            let token = reader.token().evm().context("base.token")?;
            let asset = Asset::Evm(config.base.token_domain(token));
            if let Some(facilitator) = remote(settings, verify, settle)? {
                return Ok(Started { facilitator, asset });
            }
            let key = config.base.facilitator_key.load_bytes().context("base.facilitator_key")?;
            if Signer::from_bytes(&key).is_ok_and(|signer| signer.address() == operator) {
                bail!(SAME_KEY);
            }
            let facilitator = Facilitator::embedded(EmbeddedConfig {
                chain_id: config.base.chain_id(),
                rpc_urls: config.base.evm()?.rpc_urls,
                key: (*key).into(),
                poll_interval: Duration::from_millis(config.base.poll_interval_ms.min(1000)),
                max_gas: config.base.facilitator_max_gas,
                verify_timeout: verify,
                settle_timeout: settle,
            })
            .await
            .map_err(|error| anyhow!("the embedded facilitator does not start: {error}"))?;
            Ok(Started { facilitator, asset })
        }
        Connection::Solana(reader, ..) => {
            let (solana, mint) = (&config.solana, reader.token().solana().context("solana.token")?);
            if let Some(facilitator) = remote(settings, verify, settle)? {
                let fee_payer = facilitator.fee_payer(solana.network).await.map_err(anyhow::Error::msg)?;
                return Ok(Started { facilitator, asset: Asset::Solana { mint, fee_payer } });
            }
            let key = solana.facilitator_key.load().context("solana.facilitator_key")?;
            if key.address() == operator {
                bail!(SAME_KEY);
            }
            let fee_payer = FeePayer::new(Arc::clone(reader), key).context("solana.facilitator_key")?;
            let asset = Asset::Solana { mint, fee_payer: fee_payer.address() };
            let facilitator = Facilitator::solana(SolanaFacilitatorConfig {
                chain: solana.network,
                fee_payer,
                mint,
                max_lamports: solana.facilitator_max_lamports,
                accounts_per_hour: solana.accounts_per_hour,
                verify_timeout: verify,
                settle_timeout: settle,
            });
            // Whoever is to be paid needs a token account; a stock client does not open it.
            let pay_to = if solana.pay_to.is_zero() { operator } else { solana.pay_to };
            let owner = pay_to.solana().context("solana.pay_to")?;
            facilitator.open_account(owner).await.map_err(|error| {
                anyhow!(
                    "the USDC account of {owner} could not be opened; the facilitator's key needs some SOL: {error}"
                )
            })?;
            Ok(Started { facilitator, asset })
        }
    }
}

const SAME_KEY: &str = "operator_key and facilitator_key hold the same key; use two keys";

/// The facilitator at a URL, when one is set.
fn remote(settings: &NetworkSettings<'_>, verify: Duration, settle: Duration) -> anyhow::Result<Option<Facilitator>> {
    if settings.facilitator_url.is_empty() {
        return Ok(None);
    }
    let token = match settings.facilitator_token_env {
        "" => None,
        name => Some(std::env::var(name).with_context(|| {
            format!("{}.facilitator_token_env: the environment variable {name} is not set", settings.section)
        })?),
    };
    Facilitator::remote(settings.facilitator_url, token.as_deref(), verify, settle)
        .map(Some)
        .map_err(anyhow::Error::msg)
}
