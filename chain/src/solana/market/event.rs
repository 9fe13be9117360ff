//! From the data of the programs' calls to themselves to [`MarketEvent`]s: one event of theirs is a sequence of ours.

use compute_futures_protocol::market::{Model, ProviderContent, ProviderType, SessionId};
use compute_futures_protocol::{Address, Usdc};

use super::super::bytes::Bytes;
use super::super::event::fields_of;
use crate::market::{MarketEvent, SessionRejection};

/// Reads the fields of one event.
type Reader = fn(&mut Bytes<'_>) -> Option<Vec<MarketEvent>>;

/// Events of both programs.
const READERS: [(&str, Reader); 15] = [
    ("SessionOpened", session_opened),
    ("SessionClosed", session_closed),
    ("SessionsClosed", sessions_closed),
    ("SessionLapsed", session_lapsed),
    ("SessionsLapsed", sessions_lapsed),
    ("EscrowFunded", escrow_funded),
    ("EscrowRefunded", escrow_refunded),
    ("EscrowExpired", escrow_expired),
    ("AgentAdded", agent_added),
    ("AgentRemoved", agent_removed),
    ("EarningsWithdrawn", earnings_withdrawn),
    ("Recovered", recovered),
    ("ProviderRegistered", provider_registered),
    ("ProviderUpdated", provider_updated),
    ("ProviderRetired", provider_retired),
];

/// As [`super::super::event::decode`].
pub(super) fn decode(data: &[u8]) -> Result<Option<Vec<MarketEvent>>, String> {
    let Some((event, read, mut bytes)) = fields_of(data, &READERS) else { return Ok(None) };
    let kinds = read(&mut bytes).and_then(|kinds| bytes.end().map(|()| kinds));
    kinds.map(Some).ok_or_else(|| format!("the fields of a {event} event cannot be read"))
}

fn address(bytes: &mut Bytes<'_>) -> Option<Address> {
    bytes.key().map(Address::Solana)
}

fn session(bytes: &mut Bytes<'_>) -> Option<SessionId> {
    SessionId::try_from(bytes.u64()?).ok()
}

fn content(bytes: &mut Bytes<'_>) -> Option<ProviderContent> {
    Some(ProviderContent {
        endpoint: bytes.text()?,
        provider_type: ProviderType::from_number(bytes.u8()?)?,
        rate_limit: bytes.u32()?,
        minimum_charge: bytes.usdc()?,
        features: bytes.list(Bytes::text)?,
        models: bytes.list(|model| {
            Some(Model {
                name: model.text()?,
                input_price: model.usdc()?,
                output_price: model.usdc()?,
                max_context: model.u32()?,
            })
        })?,
    })
}

fn provider_registered(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let (provider_id, owner, version, content_hash) = (bytes.u32()?, address(bytes)?, bytes.u32()?, bytes.hash()?);
    let content = Some(content(bytes)?);
    Some(vec![MarketEvent::ProviderRegistered { provider_id, owner, version, content_hash, content }])
}

fn provider_updated(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let (provider_id, owner, version, content_hash) = (bytes.u32()?, address(bytes)?, bytes.u32()?, bytes.hash()?);
    let content = Some(content(bytes)?);
    Some(vec![MarketEvent::ProviderUpdated { provider_id, owner, version, content_hash, content }])
}

fn provider_retired(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::ProviderRetired {
        provider_id: bytes.u32()?,
        owner: address(bytes)?,
        version: bytes.u32()?,
    }])
}

fn escrow_funded(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let (escrow_id, payer) = (bytes.u32()?, address(bytes)?);
    let (amount, unreserved) = (bytes.usdc()?, bytes.usdc()?);
    let mut kinds = bytes
        .option(|created| {
            let (creator, expiry, session_limit) = (address(created)?, created.u64()?, created.usdc()?);
            let (meter, open_to_all) = (created.optional_key()?.map(Address::Solana), created.flag()?);
            let mut kinds =
                vec![MarketEvent::EscrowCreated { escrow_id, creator, expiry, session_limit, meter, open_to_all }];
            let agents = created.list(address)?;
            kinds.extend(agents.into_iter().map(|agent| MarketEvent::AgentAdded { escrow_id, agent }));
            Some(kinds)
        })?
        .unwrap_or_default();
    kinds.push(MarketEvent::EscrowFunded { escrow_id, payer, amount, unreserved });
    let swept = bytes.option(address)?;
    kinds.extend(swept.map(|deposit_address| MarketEvent::Swept { escrow_id, deposit_address, amount }));
    Some(kinds)
}

fn escrow_refunded(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::EscrowRefunded {
        escrow_id: bytes.u32()?,
        creator: address(bytes)?,
        amount: bytes.usdc()?,
        unreserved: bytes.usdc()?,
    }])
}

fn escrow_expired(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::EscrowExpired { escrow_id: bytes.u32()?, creator: address(bytes)?, amount: bytes.usdc()? }])
}

fn agent_added(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::AgentAdded { escrow_id: bytes.u32()?, agent: address(bytes)? }])
}

fn agent_removed(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::AgentRemoved { escrow_id: bytes.u32()?, agent: address(bytes)? }])
}

fn session_opened(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::SessionOpened {
        session: session(bytes)?,
        agent: address(bytes)?,
        provider_id: bytes.u32()?,
        provider_version: bytes.u32()?,
        content_hash: bytes.hash()?,
        meter: address(bytes)?,
        limit: bytes.usdc()?,
        deadline: bytes.u64()?,
        by_signature: bytes.flag()?,
    }])
}

fn session_closed(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let session = session(bytes)?;
    let (provider_id, cost, uncovered) = (bytes.u32()?, bytes.usdc()?, bytes.usdc()?);
    let (receipt_count, receipts_root, number) = (bytes.u32()?, bytes.hash()?, Some(bytes.u64()?));
    let mut kinds =
        vec![MarketEvent::SessionClosed { session, provider_id, cost, receipt_count, receipts_root, number }];
    if uncovered != Usdc::ZERO {
        kinds.push(MarketEvent::SessionShortfall { session, uncovered });
    }
    Some(kinds)
}

fn sessions_closed(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let caller = Some(address(bytes)?);
    let rows = bytes.list(|row| match row.u8()? {
        0 => session_closed(row),
        rejected => {
            let (session, reason) = (row.u64()?, SessionRejection::from_number(rejected)?);
            // What it states besides: provider, cost, uncovered, receipts and number.
            row.skip(4 + 8 + 8 + 4 + 32 + 8)?;
            Some(vec![MarketEvent::SessionRejected { session, caller, reason }])
        }
    })?;
    Some(rows.into_iter().flatten().collect())
}

fn session_lapsed(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    Some(vec![MarketEvent::SessionLapsed { session: session(bytes)?, released: bytes.usdc()? }])
}

fn sessions_lapsed(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    bytes.list(|row| match row.u8()? {
        0 => Some(MarketEvent::SessionLapsed { session: session(row)?, released: row.usdc()? }),
        rejected => {
            let (session, reason) = (row.u64()?, SessionRejection::from_number(rejected)?);
            row.skip(8)?;
            Some(MarketEvent::SessionRejected { session, caller: None, reason })
        }
    })
}

fn earnings_withdrawn(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let (provider_id, to) = (bytes.u32()?, address(bytes)?);
    bytes.key()?;
    Some(vec![MarketEvent::EarningsWithdrawn { provider_id, to, amount: bytes.usdc()? }])
}

fn recovered(bytes: &mut Bytes<'_>) -> Option<Vec<MarketEvent>> {
    let (deposit_address, creator, token) = (address(bytes)?, address(bytes)?, address(bytes)?);
    Some(vec![MarketEvent::Recovered { deposit_address, creator, token, amount: bytes.u64()?.to_string() }])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::super::super::event::TAG;
    use super::super::super::state::discriminator;
    use super::*;

    fn data(event: &str, fields: &[&[u8]]) -> Vec<u8> {
        [&TAG[..], &discriminator("event", event), &fields.concat()].concat()
    }

    #[test]
    fn a_creation_says_what_base_says_in_the_same_order() {
        let amount = 100_u64.to_le_bytes();
        let fixed = [&3_u32.to_le_bytes()[..], &[2; 32], &amount, &amount].concat();
        let agents = [&2_u32.to_le_bytes()[..], &[7; 32], &[8; 32]].concat();
        let terms = [&[1][..], &[2; 32], &9_u64.to_le_bytes(), &5_u64.to_le_bytes(), &[0; 32], &[0], &agents].concat();
        let created = decode(&data("EscrowFunded", &[&fixed, &terms, &[0]])).unwrap().unwrap();
        assert!(matches!(
            created.as_slice(),
            [
                MarketEvent::EscrowCreated { escrow_id: 3, expiry: 9, meter: None, open_to_all: false, .. },
                MarketEvent::AgentAdded { .. },
                MarketEvent::AgentAdded { .. },
                MarketEvent::EscrowFunded { escrow_id: 3, .. }
            ]
        ));
        let swept = decode(&data("EscrowFunded", &[&fixed, &[0, 1], &[4; 32]])).unwrap().unwrap();
        assert!(matches!(swept.as_slice(), [MarketEvent::EscrowFunded { .. }, MarketEvent::Swept { .. }]));
        assert!(decode(&data("EscrowFunded", &[&fixed, &[0]])).is_err(), "too short");
        assert!(decode(&data("EscrowFunded", &[&fixed, &[0, 0, 0]])).is_err(), "too long");
        assert_eq!(decode(&data("SomethingNew", &[&fixed])), Ok(None));
    }

    #[test]
    fn rows_of_a_batch_stand_alone() {
        let id = (1_u64 << 32 | 2).to_le_bytes();
        let close = |rejection: u8, session: [u8; 8], uncovered: u64| {
            [
                &[rejection][..],
                &session,
                &4_u32.to_le_bytes(),
                &10_u64.to_le_bytes(),
                &uncovered.to_le_bytes(),
                &1_u32.to_le_bytes(),
                &[6; 32],
                &5_u64.to_le_bytes(),
            ]
            .concat()
        };
        let rows = [close(0, id, 7), close(1, 0_u64.to_le_bytes(), 0), close(0, id, 0)].concat();
        let all = decode(&data("SessionsClosed", &[&[9; 32], &3_u32.to_le_bytes(), &rows])).unwrap().unwrap();
        assert!(matches!(
            all.as_slice(),
            [
                MarketEvent::SessionClosed { number: Some(5), .. },
                MarketEvent::SessionShortfall { .. },
                MarketEvent::SessionRejected { session: 0, caller: Some(_), reason: SessionRejection::NotOpen },
                MarketEvent::SessionClosed { .. }
            ]
        ));
        let lapsed = [&[0][..], &id, &3_u64.to_le_bytes(), &[3], &id, &0_u64.to_le_bytes()].concat();
        let all = decode(&data("SessionsLapsed", &[&2_u32.to_le_bytes(), &lapsed])).unwrap().unwrap();
        assert!(matches!(
            all.as_slice(),
            [
                MarketEvent::SessionLapsed { .. },
                MarketEvent::SessionRejected { caller: None, reason: SessionRejection::DeadlineNotPassed, .. }
            ]
        ));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(fields in prop::collection::vec(any::<u8>(), 0..300), which in 0_usize..15) {
            let _ = decode(&data(READERS[which].0, &[&fields]));
            let _ = decode(&fields);
        }
    }
}
