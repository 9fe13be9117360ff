use compute_futures_protocol::{
    AccountId, B256, Domain, EvmAddress, JobAuthorization, Receipt, ReceiveWithAuthorization, Signature, Signer,
    SpendCeiling, TokenDomain, TransferWithAuthorization, U256, recover,
};
use serde_json::Value;

use crate::{load, number, parse, rows, text, usdc};

fn account(row: &Value) -> AccountId {
    number(row, "accountId").try_into().unwrap()
}

/// Struct hash, digest, the signature that viem makes of it, and back to the signer.
fn check(vectors: &Value, row: &Value, struct_hash: B256, digest: B256) {
    assert_eq!(struct_hash, parse::<B256>(row, "structHash"));
    assert_eq!(digest, parse::<B256>(row, "digest"));
    let signer = Signer::from_hex(text(vectors, "signerKey")).unwrap();
    let signature: Signature = parse(row, "signature");
    assert_eq!(signer.sign(digest), signature);
    assert_eq!(recover(digest, signature.as_bytes()).unwrap(), parse::<EvmAddress>(vectors, "signer"));
}

fn domain(vectors: &Value, row: &Value) -> Domain {
    Domain::evm(number(row, "chainId"), parse(vectors, "contract"))
}

#[test]
fn domain_separators() {
    let vectors = load("typed_data.json");
    for row in rows(&vectors, "domains") {
        assert_eq!(domain(&vectors, row).separator(), parse::<B256>(row, "separator"));
    }
}

#[test]
fn spend_ceilings() {
    let vectors = load("typed_data.json");
    for row in rows(&vectors, "spendCeilings") {
        let message = SpendCeiling { account_id: account(row), ceiling: usdc(row, "ceiling") };
        check(&vectors, row, message.struct_hash(), message.digest(&domain(&vectors, row)));
    }
}

#[test]
fn job_authorizations() {
    let vectors = load("typed_data.json");
    for row in rows(&vectors, "jobAuthorizations") {
        let message = JobAuthorization {
            account_id: account(row),
            request_hash: parse(row, "requestHash"),
            nonce: parse(row, "nonce"),
            max_charge: usdc(row, "maxCharge"),
            valid_until: number(row, "validUntil"),
        };
        check(&vectors, row, message.struct_hash(), message.digest(&domain(&vectors, row)));
    }
}

#[test]
fn receipts() {
    let vectors = load("typed_data.json");
    for row in rows(&vectors, "receipts") {
        let message = Receipt {
            account_id: account(row),
            batch_number: number(row, "batchNumber"),
            sequence: number(row, "sequence"),
            job_id: parse(row, "jobId"),
            authorization_hash: parse(row, "authorizationHash"),
            request_hash: parse(row, "requestHash"),
            output_hash: parse(row, "outputHash"),
            list_amount: usdc(row, "listAmount"),
            discount_bps: number(row, "discountBps").try_into().unwrap(),
            charged: usdc(row, "charged"),
            issued_at: number(row, "issuedAt"),
        };
        check(&vectors, row, message.struct_hash(), message.digest(&domain(&vectors, row)));
    }
}

macro_rules! eip3009 {
    ($test:ident, $key:literal, $message:ident) => {
        #[test]
        fn $test() {
            let vectors = load("typed_data.json");
            for row in rows(&vectors, $key) {
                let message = $message {
                    from: parse(row, "from"),
                    to: parse(row, "to"),
                    value: usdc(row, "value"),
                    valid_after: parse::<U256>(row, "validAfter"),
                    valid_before: parse::<U256>(row, "validBefore"),
                    nonce: parse(row, "nonce"),
                };
                let token = TokenDomain::usdc(8453, parse(row, "token"));
                check(&vectors, row, message.struct_hash(), message.digest(&token));
            }
        }
    };
}

eip3009!(transfers_with_authorization, "transferWithAuthorizations", TransferWithAuthorization);
eip3009!(receives_with_authorization, "receiveWithAuthorizations", ReceiveWithAuthorization);
