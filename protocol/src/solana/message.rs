//! Transactions in their bytes, taken apart: who signs, which programs are called with what. Legacy and version 0.

use alloy_primitives::B256;
use ed25519_dalek::{Signature, VerifyingKey};

use super::TOKEN_PROGRAM;
use crate::SolanaAddress;

/// Most bytes of a transaction: what fits one packet.
pub const MOST_TRANSACTION_BYTES: usize = 1_232;
/// `TransferChecked` of the SPL Token program.
const TRANSFER_CHECKED: u8 = 12;

/// A transaction: the signatures that stand before its message, and the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolanaTransaction {
    /// One for each signer of the message, in order; zeros where one is missing.
    pub signatures: Vec<[u8; 64]>,
    /// What the signers sign.
    pub message: SolanaMessage,
}

/// The message of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SolanaMessage {
    /// As signed.
    pub bytes: Vec<u8>,
    /// How many of the keys must sign: the first ones, the fee payer first of all.
    pub signers: usize,
    /// The keys that the message names itself.
    pub keys: Vec<SolanaAddress>,
    /// A recent block: the transaction can be included for 150 blocks after it.
    pub blockhash: B256,
    /// The calls, in order.
    pub calls: Vec<SolanaCall>,
    /// Whether more keys come from lookup tables, which the bytes do not tell.
    pub lookups: bool,
}

/// A call of a program. Accounts are places among the message's keys, or behind them when they come from a lookup table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SolanaCall {
    pub program: usize,
    pub accounts: Vec<usize>,
    pub data: Vec<u8>,
}

/// A `TransferChecked` of the SPL Token program by a single owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TokenTransfer {
    pub source: SolanaAddress,
    pub mint: SolanaAddress,
    pub destination: SolanaAddress,
    /// Whose money moves: owner of `source`, or its delegate.
    pub authority: SolanaAddress,
    pub amount: u64,
}

impl SolanaTransaction {
    /// Takes a transaction apart. `None` when the bytes are none, hold more than one, or do not fit a packet.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MOST_TRANSACTION_BYTES {
            return None;
        }
        let mut rest = Reader(bytes);
        let count = rest.length()?;
        let signatures = (0..count).map(|_| rest.array()).collect::<Option<Vec<[u8; 64]>>>()?;
        let message = SolanaMessage::parse(rest.0)?;
        (message.signers == signatures.len()).then_some(Self { signatures, message })
    }

    /// The same transaction in bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // At most 19 signatures fit a packet: the length is one byte.
        let mut bytes = Vec::with_capacity(MOST_TRANSACTION_BYTES);
        bytes.push(self.signatures.len() as u8);
        self.signatures.iter().for_each(|signature| bytes.extend_from_slice(signature));
        bytes.extend_from_slice(&self.message.bytes);
        bytes
    }

    /// The signature of a key; `None` when the message does not ask for one.
    #[must_use]
    pub fn signature_of(&self, key: &SolanaAddress) -> Option<&[u8; 64]> {
        self.signatures.get(self.message.signer_place(key)?)
    }

    /// Whether `key` signed the message.
    #[must_use]
    pub fn is_signed_by(&self, key: &SolanaAddress) -> bool {
        self.signature_of(key).is_some_and(|signature| is_signed(key, &self.message.bytes, signature))
    }
}

/// Strictly, as the runtime: no weak keys, no second spelling of a signature (T-3).
pub(crate) fn is_signed(key: &SolanaAddress, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.0)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

impl SolanaMessage {
    /// Takes a message apart. `None` when the bytes are none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let first = rest.u8()?;
        let (versioned, signers) = match first {
            0x80 => (true, rest.u8()?),
            // Another version.
            0x81.. => return None,
            signers => (false, signers),
        };
        let (read_only_signers, read_only_others) = (usize::from(rest.u8()?), usize::from(rest.u8()?));
        let signers = usize::from(signers);
        let count = rest.length()?;
        let keys = (0..count).map(|_| rest.array().map(SolanaAddress::new)).collect::<Option<Vec<SolanaAddress>>>()?;
        let blockhash = B256::new(rest.array()?);
        let count = rest.length()?;
        let calls = (0..count).map(|_| rest.call()).collect::<Option<Vec<_>>>()?;
        let tables = if versioned { rest.length()? } else { 0 };
        for _ in 0..tables {
            rest.array::<32>()?;
            rest.bytes()?;
            rest.bytes()?;
        }
        // The fee payer signs and is written; nobody else may be left out of the counts.
        let sound = signers > read_only_signers && signers.checked_add(read_only_others)? <= keys.len();
        let known = |place: usize| tables > 0 || place < keys.len();
        let named = calls.iter().all(|call| {
            call.program != 0 && call.program < keys.len() && call.accounts.iter().all(|place| known(*place))
        });
        (rest.0.is_empty() && sound && named).then(|| Self {
            bytes: bytes.to_vec(),
            signers,
            keys,
            blockhash,
            calls,
            lookups: tables > 0,
        })
    }

    /// Who pays the fee.
    #[must_use]
    pub fn fee_payer(&self) -> SolanaAddress {
        self.keys.first().copied().unwrap_or_default()
    }

    /// Place of a key among the signers.
    #[must_use]
    pub fn signer_place(&self, key: &SolanaAddress) -> Option<usize> {
        self.keys.iter().take(self.signers).position(|signer| signer == key)
    }

    /// The program that a call goes to.
    #[must_use]
    pub fn program(&self, call: &SolanaCall) -> SolanaAddress {
        self.keys.get(call.program).copied().unwrap_or_default()
    }

    /// A call as a checked transfer of tokens by a single owner; `None` when it is something else, or its accounts come from a
    /// lookup table.
    #[must_use]
    pub fn transfer(&self, call: &SolanaCall) -> Option<TokenTransfer> {
        if self.program(call) != TOKEN_PROGRAM {
            return None;
        }
        let (&[TRANSFER_CHECKED, ..], &[source, mint, destination, authority]) =
            (call.data.as_slice(), call.accounts.as_slice())
        else {
            return None;
        };
        let amount = u64::from_le_bytes(call.data.get(1..9)?.try_into().ok()?);
        if call.data.len() != 10 {
            return None;
        }
        let key = |place: usize| self.keys.get(place).copied();
        Some(TokenTransfer {
            source: key(source)?,
            mint: key(mint)?,
            destination: key(destination)?,
            authority: key(authority)?,
            amount,
        })
    }

    /// Every checked transfer that it makes itself, in order.
    pub fn transfers(&self) -> impl Iterator<Item = TokenTransfer> {
        self.calls.iter().filter_map(|call| self.transfer(call))
    }
}

/// Reads from left to right; `None` when too little is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// "compact-u16", in its shortest spelling only, as the runtime takes it.
    fn length(&mut self) -> Option<usize> {
        let first = self.u8()?;
        if first < 0x80 {
            return Some(usize::from(first));
        }
        let second = self.u8()?;
        // Two bytes are more than a packet can hold of anything.
        (1..0x80).contains(&second).then(|| usize::from(first & 0x7f) | usize::from(second) << 7)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn call(&mut self) -> Option<SolanaCall> {
        let program = usize::from(self.u8()?);
        let accounts = self.bytes()?.iter().map(|place| usize::from(*place)).collect();
        Some(SolanaCall { program, accounts, data: self.bytes()?.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;
    use crate::solana::associated_token_address;
    use crate::{Chain, ExactPayment, PaymentFault, SignatureError, Signer, SolanaPayment, Usdc, keccak256};

    const MINT: SolanaAddress = SolanaAddress::new([9; 32]);

    fn key(seed: u8) -> SolanaAddress {
        Signer::ed25519(&[seed; 32]).address().solana().unwrap()
    }

    /// A version 0 message: the fee payer (seed 1) and the payer (seed 2) sign, `amount` goes to `to`'s associated account.
    fn message(to: &SolanaAddress, amount: u64, times: u8) -> Vec<u8> {
        let (source, destination) = (associated_token_address(&key(2), &MINT), associated_token_address(to, &MINT));
        let mut bytes = vec![0x80, 2, 1, 2, 6];
        for key in [key(1), key(2), source, destination, MINT, TOKEN_PROGRAM] {
            bytes.extend(key.0);
        }
        bytes.extend([7; 32]);
        bytes.push(times);
        for _ in 0..times {
            bytes.extend([5, 4, 2, 4, 3, 1, 10, TRANSFER_CHECKED]);
            bytes.extend(amount.to_le_bytes());
            bytes.push(6);
        }
        bytes.push(0);
        bytes
    }

    fn payment(message: Vec<u8>) -> SolanaPayment {
        let signature = Signer::ed25519(&[2; 32]).sign_message(&message).unwrap();
        SolanaPayment {
            asset: MINT,
            from: key(2),
            message: message.into(),
            network: Chain::Solana,
            signature: signature.to_vec().into(),
            to: key(3),
            value: Usdc::from_micros(30_000),
        }
    }

    #[test]
    fn a_payment_is_what_its_payer_signed() {
        let good = payment(message(&key(3), 30_000, 1));
        let exact = ExactPayment::Solana(good.clone());
        assert_eq!(exact.verify(), Ok(key(2).into()));
        assert_eq!((exact.nonce(), exact.digest()), (keccak256(&good.message), None));
        let json = serde_json::to_value(&exact).unwrap();
        assert_eq!(json["network"], Chain::Solana.caip2());
        assert_eq!(serde_json::from_value::<ExactPayment>(json).unwrap(), exact);

        let fault = |payment: SolanaPayment| ExactPayment::Solana(payment).verify().unwrap_err();
        let other = |what| PaymentFault::Other(what);
        assert_eq!(fault(payment(message(&key(4), 30_000, 1))), other("it pays somebody else"));
        assert_eq!(fault(payment(message(&key(3), 30_000, 2))), other("it pays twice"));
        assert_eq!(fault(payment(message(&key(3), 29_999, 1))), other("payer, amount or mint differ"));
        assert_eq!(fault(SolanaPayment { from: key(1), ..good.clone() }), other("payer, amount or mint differ"));
        assert_eq!(
            fault(SolanaPayment { message: vec![1].into(), ..good.clone() }),
            other("the message cannot be read")
        );
        let forged = Signer::ed25519(&[4; 32]).sign_message(&good.message).unwrap().to_vec().into();
        assert_eq!(
            fault(SolanaPayment { signature: forged, ..good.clone() }),
            PaymentFault::Signature(SignatureError::Stranger(None))
        );
        let short = SolanaPayment { signature: vec![1; 63].into(), ..good };
        assert_eq!(fault(short), PaymentFault::Signature(SignatureError::Length(63)));
    }

    #[test]
    fn a_transaction_comes_apart_and_together() {
        let message = message(&key(3), 5, 1);
        let signature = Signer::ed25519(&[2; 32]).sign_message(&message).unwrap();
        let bytes = [&[2][..], &[0; 64], &signature, &message].concat();
        let transaction = SolanaTransaction::parse(&bytes).unwrap();
        assert_eq!(transaction.to_bytes(), bytes);
        assert_eq!(transaction.message.fee_payer(), key(1));
        assert!(transaction.is_signed_by(&key(2)) && !transaction.is_signed_by(&key(1)));
        let transfer = transaction.message.transfers().next().unwrap();
        assert_eq!((transfer.amount, transfer.authority, transfer.mint), (5, key(2), MINT));

        for bad in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &bytes[1..], &[0; 2000], &[]] {
            assert_eq!(SolanaTransaction::parse(bad), None);
        }
        // A length in a longer spelling than it needs, which the runtime refuses too.
        let long = [&[0x82, 0][..], &[0; 128], &message].concat();
        assert_eq!(SolanaTransaction::parse(&long), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..300, flip in 0usize..300) {
            let _ = SolanaTransaction::parse(&bytes);
            let mut real = message(&key(3), 1, 1);
            let (length, place) = (real.len(), flip % real.len());
            real[place] ^= bytes.first().copied().unwrap_or(1);
            if let Some(parsed) = SolanaMessage::parse(&real[..length - cut % length]) {
                let _ = (parsed.transfers().count(), parsed.fee_payer());
            }
        }
    }
}
