//! What a 402 says beside its price: how the endpoint is called (`bazaar`), that its owner may sign in instead (`sign-in-with-x`), and the
//! operator's signature over each offer (`offer-receipt`; a paid answer carries the receipt). Added here, because the gate knows nothing of
//! endpoints.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use serde_json::{Value, json};

use super::endpoints::{BodyType, ENDPOINTS, Endpoint, Method};
use super::offer_receipt::{self, Wish};
use super::siwx;
use super::state::AppState;
use crate::payment::report::Offered;
use crate::payment::wire::{BASE64, PAYMENT_REQUIRED};

/// Key of the discovery extension.
const BAZAAR: &str = "bazaar";

/// Adds the extensions of the endpoint to the `PAYMENT-REQUIRED` header of a 402.
pub(super) async fn announce(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = request.uri().path().to_owned();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let wish = Wish::of(&state, target, request.headers());
    let mut response = next.run(request).await;
    if response.status() == StatusCode::OK {
        wish.grant(&state, &mut response);
    }
    if response.status() != StatusCode::PAYMENT_REQUIRED {
        return response;
    }
    let endpoint = matched.and_then(|path| ENDPOINTS.iter().find(|endpoint| endpoint.path == path));
    let offer = response.extensions().get::<Offered>().and_then(|offered| serde_json::to_value(&*offered.0).ok());
    let (Some(endpoint), Some(mut offer)) = (endpoint, offer) else { return response };
    let signed = offer_receipt::offers(&state, &offer);
    if let Some(fields) = offer.as_object_mut() {
        let extensions = fields.entry("extensions").or_insert_with(|| json!({}));
        extensions[BAZAAR] = bazaar(endpoint);
        if let Some(signed) = signed {
            extensions[offer_receipt::EXTENSION] = signed;
        }
        if endpoint.sign_in {
            extensions[siwx::EXTENSION] = siwx::declaration(&state, &path);
        }
    }
    if let Ok(header) = HeaderValue::from_str(&BASE64.encode(offer.to_string())) {
        response.headers_mut().insert(PAYMENT_REQUIRED, header);
    }
    response
}

/// How the endpoint is called, in the form of the `bazaar` extension: an example, and the schema that it fits.
pub(super) fn bazaar(endpoint: &Endpoint) -> Value {
    let mut input = json!({ "type": "http", "method": endpoint.method.as_str() });
    let mut properties = json!({
        "type": { "type": "string", "const": "http" },
        "method": { "type": "string", "enum": [endpoint.method.as_str()] },
    });
    let mut required = vec!["type", "method"];
    if endpoint.method == Method::Post {
        let kind = if endpoint.body == BodyType::Form { "form-data" } else { "json" };
        input["bodyType"] = json!(kind);
        input["body"] = endpoint.example();
        properties["bodyType"] = json!({ "type": "string", "const": kind });
        properties["body"] = json!({ "type": "object" });
        required.extend(["bodyType", "body"]);
    } else {
        let query: serde_json::Map<String, Value> = endpoint
            .params
            .iter()
            .filter(|param| !param.in_path)
            .map(|param| (param.name.to_owned(), json!(param.description)))
            .collect();
        input["queryParams"] = Value::Object(query);
        properties["queryParams"] = json!({ "type": "object" });
    }
    json!({
        "info": { "input": input, "output": { "type": endpoint.output.map_or("binary", |_| "json") } },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "input": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false
                },
                "output": {
                    "type": "object",
                    "properties": { "type": { "type": "string" } },
                    "required": ["type"]
                }
            },
            "required": ["input"]
        }
    })
}

#[cfg(test)]
mod tests {
    use compute_futures_protocol::FuturesId;

    use super::*;

    /// An example that its own endpoint refuses for a typing error would be none.
    #[test]
    fn accounts_in_examples_have_their_checksum() {
        let accounts: Vec<_> =
            ENDPOINTS.iter().filter_map(|endpoint| endpoint.example().get("futuresId").cloned()).collect();
        assert!(accounts.len() >= 2, "{accounts:?}");
        for account in accounts {
            assert!(account.as_str().is_some_and(|id| id.parse::<FuturesId>().is_ok()), "{account}");
        }
    }

    #[test]
    fn every_paid_endpoint_shows_how_it_is_called() {
        for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.schemes.names().is_empty()) {
            let bazaar = bazaar(endpoint);
            let input = &bazaar["info"]["input"];
            assert_eq!(input["method"], endpoint.method.as_str());
            if endpoint.method == Method::Post {
                assert!(!input["body"].as_object().is_none_or(serde_json::Map::is_empty), "{}: {input}", endpoint.path);
            }
        }
    }
}
