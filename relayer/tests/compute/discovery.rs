//! What machines read before they call: every endpoint, from one table.

use serde_json::json;

use crate::cloud::{Cloud, world};
use crate::world::{Call, decode};

#[tokio::test(flavor = "multi_thread")]
async fn every_paid_endpoint_is_in_the_catalogue_with_example_and_schema() {
    let world = world(&Cloud::new(), |_| ()).await;
    let catalogue = world.send(&Call::get("/.well-known/x402.json"), None).await.expect(200, "").body;
    let endpoints = catalogue["endpoints"].as_array().unwrap();
    for path in [
        "/api/v1/gpu/run",
        "/api/v1/gpu/status/{id}",
        "/api/v1/gpu/models",
        "/api/v1/compute/text-inference",
        "/api/v1/compute/image-generation",
        "/api/v1/compute/video-generation",
        "/api/v1/compute/text-to-speech",
        "/api/v1/compute/speech-to-text",
        "/api/v1/compute/embeddings",
        "/api/v1/compute/batch",
        "/api/v1/compute/status/{jobId}",
        "/api/v1/compute/models",
        "/api/v1/compute/estimate",
        "/api/v1/compute-futures/deposit",
        "/api/v1/compute-futures/balance",
        "/api/v1/compute-futures/execute",
        "/api/v1/compute-futures/history",
        "/api/v1/compute-futures/refund",
        "/api/v1/compute-futures/pricing",
        "/run",
    ] {
        let endpoint = endpoints.iter().find(|endpoint| endpoint["path"] == path).unwrap_or_else(|| panic!("{path}"));
        if endpoint["price"]["kind"] != "free" {
            assert!(endpoint["extensions"]["bazaar"]["info"]["input"]["method"].is_string(), "{path}");
            assert!(endpoint["output"].is_object(), "{path}");
        }
    }
    let page = world.send(&Call::get("/llms.txt"), None).await;
    let page = String::from_utf8(page.bytes).unwrap();
    assert!(page.contains("POST /api/v1/compute/batch") && page.contains("http://relayer.test"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_402_shows_how_the_endpoint_is_called() {
    let world = world(&Cloud::new(), |_| ()).await;
    let call = Call::post("/api/v1/compute/image-generation", &json!({ "prompt": "x" }));
    let reply = world.send(&call, None).await.expect(402, "payment_required");
    let extensions = &decode(&reply.headers["payment-required"])["extensions"];
    assert_eq!(extensions["bazaar"]["info"]["input"]["body"]["model"], "auto");
    assert!(extensions["payment-identifier"].is_object() && extensions.get("sign-in-with-x").is_none());
    assert!(reply.headers["payment-required"].len() < 8 * 1024, "stock servers take headers of 8 KB");
}

/// The example of every job is a job.
#[tokio::test(flavor = "multi_thread")]
async fn examples_are_priced() {
    let world = world(&Cloud::new(), |_| ()).await;
    for endpoint in compute_futures_relayer::http::endpoints::ENDPOINTS {
        use compute_futures_relayer::http::endpoints::{BodyType, Price};
        let job = matches!(endpoint.price, Price::Job(_) | Price::AnyJob | Price::Batch);
        if !job || endpoint.body == BodyType::Form {
            continue;
        }
        let reply = world.send(&Call::post(endpoint.path, &endpoint.example()), None).await;
        assert_eq!(reply.status.as_u16(), 402, "{}: {}", endpoint.path, reply.body);
    }
}

#[test]
fn the_committed_document_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let built = serde_json::to_value(compute_futures_relayer::http::openapi::build()).unwrap();
    let text = serde_json::to_string_pretty(&built).unwrap() + "\n";
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == text,
        "docs/openapi.json is out of date: run `make gen`"
    );
}
