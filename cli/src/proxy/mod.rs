//! `proxy`: the OpenAI API on this machine, paid from credit. Whatever takes a base URL can then spend a budget.
//!
//! The wallet's key stays in this process: it signs, and only signatures leave. What comes from the relayer is passed on as it comes,
//! streams piece by piece; each receipt is checked when its answer has passed (I-7).

mod error;
mod forward;
mod passing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use compute_futures_protocol::{B256, JobAuthorization};
use serde_json::json;

use crate::args::ProxyArgs;
use crate::client::{Budget, CreditPayer, Hold, Limits, Relayer};
use crate::commands::payer;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::local::{self, Guard};
use crate::output::{Output, facts};
use crate::shutdown;

use error::ProxyError;

/// How many payments without an answer are remembered for a retry.
const UNANSWERED: usize = 1_000;

/// A payment that was signed, and what is set aside for it.
struct Payment {
    authorization: JobAuthorization,
    hold: Hold,
}

/// What all requests share.
struct Proxy {
    output: Output,
    guard: Guard,
    relayer: Relayer,
    payer: CreditPayer,
    limits: Limits,
    budget: Arc<Budget>,
    /// Payments whose answer the client did not get, by request: when the client tries again, it is paid with the same one.
    unanswered: Mutex<HashMap<B256, Payment>>,
}

impl Proxy {
    /// The client did not get its answer: what is set aside stays so, for its retry.
    fn unanswered(&self, request: B256, payment: Payment) {
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever is let go here counts as spent.
        if unanswered.len() < UNANSWERED {
            unanswered.insert(request, payment);
        }
    }

    /// The payment of an earlier attempt at the same request.
    fn earlier(&self, request: B256) -> Option<Payment> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).remove(&request)
    }
}

/// Runs the proxy until told to stop.
///
/// # Errors
/// When key, account, relayer or port cannot be used.
pub(crate) async fn run(context: &Context, args: ProxyArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    let guard = Guard::new()?;
    let proxy = Proxy {
        output: context.output,
        relayer: context.relayer()?,
        payer: payer(context, account).await?,
        limits: Limits { max_charge: args.max, raise_ceiling_to: args.raise_ceiling },
        budget: Budget::new(args.limit),
        unanswered: Mutex::default(),
        guard: guard.clone(),
    };
    let listener = local::bind(args.port).await?;
    let address = listener.local_addr().map_err(|error| port_lost(&error))?;
    let result = json!({
        "baseUrl": format!("http://{address}/v1"),
        "apiKey": guard.key,
        "wallet": proxy.payer.signer.address(),
        "accountId": account,
        "relayer": proxy.relayer.base(),
        "limit": args.limit,
    });
    context.output.result(&result, || {
        let rows = [
            ("OPENAI_BASE_URL", format!("http://{address}/v1")),
            ("OPENAI_API_KEY", guard.key.clone()),
            ("pays from", format!("{} as {}", account.futures_id(context.chain()), proxy.payer.signer.address())),
            ("at most", format!("{} USDC in this session", args.limit)),
        ];
        facts(rows)
    });
    let app = router(Arc::new(proxy));
    let stop = shutdown::token(args.with_parent);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
    served.map_err(|error| port_lost(&error))
}

fn router(proxy: Arc<Proxy>) -> Router {
    Router::new().route("/v1/{*path}", any(forward::handle)).fallback(nothing).with_state(proxy)
}

fn port_lost(error: &std::io::Error) -> Failure {
    Failure::new("port", format!("the proxy's socket: {error}"), "start it again")
}

async fn nothing() -> Response {
    let message = "there is nothing here; the base URL ends in /v1";
    ProxyError::new(StatusCode::NOT_FOUND, "not_found", message).into_response()
}
