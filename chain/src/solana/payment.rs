//! Payments by plain transfers of tokens: what became of a transaction, and who paid whom in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compute_futures_protocol::solana::TOKEN_PROGRAM;
use compute_futures_protocol::{B256, SolanaAddress, TransactionId, keccak256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::SolanaReader;
use super::bytes::Bytes;
use super::follow::now;
use super::message::message_of;
use super::transaction::{Call, TokenBalance, Transaction};
use crate::{ChainError, Finality};

/// The memo program, present and past.
const MEMO: [SolanaAddress; 2] = [
    SolanaAddress::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
    SolanaAddress::from_str_const("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
];
/// Instructions of the token program.
const TRANSFER: u8 = 3;
const TRANSFER_CHECKED: u8 = 12;

/// What became of a transaction that is in a confirmed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentStatus {
    /// Its slot.
    pub slot: u64,
    /// [`Finality::Safe`]: confirmed by two thirds of the stake. [`Finality::Finalized`]: rooted.
    pub finality: Finality,
    /// Why it failed; then it moved nothing.
    pub error: Option<String>,
}

/// A transfer of the SPL Token program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTransfer {
    /// Which token.
    pub mint: SolanaAddress,
    /// Token account it left, and whose that is.
    pub source: SolanaAddress,
    #[allow(missing_docs)]
    pub source_owner: Option<SolanaAddress>,
    /// Token account it went to, and whose that is.
    pub destination: SolanaAddress,
    #[allow(missing_docs)]
    pub destination_owner: Option<SolanaAddress>,
    /// Who signed for it: the owner of the source, or its delegate.
    pub authority: SolanaAddress,
    /// Base units; micro-USDC when the mint is USDC.
    pub amount: u64,
}

/// A confirmed transaction as a payment. When it failed it has neither transfers nor balances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidTransaction {
    /// Its slot.
    pub slot: u64,
    /// Unix seconds, as the validators' clocks have it.
    pub block_time: Option<u64>,
    /// Who paid the fee; the payment's sponsor rather than its payer when another signed for the tokens.
    pub fee_payer: SolanaAddress,
    /// Why it failed.
    pub error: Option<String>,
    /// Memos that are text, in order.
    pub memos: Vec<String>,
    /// In order, those that programs made among them.
    pub transfers: Vec<TokenTransfer>,
    /// Every token account that it names. What arrived at an account is `after − before`: unlike one transfer, that says that it
    /// stayed there.
    pub balances: Vec<TokenBalance>,
}

impl PaidTransaction {
    /// Base units of `mint` that `account` has more of after it.
    #[must_use]
    pub fn received(&self, account: &SolanaAddress, mint: &SolanaAddress) -> u64 {
        let of = self.balances.iter().find(|balance| balance.account == *account && balance.mint == *mint);
        of.map_or(0, |balance| balance.after.saturating_sub(balance.before))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    slot: u64,
    err: Option<Value>,
    confirmation_status: Option<String>,
}

#[derive(Deserialize)]
struct Statuses {
    value: Vec<Option<Status>>,
}

impl SolanaReader {
    /// What became of a transaction. `None`: in no confirmed block; it was never sent, is under way, or was dropped, which is
    /// certain once its blockhash ran out ([`crate::Validity::is_over`]) and this is asked again.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub async fn payment_status(&self, transaction: TransactionId) -> Result<Option<PaymentStatus>, ChainError> {
        if transaction.solana().is_none() {
            return Ok(None);
        }
        let params = json!([[transaction], {"searchTransactionHistory": true}]);
        let found: Statuses = self.rpc.call("getSignatureStatuses", params).await?;
        Ok(found.value.into_iter().next().flatten().and_then(|status| {
            let finality = match status.confirmation_status.as_deref() {
                // Not voted for yet: it may still be on a fork that dies.
                Some("processed") => return None,
                Some("confirmed") => Finality::Safe,
                _ => Finality::Finalized,
            };
            Some(PaymentStatus { slot: status.slot, finality, error: status.err.map(|error| error.to_string()) })
        }))
    }

    /// Who paid whom in a transaction. `None` while it is in no confirmed block.
    ///
    /// # Errors
    /// When no endpoint answers, or not sensibly.
    pub async fn transfers_of(&self, transaction: TransactionId) -> Result<Option<PaidTransaction>, ChainError> {
        if transaction.solana().is_none() {
            return Ok(None);
        }
        let Some(found) = self.transaction(&transaction.to_string()).await? else { return Ok(None) };
        paid(&found)
            .map(Some)
            .ok_or_else(|| ChainError::Inconsistent(format!("transaction {transaction} cannot be read")))
    }

    /// The transaction of `payer` whose message has this keccak256, if it succeeded.
    pub(super) async fn find_payment(
        &self,
        payer: SolanaAddress,
        message: B256,
        seconds_back: u64,
    ) -> Result<Option<TransactionId>, ChainError> {
        let oldest = now().saturating_sub(seconds_back);
        let mut pages = self.pages(payer, 100);
        while let Some(page) = pages.more().await? {
            for found in &page {
                if found.block_time.is_some_and(|time| time < oldest) {
                    return Ok(None);
                }
                if found.err.is_none() && self.message_hash(&found.signature).await? == Some(message) {
                    return Ok(found.signature.parse().ok());
                }
            }
        }
        Ok(None)
    }

    pub(super) async fn message_hash(&self, signature: &str) -> Result<Option<B256>, ChainError> {
        #[derive(Deserialize)]
        struct Raw {
            transaction: (String, String),
        }
        let settings = json!({"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0});
        let raw: Option<Raw> = self.rpc.call("getTransaction", json!([signature, settings])).await?;
        let bytes = raw.and_then(|raw| STANDARD.decode(raw.transaction.0).ok());
        Ok(bytes.as_deref().and_then(message_of).map(keccak256))
    }
}

fn paid(found: &Transaction) -> Option<PaidTransaction> {
    let error = found.meta.err.as_ref().map(ToString::to_string);
    let (calls, balances) =
        if error.is_some() { (Vec::new(), Vec::new()) } else { (found.calls()?, found.token_balances()?) };
    let memos = calls.iter().filter(|call| MEMO.contains(&call.program));
    Some(PaidTransaction {
        slot: found.slot,
        block_time: found.block_time,
        fee_payer: found.fee_payer()?,
        error,
        memos: memos.filter_map(|call| String::from_utf8(call.data.clone()).ok()).collect(),
        transfers: calls.iter().filter_map(|call| transfer(call, &balances)).collect(),
        balances,
    })
}

/// What a call of the token program moves, if anything.
fn transfer(call: &Call, balances: &[TokenBalance]) -> Option<TokenTransfer> {
    if call.program != TOKEN_PROGRAM {
        return None;
    }
    let mut data = Bytes::of(&call.data);
    let (kind, amount) = (data.u8()?, data.u64()?);
    let account = |index: usize| call.accounts.get(index).copied();
    let (source, destination, authority) = match kind {
        TRANSFER => (account(0)?, account(1)?, account(2)?),
        TRANSFER_CHECKED => (account(0)?, account(2)?, account(3)?),
        _ => return None,
    };
    let balance = |of: SolanaAddress| balances.iter().find(|balance| balance.account == of);
    let owner = |of| balance(of).and_then(|balance| balance.owner);
    // A plain transfer does not name the mint; both accounts hold it.
    let mint = balance(source).or_else(|| balance(destination))?.mint;
    let (source_owner, destination_owner) = (owner(source), owner(destination));
    Some(TokenTransfer { mint, source, source_owner, destination, destination_owner, authority, amount })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(byte: u8) -> String {
        SolanaAddress::new([byte; 32]).to_string()
    }

    fn data(bytes: &[u8]) -> String {
        bs58::encode(bytes).into_string()
    }

    fn balance(index: usize, owner: u8, amount: &str) -> Value {
        json!({"accountIndex": index, "mint": key(9), "owner": key(owner), "uiTokenAmount": {"amount": amount, "decimals": 6}})
    }

    /// Keys: 0 fee payer, 1 source, 2 destination, 3 token program, 4 some program, 5 memo; by lookup table: 6 authority, 7 mint.
    fn told(err: &Value) -> Transaction {
        let checked = [&[12][..], &7_u64.to_le_bytes(), &[6]].concat();
        let plain = [&[3][..], &2_u64.to_le_bytes()].concat();
        serde_json::from_value(json!({
            "slot": 5, "blockTime": 1_700_000_000, "transaction": {"signatures": [], "message": {
                "accountKeys": [key(1), key(2), key(3), TOKEN_PROGRAM, key(8), MEMO[0]],
                "instructions": [
                    {"programIdIndex": 4, "accounts": [], "data": ""},
                    {"programIdIndex": 3, "accounts": [1, 7, 2, 6], "data": data(&checked)},
                    {"programIdIndex": 5, "accounts": [], "data": data(b"order 7")},
                    {"programIdIndex": 5, "accounts": [], "data": data(&[0xff, 0xfe])},
                    // A transfer in the words of another program.
                    {"programIdIndex": 4, "accounts": [1, 2, 6], "data": data(&plain)},
                ],
            }},
            "meta": {
                "err": err, "loadedAddresses": {"writable": [key(6)], "readonly": [key(9)]},
                "innerInstructions": [{"index": 0, "instructions": [{"programIdIndex": 3, "accounts": [1, 2, 6], "data": data(&plain)}]}],
                "preTokenBalances": [balance(1, 6, "10")],
                "postTokenBalances": [balance(1, 6, "1"), balance(2, 5, "9")],
            },
        }))
        .unwrap()
    }

    #[test]
    fn who_paid_whom_is_read_in_order() {
        let paid = paid(&told(&Value::Null)).unwrap();
        let address = |byte| SolanaAddress::new([byte; 32]);
        let moved: Vec<_> = paid.transfers.iter().map(|transfer| transfer.amount).collect();
        assert_eq!(moved, [2, 7], "what the first instruction's program did comes before the second one");
        assert_eq!(
            paid.transfers[1],
            TokenTransfer {
                mint: address(9),
                source: address(2),
                source_owner: Some(address(6)),
                destination: address(3),
                destination_owner: Some(address(5)),
                authority: address(6),
                amount: 7,
            }
        );
        assert_eq!((paid.received(&address(3), &address(9)), paid.received(&address(2), &address(9))), (9, 0));
        assert_eq!(paid.received(&address(3), &address(1)), 0, "another token");
        assert_eq!((paid.memos, paid.fee_payer, paid.slot), (vec!["order 7".to_owned()], address(1), 5));
    }

    #[test]
    fn what_failed_moved_nothing() {
        let failed = paid(&told(&json!({"InstructionError": [1, {"Custom": 1}]}))).unwrap();
        assert!(failed.error.is_some() && failed.transfers.is_empty() && failed.balances.is_empty());
    }
}
