//! From topics and data to [`MarketEvent`].

use alloy::primitives::B256;
use alloy::sol_types::SolEvent;
use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{Model, ProviderContent, ProviderType, SessionId};

use super::super::bindings::{ComputeEscrow as escrow, IProviderRegistry as contents, ProviderRegistry as registry};
use super::super::logs::decode::{inconsistent, malformed, non_zero, strict, usdc_u64};
use crate::market::{MarketEvent, SessionRejection};
use crate::{ChainError, EventMeta};

/// Decodes one event; `None` when the ABIs do not know it.
pub(super) fn decode_market_event(
    topics: &[B256],
    data: &[u8],
    meta: &EventMeta,
) -> Result<Option<MarketEvent>, ChainError> {
    let Some(&signature) = topics.first() else { return Ok(None) };
    let money = |amount: u64| usdc_u64(amount, meta);
    let kind = if signature == escrow::SessionOpened::SIGNATURE_HASH {
        let event: escrow::SessionOpened = strict(topics, data, 6, meta)?;
        MarketEvent::SessionOpened {
            session: session(event.sessionId, meta)?,
            agent: event.agent.into(),
            provider_id: event.providerId,
            provider_version: event.providerVersion,
            content_hash: event.contentHash,
            meter: event.meter.into(),
            limit: money(event.limit.to())?,
            deadline: event.deadline.to(),
            by_signature: event.bySignature,
        }
    } else if signature == escrow::SessionClosed::SIGNATURE_HASH {
        let event: escrow::SessionClosed = strict(topics, data, 3, meta)?;
        MarketEvent::SessionClosed {
            session: session(event.sessionId, meta)?,
            provider_id: event.providerId,
            cost: money(event.cost.to())?,
            receipt_count: event.receiptCount,
            receipts_root: event.receiptsRoot,
            number: None,
        }
    } else if signature == escrow::SessionShortfall::SIGNATURE_HASH {
        let event: escrow::SessionShortfall = strict(topics, data, 1, meta)?;
        MarketEvent::SessionShortfall {
            session: session(event.sessionId, meta)?,
            uncovered: money(event.uncovered.to())?,
        }
    } else if signature == escrow::SessionLapsed::SIGNATURE_HASH {
        let event: escrow::SessionLapsed = strict(topics, data, 1, meta)?;
        MarketEvent::SessionLapsed { session: session(event.sessionId, meta)?, released: money(event.released.to())? }
    } else if signature == escrow::SessionRejected::SIGNATURE_HASH {
        let event: escrow::SessionRejected = strict(topics, data, 1, meta)?;
        MarketEvent::SessionRejected {
            session: event.sessionId,
            caller: Some(event.caller.into()),
            reason: SessionRejection::from_number(event.reason)
                .ok_or_else(|| inconsistent(meta, &format!("{} is no reason to reject a row", event.reason)))?,
        }
    } else if signature == escrow::EscrowCreated::SIGNATURE_HASH {
        let event: escrow::EscrowCreated = strict(topics, data, 4, meta)?;
        MarketEvent::EscrowCreated {
            escrow_id: event.escrowId,
            creator: event.creator.into(),
            expiry: event.expiry.to(),
            session_limit: money(event.sessionLimit.to())?,
            meter: non_zero(event.meter),
            open_to_all: event.openToAll,
        }
    } else if signature == escrow::EscrowFunded::SIGNATURE_HASH {
        let event: escrow::EscrowFunded = strict(topics, data, 2, meta)?;
        MarketEvent::EscrowFunded {
            escrow_id: event.escrowId,
            payer: event.payer.into(),
            amount: money(event.amount.to())?,
            unreserved: money(event.unreserved.to())?,
        }
    } else if signature == escrow::Swept::SIGNATURE_HASH {
        let event: escrow::Swept = strict(topics, data, 1, meta)?;
        MarketEvent::Swept {
            escrow_id: event.escrowId,
            deposit_address: event.depositAddress.into(),
            amount: money(event.amount.to())?,
        }
    } else if signature == escrow::Recovered::SIGNATURE_HASH {
        let event: escrow::Recovered = strict(topics, data, 1, meta)?;
        MarketEvent::Recovered {
            deposit_address: event.depositAddress.into(),
            creator: event.creator.into(),
            token: event.token.into(),
            amount: event.amount.to_string(),
        }
    } else if signature == escrow::AgentAdded::SIGNATURE_HASH {
        let event: escrow::AgentAdded = strict(topics, data, 0, meta)?;
        MarketEvent::AgentAdded { escrow_id: event.escrowId, agent: event.agent.into() }
    } else if signature == escrow::AgentRemoved::SIGNATURE_HASH {
        let event: escrow::AgentRemoved = strict(topics, data, 0, meta)?;
        MarketEvent::AgentRemoved { escrow_id: event.escrowId, agent: event.agent.into() }
    } else if signature == escrow::EscrowRefunded::SIGNATURE_HASH {
        let event: escrow::EscrowRefunded = strict(topics, data, 2, meta)?;
        MarketEvent::EscrowRefunded {
            escrow_id: event.escrowId,
            creator: event.creator.into(),
            amount: money(event.amount.to())?,
            unreserved: money(event.unreserved.to())?,
        }
    } else if signature == escrow::EscrowExpired::SIGNATURE_HASH {
        let event: escrow::EscrowExpired = strict(topics, data, 1, meta)?;
        MarketEvent::EscrowExpired {
            escrow_id: event.escrowId,
            creator: event.creator.into(),
            amount: money(event.amount.to())?,
        }
    } else if signature == escrow::EarningsWithdrawn::SIGNATURE_HASH {
        let event: escrow::EarningsWithdrawn = strict(topics, data, 1, meta)?;
        MarketEvent::EarningsWithdrawn {
            provider_id: event.providerId,
            to: event.to.into(),
            amount: money(event.amount)?,
        }
    } else {
        return provider_event(signature, topics, data, meta);
    };
    Ok(Some(kind))
}

/// The events of ProviderRegistry.
fn provider_event(
    signature: B256,
    topics: &[B256],
    data: &[u8],
    meta: &EventMeta,
) -> Result<Option<MarketEvent>, ChainError> {
    let kind = if signature == registry::ProviderRegistered::SIGNATURE_HASH {
        let event: registry::ProviderRegistered = lenient(topics, data, meta)?;
        MarketEvent::ProviderRegistered {
            provider_id: event.providerId,
            owner: event.owner.into(),
            version: event.version,
            content_hash: event.contentHash,
            content: content(event.content, event.contentHash),
        }
    } else if signature == registry::ProviderUpdated::SIGNATURE_HASH {
        let event: registry::ProviderUpdated = lenient(topics, data, meta)?;
        MarketEvent::ProviderUpdated {
            provider_id: event.providerId,
            owner: event.owner.into(),
            version: event.version,
            content_hash: event.contentHash,
            content: content(event.content, event.contentHash),
        }
    } else if signature == registry::ProviderRetired::SIGNATURE_HASH {
        let event: registry::ProviderRetired = strict(topics, data, 1, meta)?;
        MarketEvent::ProviderRetired {
            provider_id: event.providerId,
            owner: event.owner.into(),
            version: event.version,
        }
    } else {
        tracing::debug!(block = meta.block_number, log = meta.log_index, %signature, "unknown event ignored");
        return Ok(None);
    };
    Ok(Some(kind))
}

/// Strings on chain may be any bytes, and whoever registers chooses them: they must not stop a reader. What is no text decodes with
/// replacement characters, which its hash then tells.
fn lenient<E: SolEvent>(topics: &[B256], data: &[u8], meta: &EventMeta) -> Result<E, ChainError> {
    E::decode_raw_log(topics, data).map_err(|error| malformed::<E>(meta, &error.to_string()))
}

/// The content, when it is the one that the hash names.
fn content(content: contents::Content, hash: B256) -> Option<ProviderContent> {
    let read = ProviderContent {
        endpoint: content.endpoint,
        provider_type: ProviderType::from_number(content.providerType)?,
        rate_limit: content.rateLimit,
        minimum_charge: Usdc::from_micros(content.minimumCharge.to()),
        features: content.features,
        models: content
            .models
            .into_iter()
            .map(|model| Model {
                name: model.name,
                input_price: Usdc::from_micros(model.inputPrice.to()),
                output_price: Usdc::from_micros(model.outputPrice.to()),
                max_context: model.maxContext,
            })
            .collect(),
    };
    (read.hash() == hash).then_some(read)
}

fn session(id: u64, meta: &EventMeta) -> Result<SessionId, ChainError> {
    SessionId::try_from(id).map_err(|error| inconsistent(meta, &error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::{LogData, aliases::U48};
    use compute_futures_protocol::TransactionId;

    use super::*;

    const META: EventMeta = EventMeta {
        block_number: 7,
        block_hash: B256::ZERO,
        block_timestamp: 0,
        transaction: TransactionId::Evm(B256::ZERO),
        log_index: 3,
    };

    fn decode(log: &LogData) -> Result<Option<MarketEvent>, ChainError> {
        decode_market_event(log.topics(), &log.data, &META)
    }

    fn registered(endpoint: &str, hash: B256) -> LogData {
        let models = vec![contents::Model {
            name: "m".into(),
            inputPrice: U48::from(1),
            outputPrice: U48::from(2),
            maxContext: 3,
        }];
        registry::ProviderRegistered {
            providerId: 1,
            owner: alloy::primitives::Address::repeat_byte(1),
            version: 1,
            contentHash: hash,
            content: contents::Content {
                endpoint: endpoint.into(),
                providerType: 2,
                rateLimit: 60,
                minimumCharge: U48::from(10),
                features: vec!["json".into()],
                models,
            },
        }
        .encode_log_data()
    }

    #[test]
    fn content_is_believed_by_its_hash() {
        let whole = |hash| decode(&registered("https://a.example", hash)).unwrap().unwrap();
        let MarketEvent::ProviderRegistered { content: None, content_hash, .. } = whole(B256::repeat_byte(9)) else {
            unreachable!()
        };
        assert_eq!(content_hash, B256::repeat_byte(9));
        let expected = ProviderContent {
            endpoint: "https://a.example".into(),
            provider_type: ProviderType::Decentralized,
            rate_limit: 60,
            minimum_charge: Usdc::from_micros(10),
            features: vec!["json".into()],
            models: vec![Model {
                name: "m".into(),
                input_price: Usdc::from_micros(1),
                output_price: Usdc::from_micros(2),
                max_context: 3,
            }],
        };
        let MarketEvent::ProviderRegistered { content, .. } = whole(expected.hash()) else { unreachable!() };
        assert_eq!(content, Some(expected));
    }

    /// I-6: anyone can register anything, and nobody who reads stops for it.
    #[test]
    fn an_endpoint_that_is_no_text_stops_nobody() {
        let log = registered("XXXX", B256::repeat_byte(9));
        let mut data = log.data.to_vec();
        let at = data.windows(4).position(|window| window == b"XXXX").unwrap();
        data[at..at + 4].copy_from_slice(&[0xff, 0xfe, 0xc0, 0x80]);
        let event = decode_market_event(log.topics(), &data, &META).unwrap().unwrap();
        assert!(matches!(event, MarketEvent::ProviderRegistered { content: None, provider_id: 1, .. }), "{event:?}");
    }

    #[test]
    fn rejections_name_any_number_and_a_known_reason() {
        let rejected = |reason| {
            let caller = alloy::primitives::Address::repeat_byte(2);
            decode(&escrow::SessionRejected { sessionId: 0, caller, reason }.encode_log_data())
        };
        let event = rejected(1).unwrap().unwrap();
        assert!(matches!(
            event,
            MarketEvent::SessionRejected { session: 0, reason: SessionRejection::NotOpen, caller: Some(_) }
        ));
        assert!(rejected(9).is_err());
        let mut long = escrow::SessionLapsed { sessionId: 1 << 32 | 1, released: U48::from(5) }.encode_log_data();
        assert!(decode(&long).is_ok());
        long.data = [&long.data[..], &[0; 32]].concat().into();
        assert!(decode(&long).is_err(), "bytes that belong to no field");
    }
}
