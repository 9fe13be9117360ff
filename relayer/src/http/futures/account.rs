//! An account as answers show it: formatted for people, and next to each figure the same in micro-USDC.

use compute_futures_protocol::Usdc;
use serde_json::{Value, json};

use crate::http::paid::futures_id;
use crate::http::state::At;
use crate::ledger::AccountView;
use crate::payment::answer::discount_text;

/// `computeFuture` of a deposit, `balance` of a balance.
pub(super) fn account_json(at: &At, account: &AccountView) -> Value {
    let ceiling = (account.ceiling < Usdc::MAX).then_some(account.ceiling);
    json!({
        "id": futures_id(at, account.id),
        "accountId": account.id,
        "network": at.chain().caip2(),
        "depositor": account.owner.to_string(),
        "delegate": account.delegate.map(|delegate| delegate.to_string()),
        "status": status(account),
        "tier": account.tier,
        "discount": discount_text(account.discount_bps),
        "discountBps": account.discount_bps,
        "balanceRemaining": usdc(account.balance_remaining),
        "balanceRemainingMicroUsdc": account.balance_remaining,
        "available": usdc(account.available),
        "availableMicroUsdc": account.available,
        "deposited": usdc(account.credit),
        "depositedMicroUsdc": account.credit,
        "unconfirmedMicroUsdc": account.unconfirmed,
        "heldMicroUsdc": account.held,
        "chargedOnChainMicroUsdc": account.charged,
        "chargedPendingMicroUsdc": account.pending,
        "ceilingMicroUsdc": ceiling,
        "jobsExecuted": account.jobs,
        "totalCharged": usdc(account.total_charged),
        "totalChargedMicroUsdc": account.total_charged,
        "totalListPriceMicroUsdc": account.total_list,
        "totalSaved": usdc(account.total_saved),
        "totalSavedMicroUsdc": account.total_saved,
        "refundableAt": account.refundable_at,
        "termsVersion": account.terms_version,
        "openedAt": account.opened_at,
    })
}

fn status(account: &AccountView) -> &'static str {
    if account.closed {
        "closed"
    } else if account.closing || account.refundable_at.is_some() {
        "refunding"
    } else if account.frozen.is_some() {
        "frozen"
    } else {
        "open"
    }
}

/// `50 USDC`.
pub(super) fn usdc(amount: Usdc) -> String {
    format!("{amount} USDC")
}

/// `42.50 USDC`: at least two decimals.
pub(super) fn usdc_cents(amount: Usdc) -> String {
    let text = amount.to_string();
    match text.split_once('.') {
        None => format!("{text}.00 USDC"),
        Some((_, decimals)) if decimals.len() == 1 => format!("{text}0 USDC"),
        Some(_) => format!("{text} USDC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_at_least_two_decimals_where_people_expect_them() {
        assert_eq!(usdc_cents(Usdc::from_micros(42_500_000)), "42.50 USDC");
        assert_eq!(usdc_cents(Usdc::from_micros(42_473_000)), "42.473 USDC");
        assert_eq!(usdc_cents(Usdc::from_micros(50_000_000)), "50.00 USDC");
        assert_eq!(usdc_cents(Usdc::from_micros(1)), "0.000001 USDC");
        assert_eq!(usdc_cents(Usdc::ZERO), "0.00 USDC");
        assert_eq!(usdc(Usdc::from_micros(50_000_000)), "50 USDC");
    }
}
