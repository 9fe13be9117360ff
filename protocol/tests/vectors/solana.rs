use compute_futures_protocol::history::{BatchHistory, proves};
use compute_futures_protocol::solana::{find_program_address, solana_deposit_address};
use compute_futures_protocol::{
    AccountId, Address, B256, Chain, DepositTerms, Domain, JobAuthorization, Receipt, Signature, Signer, SolanaAddress,
    SpendCeiling,
};
use serde_json::Value;

use crate::{load, number, parse, rows, text, usdc};

fn bytes(row: &Value, key: &str) -> SolanaAddress {
    SolanaAddress::new(parse::<B256>(row, key).0)
}

fn domain(vectors: &Value, row: &Value) -> Domain {
    let cluster = Chain::ALL.into_iter().find(|chain| chain.reference() == text(row, "cluster")).unwrap();
    let program = if row.get("program").is_some() { bytes(row, "program") } else { bytes(vectors, "program") };
    Domain::new(cluster, program.into()).unwrap()
}

fn account(row: &Value) -> AccountId {
    number(row, "accountId").try_into().unwrap()
}

/// Struct hash, digest, and the ed25519 signature that Node makes of it.
fn check(vectors: &Value, row: &Value, struct_hash: B256, digest: B256) {
    assert_eq!(struct_hash, parse::<B256>(row, "structHash"));
    assert_eq!(digest, parse::<B256>(row, "digest"));
    let signer = Signer::ed25519(&parse::<B256>(vectors, "signerSeed").0);
    assert_eq!(signer.address(), parse::<Address>(vectors, "signerBase58"));
    let signature: Signature = parse(row, "signature");
    assert_eq!(signer.sign(digest), signature);
    assert_eq!(signature.verify(digest, signer.address()), Ok(()));
}

#[test]
fn domain_separators() {
    let vectors = load("solana.json");
    for row in rows(&vectors, "domains") {
        assert_eq!(domain(&vectors, row).separator(), parse::<B256>(row, "separator"));
    }
}

#[test]
fn signed_messages() {
    let vectors = load("solana.json");
    for row in rows(&vectors, "spendCeilings") {
        let message = SpendCeiling { account_id: account(row), ceiling: usdc(row, "ceiling") };
        check(&vectors, row, message.struct_hash(), message.digest(&domain(&vectors, row)));
    }
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

#[test]
fn program_addresses() {
    let vectors = load("solana.json");
    let program = bytes(&vectors, "program");
    for row in rows(&vectors, "addresses") {
        let expected: SolanaAddress = parse(row, "address");
        let int = |key: &str| u32::try_from(number(row, key)).unwrap().to_le_bytes();
        let (address, bump) = match text(row, "kind") {
            "registry" => find_program_address(&[b"registry"], &program),
            "vault" => find_program_address(&[b"vault"], &program),
            "eventAuthority" => find_program_address(&[b"__event_authority"], &program),
            "operatorOf" => find_program_address(&[b"operator-of", &bytes(row, "authority").0], &program),
            "operator" => find_program_address(&[b"operator", &int("operatorIndex")], &program),
            "account" => find_program_address(&[b"account", &int("operatorIndex"), &int("sequence")], &program),
            "deposit" => {
                let terms = DepositTerms {
                    operator_index: u32::try_from(number(row, "operatorIndex")).unwrap(),
                    owner: bytes(row, "owner").into(),
                    ceiling: usdc(row, "ceiling"),
                    fee: usdc(row, "fee"),
                };
                (solana_deposit_address(&program, &terms).unwrap(), u8::try_from(number(row, "bump")).unwrap())
            }
            other => panic!("a new kind of address: {other}"),
        };
        assert_eq!((address, u64::from(bump)), (expected, number(row, "bump")));
    }
}

#[test]
fn histories() {
    let vectors = load("solana.json");
    for row in rows(&vectors, "histories") {
        let hash = |value: &Value| value.as_str().unwrap().parse::<B256>().unwrap();
        let hashes = |value: &Value| value.as_array().unwrap().iter().map(hash).collect::<Vec<B256>>();
        let count = number(row, "count");
        let history = BatchHistory::new(hashes(&row["roots"]));
        let peaks = history.peaks();
        let mut expected: Vec<(u32, B256)> = rows(row, "peaks")
            .iter()
            .map(|peak| (u32::try_from(number(peak, "height")).unwrap(), parse(peak, "peak")))
            .collect();
        expected.sort_unstable();
        assert_eq!(peaks, expected, "{count} batches");
        for case in rows(row, "proofs") {
            let (batch, root, proof) = (number(case, "number"), parse(case, "root"), hashes(&case["proof"]));
            assert_eq!(history.proof(batch), Some(proof.clone()), "batch {batch} of {count}");
            assert!(proves(&peaks, count, batch, root, &proof));
        }
    }
}
