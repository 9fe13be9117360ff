//! Sessions as the chain has them, remembered for a moment: one look serves a burst of calls.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use axum::http::StatusCode;
use compute_futures_chain::market::MarketReader;
use compute_futures_chain::{ChainError, ChainReader};
use compute_futures_protocol::Address;
use compute_futures_protocol::market::{ProviderCall, SessionId, SessionStatus};
use moka::future::Cache;

use super::refusal::Refusal;

/// How long an open session is taken for open. Who can end it earlier is the meter that orders, and the expiry of its escrow.
const FRESH: Duration = Duration::from_secs(10);
/// Sessions remembered at once.
const MOST: u64 = 100_000;
/// How long the chain may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What of an open session matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenSession {
    pub(super) provider_id: u32,
    pub(super) meter: Address,
    /// Last second in which it can be closed.
    pub(super) deadline: u64,
    /// How far the chain's clock is ahead of ours, in seconds.
    pub(super) ahead: u64,
}

/// Where sessions are looked up.
#[async_trait]
pub(super) trait Look: Send + Sync + 'static {
    /// The session, if it is open.
    async fn open_session(&self, id: SessionId) -> Result<Option<OpenSession>, ChainError>;
}

/// The chain itself.
pub(super) struct OnChain {
    pub(super) chain: Arc<dyn ChainReader>,
    pub(super) market: Arc<dyn MarketReader>,
}

#[async_trait]
impl Look for OnChain {
    async fn open_session(&self, id: SessionId) -> Result<Option<OpenSession>, ChainError> {
        let Some(found) = self.market.session(id).await?.filter(|found| found.status == SessionStatus::Open) else {
            return Ok(None);
        };
        let head = self.chain.heads().await?.latest.timestamp;
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Ok(found.terms.map(|terms| OpenSession {
            provider_id: terms.provider_id,
            meter: terms.meter,
            deadline: terms.deadline,
            ahead: head.saturating_sub(ours),
        }))
    }
}

/// Open sessions of the last moments.
pub(super) struct Sessions {
    look: Box<dyn Look>,
    known: Cache<SessionId, OpenSession>,
}

impl Sessions {
    pub(super) fn new(look: Box<dyn Look>) -> Self {
        Self { look, known: Cache::builder().max_capacity(MOST).time_to_live(FRESH).build() }
    }

    /// The order's session is open, with its provider, metered by who signed the order, and not past its deadline.
    pub(super) async fn check(&self, call: &ProviderCall, meter: Address, now: u64) -> Result<(), Refusal> {
        let session = self.open(call.session_id).await?;
        let refuse = |code, message: String| Err(Refusal::new(StatusCode::FORBIDDEN, code, message));
        if session.provider_id != call.provider_id {
            return refuse("other_provider", format!("session {} is with another provider", call.session_id));
        }
        if session.meter != meter {
            return refuse("not_its_meter", format!("the meter of session {} is {}", call.session_id, session.meter));
        }
        if now.saturating_add(session.ahead) > session.deadline {
            return refuse("session_over", format!("session {} is past its deadline", call.session_id));
        }
        Ok(())
    }

    /// Only what is open is remembered: what is not may be on its way to this RPC endpoint.
    async fn open(&self, id: SessionId) -> Result<OpenSession, Refusal> {
        let looked = self.known.try_get_with(id, async {
            let unavailable = || {
                let message = "the chain cannot be asked about the session; try again";
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "chain_unavailable", message).retry_after(Some(2))
            };
            let found = tokio::time::timeout(PATIENCE, self.look.open_session(id)).await;
            found.map_err(|_| unavailable())?.map_err(|_| unavailable())?.ok_or_else(|| {
                Refusal::new(StatusCode::FORBIDDEN, "session_not_open", format!("session {id} is not open on chain"))
            })
        });
        looked.await.map_err(|refusal| Refusal::clone(&refusal))
    }
}
