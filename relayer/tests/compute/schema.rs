//! Requests made up from the OpenAPI document by schemathesis: none breaks the relayer, and every answer fits its schema.

use std::path::PathBuf;
use std::process::Stdio;

use crate::cloud::{Cloud, world};

#[tokio::test(flavor = "multi_thread")]
async fn requests_made_up_from_the_document_break_nothing() {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tools/schemathesis/bin/schemathesis");
    assert!(program.exists(), "schemathesis is not installed: run `scripts/need.sh schemathesis`");
    let world = world(&Cloud::new(), |_| ()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let examples = std::env::var("SCHEMA_EXAMPLES").unwrap_or_else(|_| "3".to_owned());
    let output = tokio::process::Command::new(program)
        .args(["run", &format!("{url}/openapi.json"), "--phases", "examples,fuzzing", "--mode", "all"])
        .args(["--max-examples", &examples, "--generation-deterministic", "--workers", "2"])
        .args([
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ])
        .args(["--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"])
        // Whether the parts are well is not a matter of the schema; figures are global to the process.
        .args(["--exclude-path", "/ready", "--exclude-path", "/metrics"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    // It found endpoints and asked them.
    assert!(text.contains("passed"), "{text}");
}
