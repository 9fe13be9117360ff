//! `mcp`: the product as tools of the Model Context Protocol, over standard input and output, or over streamable HTTP on this machine.
//!
//! The wallet's key stays in this process. One run is one session: what it may spend and deposit, whom it may let in to an escrow, who
//! meters there, and how many transactions it may post is set when it starts, and no tool can raise it.

mod escrow;
mod market;
mod params;
mod provider;
mod session;
mod tools;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use rmcp::ServiceExt;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService, stdio};
use serde_json::json;

use crate::args::McpArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::local::{self, Guard, Stranger};
use crate::output::facts;
use crate::shutdown;

use session::Session;
use tools::Tools;

/// Runs the server until its client is gone, or until told to stop.
///
/// # Errors
/// When account, relayer or port cannot be used, or the client breaks the protocol.
pub(crate) async fn run(context: Context, args: McpArgs) -> Outcome<()> {
    let (output, http) = (context.output, args.http);
    let tools = Tools::new(Arc::new(Session::new(context, args).await?));
    let Some(port) = http else {
        // Standard output is the client's: nothing else may be written there.
        let broken =
            |error: String| Failure::new("mcp", error, "start it from an MCP client: command `compute-futures mcp`");
        let server = tools.serve(stdio()).await.map_err(|error| broken(error.to_string()))?;
        return server.waiting().await.map(drop).map_err(|error| broken(error.to_string()));
    };
    let guard = Guard::new()?;
    let listener = local::bind(port).await?;
    let lost = |error: std::io::Error| Failure::new("port", format!("the server's socket: {error}"), "start it again");
    let url = format!("http://{}/mcp", listener.local_addr().map_err(lost)?);
    output.result(&json!({ "url": url, "key": guard.key }), || {
        facts([("MCP server", url.clone()), ("header", format!("Authorization: Bearer {}", guard.key))])
    });
    let stop = shutdown::token(false);
    let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.child_token());
    let service =
        StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(LocalSessionManager::default()), config);
    let app = Router::new().nest_service("/mcp", service).layer(from_fn_with_state(guard, only_ours));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.map_err(lost)
}

/// Nobody but programs of this machine that were given the key.
async fn only_ours(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Stranger::Elsewhere) => {
            (StatusCode::FORBIDDEN, "this server serves programs on this machine only, and no web pages\n")
                .into_response()
        }
        Err(Stranger::NoKey) => {
            (StatusCode::UNAUTHORIZED, "send the key that the server printed: Authorization: Bearer …\n")
                .into_response()
        }
    }
}
