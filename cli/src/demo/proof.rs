//! Settlement and proof: the batch lands, and everything about it is recomputed.

use std::collections::{BTreeMap, HashMap};

use compute_futures_chain::EventKind;
use compute_futures_protocol::{B256, BatchDocument, SignedReceipt, TransactionId, Usdc, verify};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::stage::Stage;
use super::world::{Agent, World};
use crate::chain::effort_of;
use crate::client::Request;
use crate::failure::{Failure, Outcome};

/// A batch on-chain.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) number: u64,
    pub(super) transaction: TransactionId,
    pub(super) receipts: u32,
    pub(super) rows: u32,
    /// Gas, or compute units.
    pub(super) gas: u64,
}

/// Tells the relayer to seal and post what is open.
pub(super) async fn flush(world: &World) -> Outcome<Value> {
    let path = &world.file.admin_token_file;
    let token = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
    let header = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
        .map_err(|error| Failure::broken(error.to_string()))?;
    let headers = HeaderMap::from_iter([(AUTHORIZATION, header)]);
    Ok(world.relayer.send(&Request::post(world.here("/admin/v1/flush"), &json!({})), &headers).await?.success()?.body)
}

/// Flushes, and waits until the chain has charged exactly what the agents' receipts say.
pub(super) async fn settle(world: &World, stage: &mut Stage, agents: &[&Agent]) -> Outcome<Vec<Batch>> {
    flush(world).await?;
    let mut total = Usdc::ZERO;
    for agent in agents {
        let (account, receipts) = (agent.account()?, agent.charged()?);
        world
            .until("the batch to land", || async {
                Ok((world.charged_on_chain(account).await? >= receipts).then_some(()))
            })
            .await?;
        let on_chain = world.charged_on_chain(account).await?;
        stage.holds(
            format!("{}: Σ receipts {receipts} USDC = on-chain charge {on_chain} USDC", agent.name),
            on_chain == receipts,
        )?;
        total = total.checked_add(receipts).ok_or_else(|| Failure::broken("the charges add up to more than exists"))?;
    }
    let batches = posted(world).await?;
    let (_, effort) = effort_of(world.chain);
    for batch in &batches {
        stage.says(format!(
            "batch {}: {} receipts in {} rows, {} {effort}, tx {}",
            batch.number, batch.receipts, batch.rows, batch.gas, batch.transaction
        ));
    }
    stage.says(format!(
        "{total} USDC charged in {} transactions, none of them paid or awaited by an agent",
        batches.len()
    ));
    Ok(batches)
}

/// Every batch the chain has.
async fn posted(world: &World) -> Outcome<Vec<Batch>> {
    let writer = world.connection.writer(world.funded(7)?.signer)?;
    let mut batches = Vec::new();
    for event in world.history().await? {
        let EventKind::BatchPosted { batch_number, receipt_count, row_count, .. } = event.kind else { continue };
        let outcome = writer.outcome(event.meta.transaction).await?;
        let outcome = outcome.ok_or_else(|| Failure::broken("a batch's transaction has no receipt"))?;
        batches.push(Batch {
            number: batch_number,
            transaction: event.meta.transaction,
            receipts: receipt_count,
            rows: row_count,
            gas: outcome.gas_used,
        });
    }
    Ok(batches)
}

/// Recomputes every batch from its public document, and asks the contract about some receipts. Returns how many were checked.
pub(super) async fn verify_all(world: &World, stage: &mut Stage, agents: &[&Agent], batches: &[Batch]) -> Outcome<u64> {
    let mut documents = BTreeMap::new();
    for batch in batches {
        let path = world.here(&format!("/api/v1/receipts/{}/{}", world.operator_index, batch.number));
        let document: BatchDocument = serde_json::from_value(world.relayer.get(&path).await?)
            .map_err(|error| Failure::broken(format!("the receipts of batch {}: {error}", batch.number)))?;
        document.verify(&world.domain, world.operator).map_err(|error| Failure::broken(error.to_string()))?;
        let root = world.reader.batch_root(world.operator_index, batch.number).await?;
        if root != Some(document.root) {
            return Err(Failure::broken(format!("batch {}: the receipts' root is not the one on-chain", batch.number)));
        }
        documents.insert(batch.number, document);
    }
    let published: HashMap<B256, &SignedReceipt> = documents
        .values()
        .flat_map(|document| &document.receipts)
        .map(|signed| (signed.receipt_hash, signed))
        .collect();
    stage.holds(
        format!(
            "{} published receipts: every hash, signature and authorisation holds, every root is the one on-chain",
            published.len()
        ),
        !published.is_empty(),
    )?;
    let mut verified = 0;
    for signed in agents.iter().flat_map(|agent| &agent.receipts) {
        let proof = proof_of(&documents, signed)?;
        let document = &documents[&signed.receipt.batch_number];
        let same = published.get(&signed.receipt_hash).is_some_and(|theirs| theirs.receipt == signed.receipt);
        if !same || !verify(document.root, signed.receipt_hash, &proof) {
            return Err(Failure::broken(format!(
                "receipt {} is not the one published and posted",
                signed.receipt_hash
            )));
        }
        verified += 1;
    }
    stage.holds(format!("{verified} receipts in the agents' hands are exactly those in the batches"), verified > 0)?;
    on_chain(world, stage, agents, &documents).await?;
    Ok(verified)
}

/// `verifyReceipt`, as a person would call it in a block explorer; and a receipt that somebody altered.
async fn on_chain(
    world: &World,
    stage: &mut Stage,
    agents: &[&Agent],
    documents: &BTreeMap<u64, BatchDocument>,
) -> Outcome<()> {
    let mut asked = 0;
    for signed in agents.iter().flat_map(|agent| agent.receipts.iter().step_by(40)) {
        let proof = proof_of(documents, signed)?;
        let batch = signed.receipt.batch_number;
        if !world.reader.verify_receipt(world.operator_index, batch, signed.receipt_hash, &proof).await? {
            return Err(Failure::broken(format!("the contract does not know receipt {}", signed.receipt_hash)));
        }
        by_indexer(world, signed, &proof).await?;
        asked += 1;
    }
    stage.holds(
        format!("verifyReceipt on-chain says yes to {asked} of them, with the same proof from the indexer"),
        asked > 0,
    )?;
    let signed = agents
        .iter()
        .find_map(|agent| agent.receipts.first())
        .ok_or_else(|| Failure::broken("there are no receipts"))?;
    let mut altered = signed.receipt.clone();
    altered.charged = altered.charged.saturating_sub(Usdc::from_micros(1));
    let proof = proof_of(documents, signed)?;
    let believed = world
        .reader
        .verify_receipt(world.operator_index, altered.batch_number, altered.digest(&world.domain), &proof)
        .await?;
    stage.holds("and no to one that was altered by a micro-USDC", !believed)
}

/// The indexer fetched the same document by itself, checked it, and serves the same proof.
async fn by_indexer(world: &World, signed: &SignedReceipt, proof: &[B256]) -> Outcome<()> {
    let path = format!("/api/v1/receipts/{}", signed.receipt_hash);
    let found =
        world.until("the indexer to check the receipts", || async { Ok(world.indexer.get(&path).await.ok()) }).await?;
    let theirs: Vec<B256> = serde_json::from_value(found["proof"].clone()).unwrap_or_default();
    if found["proven"] == true && theirs == proof {
        return Ok(());
    }
    Err(Failure::broken(format!("the indexer proves receipt {} otherwise: {found}", signed.receipt_hash)))
}

fn proof_of(documents: &BTreeMap<u64, BatchDocument>, signed: &SignedReceipt) -> Outcome<Vec<B256>> {
    documents
        .get(&signed.receipt.batch_number)
        .and_then(|document| document.tree().ok()?.proof(signed.receipt_hash))
        .ok_or_else(|| Failure::broken(format!("receipt {} is in no batch", signed.receipt_hash)))
}
