//! Live balances: server-sent events, a snapshot first, then the account after each change.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::State,
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
};
use compute_futures_chain::Finality;
use compute_futures_protocol::AccountId;
use futures::{Stream, stream};
use tokio::sync::broadcast;

use super::{
    Api, accounts,
    accounts::Account,
    error::{ApiError, ApiResult, ErrorBody},
    input::{At, Params},
    limit::Client,
    subscribers::{Full, Place},
    view,
};
use crate::{error::Result, follow::Change, network::Network};

/// `?operator=&network=`
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveParams {
    /// Operator index: needed with a futures id.
    pub operator: Option<u32>,
    /// CAIP-2 name of the network; needed where several are followed and nothing else names one.
    pub network: Option<String>,
}

/// The balance, live. Events: `snapshot` (first, and after a gap), `balance` (after a change), `reorg` (blocks were replaced:
/// the corrected balance). Data: the account as in `/api/v1/accounts/{id}`.
#[utoipa::path(get, path = "/api/v1/accounts/{id}/events", tag = "accounts",
    params(("id" = String, Path, description = "account id, or futures id with ?operator="), LiveParams),
    responses((status = 200, content_type = "text/event-stream", body = Account), (status = 404, body = ErrorBody),
              (status = 503, body = ErrorBody)))]
pub(super) async fn events(
    State(api): State<Api>,
    client: Option<Extension<Client>>,
    At(id): At<String>,
    Params(params): Params<LiveParams>,
) -> ApiResult<impl IntoResponse> {
    let (network, id) = api.account(&id, params.operator, params.network.as_deref())?;
    let network = network.clone();
    let place = api.subscribers.admit(client.map(|Extension(Client(address))| address)).map_err(|full| {
        let (error, hint) = match full {
            Full::Everywhere => ("too many live balances are open", "try again later, or poll /api/v1/accounts/{id}"),
            Full::ForYou => {
                ("your address has too many live balances open", "close one, or poll /api/v1/accounts/{id}")
            }
        };
        ApiError::unavailable("too_many_subscribers", error, hint)
    })?;
    // Subscribed before the snapshot is read: no change falls in between.
    let changes = network.feed.subscribe();
    let snapshot = read(&network, id).await?.ok_or_else(|| accounts::unknown(id, Finality::Latest))?;
    let heartbeat = KeepAlive::new().interval(Duration::from_secs(api.heartbeat_seconds)).text("heartbeat");
    Ok(Sse::new(follow(api, network, id, changes, snapshot, place)).keep_alive(heartbeat))
}

struct Subscription {
    api: Api,
    network: Network,
    id: AccountId,
    changes: broadcast::Receiver<Change>,
    sent: Option<Account>,
    first: bool,
    _place: Place,
}

fn follow(
    api: Api,
    network: Network,
    id: AccountId,
    changes: broadcast::Receiver<Change>,
    snapshot: Account,
    place: Place,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let subscription = Subscription { api, network, id, changes, sent: Some(snapshot), first: true, _place: place };
    stream::unfold(subscription, |mut subscription| async move {
        let event = subscription.next().await?;
        Some((Ok(event), subscription))
    })
}

impl Subscription {
    /// The next event; `None` ends the stream (shutdown, or the account is no more).
    async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.first) {
            return event("snapshot", self.sent.as_ref()?);
        }
        loop {
            let name = tokio::select! {
                () = self.api.shutdown.cancelled() => return None,
                change = self.changes.recv() => match change {
                    Ok(change) if change.accounts.as_ref().is_none_or(|accounts| accounts.contains(&self.id)) => {
                        if change.reorg { "reorg" } else { "balance" }
                    }
                    Ok(_) => continue,
                    Err(broadcast::error::RecvError::Lagged(_)) => "snapshot",
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            };
            match read(&self.network, self.id).await {
                // The account was opened in a replaced block: it may come back, so say what is known and go on.
                Ok(None) => {
                    self.sent = None;
                    return Some(Event::default().event("reorg").data("null"));
                }
                Ok(Some(account))
                    if name == "balance" && self.sent.as_ref().is_some_and(|sent| sent.updated == account.updated) => {}
                Ok(Some(account)) => {
                    let event = event(name, &account);
                    self.sent = Some(account);
                    return event;
                }
                Err(error) => {
                    tracing::warn!(%error, "live balance ends");
                    return None;
                }
            }
        }
    }
}

fn event(name: &str, account: &Account) -> Option<Event> {
    Event::default().event(name).json_data(account).ok()
}

async fn read(network: &Network, id: AccountId) -> Result<Option<Account>> {
    let Some((mut tx, now)) = view::look(network).await? else { return Ok(None) };
    match accounts::load(&mut tx, id).await? {
        None => Ok(None),
        Some(row) => accounts::describe(&mut tx, &row, (&now).into(), &now).await.map(Some),
    }
}
