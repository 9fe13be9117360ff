//! `verify`: is this receipt true? Everything is recomputed; the relayer and the indexer are only asked for bytes (I-7).

use std::io::Read;

use compute_futures_chain::{ChainReader, EventKind};
use compute_futures_protocol::{
    AccountId, Address, Authorization, AuthorizationError, B256, BatchDocument, Domain, SignatureError, SignedReceipt,
    verify as verify_proof,
};
use serde_json::{Value, json};

use crate::args::VerifyArgs;
use crate::client::ClientError;
use crate::context::{Context, Found};
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// One thing that was checked.
struct Check {
    what: &'static str,
    holds: Result<String, String>,
}

pub(super) async fn run(context: &Context, args: VerifyArgs) -> Outcome<()> {
    let (signed, document) = match args.receipt {
        Some(path) => {
            let signed = read(&path)?;
            let document =
                batch(context, signed.receipt.account_id.operator_index(), signed.receipt.batch_number).await?;
            (signed, document)
        }
        None => by_hash(context, args.hash.unwrap_or_default(), args.batch.unwrap_or_default()).await?,
    };
    let checks = check(context, &signed, document.as_ref()).await?;
    let result = report(&signed, document.as_ref(), &checks);
    let holds = result["holds"] == true;
    context.output.result(&result, || {
        let rows = checks.iter().map(|check| match &check.holds {
            Ok(detail) => (check.what, format!("holds: {detail}")),
            Err(detail) => (check.what, format!("DOES NOT HOLD: {detail}")),
        });
        facts(rows)
    });
    if holds {
        return Ok(());
    }
    Err(Failure::new(
        "receipt_does_not_hold",
        "the receipt does not hold, see above",
        "if its batch is not posted yet, try again after the operator's next batch; otherwise take it up with the operator",
    ))
}

/// Checks a receipt, or an answer that holds one; for programs.
///
/// # Errors
/// When it cannot be read, or there is nothing to compare it with. That it does not hold is a result.
pub(crate) async fn of(context: &Context, value: Value) -> Outcome<Value> {
    let signed = receipt_in(value).map_err(|error| {
        Failure::new(
            "bad_receipt",
            format!("that is no receipt: {error}"),
            "pass the `receipt` of an answer, or the answer",
        )
    })?;
    let document = batch(context, signed.receipt.account_id.operator_index(), signed.receipt.batch_number).await?;
    let checks = check(context, &signed, document.as_ref()).await?;
    Ok(report(&signed, document.as_ref(), &checks))
}

fn report(signed: &SignedReceipt, document: Option<&BatchDocument>, checks: &[Check]) -> Value {
    let proof = document.and_then(|document| document.tree().ok()?.proof(signed.receipt_hash));
    json!({
        "holds": checks.iter().all(|check| check.holds.is_ok()),
        "receiptHash": signed.receipt_hash,
        "operatorIndex": signed.receipt.account_id.operator_index(),
        "batchNumber": signed.receipt.batch_number.to_string(),
        "proof": proof,
        "checks": checks.iter().map(|check| json!({
            "check": check.what,
            "holds": check.holds.is_ok(),
            "detail": check.holds.clone().unwrap_or_else(|detail| detail),
        })).collect::<Vec<_>>(),
    })
}

async fn check(context: &Context, signed: &SignedReceipt, document: Option<&BatchDocument>) -> Outcome<Vec<Check>> {
    let domain = context.domain()?;
    let reader = context.reader().await?;
    let receipt = &signed.receipt;
    let (operator_index, batch_number) = (receipt.account_id.operator_index(), receipt.batch_number);
    let mut checks = Vec::new();
    let mut add = |what, holds| checks.push(Check { what, holds });

    let digest = receipt.digest(&domain);
    add(
        "hash",
        if digest == signed.receipt_hash { Ok(digest.to_string()) } else { Err(format!("recomputed {digest}")) },
    );

    let operator = reader.operator(operator_index).await?.map(|operator| operator.operator);
    add(
        "operator's signature",
        match operator.map(|operator| (operator, signed.signature.verify(digest, operator))) {
            Some((operator, Ok(()))) => Ok(format!("by {operator}")),
            Some((operator, Err(SignatureError::Stranger(Some(signer))))) => {
                Err(format!("by {signer}, not by operator {operator}"))
            }
            Some((_, Err(error))) => Err(error.to_string()),
            None => Err(format!("operator {operator_index} does not exist")),
        },
    );

    // That it is the one the receipt names, and that it allows this account, this request and this amount.
    let allows = operator.map(|operator| signed.verify(&domain, operator));
    add(
        "authorisation",
        match allows {
            Some(Ok(())) => Ok(receipt.authorization_hash.to_string()),
            Some(Err(fault)) => Err(format!("the receipt {fault}")),
            None => Err(format!("operator {operator_index} does not exist")),
        },
    );
    add("depositor's signature", spender(context, &*reader, signed, &domain).await?);

    let root = reader.batch_root(operator_index, batch_number).await?;
    let proof = document.and_then(|document| document.tree().ok()?.proof(signed.receipt_hash));
    add(
        "Merkle proof",
        match (&proof, root) {
            (_, None) => Err(format!("batch {batch_number} is not on-chain yet")),
            (None, _) => Err("the batch's receipts do not hold this one".into()),
            (Some(proof), Some(root)) if verify_proof(root, signed.receipt_hash, proof) => Ok(format!("root {root}")),
            (Some(_), Some(root)) => Err(format!("does not lead to the posted root {root}")),
        },
    );

    if let Some(proof) = proof {
        let yes = reader.verify_receipt(operator_index, batch_number, signed.receipt_hash, &proof).await?;
        add(
            "verifyReceipt on-chain",
            if yes { Ok(format!("{}", reader.contract())) } else { Err("the contract says no".into()) },
        );
    }
    Ok(checks)
}

/// Everyone who may have authorised spending from an account, with their roles. A closed account may be gone from the chain:
/// then from its events.
async fn spenders(
    context: &Context,
    reader: &dyn ChainReader,
    account: AccountId,
) -> Outcome<Option<Vec<(&'static str, Address)>>> {
    let found = match context.found(account).await {
        Ok(Found::Open(found) | Found::Closed(Some(found))) => found,
        Ok(Found::Closed(None)) => return past_spenders(reader, account).await.map(Some),
        Err(failure) if failure.code == "unknown_account" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let delegate = found.delegate.map(|delegate| ("delegate", delegate));
    Ok(Some(std::iter::once(("owner", found.owner)).chain(delegate).collect()))
}

async fn past_spenders(reader: &dyn ChainReader, account: AccountId) -> Outcome<Vec<(&'static str, Address)>> {
    let head = reader.heads().await?.latest.number;
    let events = reader.events(reader.deployment_block(), head).await?;
    let roles =
        events.into_iter().filter(|event| event.kind.account() == Some(account)).filter_map(|event| match event.kind {
            EventKind::AccountOpened { owner, .. } => Some(("owner", owner)),
            EventKind::DelegateSet { delegate: Some(delegate), .. } => Some(("then delegate", delegate)),
            _ => None,
        });
    Ok(roles.collect())
}

/// Who authorised the job: owner or delegate, by key or as a contract wallet (EIP-1271).
async fn spender(
    context: &Context,
    reader: &dyn ChainReader,
    signed: &SignedReceipt,
    domain: &Domain,
) -> Outcome<Result<String, String>> {
    let Some(roles) = spenders(context, reader, signed.receipt.account_id).await? else {
        return Ok(Err("the account does not exist".into()));
    };
    let spenders: Vec<Address> = roles.iter().map(|(_, address)| *address).collect();
    let authorizer = signed.authorization.authorizer(domain, &spenders);
    if let Ok(signer) = &authorizer
        && let Some((role, _)) = roles.iter().find(|(_, address)| address == signer)
    {
        return Ok(Ok(format!("by the {role} {signer}")));
    }
    let (digest, signature) = match &signed.authorization {
        Authorization::ComputeFutures { authorization, signature } => (Some(authorization.digest(domain)), signature),
        Authorization::Exact { payment } => (payment.digest(), payment.signature()),
    };
    for (role, address) in roles {
        if let Some(digest) = digest
            && reader.is_valid_signature(address, digest, signature).await?
        {
            return Ok(Ok(format!("by the {role} {address}, a contract wallet")));
        }
    }
    // A delegate may have been replaced since; the audit reads the history.
    Ok(Err(match authorizer {
        Err(AuthorizationError::Signature(SignatureError::Stranger(Some(signer)))) | Ok(signer) => {
            format!("by {signer}, now neither owner nor delegate (`compute-futures audit` reads the history)")
        }
        Err(error) => error.to_string(),
    }))
}

/// A receipt, or anything that holds one under `receipt`.
fn read(path: &std::path::Path) -> Outcome<SignedReceipt> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::file(path, &error))?;
    } else {
        text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    }
    let bad = |error: String| {
        Failure::new(
            "bad_receipt",
            format!("{}: {error}", path.display()),
            "pass what `compute-futures run --receipt PATH` wrote, or a job's answer",
        )
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    receipt_in(value).map_err(|error| bad(error.to_string()))
}

fn receipt_in(value: Value) -> Result<SignedReceipt, serde_json::Error> {
    let receipt = value.get("receipt").cloned().unwrap_or(value);
    serde_json::from_value(receipt)
}

/// The receipts of a batch: from the relayer that issued them, or an indexer that kept them. Either is only believed as far as
/// its bytes lead to the root on-chain.
/// The receipts of a batch; `None` while it is not sealed.
pub(super) async fn batch(context: &Context, operator_index: u32, number: u64) -> Outcome<Option<BatchDocument>> {
    let path = context.here(&format!("/api/v1/receipts/{operator_index}/{number}"));
    let mut trouble = None;
    for source in [context.relayer(), context.indexer()].into_iter().flatten() {
        match source.get(&path).await {
            Ok(document) => match serde_json::from_value(document) {
                Ok(document) => return Ok(Some(document)),
                Err(error) => {
                    trouble = Some(Failure::new(
                        "bad_answer",
                        format!("the receipts of batch {number} cannot be read: {error}"),
                        "check --relayer and --indexer",
                    ));
                }
            },
            // Not sealed yet: the check itself says so.
            Err(ClientError::Refused { status: 404, .. }) => {}
            Err(error) => trouble = Some(error.into()),
        }
    }
    trouble.map_or(Ok(None), Err)
}

async fn by_hash(context: &Context, hash: B256, number: u64) -> Outcome<(SignedReceipt, Option<BatchDocument>)> {
    let document = batch(context, context.operator_index().await?, number).await?;
    let found = document
        .as_ref()
        .and_then(|document| document.receipts.iter().find(|signed| signed.receipt_hash == hash).cloned());
    let signed = found.ok_or_else(|| {
        Failure::new(
            "unknown_receipt",
            format!("batch {number} holds no receipt {hash}"),
            "check the batch number, or wait until it is posted",
        )
    })?;
    Ok((signed, document))
}
