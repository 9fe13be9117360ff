//! Inferences: many at once, one too dear, a provider that dies, the same order twice.

use std::sync::Arc;

use compute_futures_protocol::{Usdc, canonical_json};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::stage::Stage;
use super::super::texts::excerpt;
use super::cast::{Bazaar, MODEL, Seller};
use super::sessions::Session;
use crate::client::{ClientError, Relayer, Request, SessionBudget, SessionPayer, SignedSessionReceipt};
use crate::failure::{Failure, Outcome};

const PATH: &str = "/api/v1/market/inference";
/// Calls in flight at once.
const CONCURRENCY: usize = 24;
/// Most that a call of the story may cost.
const MOST: Usdc = Usdc::from_micros(250_000);
/// More calls than a small session can pay for.
const TOO_MANY: usize = 40;

impl Bazaar<'_> {
    /// An agent's orders: from a session, or from whichever fits best.
    fn payer(&self, agent: usize, escrow: u32, session: Option<&Session>) -> SessionPayer {
        SessionPayer {
            signer: self.agents[agent].signer.clone(),
            budget: SessionBudget {
                domain: self.reader.domain(),
                escrow_id: escrow,
                session: session.map(|session| session.id),
                meter: Some(self.world.operator),
            },
        }
    }

    fn from(&self, session: &Session) -> SessionPayer {
        self.payer(session.agent, session.id.escrow(), Some(session))
    }

    fn request(&self, number: usize) -> Request {
        let body = json!({
            "network": self.world.chain.caip2(),
            "model": MODEL,
            "messages": [{ "role": "user", "content": excerpt(number) }],
            "maxTokens": 200,
        });
        Request::post(PATH, &body)
    }

    /// Offers, signs, sends; the receipt is checked before the answer counts.
    async fn infer(&self, payer: &SessionPayer, number: usize) -> Result<SignedSessionReceipt, ClientError> {
        infer(&self.world.relayer, payer, &self.request(number)).await
    }
}

async fn infer(
    relayer: &Relayer,
    payer: &SessionPayer,
    request: &Request,
) -> Result<SignedSessionReceipt, ClientError> {
    let offer = payer.offer(relayer, request).await?;
    Ok(payer.order(relayer, request, &offer, MOST).await?.receipt)
}

/// A session spends up to its limit and not beyond: what might not fit any more is refused before anybody works.
pub(super) async fn up_to_the_limit(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    small: &Session,
) -> Outcome<Vec<SignedSessionReceipt>> {
    let mut receipts = Vec::new();
    for number in 0..TOO_MANY {
        match bazaar.infer(&bazaar.from(small), number).await {
            Ok(receipt) => receipts.push(receipt),
            Err(ClientError::Refused { status, code, .. }) if (400..500).contains(&status) => {
                let path = bazaar.world.here(&format!("/api/v1/market/sessions/{}", small.id));
                let shown = bazaar.world.relayer.get(&path).await?;
                let sum = Usdc::checked_sum(receipts.iter().map(|signed| signed.receipt.cost)).unwrap_or(Usdc::MAX);
                stage.holds(
                    format!(
                        "a session limited to {} USDC: {} calls cost {sum}, the next might not fit and is refused ({code})",
                        small.limit,
                        receipts.len()
                    ),
                    sum <= small.limit && shown["cost"] == json!(sum) && shown["held"] == "0",
                )?;
                return Ok(receipts);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::broken(format!("a session limited to {} USDC paid for {TOO_MANY} calls", small.limit)))
}

/// Many calls at once, each from the session its agent names.
pub(super) async fn concurrent(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    sessions: &[Session],
    count: u32,
) -> Outcome<Vec<SignedSessionReceipt>> {
    let payers: Vec<SessionPayer> = sessions.iter().map(|session| bazaar.from(session)).collect();
    let receipts = all(bazaar, stage, &payers, count).await?;
    let where_asked =
        receipts.iter().all(|signed| sessions.iter().any(|session| session.id == signed.receipt.session_id));
    stage.holds(
        format!("{count} answers from {} sessions, each with a receipt of its meter's", sessions.len()),
        where_asked,
    )?;
    Ok(receipts)
}

/// Calls that name no session: the relayer finds one of the agent's that fits.
pub(super) async fn routed(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    escrow: u32,
    alive: &Seller,
    count: u32,
) -> Outcome<Vec<SignedSessionReceipt>> {
    let payers: Vec<SessionPayer> = (0..bazaar.agents.len()).map(|agent| bazaar.payer(agent, escrow, None)).collect();
    let receipts = all(bazaar, stage, &payers, count).await?;
    let prices = &alive.content;
    let as_published = receipts.iter().all(|signed| compute_futures_x402::costs_as_published(&signed.receipt, prices));
    stage.holds(
        format!("{count} calls that name no provider: all answered, by the one that lives, at its published price"),
        as_published,
    )?;
    Ok(receipts)
}

async fn all(
    bazaar: &Bazaar<'_>,
    stage: &Stage,
    payers: &[SessionPayer],
    count: u32,
) -> Outcome<Vec<SignedSessionReceipt>> {
    let permits = Arc::new(Semaphore::new(CONCURRENCY));
    let bar = stage.bar(u64::from(count), "calls");
    let mut calls = JoinSet::new();
    for number in 0..count as usize {
        let (payer, relayer, permits) =
            (payers[number % payers.len()].clone(), bazaar.world.relayer.clone(), permits.clone());
        let request = bazaar.request(number);
        calls.spawn(async move {
            let _permit = permits.acquire_owned().await;
            infer(&relayer, &payer, &request).await
        });
    }
    let mut receipts = Vec::new();
    while let Some(done) = calls.join_next().await {
        receipts.push(done.map_err(|error| Failure::broken(error.to_string()))??);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(receipts)
}

/// The second provider dies in the middle of its sessions: whoever insists on it is told so, and pays nothing.
pub(super) async fn dies(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    sellers: &mut [Seller],
    sessions: &[Session],
) -> Outcome<()> {
    let dead = sellers.last_mut().ok_or_else(|| Failure::broken("there are no providers"))?;
    dead.dies().await;
    let at = sessions.iter().find(|session| session.provider == dead.id);
    let session = at.ok_or_else(|| Failure::broken("no session is with the second provider"))?;
    let path = bazaar.world.here(&format!("/api/v1/market/sessions/{}", session.id));
    let before = bazaar.world.relayer.get(&path).await?["cost"].clone();
    let refused = bazaar.infer(&bazaar.from(session), 1).await;
    let code = match refused {
        Err(ClientError::Refused { code, .. }) => code,
        other => return Err(Failure::broken(format!("a dead provider's session answered: {other:?}"))),
    };
    let after = bazaar.world.relayer.get(&path).await?;
    stage.holds(
        format!("provider {} dies; a call that insists on it: {code}, nothing charged", dead.id),
        after["cost"] == before && after["held"] == "0",
    )
}

/// The same order twice is one inference: same answer, one receipt (I-5).
pub(super) async fn once(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    session: &Session,
) -> Outcome<Vec<SignedSessionReceipt>> {
    let (payer, request) = (bazaar.from(session), bazaar.request(2));
    let offer = payer.offer(&bazaar.world.relayer, &request).await?;
    let first = payer.order(&bazaar.world.relayer, &request, &offer, MOST).await?;
    let again = payer.send(&bazaar.world.relayer, &request, &offer, first.call.clone()).await?.answer.body;
    let same = |body: &Value| canonical_json(&body["receipt"]).unwrap_or_default();
    stage.holds(
        "the same order sent twice: the same receipt, charged once",
        same(&first.answer.body) == same(&again) && again["choices"] == first.answer.body["choices"],
    )?;
    Ok(vec![first.receipt])
}
