//! A batch's receipts in public: anyone recomputes every hash, signature and the root (I-7).

use std::collections::HashSet;

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use crate::serde_util::batch_number;
use crate::{Address, Domain, ReceiptFault, ReceiptTree, SignedReceipt, Usdc};

/// What a relayer publishes for a batch. Its Merkle root is its content hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDocument {
    /// The operator.
    pub operator_index: u32,
    /// The batch.
    #[serde(with = "batch_number")]
    pub batch_number: u64,
    /// Merkle root over the receipt hashes.
    pub root: B256,
    /// In order of issue.
    pub receipts: Vec<SignedReceipt>,
}

/// A batch document that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// One receipt is wrong; `position` counts from 0.
    #[error("receipt {position} ({receipt_hash}) {fault}")]
    Receipt {
        /// Place in the document.
        position: usize,
        /// The hash it states.
        receipt_hash: B256,
        /// What is wrong with it.
        fault: ReceiptFault,
    },
    /// No receipts.
    #[error("the batch document has no receipts")]
    Empty,
    /// The receipts are not those of this root.
    #[error("the receipts have root {computed}, the document states {stated}")]
    Root {
        /// Of the receipts.
        computed: B256,
        /// In the document.
        stated: B256,
    },
}

impl BatchDocument {
    /// The document of these receipts.
    ///
    /// # Errors
    /// [`ReceiptError::Empty`] when there are none.
    pub fn new(operator_index: u32, batch_number: u64, receipts: Vec<SignedReceipt>) -> Result<Self, ReceiptError> {
        let root = root_of(&receipts)?;
        Ok(Self { operator_index, batch_number, root, receipts })
    }

    /// The Merkle tree, for proofs.
    ///
    /// # Errors
    /// [`ReceiptError::Empty`] when there are no receipts.
    pub fn tree(&self) -> Result<ReceiptTree, ReceiptError> {
        tree_of(&self.receipts)
    }

    /// Sum of what the receipts charged; `None` beyond [`Usdc::MAX`].
    #[must_use]
    pub fn total_charged(&self) -> Option<Usdc> {
        Usdc::checked_sum(self.receipts.iter().map(|signed| signed.receipt.charged))
    }

    /// Checks everything that needs no chain: hashes, the operator's signatures, batch and operator of every receipt, that
    /// each authorisation is the one its receipt names and allows what was charged, and the root.
    ///
    /// Who signed an authorisation is [`crate::Authorization::authorizer`]; whether that is the owner or delegate, and whether
    /// `root` is the one posted, only the chain knows.
    ///
    /// # Errors
    /// Says which receipt does not hold, and why.
    pub fn verify(&self, domain: &Domain, operator: Address) -> Result<(), ReceiptError> {
        let mut seen = HashSet::with_capacity(self.receipts.len());
        for (position, signed) in self.receipts.iter().enumerate() {
            let receipt_hash = signed.receipt_hash;
            self.check(signed, domain, operator)
                .and_then(|()| if seen.insert(receipt_hash) { Ok(()) } else { Err(ReceiptFault::Duplicate) })
                .map_err(|fault| ReceiptError::Receipt { position, receipt_hash, fault })?;
        }
        let computed = root_of(&self.receipts)?;
        if computed == self.root { Ok(()) } else { Err(ReceiptError::Root { computed, stated: self.root }) }
    }

    fn check(&self, signed: &SignedReceipt, domain: &Domain, operator: Address) -> Result<(), ReceiptFault> {
        signed.verify(domain, operator)?;
        if signed.receipt.batch_number != self.batch_number {
            return Err(ReceiptFault::BatchNumber(signed.receipt.batch_number));
        }
        let operator_index = signed.receipt.account_id.operator_index();
        if operator_index != self.operator_index {
            return Err(ReceiptFault::OperatorIndex(operator_index));
        }
        Ok(())
    }
}

fn tree_of(receipts: &[SignedReceipt]) -> Result<ReceiptTree, ReceiptError> {
    let hashes: Vec<B256> = receipts.iter().map(|signed| signed.receipt_hash).collect();
    ReceiptTree::new(&hashes).map_err(|_| ReceiptError::Empty)
}

fn root_of(receipts: &[SignedReceipt]) -> Result<B256, ReceiptError> {
    tree_of(receipts).map(|tree| tree.root())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy_primitives::{Address as EvmAddress, Bytes, U256, keccak256};
    use serde_json::Value;

    use super::*;
    use crate::{
        AccountId, Authorization, AuthorizationError, Chain, EvmPayment, ExactPayment, JobAuthorization, PaymentFault,
        Receipt, SignatureError, Signer, SolanaAddress, TokenDomain, TransferWithAuthorization,
    };

    fn signer(byte: u8) -> Signer {
        Signer::from_bytes(&[byte; 32]).unwrap()
    }

    fn evm(byte: u8) -> EvmAddress {
        signer(byte).address().evm().unwrap()
    }

    fn domain() -> Domain {
        Domain::evm(8453, EvmAddress::repeat_byte(0xcf))
    }

    fn authorization(account_id: AccountId, nonce: u8) -> Authorization {
        let authorization = JobAuthorization {
            account_id,
            request_hash: keccak256("request"),
            nonce: B256::repeat_byte(nonce),
            max_charge: Usdc::from_micros(27_000),
            valid_until: 1_790_000_000,
        };
        let signature = Bytes::from(signer(2).sign(authorization.digest(&domain())));
        Authorization::ComputeFutures { authorization, signature }
    }

    fn receipt(sequence: u64, authorization: &Authorization) -> Receipt {
        Receipt {
            account_id: AccountId::new(1, 1).unwrap(),
            batch_number: 7,
            sequence,
            job_id: keccak256(sequence.to_be_bytes()),
            authorization_hash: authorization.hash(&domain()),
            request_hash: keccak256("request"),
            output_hash: keccak256("output"),
            list_amount: Usdc::from_micros(30_000),
            discount_bps: 1000,
            charged: Usdc::from_micros(27_000),
            issued_at: 1_789_999_999,
        }
    }

    fn signed(sequence: u64) -> SignedReceipt {
        let authorization = authorization(AccountId::new(1, 1).unwrap(), sequence as u8);
        SignedReceipt::sign(receipt(sequence, &authorization), authorization, &domain(), &signer(1))
    }

    fn document() -> BatchDocument {
        BatchDocument::new(1, 7, (1..=5).map(signed).collect()).unwrap()
    }

    fn exact(payment: EvmPayment) -> Authorization {
        Authorization::Exact { payment: ExactPayment::Evm(payment) }
    }

    fn payment() -> EvmPayment {
        let mut payment = EvmPayment {
            asset: EvmAddress::repeat_byte(5),
            from: evm(2),
            network: Chain::Base,
            nonce: B256::repeat_byte(6),
            signature: Bytes::new(),
            to: EvmAddress::repeat_byte(7),
            valid_after: U256::ZERO,
            valid_before: U256::MAX,
            value: Usdc::from_micros(1000),
        };
        let transfer = TransferWithAuthorization {
            from: payment.from,
            to: payment.to,
            value: payment.value,
            valid_after: payment.valid_after,
            valid_before: payment.valid_before,
            nonce: payment.nonce,
        };
        payment.signature = signer(2).sign(transfer.digest(&TokenDomain::usdc(8453, payment.asset))).into();
        payment
    }

    /// Changes the second receipt, signs it again as `operator`, and says what `verify` finds.
    fn fault(operator: &Signer, change: impl FnOnce(&mut Receipt)) -> ReceiptFault {
        let mut document = document();
        let second = document.receipts[1].clone();
        let mut receipt = second.receipt;
        change(&mut receipt);
        document.receipts[1] = SignedReceipt::sign(receipt, second.authorization, &domain(), operator);
        match document.verify(&domain(), signer(1).address()) {
            Err(ReceiptError::Receipt { position: 1, fault, .. }) => fault,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn an_honest_document_holds_and_reads_back() {
        let document = document();
        assert_eq!(document.verify(&domain(), signer(1).address()), Ok(()));
        assert_eq!(document.total_charged(), Some(Usdc::from_micros(135_000)));
        let json = serde_json::to_string(&document).unwrap();
        let again: BatchDocument = serde_json::from_str(&json).unwrap();
        assert_eq!(again, document);
        let tree = document.tree().unwrap();
        for signed in &document.receipts {
            assert_eq!(
                signed.authorization.authorizer(&domain(), &[signer(9).address(), signer(2).address()]),
                Ok(signer(2).address())
            );
            let proof = tree.proof(signed.receipt_hash).unwrap();
            assert!(crate::verify(document.root, signed.receipt_hash, &proof));
        }
    }

    #[test]
    fn json_has_the_published_shape() {
        let json: Value = serde_json::to_value(document()).unwrap();
        assert_eq!((&json["operatorIndex"], &json["batchNumber"]), (&1.into(), &"7".into()));
        let receipt = &json["receipts"][0];
        assert_eq!(receipt["accountId"], "4294967297");
        assert_eq!(receipt["charged"], "27000");
        assert_eq!(receipt["sequence"], "1");
        assert_eq!(receipt["signature"].as_str().unwrap().len(), 132);
        assert_eq!(receipt["authorization"]["scheme"], "compute-futures");
        assert_eq!(receipt["authorization"]["authorization"]["maxCharge"], "27000");
        let exact = serde_json::to_value(exact(payment())).unwrap();
        assert_eq!((&exact["scheme"], &exact["payment"]["network"]), (&"exact".into(), &"eip155:8453".into()));
        assert_eq!(exact["payment"]["validBefore"], U256::MAX.to_string());
    }

    #[test]
    fn i7_whatever_is_changed_is_found() {
        let operator = signer(1);
        assert_eq!(fault(&signer(3), |_| ()), ReceiptFault::NotTheOperator(Some(signer(3).address())));
        assert_eq!(fault(&operator, |r| r.batch_number = 8), ReceiptFault::BatchNumber(8));
        assert_eq!(
            fault(&operator, |r| r.account_id = AccountId::new(1, 2).unwrap()),
            ReceiptFault::NotAuthorized("account")
        );
        assert_eq!(fault(&operator, |r| r.request_hash = B256::ZERO), ReceiptFault::NotAuthorized("request"));
        assert_eq!(fault(&operator, |r| r.charged = Usdc::from_micros(27_001)), ReceiptFault::NotAuthorized("amount"));
        assert!(matches!(fault(&operator, |r| r.authorization_hash = B256::ZERO), ReceiptFault::AuthorizationHash(_)));
    }

    #[test]
    fn i7_another_operators_document_is_found() {
        let document = BatchDocument { operator_index: 2, ..document() };
        assert!(matches!(
            document.verify(&domain(), signer(1).address()),
            Err(ReceiptError::Receipt { position: 0, fault: ReceiptFault::OperatorIndex(1), .. })
        ));
    }

    #[test]
    fn i7_a_receipt_changed_after_signing_is_found() {
        let mut document = document();
        document.receipts[4].receipt.output_hash = B256::ZERO;
        let error = document.verify(&domain(), signer(1).address()).unwrap_err();
        assert!(matches!(error, ReceiptError::Receipt { position: 4, fault: ReceiptFault::Hash(_), .. }), "{error}");
        assert!(error.to_string().starts_with("receipt 4 (0x"), "{error}");
    }

    #[test]
    fn i7_receipts_added_dropped_or_repeated_are_found() {
        let operator = signer(1).address();
        let mut dropped = document();
        dropped.receipts.pop();
        assert!(matches!(dropped.verify(&domain(), operator), Err(ReceiptError::Root { .. })));
        let mut added = document();
        added.receipts.push(signed(6));
        assert!(matches!(added.verify(&domain(), operator), Err(ReceiptError::Root { .. })));
        let repeated = BatchDocument::new(1, 7, vec![signed(1), signed(2), signed(1)]).unwrap();
        assert!(matches!(
            repeated.verify(&domain(), operator),
            Err(ReceiptError::Receipt { position: 2, fault: ReceiptFault::Duplicate, .. })
        ));
        let mut empty = document();
        empty.receipts.clear();
        assert_eq!(empty.verify(&domain(), operator), Err(ReceiptError::Empty));
    }

    #[test]
    fn another_deployments_receipts_do_not_count() {
        let elsewhere = Domain::evm(84532, EvmAddress::repeat_byte(0xcf));
        assert!(document().verify(&elsewhere, signer(1).address()).is_err());
    }

    #[test]
    fn an_exact_payment_is_its_payers() {
        let authorization = exact(payment());
        assert_eq!(authorization.authorizer(&domain(), &[signer(2).address()]), Ok(signer(2).address()));
        let others = [signer(1).address()];
        assert_eq!(
            authorization.authorizer(&domain(), &others),
            Err(AuthorizationError::Signature(SignatureError::Stranger(Some(signer(2).address()))))
        );
        let receipt = receipt(1, &authorization);
        let signed = SignedReceipt::sign(receipt, authorization, &domain(), &signer(1));
        let document = BatchDocument::new(1, 7, vec![signed]).unwrap();
        assert_eq!(document.verify(&domain(), signer(1).address()), Ok(()));

        let stolen = exact(EvmPayment { from: evm(3), ..payment() });
        let fault = stolen.authorizer(&domain(), &others).unwrap_err();
        assert!(matches!(fault, AuthorizationError::Payment(PaymentFault::NotThePayer { .. })), "{fault}");
        let wallet = exact(EvmPayment { signature: vec![1; 200].into(), ..payment() });
        assert!(matches!(
            wallet.authorizer(&domain(), &others),
            Err(AuthorizationError::Signature(SignatureError::Length(200)))
        ));
        let solana = exact(EvmPayment { network: Chain::Solana, ..payment() });
        let fault = solana.authorizer(&domain(), &others).unwrap_err();
        assert!(matches!(fault, AuthorizationError::Payment(PaymentFault::Other(_))), "{fault}");
    }

    #[test]
    fn a_job_authorization_is_bound_to_its_deployment() {
        let authorization = authorization(AccountId::new(1, 1).unwrap(), 1);
        let elsewhere = Domain::evm(8453, EvmAddress::repeat_byte(1));
        assert!(authorization.authorizer(&elsewhere, &[signer(2).address()]).is_err());
    }

    /// The same documents on Solana: ed25519 keys, the program's domain.
    #[test]
    fn i7_a_solana_document_holds_and_a_changed_one_does_not() {
        let domain = Domain::new(Chain::Solana, SolanaAddress::new([0xcf; 32]).into()).unwrap();
        let (operator, owner) = (Signer::ed25519(&[1; 32]), Signer::ed25519(&[2; 32]));
        let Authorization::ComputeFutures { authorization, .. } = authorization(AccountId::new(1, 1).unwrap(), 1)
        else {
            unreachable!("it is one");
        };
        let signature = owner.sign(authorization.digest(&domain)).into();
        let authorization = Authorization::ComputeFutures { authorization, signature };
        let mut receipt = receipt(1, &authorization);
        receipt.authorization_hash = authorization.hash(&domain);
        let signed = SignedReceipt::sign(receipt, authorization, &domain, &operator);
        let mut document = BatchDocument::new(1, 7, vec![signed]).unwrap();
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<BatchDocument>(&json).unwrap(), document);
        assert_eq!(document.verify(&domain, operator.address()), Ok(()));
        let by = |keys: &[Address]| document.receipts[0].authorization.authorizer(&domain, keys);
        assert_eq!(by(&[operator.address(), owner.address()]), Ok(owner.address()));
        assert_eq!(by(&[operator.address()]), Err(SignatureError::Stranger(None).into()));
        let wrong = document.verify(&domain, owner.address()).unwrap_err();
        assert!(matches!(wrong, ReceiptError::Receipt { fault: ReceiptFault::NotTheOperator(None), .. }), "{wrong}");
        document.receipts[0].receipt.charged = Usdc::ZERO;
        assert!(document.verify(&domain, operator.address()).is_err());
    }
}
