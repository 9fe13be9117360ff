//! The order to refund an account: what the receipt of a refund attests, since what comes of the order is on chain.

use alloy_primitives::B256;
use serde_json::{Value, json};

use crate::request::canonical_json_hash;
use crate::{AccountId, Chain};

/// The order to refund an account, the same for every refund of it: the body of the `202` answer, as canonical JSON.
#[must_use]
pub fn refund_order(account: AccountId, chain: Chain) -> Value {
    json!({ "refund": { "accountId": account, "futuresId": account.futures_id(chain), "status": "pending" } })
}

/// `outputHash` of the receipt of a refund.
#[must_use]
pub fn refund_order_hash(account: AccountId, chain: Chain) -> B256 {
    canonical_json_hash(&refund_order(account, chain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{canonical_json, keccak256};

    #[test]
    fn the_order_is_the_documented_one() {
        let account = AccountId::new(1, 1).unwrap();
        let bytes = canonical_json(&refund_order(account, Chain::Base)).unwrap();
        let text = r#"{"refund":{"accountId":"4294967297","futuresId":"CFE-00000087","status":"pending"}}"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        assert_eq!(refund_order_hash(account, Chain::Base), keccak256(text));
        assert_ne!(refund_order_hash(account, Chain::BaseSepolia), keccak256(text));
    }
}
