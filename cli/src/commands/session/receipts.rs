//! `session receipts`: what a session was charged for, receipt by receipt, and whether it adds up to what the chain says.

use compute_futures_chain::market::MarketEvent;
use compute_futures_protocol::market::{MarketDomain, SessionId, SessionReceipt};
use compute_futures_protocol::{Address, B256, Bytes, ReceiptTree, Usdc};
use compute_futures_x402::SignedSessionReceipt;
use serde::Deserialize;
use serde_json::json;

use crate::client::ClientError;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// What the meter publishes of a session.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    cost: Usdc,
    receipts: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    receipt: SessionReceipt,
    model: String,
    signature: Bytes,
}

/// What the chain says of a session.
struct OnChain {
    meter: Address,
    /// Cost as its meter signed it (what was cut included), how many receipts, and their root.
    closed: Option<(Usdc, u32, B256)>,
}

pub(super) async fn run(context: &Context, id: SessionId) -> Outcome<()> {
    let market = context.market().await?.reader();
    let chain = on_chain(&market.session_history(id).await?.into_iter().map(|event| event.kind).collect::<Vec<_>>())
        .ok_or_else(|| {
            Failure::new("unknown_session", format!("session {id} was never opened"), "check the id and the network")
        })?;
    let relayer = context.relayer()?;
    let path = context.here(&format!("/api/v1/market/sessions/{id}/receipts"));
    let body = relayer.get(&path).await?;
    let document: Document = serde_json::from_value(body.clone())
        .map_err(|error| ClientError::BadAnswer { url: relayer.url(&path), reason: error.to_string() })?;
    let findings = findings(id, &document, &chain, &market.domain());
    if let Some(first) = findings.first() {
        return Err(Failure::new(
            "receipts_do_not_hold",
            first.clone(),
            "keep the document; take it up with the meter, whose signatures these are",
        ));
    }
    let mut result = body;
    result["checked"] = json!({
        "signatures": document.receipts.len(),
        "sum": document.cost,
        "onChain": chain.closed.is_some(),
    });
    context.output.result(&result, || {
        let mut rows: Vec<(String, String)> = document
            .receipts
            .iter()
            .map(|Entry { receipt, model, .. }| {
                let tokens = format!("{} read, {} written", receipt.input_tokens, receipt.output_tokens);
                (receipt.sequence.to_string(), format!("{} USDC  {model}  {tokens}", receipt.cost))
            })
            .collect();
        rows.push(("sum".into(), format!("{} USDC, signed by {}", document.cost, chain.meter)));
        rows.push((
            "on chain".into(),
            if chain.closed.is_some() { "closed at this sum, with their root" } else { "not closed yet" }.into(),
        ));
        facts(rows)
    });
    Ok(())
}

fn on_chain(history: &[MarketEvent]) -> Option<OnChain> {
    let meter = history.iter().find_map(|event| match event {
        MarketEvent::SessionOpened { meter, .. } => Some(*meter),
        _ => None,
    })?;
    let uncovered = history.iter().find_map(|event| match event {
        MarketEvent::SessionShortfall { uncovered, .. } => Some(*uncovered),
        _ => None,
    });
    let closed = history.iter().find_map(|event| match event {
        MarketEvent::SessionClosed { cost, receipt_count, receipts_root, .. } => {
            Some((cost.checked_add(uncovered.unwrap_or_default())?, *receipt_count, *receipts_root))
        }
        _ => None,
    });
    Some(OnChain { meter, closed })
}

/// What does not add up.
fn findings(id: SessionId, document: &Document, chain: &OnChain, domain: &MarketDomain) -> Vec<String> {
    let mut findings = Vec::new();
    for (place, Entry { receipt, signature, model }) in (1_u32..).zip(&document.receipts) {
        let signed = SignedSessionReceipt { receipt: receipt.clone(), signature: signature.clone() };
        if receipt.session_id != id || receipt.sequence != place {
            findings.push(format!("receipt {place} is number {} of session {}", receipt.sequence, receipt.session_id));
        }
        if compute_futures_protocol::keccak256(model) != receipt.model_hash {
            findings.push(format!("receipt {place} is of another model than {model:?}"));
        }
        if !signed.is_signed_by(chain.meter, domain) {
            findings.push(format!("receipt {place} is not signed by the session's meter, {}", chain.meter));
        }
    }
    let receipts = document.receipts.iter().map(|entry| &entry.receipt);
    if Usdc::checked_sum(receipts.clone().map(|receipt| receipt.cost)) != Some(document.cost) {
        findings.push(format!("the receipts do not add up to {} USDC", document.cost));
    }
    if let Some((cost, count, root)) = chain.closed {
        if cost != document.cost {
            findings.push(format!("the session was closed at {cost} USDC, the receipts are {} USDC", document.cost));
        }
        if u32::try_from(document.receipts.len()) != Ok(count) {
            findings.push(format!("{count} receipts were announced, {} are there", document.receipts.len()));
        }
        let digests: Vec<B256> = receipts.map(|receipt| receipt.digest(domain)).collect();
        // Without receipts there is no tree: the root is zero.
        if ReceiptTree::new(&digests).map(|tree| tree.root()).unwrap_or_default() != root {
            findings.push(format!("the receipts are not those under the root on chain, {root}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use compute_futures_protocol::{EvmAddress, Signer, keccak256};

    use super::*;

    /// I-7: a document that is not what was closed on chain is found out.
    #[test]
    fn receipts_are_those_of_the_chain() {
        let domain = MarketDomain::evm(8453, EvmAddress::repeat_byte(0xce));
        let meter = Signer::from_bytes(&[4; 32]).unwrap();
        let id = SessionId::new(1, 1).unwrap();
        let entry = |sequence: u32, cost: u64| {
            let receipt = SessionReceipt {
                session_id: id,
                sequence,
                execution_id: keccak256([sequence as u8]),
                model_hash: keccak256("m"),
                request_hash: B256::ZERO,
                output_hash: B256::ZERO,
                input_tokens: 1,
                output_tokens: 2,
                cost: Usdc::from_micros(cost),
                latency_ms: 3,
                issued_at: 4,
            };
            let signature = meter.sign(receipt.digest(&domain)).to_vec().into();
            Entry { receipt, model: "m".into(), signature }
        };
        let document = || Document { cost: Usdc::from_micros(30), receipts: vec![entry(1, 10), entry(2, 20)] };
        let digests: Vec<B256> = document().receipts.iter().map(|entry| entry.receipt.digest(&domain)).collect();
        let root = ReceiptTree::new(&digests).unwrap().root();
        let closed = |cost, count, root| OnChain {
            meter: meter.address(),
            closed: Some((Usdc::from_micros(cost), count, root)),
        };
        let right = closed(30, 2, root);
        assert_eq!(findings(id, &document(), &right, &domain), Vec::<String>::new());
        let open = OnChain { closed: None, ..right };
        assert_eq!(findings(id, &document(), &open, &domain), Vec::<String>::new());
        let none = Document { cost: Usdc::ZERO, receipts: vec![] };
        assert_eq!(findings(id, &none, &closed(0, 0, B256::ZERO), &domain), Vec::<String>::new());

        for wrong in [closed(31, 2, root), closed(30, 3, root), closed(30, 2, B256::ZERO)] {
            assert_eq!(findings(id, &document(), &wrong, &domain).len(), 1);
        }
        let forgeries: [fn(&mut Document); 5] = [
            |document| document.cost = Usdc::from_micros(29),
            |document| document.receipts[0].receipt.cost = Usdc::from_micros(11),
            |document| document.receipts[0].receipt.sequence = 2,
            |document| document.receipts[1].model = "n".into(),
            |document| drop(document.receipts.pop()),
        ];
        for forge in forgeries {
            let mut forged = document();
            forge(&mut forged);
            assert!(!findings(id, &forged, &open, &domain).is_empty());
        }
        let other = OnChain { meter: Signer::from_bytes(&[5; 32]).unwrap().address(), closed: None };
        assert_eq!(findings(id, &document(), &other, &domain).len(), 2, "each is signed by somebody else");
    }
}
