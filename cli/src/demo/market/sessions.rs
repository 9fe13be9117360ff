//! Sessions: opened by a signature, refused to strangers, lapsed when nobody closes them.

use compute_futures_chain::ChainError;
use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::{OpenSession, SessionId, SessionRequest};
use compute_futures_protocol::{Bytes, Usdc};
use serde_json::{Value, json};

use super::super::stage::Stage;
use super::cast::{Bazaar, MODEL, Seller};
use crate::client::{ClientError, Request};
use crate::failure::{Failure, Outcome};
use crate::keys::Key;

/// A session that an agent opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Which of the agents.
    pub(super) agent: usize,
    pub(super) provider: u32,
    pub(super) limit: Usdc,
}

impl Session {
    /// The relayer says what to sign, the agent signs, the relayer brings it and pays for that.
    pub(super) async fn open(
        bazaar: &Bazaar<'_>,
        escrow: u32,
        agent: usize,
        provider: u32,
        limit: Usdc,
    ) -> Outcome<Self> {
        let key = &bazaar.agents[agent];
        let quote = quote(bazaar, escrow, key, json!(provider), limit).await??;
        let open: OpenSession = serde_json::from_value(quote["open"].clone())
            .map_err(|error| Failure::broken(format!("the quote names no opening: {error}")))?;
        // An agent signs what it asked for, and nothing else.
        if open.escrow_id != escrow
            || open.provider_id != provider
            || open.limit != limit
            || open.meter != bazaar.world.operator
        {
            return Err(Failure::broken(format!("the relayer quotes another opening: {open:?}")));
        }
        let signature: Bytes = key.signer.sign(open.digest(&bazaar.reader.domain())).to_vec().into();
        let body = json!({ "network": bazaar.world.chain.caip2(), "open": open, "signature": signature });
        let request = Request::post("/api/v1/market/sessions", &body);
        let answer = bazaar.world.relayer.send(&request, &Default::default()).await?.success()?.body;
        let id = answer["sessionId"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Failure::broken(format!("the opening's answer names no session: {answer}")))?;
        Ok(Self { id, agent, provider, limit })
    }
}

async fn quote(
    bazaar: &Bazaar<'_>,
    escrow: u32,
    agent: &Key,
    provider: Value,
    limit: Usdc,
) -> Outcome<Result<Value, ClientError>> {
    let body = json!({
        "network": bazaar.world.chain.caip2(),
        "escrowId": escrow,
        "agent": agent.address(),
        "providerId": provider,
        "model": MODEL,
        "limit": limit,
        "seconds": 1_800,
    });
    let request = Request::post("/api/v1/market/sessions/quote", &body);
    let answer = bazaar.world.relayer.send(&request, &Default::default()).await?;
    Ok(answer.success().map(|answer| answer.body))
}

/// Who is on no list opens nothing: neither at the relayer nor at the contract.
pub(super) async fn strangers(bazaar: &Bazaar<'_>, stage: &mut Stage, escrow: u32, seller: &Seller) -> Outcome<()> {
    let limit = Usdc::from_micros(1_000_000);
    let code = match quote(bazaar, escrow, &bazaar.stranger, json!(seller.id), limit).await? {
        Err(ClientError::Refused { status: 403, code, .. }) => code,
        other => return Err(Failure::broken(format!("a stranger's opening was not refused with 403: {other:?}"))),
    };
    stage.holds(format!("an agent that is on no list asks the relayer: 403 {code}"), code == "not_agent")?;
    let request = SessionRequest {
        escrow_id: escrow,
        provider_id: seller.id,
        content_hash: seller.content.hash(),
        meter: bazaar.world.operator,
        limit,
        deadline: bazaar.now().await? + 600,
    };
    let refused = bazaar.try_post(&bazaar.passer_by, MarketAction::OpenSession { request }).await;
    let named = matches!(&refused, Err(ChainError::Reverted { name, .. }) if name.ends_with("NotAgent"));
    stage.holds("and the contract: NotAgent", named)
}

/// A session that names a meter nobody runs: it is never served, and never closed.
pub(super) async fn unmetered(
    bazaar: &Bazaar<'_>,
    stage: &mut Stage,
    escrow: u32,
    provider: u32,
    seconds: u64,
) -> Outcome<(SessionId, u64)> {
    let agent = &bazaar.agents[2];
    let provider_on_chain = bazaar.reader.provider(provider).await?.and_then(|provider| provider.content_hash);
    let content_hash = provider_on_chain.ok_or_else(|| Failure::broken("the provider publishes nothing"))?;
    let request = SessionRequest {
        escrow_id: escrow,
        provider_id: provider,
        content_hash,
        meter: bazaar.world.stranger()?.address(),
        limit: Usdc::from_micros(5_000_000),
        deadline: bazaar.now().await? + seconds,
    };
    let deadline = request.deadline;
    let nonce = bazaar.reader.agent(escrow, agent.address()).await?.nonce;
    let open = request.by(agent.address(), nonce);
    let signature: Bytes = agent.signer.sign(open.digest(&bazaar.reader.domain())).to_vec().into();
    let events = bazaar.post(&bazaar.passer_by, MarketAction::OpenSessionWithSignature { open, signature }).await?;
    let id = events.iter().find_map(|event| match event {
        MarketEvent::SessionOpened { session, .. } => Some(*session),
        _ => None,
    });
    let id = id.ok_or_else(|| Failure::broken("the opening left no event"))?;
    stage.says(format!("session {id} names a meter that nobody runs: 5 USDC are held until its deadline"));
    Ok((id, deadline))
}

/// After its deadline a passer-by gives its reservation back.
pub(super) async fn lapse(bazaar: &Bazaar<'_>, stage: &mut Stage, session: (SessionId, u64)) -> Outcome<()> {
    let (id, deadline) = session;
    bazaar.past(deadline).await?;
    let events = bazaar.post(&bazaar.passer_by, MarketAction::LapseSession { session: id }).await?;
    let released = events.iter().find_map(|event| match event {
        MarketEvent::SessionLapsed { session, released } if *session == id => Some(*released),
        _ => None,
    });
    stage.holds(
        format!("session {id}, which nobody closed, lapses by a passer-by's call: 5 USDC are free again"),
        released == Some(Usdc::from_micros(5_000_000)),
    )
}
