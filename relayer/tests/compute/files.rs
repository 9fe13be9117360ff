//! Files that jobs made: served by their hash, for a limited time.

use axum::body::Body;
use axum::http::Request;
use compute_futures_protocol::keccak256;
use serde_json::json;
use tower::ServiceExt as _;

use crate::cloud::{Cloud, FILE, world};
use crate::world::{Call, World, key};

async fn get(world: &World, target: &str) -> (u16, axum::http::HeaderMap, Vec<u8>) {
    let request = Request::builder().uri(target).body(Body::empty()).unwrap();
    let response = world.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, bytes.to_vec())
}

async fn picture(world: &World) -> String {
    let call = Call::post("/api/v1/compute/image-generation", &json!({ "prompt": "a lake" }));
    let payment = world.exact(&call, &key(9)).await;
    let reply = world.send(&call, Some(payment)).await.expect(200, "");
    reply.body["data"][0]["url"].as_str().unwrap().trim_start_matches("http://relayer.test").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_served_by_the_hash_that_the_receipt_covers() {
    let world = world(&Cloud::new(), |_| ()).await;
    let path = picture(&world).await;
    assert!(path.ends_with(&keccak256(FILE).to_string()), "{path}");
    let (status, headers, bytes) = get(&world, &path).await;
    assert_eq!((status, bytes.as_slice()), (200, FILE));
    assert_eq!(headers["content-type"], "image/png");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let unknown = format!("/api/v1/artifacts/0x{}", "0".repeat(64));
    assert_eq!(get(&world, &unknown).await.0, 404);
    assert_eq!(get(&world, "/api/v1/artifacts/../../etc/passwd").await.0, 404);
    assert_eq!(get(&world, "/api/v1/artifacts/0x12").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_forgotten_after_their_time_in_database_and_directory() {
    let folder = tempfile::tempdir().unwrap();
    for directory in [String::new(), folder.path().join("files").display().to_string()] {
        let named = directory.clone();
        let world = world(&Cloud::new(), move |config| {
            config.outputs.keep_days = 0;
            config.outputs.directory.clone_from(&named);
        })
        .await;
        let path = picture(&world).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(get(&world, &path).await.0, 404, "its time is over at once here");
        // The relayer does so now and then by itself, and may have been faster, or be at it.
        while world.artifacts.forget().await.unwrap() > 0 {}
        if !directory.is_empty() {
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        }
    }
    let directory = folder.path().join("kept");
    let named = directory.display().to_string();
    let world = world(&Cloud::new(), move |config| config.outputs.directory.clone_from(&named)).await;
    let path = picture(&world).await;
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(get(&world, &path).await.2, FILE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_not_charged() {
    let world = world(&Cloud::new(), |config| config.outputs.max_bytes = 5).await;
    let call = Call::post("/api/v1/compute/image-generation", &json!({ "prompt": "a lake" }));
    let payment = world.exact(&call, &key(9)).await;
    world.send(&call, Some(payment)).await.expect(502, "output_too_large");
    assert_eq!(world.settlements(), 0);
}
