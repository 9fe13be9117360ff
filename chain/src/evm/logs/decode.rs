//! From topics and data to [`EventKind`].

use alloy::primitives::{Address, B256, aliases::U56};
use alloy::sol_types::SolEvent;
use compute_futures_protocol::{AccountId, Terms, Tier, Usdc};

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
            signer: event.signer,
            ceiling: usdc(event.ceiling),
        }
    } else if signature == abi::Swept::SIGNATURE_HASH {
        let event: abi::Swept = strict(topics, data, 2, meta)?;
        EventKind::Swept {
            account: account(event.accountId, meta)?,
            deposit_address: event.depositAddress,
            amount: usdc(event.amount),
            fee: usdc(event.fee),
        }
    } else if signature == abi::Recovered::SIGNATURE_HASH {
        let event: abi::Recovered = strict(topics, data, 1, meta)?;
        EventKind::Recovered {
            deposit_address: event.depositAddress,
            owner: event.owner,
            token: event.token,
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
            owner: event.owner,
            refundable_at: event.refundableAt.to(),
        }
    } else if signature == abi::Refunded::SIGNATURE_HASH {
        let event: abi::Refunded = strict(topics, data, 2, meta)?;
        EventKind::Refunded {
            account: account(event.accountId, meta)?,
            owner: event.owner,
            amount: usdc(event.amount),
            by_operator: event.byOperator,
        }
    } else if signature == abi::EarningsWithdrawn::SIGNATURE_HASH {
        let event: abi::EarningsWithdrawn = strict(topics, data, 1, meta)?;
        EventKind::EarningsWithdrawn {
            operator_index: event.operatorIndex,
            to: event.to,
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
fn strict<E: SolEvent>(topics: &[B256], data: &[u8], words: usize, meta: &EventMeta) -> Result<E, ChainError> {
    if data.len() != words * 32 {
        return Err(malformed::<E>(meta, &format!("{} bytes of data instead of {}", data.len(), words * 32)));
    }
    E::decode_raw_log_validate(topics, data).map_err(|error| malformed::<E>(meta, &error.to_string()))
}

fn malformed<E: SolEvent>(meta: &EventMeta, why: &str) -> ChainError {
    inconsistent(meta, &format!("{} cannot be decoded: {why}", E::SIGNATURE))
}

fn inconsistent(meta: &EventMeta, what: &str) -> ChainError {
    ChainError::Inconsistent(format!("event {} of block {}: {what}", meta.log_index, meta.block_number))
}

fn account(id: u64, meta: &EventMeta) -> Result<AccountId, ChainError> {
    AccountId::try_from(id).map_err(|error| inconsistent(meta, &format!("account id {id}: {error}")))
}

fn usdc(amount: U56) -> Usdc {
    // 56 bits fit by their type.
    Usdc::from_micros(amount.to())
}

fn usdc_u64(amount: u64, meta: &EventMeta) -> Result<Usdc, ChainError> {
    Usdc::try_from(amount).map_err(|_| inconsistent(meta, &format!("{amount} micro-USDC is more than there is")))
}

fn non_zero(address: Address) -> Option<Address> {
    (!address.is_zero()).then_some(address)
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
        payer: event.payer,
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
        owner: event.owner,
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
        operator: event.operator,
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
