//! `POST /api/v1/compute-futures/refund`: the consent path. What is owed is posted, the account is closed, and everything unspent
//! goes to its owner, in one call. Without anyone's help the same takes `requestRefund` on chain and the refund delay (I-4).

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use compute_futures_protocol::{AccountId, Address, B256, refund_order};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::usdc_cents;
use crate::error::{ApiError, ApiResult};
use crate::http::paid::{find_account, futures_id, json_body, parse_account, parse_address, require_same};
use crate::http::state::{AppState, At};
use crate::ledger::AccountView;
use crate::payment::answer::{Template, canonical};
use crate::payment::gate::{Charged, detached};
use crate::payment::gates::refuse;
use crate::payment::report::Answer;
use crate::payment::{Done, Draw, PaidRequest, Payer, Service};
use crate::settlement::RefundDone;

const EXAMPLE: &str = "{\"futuresId\": \"CFE-…\", \"caller\": \"0x…\"}";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    futures_id: String,
    /// Must be the wallet that pays; nothing is taken from it.
    caller: Option<String>,
    /// Where several networks are served: the one of an account that is named by its number.
    network: Option<String>,
}

#[derive(Clone)]
struct Refund {
    at: At,
    account: AccountView,
    caller: Option<Address>,
}

/// Closes an account and pays what is left to its owner. Only the owner may ask, and only the owner is paid.
pub async fn refund(State(state): State<AppState>, request: PaidRequest) -> Response {
    let refund = match prepare(&state, &request).await {
        Ok(refund) => refund,
        Err(error) => return refuse(&request, error),
    };
    let (gates, price) = (refund.at.gates(), state.config.gates.refund);
    let offer = gates.offer("a refund with the operator's consent", price, Some(price));
    let charged = if request.pays_from_credit() {
        gates.charge_credit(&request, &offer, refund.clone()).await
    } else {
        gates.collect(&request, &offer, async |payer: Payer| refund.allow_payment(&payer)).await
    };
    match charged {
        Ok(charged) => finish(refund, charged).await,
        Err(response) => response,
    }
}

async fn prepare(state: &AppState, request: &PaidRequest) -> ApiResult<Refund> {
    let body: Body = json_body(request, EXAMPLE)?;
    let (at, id) = parse_account(state, &body.futures_id, body.network.as_deref())?;
    let caller = body.caller.map(|caller| parse_address(&state.networks, "caller", &caller)).transpose()?;
    let account = find_account(&at, id).await?;
    Ok(Refund { at, account, caller })
}

impl Refund {
    /// The owner, and nobody else: a delegate may spend, never take out.
    fn allow(&self, payer: &Payer) -> ApiResult<()> {
        if payer.address != self.account.owner {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "not_account_owner",
                format!("{} does not own account {}", payer.address, futures_id(&self.at, self.account.id)),
                "pay or sign with the owner's wallet (a delegate may spend, not refund); nothing was taken",
            ));
        }
        if let Some(caller) = self.caller {
            require_same("caller", caller, payer.address)?;
        }
        if let Some(signed_for) = payer.account.as_ref().map(|account| account.id)
            && signed_for != self.account.id
        {
            return Err(account_mismatch(signed_for));
        }
        Ok(())
    }

    /// Before a plain payment is taken. (Paid from credit, the hold decides, which knows a retry from a new order.)
    fn allow_payment(&self, payer: &Payer) -> ApiResult<()> {
        self.allow(payer)?;
        if self.account.closed {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "account_closed",
                format!("account {} is closed and paid out", futures_id(&self.at, self.account.id)),
                "see its history for the refund; nothing was taken",
            ));
        }
        Ok(())
    }

    /// The order. Its bytes are what the receipt covers, so they are the same each time.
    fn pending(&self) -> ApiResult<(Bytes, B256)> {
        canonical(&refund_order(self.account.id, self.at.chain()))
    }

    fn done(&self, done: &RefundDone) -> Value {
        json!({ "refund": {
            "futuresId": futures_id(&self.at, self.account.id),
            "accountId": self.account.id,
            "status": "completed",
            "refundAmount": usdc_cents(done.amount),
            "refundAmountMicroUsdc": done.amount,
            "refundedTo": self.account.owner.to_string(),
            "jobsExecuted": done.jobs_executed,
            "transaction": done.transaction,
        } })
    }
}

fn account_mismatch(signed_for: AccountId) -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "account_mismatch",
        format!("`futuresId` names another account than the authorisation ({signed_for})"),
        "sign for the account that you name; nothing was taken",
    )
}

#[async_trait::async_trait]
impl Service for Refund {
    fn kind(&self) -> &str {
        "refund"
    }

    async fn authorise(&self, payer: &Payer) -> ApiResult<Option<Draw>> {
        self.allow(payer)?;
        Ok(None)
    }

    /// What the receipt covers is the order to refund: what comes of it is on chain.
    async fn work(&self, _: &Payer) -> ApiResult<Done> {
        let (body, output_hash) = self.pending()?;
        let list_amount = self.at.app.config.gates.refund;
        Ok(Done { list_amount, output_hash, usage: json!({}), model: None, answer: Template::Pending(body) })
    }
}

/// The paid part is over; now the chain. Every step is durable, so a retry (with the same payment) only waits on.
async fn finish(refund: Refund, charged: Charged) -> Response {
    let first = Answer::unpack(&charged.answer);
    if first.status != StatusCode::ACCEPTED {
        return charged.respond(first);
    }
    let closing = detached(async move {
        let answer = match refund.at.settlement.flush_account_and_close(refund.account.id).await {
            Ok(done) => {
                let body = Bytes::from(refund.done(&done).to_string());
                let answer = Answer { status: StatusCode::OK, extra: first.extra, body };
                charged.keep(&refund.at.ledger, &answer).await;
                answer
            }
            Err(error) => {
                tracing::warn!(account = %refund.account.id, %error, "a refund is not done yet");
                Answer { body: refund.pending()?.0, ..first }
            }
        };
        let pending = answer.status == StatusCode::ACCEPTED;
        let mut response = charged.respond(answer);
        if pending {
            // It goes on by itself; the identical request shows the end.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        Ok::<_, ApiError>(response)
    });
    closing.await.unwrap_or_else(axum::response::IntoResponse::into_response)
}
