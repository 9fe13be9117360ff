//! The tools, one function each.

use std::sync::Arc;

use compute_futures_protocol::{AccountId, Usdc};
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::Serialize;
use serde_json::{Value, json};

use super::params::{
    Batch, Deposit, Document, Embeddings, Estimate, History, Image, Models, Refund, Speech, Status, Text,
    Transcription, Verify, Video, fields,
};
use super::session::Session;
use crate::client::Request;
use crate::commands;
use crate::failure::{Failure, Outcome};

const INSTRUCTIONS: &str = "Runs compute (text, images, video, speech, transcription, embeddings, documents) and pays for it from prepaid \
    USDC credit. `models` and `estimate` are free: use them before you spend. Every charge has a receipt that was checked. \
    `session` in each answer says what this session has spent and may still spend; nobody can raise that from here. With an escrow of \
    the marketplace as budget: `escrow_show`, `market_providers`, `market_open`, `market_run`, `market_close`. Who sells inference: `provider_…`; who \
    gives agents a budget: the other `escrow_…`.";

/// The server's tools.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) session: Arc<Session>,
}

/// An answer, or an error that says what to do: the model reads both.
pub(super) fn told(outcome: Outcome<Value>) -> CallToolResult {
    match outcome {
        Ok(value) => CallToolResult::structured(value),
        Err(Failure { error, code, hint }) => {
            CallToolResult::structured_error(json!({ "error": error, "code": code, "hint": hint }))
        }
    }
}

#[tool_router]
impl Tools {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    /// What can be run, at which price, and whether it can run now. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn models(&self, Parameters(Models { kind }): Parameters<Models>) -> CallToolResult {
        let models = async {
            let mut answer = self.session.relayer.get("/api/v1/compute/models").await?;
            if let (Some(kind), Some(Value::Array(models))) = (kind, answer.get_mut("models")) {
                models.retain(|model| [&model["kind"], &model["type"]].iter().any(|value| **value == kind.as_str()));
            }
            Ok(answer)
        };
        told(models.await)
    }

    /// What a job would cost at most, before discount and at each tier. Free, and exact: the same function charges.
    #[tool(annotations(read_only_hint = true))]
    async fn estimate(&self, Parameters(job): Parameters<Estimate>) -> CallToolResult {
        let request = Request::post("/api/v1/compute/estimate", &Value::Object(fields(&job)));
        let estimate = async { Ok(self.session.relayer.send(&request, &Default::default()).await?.success()?.body) };
        told(estimate.await)
    }

    /// Asks a language model. Paid from credit.
    #[tool]
    async fn text(&self, Parameters(job): Parameters<Text>) -> CallToolResult {
        self.job("text-inference", &job).await
    }

    /// Makes pictures from a text. Paid from credit.
    #[tool]
    async fn image(&self, Parameters(job): Parameters<Image>) -> CallToolResult {
        self.job("image-generation", &job).await
    }

    /// Makes a film from a text. Paid from credit when it is done: take the `jobId` of the answer to `status`.
    #[tool]
    async fn video(&self, Parameters(job): Parameters<Video>) -> CallToolResult {
        self.job("video-generation", &job).await
    }

    /// Reads a text aloud. Paid from credit.
    #[tool]
    async fn speech(&self, Parameters(job): Parameters<Speech>) -> CallToolResult {
        self.job("text-to-speech", &job).await
    }

    /// Turns a recording into text. Paid from credit.
    #[tool]
    async fn transcription(&self, Parameters(job): Parameters<Transcription>) -> CallToolResult {
        self.job("speech-to-text", &job).await
    }

    /// Turns texts into vectors. Paid from credit.
    #[tool]
    async fn embeddings(&self, Parameters(job): Parameters<Embeddings>) -> CallToolResult {
        self.job("embeddings", &job).await
    }

    /// Turns a document (PDF, HTML, plain text) into text. Paid from credit.
    #[tool]
    async fn document(&self, Parameters(job): Parameters<Document>) -> CallToolResult {
        self.job("document-parsing", &job).await
    }

    /// Runs up to 50 jobs of any kind in one payment, at a tenth less. Each succeeds or fails on its own, and only what succeeded is
    /// charged.
    #[tool]
    async fn batch(&self, Parameters(batch): Parameters<Batch>) -> CallToolResult {
        told(self.session.paid(&Request::post("/api/v1/compute/batch", &Value::Object(fields(&batch)))).await)
    }

    /// How a job is doing that was answered with a `jobId`. Costs a fraction of a cent.
    #[tool(annotations(read_only_hint = true))]
    async fn status(&self, Parameters(Status { job_id }): Parameters<Status>) -> CallToolResult {
        let known = job_id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') && !job_id.is_empty();
        let unknown =
            || Failure::new("invalid_job_id", "that is no job id", "send the `jobId` as it was answered: 0x…");
        told(if known { self.session.status(&job_id).await } else { Err(unknown()) })
    }

    /// Prepays: says where to send USDC for credit (free), or pays from this server's wallet when it was started with a deposit limit.
    #[tool]
    async fn deposit(&self, Parameters(deposit): Parameters<Deposit>) -> CallToolResult {
        told(if deposit.pay == Some(true) {
            self.pay_deposit(&deposit).await
        } else {
            self.deposit_address(&deposit).await
        })
    }

    /// Credit, charges and what is left of the account. Costs a fraction of a cent.
    #[tool(annotations(read_only_hint = true))]
    async fn balance(&self) -> CallToolResult {
        let balance = async {
            let futures_id = self.session.futures_id()?;
            self.session.paid(&Request::get(format!("/api/v1/compute-futures/balance?futuresId={futures_id}"))).await
        };
        told(balance.await)
    }

    /// What the account was charged for, newest first. Costs a fraction of a cent.
    #[tool(annotations(read_only_hint = true))]
    async fn history(&self, Parameters(History { limit, before }): Parameters<History>) -> CallToolResult {
        let history = async {
            let futures_id = self.session.futures_id()?;
            let mut path =
                format!("/api/v1/compute-futures/history?futuresId={futures_id}&limit={}", limit.unwrap_or(20));
            if let Some(before) = before {
                path.extend(["&before=", &encoded(&before)]);
            }
            self.session.paid(&Request::get(path)).await
        };
        told(history.await)
    }

    /// Closes the account for good; what is left goes back to its owner. Only with the owner's key.
    #[tool(annotations(destructive_hint = true))]
    async fn refund(&self, Parameters(Refund { confirm }): Parameters<Refund>) -> CallToolResult {
        let refund = async {
            if !confirm {
                let hint = "send {\"confirm\": true} if the account shall be closed";
                return Err(Failure::new(
                    "not_confirmed",
                    "nothing was done: a refund closes the account for good",
                    hint,
                ));
            }
            let body = json!({ "futuresId": self.session.futures_id()? });
            self.session.paid(&Request::post("/api/v1/compute-futures/refund", &body)).await
        };
        told(refund.await)
    }

    /// Checks a receipt against the chain: hash, signatures, and its place in the posted batch. Free.
    #[tool(annotations(read_only_hint = true))]
    async fn verify(&self, Parameters(Verify { receipt }): Parameters<Verify>) -> CallToolResult {
        told(commands::verify_receipt(&self.session.context, Value::Object(receipt)).await)
    }
}

impl Tools {
    fn all_tools() -> ToolRouter<Self> {
        Self::tool_router() + Self::market_router() + Self::provider_router() + Self::escrow_router()
    }

    async fn job<T: Serialize>(&self, kind: &str, params: &T) -> CallToolResult {
        let run = async {
            let mut body = fields(params);
            body.insert("futuresId".into(), json!(self.session.futures_id()?));
            body.insert("type".into(), json!(kind));
            self.session.paid(&Request::post("/api/v1/compute-futures/execute", &Value::Object(body))).await
        };
        told(run.await)
    }

    /// Where to send USDC. Nothing is paid.
    async fn deposit_address(&self, deposit: &Deposit) -> Outcome<Value> {
        let owner = match &deposit.owner {
            Some(owner) => owner.clone(),
            None => self.session.context.address()?.to_string(),
        };
        amount("amount", &deposit.amount)?;
        let mut path = format!("/api/v1/compute-futures/deposit-address?depositor={}", encoded(&owner));
        if let Some(ceiling) = &deposit.ceiling {
            path.extend(["&ceiling=", &encoded(ceiling)]);
        }
        let mut answer = self.session.relayer.get(&path).await?;
        let instructions = format!(
            "send {} USDC to `depositAddress` on its network; it becomes credit of {owner} by itself, less the fee of a sweep",
            deposit.amount
        );
        if let Value::Object(fields) = &mut answer {
            fields.insert("instructions".into(), json!(instructions));
        }
        Ok(answer)
    }

    /// What a deposit takes from the wallet counts whole: its amount and its fee.
    async fn pay_deposit(&self, deposit: &Deposit) -> Outcome<Value> {
        let usdc = amount("amount", &deposit.amount)?;
        let ceiling = deposit.ceiling.as_deref().map(|ceiling| amount("ceiling", ceiling)).transpose()?;
        let limit = || {
            let hint =
                "start the server with a higher --deposit-limit, or leave `pay` out and send USDC to the address";
            let error =
                format!("nothing was paid: {usdc} USDC and the fee are more than this session may still deposit");
            Failure::new("deposit_limit", error, hint)
        };
        let most = usdc.checked_add(commands::MOST_DEPOSIT_FEE).ok_or_else(limit)?;
        let hold = self.session.deposits.hold(most).map_err(|_| limit())?;
        let Some(most_fee) = hold.amount().checked_sub(usdc) else {
            hold.release();
            return Err(limit());
        };
        let signed = match commands::sign_deposit(&self.session.context, usdc, ceiling, most_fee).await {
            Ok(signed) => signed,
            Err(failure) => {
                // Nothing was sent.
                hold.release();
                let clipped = failure.code == "too_expensive" && most_fee < commands::MOST_DEPOSIT_FEE;
                return Err(if clipped { limit() } else { failure });
            }
        };
        let answer = signed.send(&self.session.context).await?;
        hold.settle(signed.amount());
        let account = answer.body.pointer("/computeFuture/accountId").and_then(Value::as_str);
        if let Some(account) = account.and_then(|id| id.parse::<AccountId>().ok()) {
            self.session.opened(account);
        }
        Ok(answer.body)
    }
}

pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(super) fn amount(field: &str, text: &str) -> Outcome<Usdc> {
    Usdc::parse(text).map_err(|error| {
        let hint = format!("send USDC as a string: {{\"{field}\": \"50\"}}");
        Failure::new("invalid_amount", format!("`{field}`: {error}"), hint)
    })
}

#[tool_handler(router = Self::all_tools())]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("compute-futures", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }
}
