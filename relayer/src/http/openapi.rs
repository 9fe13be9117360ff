//! `GET /openapi.json`, built from the table of endpoints.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder,
    extensions::ExtensionsBuilder,
    path::{OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    schema::{ObjectBuilder, Schema, Type},
};

use super::{
    endpoints::{ENDPOINTS, Endpoint, Id, Method, Price, Shape},
    shapes,
};

/// The document. It does not depend on settings, so it is written once.
pub(super) async fn document() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(build().to_json().unwrap_or_default()));
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}

/// The interface as OpenAPI.
#[must_use]
pub fn build() -> OpenApi {
    let mut components = Components::default();
    let error = Shape::of::<shapes::Error>();
    register(&mut components, error);
    register(&mut components, pending());
    register(&mut components, relayed());
    let openai_error = openai_error();
    register(&mut components, openai_error);
    let mut paths = PathsBuilder::new();
    for endpoint in ENDPOINTS {
        for shape in [endpoint.input, endpoint.output].into_iter().flatten() {
            register(&mut components, shape);
        }
        let method = match endpoint.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
        };
        paths = paths.path(
            endpoint.path,
            PathItem::new(
                method,
                operation(endpoint, if endpoint.path.starts_with("/v1/") { openai_error } else { error }),
            ),
        );
    }
    let description = "Every error is `{error, code, hint}`. Paid calls answer 402 with what they cost and how to pay (x402 V1 and V2); \
                       amounts named …MicroUsdc are decimal strings of millionths of a USDC.";
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("compute-futures relayer")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(description))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components))
        .build()
}

fn operation(endpoint: &Endpoint, error: Shape) -> OperationBuilder {
    let mut operation = OperationBuilder::new()
        .summary(Some(endpoint.summary))
        .operation_id(Some(operation_id(endpoint)))
        .tag(tag(endpoint.path));
    for param in endpoint.params {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(param.name)
                .parameter_in(if param.in_path { ParameterIn::Path } else { ParameterIn::Query })
                .required(if param.required { Required::True } else { Required::False })
                .description(Some(param.description))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build(),
        );
    }
    if let Some(input) = endpoint.input {
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .required(Some(Required::True))
                .content(endpoint.body.content_type(), ContentBuilder::new().schema(Some(refer(input))).build())
                .build(),
        ));
    }
    let ok = match endpoint.output {
        Some(output) => ResponseBuilder::new()
            .description("The answer")
            .content("application/json", ContentBuilder::new().schema(Some(refer(output))).build()),
        None => ResponseBuilder::new()
            .description("Text, or a file")
            .content("*/*", ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build()),
    };
    let ok = if endpoint.streams() {
        ok.content(
            "text/event-stream",
            ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build(),
        )
    } else {
        ok
    };
    operation = operation.response("200", ok.build());
    if matches!(endpoint.id, Id::EscrowCreate | Id::EscrowFund | Id::EscrowSweep | Id::EscrowExpire) {
        let done = ResponseBuilder::new()
            .description("Brought on chain")
            .content("application/json", ContentBuilder::new().schema(Some(refer(relayed()))).build());
        operation = operation.response("201", done.build());
    }
    if endpoint.id == Id::MarketOpen {
        let done = ResponseBuilder::new()
            .description("Opened")
            .content("application/json", ContentBuilder::new().schema(endpoint.output.map(refer)).build());
        operation = operation.response("201", done.build());
    }
    if goes_on(endpoint.id) {
        let later = "Taken, and not done on chain yet: it goes on by itself. The identical request shows the end and is not charged again";
        operation = operation.response("202", ResponseBuilder::new().description(later).build());
    }
    if endpoint.later {
        let later = "The job goes on: ask for its status. The identical request gets the same job, and its answer once it is done";
        operation = operation.response(
            "202",
            ResponseBuilder::new()
                .description(later)
                .content("application/json", ContentBuilder::new().schema(Some(refer(pending()))).build())
                .build(),
        );
    }
    let refused = |description: &str| {
        ResponseBuilder::new()
            .description(description)
            .content("application/json", ContentBuilder::new().schema(Some(refer(error))).build())
            .build()
    };
    if !endpoint.schemes.names().is_empty() {
        operation = operation.response(
            "402",
            refused("What the call costs and how to pay: header PAYMENT-REQUIRED (V2), body `accepts` (V1)"),
        );
        let price = match endpoint.price {
            Price::Gate(_) => "fixed",
            Price::Session => "by-provider",
            Price::Free | Price::Job(_) | Price::AnyJob | Price::Batch => "by-model",
        };
        let payment = serde_json::json!({ "schemes": endpoint.schemes.names(), "price": price });
        operation = operation.extensions(Some(ExtensionsBuilder::new().add("x-payment", payment).build()));
    }
    operation.response("default", refused("An error, with what to do about it"))
}

/// Whether it may be answered 202 before it is done on chain.
const fn goes_on(id: Id) -> bool {
    matches!(
        id,
        Id::Deposit
            | Id::Refund
            | Id::SponsorSubmit
            | Id::MarketOpen
            | Id::MarketClose
            | Id::EscrowCreate
            | Id::EscrowFund
            | Id::EscrowSweep
            | Id::EscrowExpire
    )
}

fn relayed() -> Shape {
    Shape::of::<super::market::shapes::RelayedTransaction>()
}

fn pending() -> Shape {
    Shape::of::<shapes::jobs::PendingAnswer>()
}

fn openai_error() -> Shape {
    Shape::of::<shapes::OpenAiError>()
}

fn refer(shape: Shape) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name((shape.name)()))
}

fn register(components: &mut Components, shape: Shape) {
    let mut nested = Vec::new();
    (shape.nested)(&mut nested);
    components.schemas.extend(nested);
    components.schemas.insert((shape.name)().into_owned(), (shape.schema)());
}

/// `postComputeTextInference`, from the path.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint
        .path
        .trim_start_matches("/api/v1")
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let name: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    format!("{}{name}", endpoint.method.as_str().to_ascii_lowercase())
}

fn tag(path: &str) -> &'static str {
    if path.starts_with("/api/v1/compute-futures") {
        "compute futures"
    } else if path.starts_with("/api/v1/compute") {
        "compute"
    } else if path.starts_with("/api/v1/market") {
        "marketplace"
    } else if path.starts_with("/api/v1/gpu") {
        "gpu"
    } else if path.starts_with("/v1/") {
        "openai"
    } else if path == "/run" || path.starts_with("/api/v1/artifacts") {
        "compute"
    } else if path.starts_with("/api/v1/receipts") {
        "receipts"
    } else {
        "operation"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_document_is_whole() {
        let document = serde_json::to_value(build()).unwrap();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = &reference[..reference.find('"').unwrap()];
            assert!(schemas.contains_key(name), "{name} is referred to and not there");
        }
        let ids: HashSet<_> = ENDPOINTS.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ENDPOINTS.len(), "operation ids are unique");
        assert!(document["paths"]["/api/v1/compute/text-inference"]["post"]["responses"]["402"].is_object());
        assert_eq!(
            document["paths"]["/api/v1/compute/text-inference"]["post"]["x-payment"]["schemes"][1],
            "compute-futures"
        );
        assert!(document["paths"]["/api/v1/compute-futures/refund"]["post"]["responses"]["202"].is_object());
    }
}
