//! `GET /llms.txt`: this interface in a page, for language models.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use compute_futures_protocol::Chain;

use super::endpoints::{ENDPOINTS, Price};
use super::state::AppState;

/// The page.
pub(super) async fn page(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text(&state)).into_response()
}

fn text(state: &AppState) -> String {
    let url = &state.public_url;
    let gates = &state.config.gates;
    let mut page = format!(
        "# Compute futures\n\n\
         > AI inference for agents, paid in USDC over HTTP 402 (x402): per call, or out of prepaid credit at a discount of up to 15%. \
         No account, no API key: the wallet is the account.\n\n\
         Base URL: {url}\nNetworks: {}\n\n\
         ## How to pay\n\n\
         1. Send the request. The answer is 402 with `accepts`: what it costs and where to.\n\
         2. Pay one entry with an x402 client and send the same request again. `exact` is a plain USDC payment; \
         `compute-futures` is a signature against prepaid credit.\n\
         3. The answer comes with a signed receipt when credit was charged. What fails costs nothing.\n\n\
         Prepay: POST /api/v1/compute-futures/deposit, then POST /api/v1/compute-futures/execute for each job; \
         POST /api/v1/compute-futures/refund pays back what is left.\n\n\
         Ask for the price first: POST /api/v1/compute/estimate is free and exact. Errors are `{{error, code, hint}}`: the hint says what to do.\n\n\
         ## Endpoints\n\n",
        state.networks.chains().map(Chain::caip2).collect::<Vec<_>>().join(", "),
    );
    for endpoint in ENDPOINTS {
        let price = match endpoint.price {
            Price::Free => "free".to_owned(),
            Price::Gate(gate) => format!("${}", gate.price(gates)),
            Price::Job(_) | Price::AnyJob => "by model".to_owned(),
            Price::Batch => "the jobs less 10%".to_owned(),
            Price::Session => "by provider, from a session".to_owned(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(page, "- {} {} ({price}): {}", endpoint.method.as_str(), endpoint.path, endpoint.summary);
    }
    let _ = write!(
        page,
        "\n## More\n\n- [OpenAPI]({url}/openapi.json): every field\n- [Catalogue]({url}/.well-known/x402.json): prices, networks, schemas\n\
         - [Models]({url}/api/v1/compute/models): what runs here now\n- OpenAI's clients: base URL {url}/v1, with a proxy that pays\n"
    );
    page
}
