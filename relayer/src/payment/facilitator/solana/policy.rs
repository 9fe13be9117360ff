//! Which transactions the facilitator pays the fee of, as x402's exact scheme for Solana lays it down for standard wallets: both compute
//! budget instructions, one checked transfer, and at most four notes of wallets and payers behind it. Whatever else a transaction
//! does would be done with our signature on it.

use compute_futures_protocol::SolanaAddress;
use compute_futures_protocol::solana::{SolanaTransaction, TokenTransfer, associated_token_address};

const COMPUTE_BUDGET: SolanaAddress = SolanaAddress::from_str_const("ComputeBudget111111111111111111111111111111");
/// What may stand behind the transfer: assertions that wallets add to protect their users, and memos.
const NOTES: [SolanaAddress; 2] = [
    SolanaAddress::from_str_const("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"),
    SolanaAddress::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
];
/// Most instructions: two of the compute budget, the transfer, three assertions, a memo.
const MOST_CALLS: usize = 7;
/// Most compute units: what the specification's reference allows.
const MOST_UNITS: u32 = 400_000;
/// Lamports a signature costs.
const SIGNATURE: u64 = 5_000;

/// What a transaction has to pay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) mint: SolanaAddress,
    /// Owner of the token account that is paid.
    pub(super) pay_to: SolanaAddress,
    pub(super) amount: u64,
}

/// Why a transaction is not paid for: x402's reason, and words.
pub(super) type Refusal = (&'static str, &'static str);

const SIGNERS: Refusal = ("invalid_exact_svm_payload_signers", "others than the fee payer and the payer must sign it");

/// Checks that the transaction pays what is due and that our signature on it pays its fee, within `most` lamports, and nothing else.
///
/// # Errors
/// Says what is wrong.
pub(super) fn check(
    transaction: &SolanaTransaction,
    fee_payer: &SolanaAddress,
    due: Due,
    most: u64,
) -> Result<TokenTransfer, Refusal> {
    let message = &transaction.message;
    if message.lookups {
        // Accounts that cannot be seen could be ours.
        return Err(("invalid_exact_svm_payload_lookup_tables", "address lookup tables are not taken"));
    }
    if message.fee_payer() != *fee_payer {
        return Err(("invalid_exact_svm_payload_fee_payer", "the fee payer is not extra.feePayer"));
    }
    if message.signers != 2 {
        return Err(SIGNERS);
    }
    let (&[ref units, ref price, ref transfer, ref notes @ ..], true) =
        (message.calls.as_slice(), message.calls.len() <= MOST_CALLS)
    else {
        return Err((
            "invalid_exact_svm_payload_transaction_instructions_length",
            "it does not have 3 to 7 instructions",
        ));
    };
    let budget = [units, price].into_iter().all(|call| message.program(call) == COMPUTE_BUDGET);
    let fee = match (units.data.as_slice(), price.data.as_slice()) {
        ([2, units @ ..], [3, price @ ..]) if budget => fee(units, price, message.signers),
        _ => None,
    };
    let fee = fee.ok_or((
        "invalid_exact_svm_payload_transaction_compute_budget",
        "it does not begin with a compute unit limit of at most 400,000 and a compute unit price",
    ))?;
    if fee > most {
        return Err((
            "invalid_exact_svm_payload_fee_too_high",
            "its fee is more than is paid for here; offer a lower priority fee",
        ));
    }
    if notes.iter().any(|call| !NOTES.contains(&message.program(call))) {
        return Err((
            "invalid_exact_svm_payload_unknown_instruction",
            "only Lighthouse and Memo may stand behind the transfer",
        ));
    }
    if message.calls.iter().any(|call| call.accounts.contains(&0)) {
        return Err(("fee_payer_in_instruction_accounts", "the fee payer must not be an account of any instruction"));
    }
    let transfer = message
        .transfer(transfer)
        .ok_or(("invalid_exact_svm_payload_no_transfer_instruction", "its third instruction is not TransferChecked"))?;
    if transfer.mint != due.mint {
        return Err(("invalid_exact_svm_payload_mint_mismatch", "it pays in another token"));
    }
    if transfer.destination != associated_token_address(&due.pay_to, &due.mint) {
        return Err(("invalid_exact_svm_payload_recipient_mismatch", "it pays somebody else"));
    }
    if transfer.amount != due.amount {
        return Err(("invalid_exact_svm_payload_amount_mismatch", "it pays another amount"));
    }
    if message.signer_place(&transfer.authority) != Some(1) {
        return Err(SIGNERS);
    }
    if !transaction.is_signed_by(&transfer.authority) {
        return Err(("invalid_signature", "the payer has not signed it"));
    }
    Ok(transfer)
}

/// Lamports of fee; `None` when limit or price are no numbers of their size, or the limit is too high.
fn fee(units: &[u8], price: &[u8], signatures: usize) -> Option<u64> {
    let units = u32::from_le_bytes(units.try_into().ok()?);
    let price = u64::from_le_bytes(price.try_into().ok()?);
    if units > MOST_UNITS {
        return None;
    }
    let priority = (u128::from(units) * u128::from(price)).div_ceil(1_000_000);
    let signatures = SIGNATURE.checked_mul(signatures as u64)?;
    u64::try_from(priority).ok()?.checked_add(signatures)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::Signer;
    use compute_futures_protocol::solana::TOKEN_PROGRAM;

    use super::*;

    const MINT: SolanaAddress = SolanaAddress::new([9; 32]);
    const PAY_TO: SolanaAddress = SolanaAddress::new([8; 32]);
    const DUE: Due = Due { mint: MINT, pay_to: PAY_TO, amount: 30_000 };
    /// What stock clients ask for, at most.
    const MOST: u64 = 10_001;

    fn key(seed: u8) -> SolanaAddress {
        Signer::ed25519(&[seed; 32]).address().solana().unwrap()
    }

    /// A transaction in parts, each of which a test may spoil.
    struct Draft {
        signers: Vec<SolanaAddress>,
        others: Vec<SolanaAddress>,
        /// Program, accounts, data; by key.
        calls: Vec<(SolanaAddress, Vec<SolanaAddress>, Vec<u8>)>,
        signed: bool,
        lookups: bool,
    }

    fn draft() -> Draft {
        let (source, destination) =
            (associated_token_address(&key(2), &MINT), associated_token_address(&PAY_TO, &MINT));
        let transfer = [&[12][..], &30_000_u64.to_le_bytes(), &[6]].concat();
        Draft {
            signers: vec![key(1), key(2)],
            others: vec![source, destination, MINT, TOKEN_PROGRAM, COMPUTE_BUDGET, NOTES[0], NOTES[1], key(3)],
            calls: vec![
                (COMPUTE_BUDGET, vec![], [&[2][..], &20_000_u32.to_le_bytes()].concat()),
                (COMPUTE_BUDGET, vec![], [&[3][..], &1_u64.to_le_bytes()].concat()),
                (TOKEN_PROGRAM, vec![source, MINT, destination, key(2)], transfer),
                (NOTES[1], vec![], b"0123456789abcdef".to_vec()),
            ],
            signed: true,
            lookups: false,
        }
    }

    impl Draft {
        fn transaction(&self) -> SolanaTransaction {
            let keys: Vec<_> = self.signers.iter().chain(&self.others).copied().collect();
            let place = |key: &SolanaAddress| keys.iter().position(|known| known == key).unwrap() as u8;
            let mut bytes = vec![0x80, self.signers.len() as u8, 0, 5, keys.len() as u8];
            keys.iter().for_each(|key| bytes.extend(key.0));
            bytes.extend([7; 32]);
            bytes.push(self.calls.len() as u8);
            for (program, accounts, data) in &self.calls {
                bytes.extend([place(program), accounts.len() as u8]);
                bytes.extend(accounts.iter().map(place));
                bytes.push(data.len() as u8);
                bytes.extend(data);
            }
            bytes.push(u8::from(self.lookups));
            if self.lookups {
                bytes.extend([5; 32]);
                bytes.extend([1, 0, 0]);
            }
            let signature = Signer::ed25519(&[2; 32]).sign_message(&bytes).unwrap();
            let mut signatures = vec![[0; 64]; self.signers.len()];
            if self.signed {
                signatures[1] = signature;
            }
            let whole = [&[signatures.len() as u8][..], signatures.concat().as_slice(), &bytes].concat();
            SolanaTransaction::parse(&whole).unwrap()
        }

        fn check(&self) -> Result<TokenTransfer, &'static str> {
            check(&self.transaction(), &key(1), DUE, MOST).map_err(|(reason, _)| reason)
        }
    }

    #[test]
    fn what_stock_clients_send_is_paid_for() {
        let transfer = draft().check().unwrap();
        assert_eq!((transfer.authority, transfer.amount), (key(2), 30_000));
        let mut guarded = draft();
        // Phantom adds three assertions, a payer a memo.
        guarded.calls.splice(3..3, (0..3).map(|_| (NOTES[0], vec![key(2)], vec![1, 2])));
        guarded.check().unwrap();
        let mut bare = draft();
        bare.calls.pop();
        bare.check().unwrap();
    }

    #[test]
    fn whatever_else_it_does_it_is_not_paid_for() {
        type Spoil = fn(&mut Draft);
        let cases: [(&str, Spoil); 20] = [
            ("invalid_exact_svm_payload_lookup_tables", |d| d.lookups = true),
            ("invalid_exact_svm_payload_fee_payer", |d| d.signers[0] = key(4)),
            ("invalid_exact_svm_payload_transaction_instructions_length", |d| d.calls.truncate(2)),
            ("invalid_exact_svm_payload_transaction_instructions_length", |d| {
                d.calls.extend((0..4).map(|_| (NOTES[1], vec![], vec![1])));
            }),
            ("invalid_exact_svm_payload_transaction_compute_budget", |d| d.calls.swap(0, 1)),
            ("invalid_exact_svm_payload_transaction_compute_budget", |d| d.calls[0].2.push(0)),
            ("invalid_exact_svm_payload_transaction_compute_budget", |d| d.calls[1].0 = NOTES[1]),
            ("invalid_exact_svm_payload_transaction_compute_budget", |d| {
                d.calls[0].2 = [&[2][..], &400_001_u32.to_le_bytes()].concat();
            }),
            ("invalid_exact_svm_payload_fee_too_high", |d| {
                d.calls[1].2 = [&[3][..], &100_u64.to_le_bytes()].concat();
            }),
            ("invalid_exact_svm_payload_unknown_instruction", |d| d.calls[3].0 = key(3)),
            ("invalid_exact_svm_payload_unknown_instruction", |d| d.calls[3] = d.calls[2].clone()),
            ("fee_payer_in_instruction_accounts", |d| d.calls[3].1.push(key(1))),
            ("fee_payer_in_instruction_accounts", |d| d.calls[2].1[3] = key(1)),
            ("invalid_exact_svm_payload_no_transfer_instruction", |d| d.calls[2].2[0] = 3),
            ("invalid_exact_svm_payload_no_transfer_instruction", |d| d.calls[2].1.push(key(3))),
            ("invalid_exact_svm_payload_mint_mismatch", |d| d.calls[2].1[1] = key(3)),
            ("invalid_exact_svm_payload_recipient_mismatch", |d| d.calls[2].1[2] = key(3)),
            ("invalid_exact_svm_payload_amount_mismatch", |d| d.calls[2].2[1] += 1),
            ("invalid_exact_svm_payload_signers", |d| d.signers.push(key(5))),
            ("invalid_signature", |d| d.signed = false),
        ];
        for (reason, spoil) in cases {
            let mut draft = draft();
            spoil(&mut draft);
            assert_eq!(draft.check(), Err(reason));
        }
    }
}
