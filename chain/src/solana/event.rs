//! From the data of the program's calls to itself to [`EventKind`]s. One event of the program can say several things at once.

use compute_futures_protocol::{AccountId, Address, Terms, Tier, Usdc};

use super::bytes::Bytes;
use super::state::discriminator;
use crate::EventKind;

/// First bytes of every recorded event.
pub(super) const TAG: [u8; 8] = [0xe4, 0x45, 0xa5, 0x2e, 0x51, 0xcb, 0x9a, 0x1d];

/// Reads the fields of one event.
type Reader = fn(&mut Bytes<'_>) -> Option<Vec<EventKind>>;

/// What a call's data records: `Ok(None)` when it is no event we know (a later program may say more), `Err` when it is one and
/// its fields are not what they should be.
pub(super) fn decode(data: &[u8]) -> Result<Option<Vec<EventKind>>, String> {
    let readers: [(&str, Reader); 9] = [
        ("BatchPosted", batch_posted),
        ("Deposited", deposited),
        ("CeilingRaised", ceiling_raised),
        ("DelegateSet", delegate_set),
        ("RefundRequested", refund_requested),
        ("Refunded", refunded),
        ("EarningsWithdrawn", earnings_withdrawn),
        ("Recovered", recovered),
        ("TermsSet", terms_set),
    ];
    let Some((event, read, mut bytes)) = fields_of(data, &readers) else { return Ok(None) };
    let kinds = read(&mut bytes).and_then(|kinds| bytes.end().map(|()| kinds));
    kinds.map(Some).ok_or_else(|| format!("the fields of a {event} event cannot be read"))
}

/// The event that a call's data records, by its name, and its fields.
pub(super) fn fields_of<'a, R: Copy>(
    data: &'a [u8],
    readers: &[(&'static str, R)],
) -> Option<(&'static str, R, Bytes<'a>)> {
    let (tag, rest) = data.split_first_chunk::<8>()?;
    let (name, fields) = rest.split_first_chunk::<8>()?;
    if *tag != TAG {
        return None;
    }
    let (event, read) = readers.iter().find(|(event, _)| discriminator("event", event) == *name)?;
    Some((event, *read, Bytes::of(fields)))
}

fn address(bytes: &mut Bytes<'_>) -> Option<Address> {
    bytes.key().map(Address::Solana)
}

fn terms_set(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (operator_index, operator, terms_version) = (bytes.u32()?, address(bytes)?, bytes.u32()?);
    let (refund_delay, minimum_deposit, rate_card_hash) = (bytes.u32()?, bytes.usdc()?, bytes.hash()?);
    let tiers = bytes.list(|tier| Some(Tier { minimum_deposit: tier.usdc()?, discount_bps: tier.u16()? }))?;
    let terms = Terms { refund_delay, minimum_deposit, rate_card_hash, tiers };
    Some(vec![EventKind::TermsSet { operator_index, operator, terms_version, terms }])
}

fn deposited(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (account, payer, amount, credit) = (bytes.account()?, address(bytes)?, bytes.usdc()?, bytes.usdc()?);
    let (discount_bps, previous_discount_bps, discount_from_batch) = (bytes.u16()?, bytes.u16()?, bytes.u64()?);
    let mut kinds = Vec::with_capacity(4);
    kinds.extend(bytes.option(|opened| {
        let (owner, operator_index, terms_version) = (address(opened)?, opened.u32()?, opened.u32()?);
        Some(EventKind::AccountOpened { account, owner, operator_index, terms_version })
    })?);
    kinds.push(EventKind::Deposited {
        account,
        payer,
        amount,
        credit,
        discount_bps,
        previous_discount_bps,
        discount_from_batch,
    });
    kinds.extend(bytes.option(|raised| {
        Some(EventKind::CeilingRaised { account, signer: address(raised)?, ceiling: raised.usdc()? })
    })?);
    kinds.extend(bytes.option(|swept| {
        Some(EventKind::Swept { account, deposit_address: address(swept)?, amount, fee: swept.usdc()? })
    })?);
    Some(kinds)
}

fn ceiling_raised(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let account = bytes.account()?;
    Some(vec![EventKind::CeilingRaised { account, signer: address(bytes)?, ceiling: bytes.usdc()? }])
}

fn delegate_set(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let account = bytes.account()?;
    Some(vec![EventKind::DelegateSet { account, delegate: bytes.option(address)? }])
}

fn refund_requested(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (account, owner, refundable_at) = (bytes.account()?, address(bytes)?, bytes.u64()?);
    Some(vec![EventKind::RefundRequested { account, owner, refundable_at }])
}

fn refunded(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (account, owner, amount, by_operator) = (bytes.account()?, address(bytes)?, bytes.usdc()?, bytes.flag()?);
    Some(vec![EventKind::Refunded { account, owner, amount, by_operator }])
}

fn earnings_withdrawn(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (operator_index, to) = (bytes.u32()?, address(bytes)?);
    bytes.key()?;
    Some(vec![EventKind::EarningsWithdrawn { operator_index, to, amount: bytes.usdc()? }])
}

fn recovered(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (deposit_address, owner, token) = (address(bytes)?, address(bytes)?, address(bytes)?);
    Some(vec![EventKind::Recovered { deposit_address, owner, token, amount: bytes.u64()?.to_string() }])
}

fn batch_posted(bytes: &mut Bytes<'_>) -> Option<Vec<EventKind>> {
    let (operator_index, batch_number, receipts_root) = (bytes.u32()?, bytes.u64()?, bytes.hash()?);
    let (receipt_count, charged) = (bytes.u32()?, bytes.usdc()?);
    let rows = bytes.list(|row| debit_row(row, operator_index, batch_number))?;
    let row_count = u32::try_from(rows.len()).ok()?;
    let mut kinds: Vec<EventKind> = rows.into_iter().flatten().collect();
    kinds.push(EventKind::BatchPosted {
        operator_index,
        batch_number,
        receipts_root,
        receipt_count,
        row_count,
        charged,
    });
    Some(kinds)
}

fn debit_row(bytes: &mut Bytes<'_>, operator_index: u32, batch_number: u64) -> Option<Vec<EventKind>> {
    let (kind, number, list_amount, discount_bps) = (bytes.u8()?, bytes.u64()?, bytes.usdc()?, bytes.u16()?);
    let (charged, total_charged, remainder, uncovered) = (bytes.usdc()?, bytes.usdc()?, bytes.u16()?, bytes.usdc()?);
    let foreign = || EventKind::ForeignDebit { operator_index, batch_number, account: number, list_amount };
    let Ok(account) = AccountId::try_from(number) else {
        // The operator named a number of its own that no account can have. It must not stop readers (I-6).
        return Some(vec![foreign()]);
    };
    let shortfall = || EventKind::DebitShortfall { account, batch_number, list_amount, uncovered };
    match kind {
        0 => {
            let mut kinds = Vec::with_capacity(2);
            if charged != Usdc::ZERO || uncovered == Usdc::ZERO {
                kinds.push(EventKind::Debited {
                    account,
                    batch_number,
                    list_amount,
                    discount_bps,
                    charged,
                    total_charged,
                    remainder,
                });
            }
            if uncovered != Usdc::ZERO {
                kinds.push(shortfall());
            }
            Some(kinds)
        }
        1 => Some(vec![shortfall()]),
        2 => Some(vec![foreign()]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn data(event: &str, fields: &[&[u8]]) -> Vec<u8> {
        [&TAG[..], &discriminator("event", event), &fields.concat()].concat()
    }

    #[test]
    fn a_deposit_says_up_to_four_things() {
        let account = (1_u64 << 32 | 7).to_le_bytes();
        let amount = 50_000_000_u64.to_le_bytes();
        let fixed = [&account[..], &[2; 32], &amount, &amount, &[0xe8, 3, 0, 0], &0_u64.to_le_bytes()].concat();
        let opened = [&[1][..], &[3; 32], &1_u32.to_le_bytes(), &2_u32.to_le_bytes()].concat();
        let raised = [&[1][..], &[3; 32], &amount].concat();
        let swept = [&[1][..], &[4; 32], &5_u64.to_le_bytes()].concat();
        let all = decode(&data("Deposited", &[&fixed, &opened, &raised, &swept])).unwrap().unwrap();
        assert!(matches!(
            all.as_slice(),
            [
                EventKind::AccountOpened { operator_index: 1, terms_version: 2, .. },
                EventKind::Deposited { discount_bps: 1000, .. },
                EventKind::CeilingRaised { .. },
                EventKind::Swept { .. }
            ]
        ));
        let top_up = decode(&data("Deposited", &[&fixed, &[0, 0, 0]])).unwrap().unwrap();
        assert!(matches!(top_up.as_slice(), [EventKind::Deposited { .. }]));
        assert!(decode(&data("Deposited", &[&fixed, &[0, 0]])).is_err(), "too short");
        assert!(decode(&data("Deposited", &[&fixed, &[0, 0, 0, 0]])).is_err(), "too long");
        assert!(decode(&data("Deposited", &[&fixed, &[2, 0, 0]])).is_err(), "no option");
        assert_eq!(decode(&data("SomethingNew", &[&fixed])), Ok(None));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(fields in prop::collection::vec(any::<u8>(), 0..200), which in 0_usize..9) {
            let names = ["BatchPosted", "Deposited", "CeilingRaised", "DelegateSet", "RefundRequested", "Refunded", "EarningsWithdrawn", "Recovered", "TermsSet"];
            let _ = decode(&data(names[which], &[&fields]));
            let _ = decode(&fields);
        }
    }
}
