//! From topics and data to [`EventKind`].

use alloy::primitives::{Address as EvmAddress, B256, aliases::U56};
use alloy::sol_types::SolEvent;
use compute_futures_protocol::{AccountId, Address, Terms, Tier, Usdc};

use super::super::bindings::ComputeFutures as abi;
use crate::{ChainError, EventKind, EventMeta};

/// Decodes one event; `None` when the ABI does not know it (a later contract may say more).
pub(super) fn decode_event(topics: &[B256], data: &[u8], meta: &EventMeta) -> Result<Option<EventKind>, ChainError> {
    let Some(&signature) = topics.first() else {
        tracing::debug!(block = meta.block_number, log = meta.log_index, "anonymous event ignored");
        return Ok(None);
    };
    let kind = if signature == abi::Debited::SIGNATURE_HASH {
        debited(strict(topics, data, 5, meta)?, meta)?
    } else if signature == abi::DebitShortfall::SIGNATURE_HASH {
        debit_shortfall(&strict(topics, data, 2, meta)?)
    } else if signature == abi::BatchPosted::SIGNATURE_HASH {
        batch_posted(&strict(topics, data, 4, meta)?, meta)?
    } else if signature == abi::Deposited::SIGNATURE_HASH {
        deposited(strict(topics, data, 5, meta)?, meta)?
    } else if signature == abi::AccountOpened::SIGNATURE_HASH {
        account_opened(strict(topics, data, 1, meta)?, meta)?
    } else if signature == abi::CeilingRaised::SIGNATURE_HASH {
        let event: abi::CeilingRaised = strict(topics, data, 1, meta)?;
        EventKind::CeilingRaised {
            account: account(event.accountId, meta)?,
            signer: event.signer.into(),
            ceiling: usdc(event.ceiling),
        }
    } else if signature == abi::Swept::SIGNATURE_HASH {
        let event: abi::Swept = strict(topics, data, 2, meta)?;
        EventKind::Swept {
            account: account(event.accountId, meta)?,
            deposit_address: event.depositAddress.into(),
            amount: usdc(event.amount),
            fee: usdc(event.fee),
        }
    } else if signature == abi::Recovered::SIGNATURE_HASH {
        let event: abi::Recovered = strict(topics, data, 1, meta)?;
        EventKind::Recovered {
            deposit_address: event.depositAddress.into(),
            owner: event.owner.into(),
            token: event.token.into(),
            amount: event.amount.to_string(),
        }
    } else if signature == abi::DelegateSet::SIGNATURE_HASH {
        let event: abi::DelegateSet = strict(topics, data, 0, meta)?;
        EventKind::DelegateSet { account: account(event.accountId, meta)?, delegate: non_zero(event.delegate) }
    } else if signature == abi::ForeignDebit::SIGNATURE_HASH {
        let event: abi::ForeignDebit = strict(topics, data, 1, meta)?;
        EventKind::ForeignDebit {
            operator_index: event.operatorIndex,
            batch_number: event.batchNumber.to(),
            account: event.accountId,
            list_amount: usdc(event.listAmount),
        }
    } else if signature == abi::RefundRequested::SIGNATURE_HASH {
        let event: abi::RefundRequested = strict(topics, data, 1, meta)?;
        EventKind::RefundRequested {
            account: account(event.accountId, meta)?,
            owner: event.owner.into(),
            refundable_at: event.refundableAt.to(),
        }
    } else if signature == abi::Refunded::SIGNATURE_HASH {
        let event: abi::Refunded = strict(topics, data, 2, meta)?;
        EventKind::Refunded {
            account: account(event.accountId, meta)?,
            owner: event.owner.into(),
            amount: usdc(event.amount),
            by_operator: event.byOperator,
        }
    } else if signature == abi::EarningsWithdrawn::SIGNATURE_HASH {
        let event: abi::EarningsWithdrawn = strict(topics, data, 1, meta)?;
        EventKind::EarningsWithdrawn {
            operator_index: event.operatorIndex,
            to: event.to.into(),
            amount: usdc_u64(event.amount, meta)?,
        }
    } else if signature == abi::TermsSet::SIGNATURE_HASH {
        terms_set(topics, data, meta)?
    } else {
        tracing::debug!(block = meta.block_number, log = meta.log_index, %signature, "unknown event ignored");
        return Ok(None);
    };
    Ok(Some(kind))
}

/// Decodes with every padding byte checked, and the length where it is fixed.
pub(in super::super) fn strict<E: SolEvent>(
    topics: &[B256],
    data: &[u8],
    words: usize,
    meta: &EventMeta,
) -> Result<E, ChainError> {
    if data.len() != words * 32 {
        return Err(malformed::<E>(meta, &format!("{} bytes of data instead of {}", data.len(), words * 32)));
    }
    E::decode_raw_log_validate(topics, data).map_err(|error| malformed::<E>(meta, &error.to_string()))
}

pub(in super::super) fn malformed<E: SolEvent>(meta: &EventMeta, why: &str) -> ChainError {
    inconsistent(meta, &format!("{} cannot be decoded: {why}", E::SIGNATURE))
}

pub(in super::super) fn inconsistent(meta: &EventMeta, what: &str) -> ChainError {
    ChainError::Inconsistent(format!("event {} of block {}: {what}", meta.log_index, meta.block_number))
}

fn account(id: u64, meta: &EventMeta) -> Result<AccountId, ChainError> {
    AccountId::try_from(id).map_err(|error| inconsistent(meta, &format!("account id {id}: {error}")))
}

fn usdc(amount: U56) -> Usdc {
    // 56 bits fit by their type.
    Usdc::from_micros(amount.to())
}

pub(in super::super) fn usdc_u64(amount: u64, meta: &EventMeta) -> Result<Usdc, ChainError> {
    Usdc::try_from(amount).map_err(|_| inconsistent(meta, &format!("{amount} micro-USDC is more than there is")))
}

pub(in super::super) fn non_zero(address: EvmAddress) -> Option<Address> {
    (!address.is_zero()).then_some(address.into())
}

fn debited(event: abi::Debited, meta: &EventMeta) -> Result<EventKind, ChainError> {
    Ok(EventKind::Debited {
        account: account(event.accountId, meta)?,
        batch_number: event.batchNumber.to(),
        list_amount: usdc(event.listAmount),
        discount_bps: event.discountBps,
        charged: usdc(event.charged),
        total_charged: usdc(event.totalCharged),
        remainder: event.remainder,
    })
}

fn debit_shortfall(event: &abi::DebitShortfall) -> EventKind {
    let (batch_number, list_amount) = (event.batchNumber.to(), usdc(event.listAmount));
    match AccountId::try_from(event.accountId) {
        Ok(account) => {
            EventKind::DebitShortfall { account, batch_number, list_amount, uncovered: usdc(event.uncovered) }
        }
        // The operator named a number of its own that no account can have. It must not stop readers (I-6).
        Err(_) => EventKind::ForeignDebit {
            operator_index: (event.accountId >> 32) as u32,
            batch_number,
            account: event.accountId,
            list_amount,
        },
    }
}

fn batch_posted(event: &abi::BatchPosted, meta: &EventMeta) -> Result<EventKind, ChainError> {
    Ok(EventKind::BatchPosted {
        operator_index: event.operatorIndex,
        batch_number: event.batchNumber.to(),
        receipts_root: event.receiptsRoot,
        receipt_count: event.receiptCount,
        row_count: event.rowCount,
        charged: usdc_u64(event.charged, meta)?,
    })
}

fn deposited(event: abi::Deposited, meta: &EventMeta) -> Result<EventKind, ChainError> {
    Ok(EventKind::Deposited {
        account: account(event.accountId, meta)?,
        payer: event.payer.into(),
        amount: usdc(event.amount),
        credit: usdc(event.credit),
        discount_bps: event.discountBps,
        previous_discount_bps: event.previousDiscountBps,
        discount_from_batch: event.discountFromBatch.to(),
    })
}

fn account_opened(event: abi::AccountOpened, meta: &EventMeta) -> Result<EventKind, ChainError> {
    Ok(EventKind::AccountOpened {
        account: account(event.accountId, meta)?,
        owner: event.owner.into(),
        operator_index: event.operatorIndex,
        terms_version: event.termsVersion,
    })
}

fn terms_set(topics: &[B256], data: &[u8], meta: &EventMeta) -> Result<EventKind, ChainError> {
    let event = abi::TermsSet::decode_raw_log_validate(topics, data)
        .map_err(|error| malformed::<abi::TermsSet>(meta, &error.to_string()))?;
    // The one event of variable length: it must be exactly what its fields encode to.
    if event.encode_data() != data {
        return Err(malformed::<abi::TermsSet>(meta, "bytes that belong to no field"));
    }
    Ok(EventKind::TermsSet {
        operator_index: event.operatorIndex,
        operator: event.operator.into(),
        terms_version: event.termsVersion,
        terms: Terms {
            refund_delay: event.refundDelay,
            minimum_deposit: usdc(event.minimumDeposit),
            rate_card_hash: event.rateCardHash,
            tiers: event
                .tiers
                .iter()
                .map(|tier| Tier { minimum_deposit: usdc(tier.minimumDeposit), discount_bps: tier.discountBps })
                .collect(),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::{LogData, U256, aliases::U40};
    use proptest::prelude::*;

    use super::super::super::bindings::IComputeFutures as structs;
    use compute_futures_protocol::TransactionId;

    use super::*;

    const META: EventMeta = EventMeta {
        block_number: 7,
        block_hash: B256::ZERO,
        block_timestamp: 0,
        transaction: TransactionId::Evm(B256::ZERO),
        log_index: 3,
    };

    fn decode(log: &LogData) -> Result<Option<EventKind>, ChainError> {
        decode_event(log.topics(), &log.data, &META)
    }

    fn amount() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just((1 << 56) - 1), 0..=(1_u64 << 56) - 1]
    }

    fn u56(micros: u64) -> U56 {
        U56::from(micros)
    }

    fn account_id() -> impl Strategy<Value = AccountId> {
        (1..=u32::MAX, 1..=compute_futures_protocol::MAX_SEQUENCE)
            .prop_map(|(operator, sequence)| AccountId::new(operator, sequence).unwrap())
    }

    fn address() -> impl Strategy<Value = EvmAddress> {
        prop_oneof![Just(EvmAddress::ZERO), any::<[u8; 20]>().prop_map(EvmAddress::from)]
    }

    fn tiers() -> impl Strategy<Value = Vec<Tier>> {
        prop::collection::vec((amount(), any::<u16>()), 0..4).prop_map(|tiers| {
            let tier = |(micros, discount_bps)| Tier { minimum_deposit: Usdc::from_micros(micros), discount_bps };
            tiers.into_iter().map(tier).collect()
        })
    }

    /// An event as the contract logs it, and what it means.
    fn event() -> impl Strategy<Value = (LogData, EventKind)> {
        let numbers = (amount(), amount(), amount(), 0..1_u64 << 40, any::<[u32; 3]>(), any::<[u16; 3]>());
        let names = (account_id(), address(), address(), address(), any::<[u8; 32]>(), any::<bool>(), tiers());
        (0..14_u8, numbers, names).prop_map(|(which, numbers, names)| build(which, numbers, names))
    }

    type Numbers = (u64, u64, u64, u64, [u32; 3], [u16; 3]);
    type Names = (AccountId, EvmAddress, EvmAddress, EvmAddress, [u8; 32], bool, Vec<Tier>);

    fn build(which: u8, (a, b, c, number, ints, shorts): Numbers, names: Names) -> (LogData, EventKind) {
        let (account, one, two, three, word, flag, tiers) = names;
        let (x, y, z) = (Usdc::from_micros(a), Usdc::from_micros(b), Usdc::from_micros(c));
        let (id, batch, root) = (account.get(), U40::from(number), B256::from(word));
        match which {
            0 => (
                abi::TermsSet {
                    operatorIndex: ints[0],
                    operator: one,
                    termsVersion: ints[1],
                    refundDelay: ints[2],
                    minimumDeposit: u56(a),
                    rateCardHash: root,
                    tiers: tiers
                        .iter()
                        .map(|tier| structs::Tier {
                            minimumDeposit: u56(tier.minimum_deposit.micros()),
                            discountBps: tier.discount_bps,
                        })
                        .collect(),
                }
                .encode_log_data(),
                EventKind::TermsSet {
                    operator_index: ints[0],
                    operator: one.into(),
                    terms_version: ints[1],
                    terms: Terms { refund_delay: ints[2], minimum_deposit: x, rate_card_hash: root, tiers },
                },
            ),
            1 => (
                abi::AccountOpened { accountId: id, owner: one, operatorIndex: ints[0], termsVersion: ints[1] }
                    .encode_log_data(),
                EventKind::AccountOpened {
                    account,
                    owner: one.into(),
                    operator_index: ints[0],
                    terms_version: ints[1],
                },
            ),
            2 => (
                abi::Deposited {
                    accountId: id,
                    payer: one,
                    amount: u56(a),
                    credit: u56(b),
                    discountBps: shorts[0],
                    previousDiscountBps: shorts[1],
                    discountFromBatch: batch,
                }
                .encode_log_data(),
                EventKind::Deposited {
                    account,
                    payer: one.into(),
                    amount: x,
                    credit: y,
                    discount_bps: shorts[0],
                    previous_discount_bps: shorts[1],
                    discount_from_batch: number,
                },
            ),
            3 => (
                abi::Swept { accountId: id, depositAddress: one, amount: u56(a), fee: u56(b) }.encode_log_data(),
                EventKind::Swept { account, deposit_address: one.into(), amount: x, fee: y },
            ),
            4 => (
                abi::Recovered { depositAddress: one, owner: two, token: three, amount: U256::from_be_bytes(word) }
                    .encode_log_data(),
                EventKind::Recovered {
                    deposit_address: one.into(),
                    owner: two.into(),
                    token: three.into(),
                    amount: U256::from_be_bytes(word).to_string(),
                },
            ),
            5 => (
                abi::CeilingRaised { accountId: id, signer: one, ceiling: u56(a) }.encode_log_data(),
                EventKind::CeilingRaised { account, signer: one.into(), ceiling: x },
            ),
            6 => (
                abi::DelegateSet { accountId: id, delegate: one }.encode_log_data(),
                EventKind::DelegateSet { account, delegate: non_zero(one) },
            ),
            7 => (
                abi::BatchPosted {
                    operatorIndex: ints[0],
                    batchNumber: batch,
                    receiptsRoot: root,
                    receiptCount: ints[1],
                    rowCount: ints[2],
                    charged: a,
                }
                .encode_log_data(),
                EventKind::BatchPosted {
                    operator_index: ints[0],
                    batch_number: number,
                    receipts_root: root,
                    receipt_count: ints[1],
                    row_count: ints[2],
                    charged: x,
                },
            ),
            8 => (
                abi::Debited {
                    accountId: id,
                    batchNumber: batch,
                    listAmount: u56(a),
                    discountBps: shorts[0],
                    charged: u56(b),
                    totalCharged: u56(c),
                    remainder: shorts[1],
                }
                .encode_log_data(),
                EventKind::Debited {
                    account,
                    batch_number: number,
                    list_amount: x,
                    discount_bps: shorts[0],
                    charged: y,
                    total_charged: z,
                    remainder: shorts[1],
                },
            ),
            9 => (
                abi::DebitShortfall { accountId: id, batchNumber: batch, listAmount: u56(a), uncovered: u56(b) }
                    .encode_log_data(),
                EventKind::DebitShortfall { account, batch_number: number, list_amount: x, uncovered: y },
            ),
            10 => (
                abi::ForeignDebit { operatorIndex: ints[0], batchNumber: batch, accountId: c, listAmount: u56(a) }
                    .encode_log_data(),
                EventKind::ForeignDebit { operator_index: ints[0], batch_number: number, account: c, list_amount: x },
            ),
            11 => (
                abi::RefundRequested { accountId: id, owner: one, refundableAt: batch }.encode_log_data(),
                EventKind::RefundRequested { account, owner: one.into(), refundable_at: number },
            ),
            12 => (
                abi::Refunded { accountId: id, owner: one, amount: u56(a), byOperator: flag }.encode_log_data(),
                EventKind::Refunded { account, owner: one.into(), amount: x, by_operator: flag },
            ),
            _ => (
                abi::EarningsWithdrawn { operatorIndex: ints[0], to: one, amount: a }.encode_log_data(),
                EventKind::EarningsWithdrawn { operator_index: ints[0], to: one.into(), amount: x },
            ),
        }
    }

    proptest! {
        #[test]
        fn every_event_comes_back((log, kind) in event()) {
            prop_assert_eq!(decode(&log).unwrap(), Some(kind));
        }

        #[test]
        fn a_changed_length_or_topic_count_is_refused((log, _) in event(), extra in 1_usize..40) {
            let mut data = log.data.to_vec();
            data.resize(data.len() + extra, 0);
            prop_assert!(decode(&LogData::new_unchecked(log.topics().to_vec(), data.into())).is_err());
            if !log.data.is_empty() {
                let shorter = log.data.slice(..log.data.len() - 1);
                prop_assert!(decode(&LogData::new_unchecked(log.topics().to_vec(), shorter)).is_err());
            }
            let fewer = log.topics()[..log.topics().len() - 1].to_vec();
            prop_assert!(decode(&LogData::new_unchecked(fewer, log.data.clone())).is_err());
        }

        #[test]
        fn a_bit_outside_of_a_field_is_refused((log, kind) in event()) {
            // The first word of data is narrower than 32 bytes in all but these.
            let wide = matches!(kind, EventKind::Recovered { .. } | EventKind::BatchPosted { .. } | EventKind::DelegateSet { .. });
            prop_assume!(!wide);
            let mut data = log.data.to_vec();
            data[0] = 1;
            prop_assert!(decode(&LogData::new_unchecked(log.topics().to_vec(), data.into())).is_err());
        }

        #[test]
        fn garbage_never_panics(topics in prop::collection::vec(any::<[u8; 32]>(), 0..4), data in prop::collection::vec(any::<u8>(), 0..300), which in 0_usize..14) {
            let known = [abi::TermsSet::SIGNATURE_HASH, abi::Debited::SIGNATURE_HASH, abi::Deposited::SIGNATURE_HASH, abi::Refunded::SIGNATURE_HASH];
            let mut topics: Vec<B256> = topics.into_iter().map(B256::from).collect();
            if let (Some(first), Some(known)) = (topics.first_mut(), known.get(which)) {
                *first = *known;
            }
            let _ = decode(&LogData::new_unchecked(topics, data.into()));
        }
    }

    #[test]
    fn a_number_no_account_can_have_stops_nobody() {
        for account in [(3 << 32) | (1 << 28), 3 << 32, (3 << 32) | u64::from(u32::MAX)] {
            let log = abi::DebitShortfall {
                accountId: account,
                batchNumber: U40::from(9),
                listAmount: u56(5),
                uncovered: u56(5),
            }
            .encode_log_data();
            let expected = EventKind::ForeignDebit {
                operator_index: 3,
                batch_number: 9,
                account,
                list_amount: Usdc::from_micros(5),
            };
            assert_eq!(decode(&log).unwrap(), Some(expected));
        }
    }
}
